# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Mutated REGISTER requests to our registrar, and mutated answers to registrations of ours."""

from __future__ import annotations

import os
import random

from sipsess.message import Request
from sipsess.message.challenge import ANSWERED_BY
from sipsess.registrar import Limits
from sipsess.registration import Account, Registrations
from sipsess.registration.account import MAX_EXPIRES
from sipsess.registration.client import MAX_DELAY
from sipsess.testing import VirtualNetwork
from tests.fuzz.mutate import mutate
from tests.policy.agents import PEER, US, BoxTestCase
from tests.policy.registrars import RegistrarCase
from tests.policy.test_registration import KNOWN

IS_LONG = bool(os.environ.get("SIPSESS_LONG"))
COUNT = 200_000 if IS_LONG else 3_000
#: Answers to registrations; each lets time pass, so there are fewer.
ANSWERS = 20_000 if IS_LONG else 400
#: Requests between two looks.
BATCH = 200
LIMITS = Limits(max_contacts=5, max_bindings=40)

STRANGER = ("192.0.2.66", 5060)

URN = '+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"'
CONTACTS = (
    f"<sip:alice@{PEER}:5060>;q=0.5;expires=600",
    f'"Alice" <sip:alice@10.0.0.7;transport=udp>;{URN};reg-id=1',
    f"<sips:alice@host.invalid;ob>;+sip.instance=x;reg-id=2147483648, <sip:b@{PEER}>",
    "<sip:alice@[2001:db8::9]:5062;method=INVITE?Replaces=x>;q=1.000;expires=4294967296",
    "*",
)
HEADERS = (
    ("Expires", "0"),
    ("Expires", "3600"),
    ("Path", "<sip:p2.example;lr>, <sip:p1.example;lr;ob>"),
    ("Supported", "path, outbound, gruu"),
    ("Require", "outbound"),
    ("User-Agent", "Phone \x7f 1.0"),
)
ANSWER_HEADERS = (
    ("Contact", f"<sip:alice@{US}:5060>;expires=60"),
    ("Contact", f"<sip:alice@{US}:5060>;expires=99999999999, <sip:x@[::>"),
    ("Expires", "0"),
    ("Min-Expires", "600"),
    ("Min-Expires", "4294967295"),
    ("Retry-After", "99999999 (soon);duration=1"),
    ("Service-Route", "<sip:p;lr>, <<>"),
    ("WWW-Authenticate", 'Digest realm="pbx", nonce="1", qop="auth,auth-int", stale=true'),
    ("WWW-Authenticate", 'Digest realm="pbx", nonce="1"'),
    ("Proxy-Authenticate", 'Digest realm="\\"", nonce=, algorithm=SHA-256-sess'),
)


class RegistrarTests(RegistrarCase):
    """The registrar."""

    def test_mutated_requests(self) -> None:
        """Whatever comes, nothing raises, the limits hold, and a phone can register."""
        self.serve(admits_anybody=True, limits=LIMITS)
        self.box.core.gates = ()
        rng = random.Random(1 if IS_LONG else 0)
        seen: list[bytes] = []
        for number in range(COUNT):
            data = self.make(rng, number).to_bytes()
            seen = [*seen[-50:], data]
            feed(self.net, mutate(rng, data, seen))
            if number % BATCH == BATCH - 1:
                self.check(number)
        self.finish()

    def make(self, rng: random.Random, number: int) -> Request:
        """Return a request that is not mutated yet."""
        user = rng.choice(("alice", "bob", f"u{number % 97}", "%61lice"))
        contacts = rng.sample(CONTACTS, rng.choice((0, 1, 1, 1, 2)))
        headers = [("Contact", contact) for contact in contacts]
        headers += rng.sample(HEADERS, rng.randrange(4))
        return self.peer.request(
            "REGISTER",
            f"sip:{US}",
            to=f"<sip:{user}@{US}>",
            call_id=rng.choice((None, None, "a", "b")),
            headers=headers,
        )

    def check(self, number: int) -> None:
        """Check that all is well, and register."""
        self.net.run_for(rng_seconds(number))
        listed = self.successResultOf(self.registrar.list_bindings(1000))
        self.assertLessEqual(len(listed), LIMITS.max_bindings)
        self.assertEqual(self.registrar._waiting, 0)
        self.assertEqual(self.registrar._locks, {})
        for binding in listed:
            self.assertLessEqual(len(self.bindings(binding.user)), LIMITS.max_contacts)
        self.assertEqual(self.box.refused.get("internal-error", 0), 0)
        self.registered("*", headers=[("Expires", "0")], user="good", call_id=f"o{number}")
        if len(listed) < LIMITS.max_bindings:
            response = self.registered(f"<sip:good@{PEER}>", user="good", call_id=f"good{number}")
            self.assertEqual(response.status, 200)


class RegistrationTests(BoxTestCase):
    """The registration of ours."""

    def test_mutated_answers(self) -> None:
        """Whatever is answered, nothing raises, and a good answer registers in the end."""
        rng = random.Random(1 if IS_LONG else 0)
        self.start()
        flow = self.box.flow_to((PEER, 5060))

        async def find_flow(uri: str) -> object:
            return flow

        registrations = Registrations(self.box.core, find_flow)  # type: ignore[arg-type]
        account = Account("sip:alice@example.com", f"sip:{PEER}", expires=60, endpoint=KNOWN)
        line = registrations.add(account)
        registrations.start()
        seen: list[bytes] = []
        for _ in range(ANSWERS):
            request = self.peer.expect("REGISTER", MAX_EXPIRES + 2 * MAX_DELAY)
            status = rng.choice((200, 200, 401, 407, 423, 503, 403, 302, 100))
            headers = rng.sample(ANSWER_HEADERS, rng.randrange(4))
            if status in ANSWERED_BY and rng.random() < 0.5:
                headers.append((ANSWERED_BY[status][0], 'Digest realm="pbx", nonce="2"'))
            data = self.peer.reply(request, status, headers=headers).to_bytes()
            seen = [*seen[-50:], data]
            for _ in range(2):
                feed(self.net, mutate(rng, data, seen))
            self.net.run_for(0.1)
            self.assertIn(line.state, ("REGISTERING", "REGISTERED", "WAITING"))
        self.assertEqual(self.box.refused.get("internal-error", 0), 0)
        request = self.peer.expect("REGISTER", MAX_EXPIRES + 2 * MAX_DELAY)
        self.peer.reply(request, 200)
        self.net.run_for(0.1)
        self.assertEqual((line.state, line.error), ("REGISTERED", ""))
        stopping = registrations.stop()
        self.net.run_for(0.1)
        registrations.abandon()
        self.successResultOf(stopping)
        self.finish()


def feed(net: VirtualNetwork, data: bytes) -> None:
    """Let a stranger, who hears no answers, send something."""
    host = net.find_host(US)
    port = None if host is None else host.find_port((US, 5060), STRANGER)
    assert port is not None
    port.deliver(data, STRANGER)


def rng_seconds(number: int) -> float:
    """Return how long to wait after a batch: sometimes long enough for bindings to expire."""
    return 3000.0 if number % (10 * BATCH) == BATCH - 1 else 50.0
