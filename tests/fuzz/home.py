# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A home of phones: a server that asks for passwords and registers them, with somebody between.

What is mutated here are registrations, challenges and their answers, with nonces that are good.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipsess.defence import DefenceSettings
from sipsess.endpoint import (
    DigestCredentials,
    DigestGate,
    Endpoint,
    EndpointRealm,
    HA1Checker,
    Login,
    MemoryStore,
)
from sipsess.flow import format_host
from sipsess.registrar import RegistrarOptions
from sipsess.registration import Account
from sipsess.registration.client import MAX_DELAY
from sipsess.server import SIPServer
from sipsess.supplements.credentials import Credentials
from sipsess.testing import VirtualHost, VirtualNetwork
from tests.fuzz.streams import Answering
from tests.fuzz.wiretap import Wiretap
from tests.sim.checks import Errors

#: The server, and the phones, by IP version.
ADDRESSES = {
    4: ("192.0.2.1", "192.0.2.2", "192.0.2.3"),
    6: ("2001:db8::1", "2001:db8::2", "2001:db8:1::3"),
}
REALM = "home.example"
PHONES = ("alice", "bob")
#: Longer than any transaction, call and binding lives, and than a phone waits that was refused.
REST = MAX_DELAY + 400.0


class HomeField:
    """
    The server, and two phones.

    :param seed: of everything.
    :param corpus: what strangers mutate.
    :param errors: knows what was logged as an error.
    """

    def __init__(self, seed: int, corpus: Sequence[bytes], errors: Errors) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.errors = errors
        self.net = VirtualNetwork(seed)
        home, *others = addresses = ADDRESSES[self.rng.choice((4, 6))]
        self.domain = format_host(home)
        self.home = self._make_home(self.net.host(home, name="home"))
        self.phones = {
            name: self._make_phone(name, self.net.host(address, name=name))
            for name, address in zip(PHONES, others, strict=True)
        }
        self.servers = [self.home, *self.phones.values()]
        for server in self.servers:
            server.startService()
        self.tap = Wiretap(self.net, self.rng, corpus, addresses)

    def _make_home(self, host: VirtualHost) -> SIPServer:
        users = MemoryStore()
        for name in PHONES:
            users.add(name, REALM, f"secret of {name}")
        endpoints = [Endpoint(name, digest_users=frozenset({name})) for name in PHONES]
        portal = Portal(EndpointRealm(endpoints), [HA1Checker([users])])
        server = SIPServer(
            host,
            gates=[DigestGate(portal, REALM)],
            applications=[Answering()],
            application="answering",
            defence=DefenceSettings(failures_per_minute=0),
        )
        server.users.add_registrar(RegistrarOptions(), lambda: 1e9 + self.net.seconds())
        return server

    def _make_phone(self, name: str, host: VirtualHost) -> SIPServer:
        phone = SIPServer(
            host,
            supplements=[Credentials()],
            applications=[Answering()],
            application="answering",
            defence=DefenceSettings(failures_per_minute=0),
        )
        phone.users.add_account(
            Account(f"sip:{name}@{self.domain}", expires=60, endpoint=self._endpoint(name))
        )
        return phone

    def _endpoint(self, name: str) -> Endpoint:
        """Return what a phone makes of the home."""
        login = Login(REALM, name, f"secret of {name}")
        return Endpoint("home", credentials=DigestCredentials((login,)))

    def _act(self) -> None:
        """Let a phone call the home, or the home a phone."""
        name = self.rng.choice(PHONES)
        is_home = self.rng.random() < 0.5
        dialled = self.home.users.dial(name) if is_home else self._dial(name)
        dialled.addErrback(lambda failure: None)

    def _dial(self, name: str) -> Deferred[Any]:
        """Let a phone call the home."""
        uri = f"sip:answering@{self.domain}"
        return self.phones[name].dial(uri, endpoint=self._endpoint(name))

    def batch(self, count: int) -> None:
        """
        Feed about so many mutated datagrams, check what must hold, and stop everybody.

        :raises AssertionError: with what does not, and the seed.
        """
        self.tap.quota = count
        while self.tap.quota > 0:
            self._act()
            for _ in range(self.rng.randint(0, 3)):
                self.tap.stranger()
            self.net.run_for(self.rng.choice((0.1, 0.5, 2.0, 30.0)))
        self._hang_up()
        self.net.run_for(REST)
        self._check(self._good_call())
        self._hang_up()
        self.net.run_for(REST)
        for server in self.servers:
            server.stopService()
        self.net.run_for(REST)
        self._check([*self.net.leftovers(), *self.net.open_ports()])

    def _hang_up(self) -> None:
        self.net.run_for(5.0)
        for server in self.servers:
            for session in tuple(server.manager.sessions):
                session.terminate()

    def _good_call(self) -> list[str]:
        """A phone calls with its password, and is called where it has registered."""
        for dialled in (self._dial("alice"), self.home.users.dial("bob")):
            outcome: list[object] = []
            dialled.addBoth(outcome.append)
            self.net.run_for(5.0)
            if not outcome or isinstance(outcome[0], Failure):
                return [f"a good call failed: {outcome}\n{self.net.ladder()[-3000:]}"]
        return []

    def _check(self, faults: list[str]) -> None:
        faults = faults + [f"logged: {text}" for text in self.errors.texts]
        for server in self.servers:
            counters = server.core.counters
            if "internal-error" in counters.refused or counters.plugin_errors:
                faults.append(f"counted: {counters.plugin_errors}, {counters.refused}")
        if faults:
            text = "\n".join(f"  - {fault}" for fault in faults)
            raise AssertionError(f"seed {self.seed}, after {self.tap.fed} datagrams:\n{text}")
