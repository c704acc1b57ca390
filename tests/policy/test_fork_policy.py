# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Whose early media a forked call hears, and who has a say in it."""

from __future__ import annotations

from collections.abc import Callable

from zope.interface import implementer

from sipsess.interfaces import IForkPolicy
from sipsess.message import Response
from sipsess.session import Session
from sipsess.supplement import SessionSupplement
from tests.policy.sessions import SessionTestCase


@implementer(IForkPolicy)
class Policy(SessionSupplement):
    """Does what a test says."""

    name = "policy"

    def __init__(self, follow: Callable[[], bool]) -> None:
        self.follow = follow
        self.asked: list[str | None] = []

    def follow_fork(self, session: Session, response: Response) -> bool:
        """See the interface."""
        self.asked.append(response.to_tag)
        return self.follow()


class ForkPolicyTests(SessionTestCase):
    """A call that rings at two places, each with its own early media."""

    def begin(self, *policies: Policy) -> None:
        """Place the call."""
        self.start(*policies)
        self.caller, self.dialled = self.placed()

    def ring(self, tag: str, port: int, *, reliable: bool = False) -> None:
        """Let one place describe its media."""
        headers = {"Require": "100rel", "RSeq": "1"} if reliable else {}
        body = self.peer.sdp(port)
        self.peer.reply(self.dialled, 183, to_tag=tag, body=body, headers=headers)
        if reliable:
            self.peer.reply(self.peer.expect("PRACK"), 200)
        self.net.run_for(0.1)

    def heard(self) -> int:
        """Return the port of whoever is heard."""
        stream = self.caller.media.streams[0]
        assert stream is not None and stream.active_remote is not None
        return stream.active_remote.port

    def answer(self, tag: str, port: int) -> None:
        """Let one place answer, and end the call."""
        body = b"" if tag == "reliable" else self.peer.sdp(port)
        self.peer.reply(self.dialled, 200, to_tag=tag, body=body)
        self.peer.expect("ACK")
        self.assertEqual(self.heard(), port)
        self.hang_up(self.caller)
        self.finish()

    def test_the_latest_is_heard(self) -> None:
        """Without a policy, and with one that agrees."""
        for policies in ((), (Policy(lambda: True),)):
            self.begin(*policies)
            self.ring("a", 40010)
            self.ring("b", 40020)
            self.assertEqual(self.heard(), 40020)
            self.answer("a", 40010)

    def test_the_first_is_heard(self) -> None:
        """With a policy that stays with it, until another one answers; nobody asks about copies."""
        policy = Policy(lambda: False)
        self.begin(policy)
        self.ring("a", 40010)
        self.ring("a", 40010)
        self.ring("b", 40020)
        self.assertEqual((self.heard(), policy.asked), (40010, ["b"]))
        self.assertIn("fork not followed", self.lines(self.caller.call_id))
        self.answer("b", 40020)

    def test_reliable(self) -> None:
        """A reliable response is acknowledged and counts, though it is not listened to."""
        self.begin(Policy(lambda: False))
        self.ring("a", 40010)
        self.ring("reliable", 40020, reliable=True)
        self.assertEqual(self.heard(), 40010)
        self.answer("reliable", 40020)

    def test_broken(self) -> None:
        """A policy that raises is logged, and has no say."""
        self.begin(Policy(lambda: bool(1 / 0)))
        self.ring("a", 40010)
        self.ring("b", 40020)
        self.assertEqual(self.heard(), 40020)
        self.peer.reply(self.dialled, 486)
        self.finish(failures=1)
