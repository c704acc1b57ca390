# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Somebody between the hosts of a network, who says what nobody should, to either side."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from sipsess.flow import Address
from sipsess.testing import VirtualNetwork
from tests.fuzz.mutate import mutate
from tests.fuzz.relatives import changed_answer, reply, sibling_request

#: Where strangers send from, by IPv4 and IPv6; nobody hears the answers.
STRANGERS: dict[bool, tuple[Address, ...]] = {
    False: (("192.0.2.66", 5060), ("192.0.2.67", 1), ("198.51.100.1", 65535)),
    True: (("2001:db8::66", 5060), ("2001:db8:ffff::", 1), ("::ffff:192.0.2.66", 65535)),
}
#: Of a message on its way, how many mutations follow it at most.
FOLLOWERS = 3
#: The share of messages that do not arrive.
LOSS = 0.03

_SIP = 5060


class Wiretap:
    """
    Follows each message by relatives and mutations of it, with the addresses of the right people.

    :param net: the network.
    :param rng: all chance.
    :param corpus: what strangers mutate.
    :param people: the addresses of those who are spoken to.
    """

    def __init__(
        self,
        net: VirtualNetwork,
        rng: random.Random,
        corpus: Sequence[bytes],
        people: Sequence[str],
    ) -> None:
        self.net = net
        self.rng = rng
        self.corpus = corpus
        self.people = people
        #: Mutated datagrams that were fed.
        self.fed = 0
        #: How many more there shall be; none are made when it is used up.
        self.quota = 0
        #: What was sent lately, to be spliced.
        self._seen: list[bytes] = []
        net.filters.append(self._meet)

    def _meet(self, source: Address, target: Address, data: bytes) -> bool:
        """See a datagram on its way, and make something of it; true loses it."""
        if self.quota <= 0 or _SIP not in (source[1], target[1]):
            return False
        rng = self.rng
        if len(self._seen) < 64:
            self._seen.append(data)
        else:
            self._seen[rng.randrange(64)] = data
        for _ in range(rng.randint(0, FOLLOWERS)):
            self._follow(source, target, data)
        return rng.random() < LOSS

    def _follow(self, source: Address, target: Address, data: bytes) -> None:
        rng = self.rng
        make: Callable[[random.Random, bytes], bytes]
        if data.startswith(b"SIP/"):
            make = rng.choice((changed_answer, changed_answer, _same))
        else:
            make = rng.choice((sibling_request, sibling_request, reply, _same))
        made = make(rng, data)
        if make is reply:
            source, target = target, source
        if made is data or rng.random() < 0.3:
            made = mutate(rng, made, self._seen)
        self._plan(rng.choice((0.0, 0.01, 0.1, 1.0)), source, target, made)

    def _plan(self, delay: float, source: Address, target: Address, data: bytes) -> None:
        self.quota -= 1
        self.net.callLater(delay, self._feed, source, target, data)

    def _feed(self, source: Address, target: Address, data: bytes) -> None:
        host = self.net.find_host(target[0])
        port = None if host is None else host.find_port(target, source)
        if port is not None:
            self.fed += 1
            port.deliver(data, source)

    def stranger(self) -> None:
        """Let a stranger, or somebody who says that he is one of the people, send something."""
        rng = self.rng
        target, other = rng.sample(list(self.people), 2)
        source = rng.choice((*STRANGERS[":" in target], (other, _SIP)))
        made = mutate(rng, rng.choice(self.corpus), self._seen or self.corpus)
        self._plan(rng.random(), source, (target, _SIP), made)


def _same(rng: random.Random, data: bytes) -> bytes:
    """Return the message itself; it is mutated then."""
    return data
