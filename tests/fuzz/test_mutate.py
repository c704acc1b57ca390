# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of the mutations: a seed says all, and what they make is what they promise."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import RemoteError
from sipsess.message import Request, Response, parse
from sipsess.sdp import parse as parse_sdp
from tests.fuzz import mutate as mutations
from tests.fuzz.corpus import captured, load, torture
from tests.fuzz.mutate import MAX_LENGTH, MUTATIONS, mutate, splice
from tests.fuzz.relatives import changed_answer, reply, sdp, sibling_request

#: Seeds that each promise is kept for.
SEEDS = range(200)


def of_method(method: bytes) -> bytes:
    """Return a captured request within a dialog."""
    return next(
        message
        for message in captured()
        if message.startswith(method) and b";tag=" in message.partition(b"\r\nTo:")[2][:80]
    )


class CorpusTests(SynchronousTestCase):
    """What is mutated."""

    def test_captured_messages_are_good(self) -> None:
        """What real peers sent can be read."""
        messages = captured()
        self.assertGreater(len(messages), 100)
        for message in messages:
            parse(message).validate()

    def test_torture(self) -> None:
        """The messages of the RFCs are there."""
        self.assertGreater(len(torture()), 50)
        self.assertEqual(load(), captured() + torture())


class MutationTests(SynchronousTestCase):
    """Single mutations."""

    def test_a_seed_says_all(self) -> None:
        """The same seed makes the same messages."""
        corpus = load()
        made = [
            [mutate(random.Random(seed), corpus[seed % len(corpus)], corpus) for seed in SEEDS]
            for _ in range(2)
        ]
        self.assertEqual(*made)

    def test_each_mutation_does_something(self) -> None:
        """For some seed at least, and never more than a datagram holds."""
        data = of_method(b"BYE")
        for mutation in MUTATIONS:
            made = [mutation(random.Random(seed), data) for seed in SEEDS]
            self.assertTrue(any(one != data for one in made), mutation.__name__)

    def test_nothing_to_mutate(self) -> None:
        """Nothing is no reason to fail."""
        for mutation in MUTATIONS:
            for seed in SEEDS:
                self.assertIsInstance(mutation(random.Random(seed), b""), bytes)

    def test_length(self) -> None:
        """Whatever is repeated, it is a datagram still."""
        for seed in SEEDS:
            made = mutate(random.Random(seed), b"a" * MAX_LENGTH)
            self.assertLessEqual(len(made), MAX_LENGTH)

    def test_splice(self) -> None:
        """The beginning is of one, the end of the other."""
        for seed in SEEDS:
            made = splice(random.Random(seed), b"a" * 50 + b"\r\n", b"b" * 50 + b"\r\n")
            self.assertNotIn(b"ba", made.replace(b"\r\n", b""))

    def test_body(self) -> None:
        """A spoilt body has its right length."""
        data = b"X\r\nContent-Length: 9\r\n\r\nv=0\r\ns=-"
        for seed in SEEDS:
            head, _, body = mutations.spoil_body(random.Random(seed), data).partition(b"\r\n\r\n")
            self.assertIn(b"Content-Length: %d" % len(body), head + b"\r\n")


class RelativeTests(SynchronousTestCase):
    """Messages of the dialog of another one."""

    def test_sibling(self) -> None:
        """Most are valid requests of the same dialog."""
        bye = parse(of_method(b"BYE"))
        good = 0
        for seed in SEEDS:
            try:
                message = parse(sibling_request(random.Random(seed), of_method(b"BYE")))
                message.validate()
            except RemoteError:
                continue
            assert isinstance(message, Request)
            good += (message.call_id, message.to_tag) == (bye.call_id, bye.to_tag)
        self.assertGreater(good, len(SEEDS) // 3)

    def test_reply(self) -> None:
        """Most are valid responses to the request."""
        invite = next(message for message in captured() if message.startswith(b"INVITE"))
        good = 0
        for seed in SEEDS:
            try:
                message = parse(reply(random.Random(seed), invite))
                message.validate()
            except RemoteError:
                continue
            assert isinstance(message, Response)
            good += message.cseq.method == "INVITE" and message.to_tag is not None
        self.assertGreater(good, len(SEEDS) // 4)

    def test_changed_answer(self) -> None:
        """Most are valid responses of the same transaction."""
        answer = next(message for message in captured() if message.startswith(b"SIP/2.0 200"))
        branch = parse(answer).via.branch
        good = 0
        for seed in SEEDS:
            try:
                message = parse(changed_answer(random.Random(seed), answer))
                message.validate()
                good += message.via.branch == branch
            except RemoteError:
                continue
        self.assertGreater(good, len(SEEDS) // 3)

    def test_not_for_them(self) -> None:
        """Of a message of the wrong kind, or of garbage, nothing is made."""
        answer, bye = b"SIP/2.0 200 OK\r\n\r\n", of_method(b"BYE")
        for seed in range(10):
            rng = random.Random(seed)
            for make in (sibling_request, reply):
                self.assertIs(make(rng, answer), answer)
                self.assertEqual(make(rng, b"garbage"), b"garbage")
            self.assertIs(changed_answer(rng, bye), bye)

    def test_sdp(self) -> None:
        """Many descriptions can be read."""
        good = 0
        for seed in SEEDS:
            try:
                parse_sdp(sdp(random.Random(seed)))
                good += 1
            except RemoteError:
                continue
        self.assertGreater(good, len(SEEDS) // 4)
