# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Whole calls between two agents over a network that loses, doubles and reorders."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from sipsess.testing import Link
from tests.sim.stories import Stage

#: Seeds per story and address family; ``SIPSESS_SEEDS`` says another number.
SEEDS = int(os.environ.get("SIPSESS_SEEDS", "2000" if os.environ.get("SIPSESS_LONG") else "200"))
#: The same for the longer stories.
FEWER = max(1, SEEDS // 2)

CLEAN = Link(delay=0.02)


def _basic(stage: Stage) -> None:
    session = stage.dial()
    stage.net.run_for(10)
    session.terminate()


def _cancel(stage: Stage) -> None:
    session = stage.dial("ringing")
    stage.net.run_for(2)
    session.terminate()


def _early_cancel(stage: Stage) -> None:
    session = stage.dial("ringing")
    session.terminate()


def _no_ack(stage: Stage) -> None:
    stage.net.filters.append(lambda source, target, data: data.startswith(b"ACK"))
    stage.dial()
    stage.net.run_for(60)


def _lost_200(stage: Stage) -> None:
    stage.lose(2, lambda data: data.startswith(b"SIP/2.0 200"))
    session = stage.dial()
    stage.net.run_for(10)
    session.terminate()


def _lost_ack(stage: Stage) -> None:
    stage.lose(2, lambda data: data.startswith(b"ACK"))
    session = stage.dial()
    stage.net.run_for(10)
    session.terminate()


def _doubled_invite(stage: Stage) -> None:
    stage.net.set_link(
        stage.caller.host,
        stage.callee.host,
        Link(delay=0.02, jitter=0.3, loss=0.3, duplicate=1.0),
    )
    session = stage.dial()
    stage.net.run_for(10)
    session.terminate()


def _bye_bye(stage: Stage) -> None:
    session = stage.dial()
    stage.net.run_for(10)
    for agent in (stage.caller, stage.callee):
        for live in agent.sessions:
            live.terminate()
    session.terminate()


def _reinvite(stage: Stage) -> None:
    session = stage.dial()
    stage.net.run_for(6)
    if session.is_answered:
        session.send_reinvite().addErrback(lambda failure: None)
    for live in stage.callee.sessions:
        if live.is_answered:
            live.send_reinvite().addErrback(lambda failure: None)
    stage.net.run_for(20)
    session.terminate()


def _early(stage: Stage) -> None:
    session = stage.dial("early")
    stage.net.run_for(10)
    session.terminate()


def _late_early(stage: Stage) -> None:
    session = stage.dial("early", offered_media=())
    stage.net.run_for(10)
    session.terminate()


def _update(stage: Stage) -> None:
    session = stage.dial("early")
    session.send_update(with_offer=True).addErrback(lambda failure: None)
    stage.net.run_for(6)
    for live in (session, *stage.callee.sessions):
        if live.is_answered:
            live.send_update(with_offer=True).addErrback(lambda failure: None)
            live.refresh().addErrback(lambda failure: None)
            live.hold().addErrback(lambda failure: None)
    stage.net.run_for(20)
    session.terminate()


class BadNetworkTests(SynchronousTestCase):
    """Each story, for many seeds, over IPv4 and IPv6; afterwards nothing is left."""

    def _for_each_seed(
        self, story: Callable[[Stage], None], least_answered: float = 0.0, seeds: int = SEEDS
    ) -> None:
        for family in (4, 6):
            answered = 0
            for seed in range(seeds):
                stage = Stage(seed, family)
                story(stage)
                stage.check(self)
                answered += stage.was_answered
            self.assertGreaterEqual(answered, least_answered * seeds)

    def test_basic_call(self) -> None:
        """A call is set up and hung up by the caller; nearly all calls come through."""
        self._for_each_seed(_basic, 0.95)

    def test_cancel(self) -> None:
        """The caller cancels while it rings (:rfc:`3261#section-9.1`)."""
        self._for_each_seed(_cancel)

    def test_cancel_at_once(self) -> None:
        """The caller gives up before anything came; CANCEL waits for a 1xx (9.1)."""
        self._for_each_seed(_early_cancel)

    def test_no_ack(self) -> None:
        """No ACK ever arrives: the callee ends the call with BYE (13.3.1.4)."""
        self._for_each_seed(_no_ack)

    def test_lost_200(self) -> None:
        """The first 200s are lost and come again (13.3.1.4)."""
        self._for_each_seed(_lost_200, 0.9)

    def test_lost_ack(self) -> None:
        """The first ACKs are lost and come again for each 200 (13.2.2.4)."""
        self._for_each_seed(_lost_ack, 0.95)

    def test_doubled_invite(self) -> None:
        """Every datagram of the caller comes twice; there is one call (17.2.1)."""
        self._for_each_seed(_doubled_invite, 0.95)

    def test_bye_crosses_bye(self) -> None:
        """Both sides hang up at once (:rfc:`5407#section-3.2.1`)."""
        self._for_each_seed(_bye_bye, 0.95)

    def test_reinvite_from_both_sides(self) -> None:
        """Both sides re-INVITE at once: glare is settled (:rfc:`3261#section-14.1`)."""
        self._for_each_seed(_reinvite, 0.95)

    def test_early_media(self) -> None:
        """Reliable 180 and 183, PRACK, then 200: most calls come through (RFC 3262)."""
        self._for_each_seed(_early, 0.8, FEWER)

    def test_early_media_with_a_late_offer(self) -> None:
        """The same with our offer in the 183 and the answer in the PRACK (RFC 3262 section 5)."""
        self._for_each_seed(_late_early, 0.8, FEWER)

    def test_updates_from_both_sides(self) -> None:
        """UPDATE before the answer, then UPDATE, refresh and hold of both at once (RFC 3311)."""
        self._for_each_seed(_update, 0.8, FEWER)


class GoodNetworkTests(SynchronousTestCase):
    """The same stories where nothing is lost: what exactly happens."""

    def _stage(self) -> Stage:
        return Stage(1, link=CLEAN)

    def test_basic_call_takes_seven_messages(self) -> None:
        """INVITE, 180, 200, ACK, BYE, 200: each exactly once (and no 100: 180 comes at once)."""
        stage = self._stage()
        _basic(stage)
        stage.check(self)
        first_lines = [event.data.split(b"\r\n")[0] for event in stage.net.trace if event.data]
        self.assertEqual(
            [line.split(b" ")[1 if line.startswith(b"SIP") else 0] for line in first_lines],
            [b"INVITE", b"180", b"200", b"ACK", b"BYE", b"200"],
        )

    def test_doubled_invite_makes_one_session(self) -> None:
        """A copy of an INVITE is absorbed: one session at the callee."""
        stage = self._stage()
        _doubled_invite(stage)
        stage.check(self)
        self.assertEqual(len(stage.census.begun), 2)

    def test_no_ack_ends_with_bye_after_64_t1(self) -> None:
        """The 200 is sent 11 times, then the callee sends BYE (13.3.1.4)."""
        stage = self._stage()
        _no_ack(stage)
        stage.check(self)
        successes = [
            event.time
            for event in stage.net.trace
            if event.data.startswith(b"SIP/2.0 200") and b" INVITE\r\n" in event.data
        ]
        gaps = [round(after - before, 1) for before, after in pairwise(successes)]
        self.assertEqual(gaps, [0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0])
        reasons = {str(session.end_reason) for session in stage.census.ended}
        self.assertIn("ACK by the network: no ACK came for the 200", reasons)

    def test_both_reinvites_succeed_after_glare(self) -> None:
        """Both re-INVITEs get 491 and later 200, the callee's first (14.1)."""
        stage = self._stage()
        _reinvite(stage)
        stage.check(self)
        statuses = [
            event.data[8:11]
            for event in stage.net.trace
            if event.data.startswith(b"SIP/2.0") and b" INVITE\r\n" in event.data
        ]
        self.assertEqual(statuses.count(b"491"), 2)
        self.assertEqual(statuses.count(b"200"), 3)

    def test_early_media_message_by_message(self) -> None:
        """Reliable 180 and 183, each with PRACK and 200; one 200 for the INVITE, without SDP."""
        stage = self._stage()
        _early(stage)
        stage.check(self)
        lines = [event.data.split(b"\r\n")[0] for event in stage.net.trace if event.data]
        sent = [line.split(b" ")[1 if line.startswith(b"SIP") else 0] for line in lines]
        provisional = [b"180", b"PRACK", b"200", b"183", b"PRACK", b"200"]
        self.assertEqual(sent, [b"INVITE", *provisional, b"200", b"ACK", b"BYE", b"200"])

    def test_updates_are_all_answered(self) -> None:
        """The UPDATEs of both sides succeed in the end, after glare, and media agree."""
        stage = self._stage()
        _update(stage)
        stage.check(self)
        statuses = [
            event.data[8:11]
            for event in stage.net.trace
            if re.match(rb"SIP/2.0.*^CSeq: \d+ UPDATE\r$", event.data, re.DOTALL | re.MULTILINE)
        ]
        self.assertEqual(statuses.count(b"491"), 2)
        self.assertEqual(statuses.count(b"200"), 5)
