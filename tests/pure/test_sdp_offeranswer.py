# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of :mod:`sipsess.sdp.offeranswer`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import IllegalTransition
from sipsess.machine import recording
from sipsess.sdp import (
    LocalGlareError,
    LocalSDPError,
    MediaDescription,
    OfferAnswer,
    OfferAnswerError,
    RemoteGlareError,
    SessionDescription,
    build_answer,
    build_offer,
    parse,
)
from sipsess.sdp.offeranswer import (
    EVENTS,
    LOCAL_OFFER,
    REMOTE_OFFER,
    STABLE,
    STATES,
    TABLE,
)

ALICE = "192.0.2.1"
BOB = "192.0.2.2"


def _media(media: str = "audio", *formats: str, port: int = 4000) -> MediaDescription:
    """Return a stream; a format such as ``"96=opus/48000/2"`` brings its rtpmap."""
    pairs = [item.partition("=") for item in formats or ("0",)]
    return MediaDescription.build(
        media,
        port,
        "RTP/AVP",
        [name for name, _, _ in pairs],
        attributes=[f"rtpmap:{name} {codec}" for name, _, codec in pairs if codec],
    )


def _offer(*media: MediaDescription, host: str = ALICE) -> SessionDescription:
    """Return an offer, of one audio stream when nothing is said."""
    return build_offer(media or (_media(),), host)


class MachineTestCase(SynchronousTestCase):
    """Two machines, one on each side of the wire."""

    def setUp(self) -> None:
        """Make both sides."""
        self.alice = OfferAnswer(1000)
        self.bob = OfferAnswer(2000)

    def offer(self, *media: MediaDescription) -> None:
        """Let alice offer and bob receive."""
        body = self.alice.send_offer(_offer(*media)).to_bytes()
        self.bob.receive_offer(parse(body))

    def answer(self, *media: MediaDescription | None) -> None:
        """Let bob answer, by mirroring when nothing is said, and alice receive."""
        offer = self.bob.pending_remote
        assert offer is not None
        answer = build_answer(offer, media or [item.copy() for item in offer.media], BOB)
        body = self.bob.send_answer(answer).to_bytes()
        self.assertTrue(self.alice.receive_answer(parse(body)))

    def exchange(self, *media: MediaDescription) -> None:
        """Let alice offer and bob accept all of it."""
        self.offer(*media)
        self.answer()


class ExchangeTests(MachineTestCase):
    """An offer and its answer (RFC 3264 4)."""

    def test_agreed(self) -> None:
        """After the answer both sides hold the same pair, and nothing is open."""
        self.assertFalse(self.alice.is_complete)
        self.offer()
        self.assertEqual((self.alice.state, self.bob.state), (LOCAL_OFFER, REMOTE_OFFER))
        self.assertIsNone(self.alice.local)
        self.assertFalse(self.alice.is_complete)
        self.answer()
        self.assertTrue(self.alice.is_complete and self.bob.is_complete)
        assert self.alice.local and self.alice.remote and self.bob.local and self.bob.remote
        self.assertEqual(self.alice.local.to_bytes(), self.bob.remote.to_bytes())
        self.assertEqual(self.alice.remote.to_bytes(), self.bob.local.to_bytes())
        self.assertIsNone(self.alice.pending_local)
        self.assertIsNone(self.bob.pending_remote)

    def test_rollback(self) -> None:
        """A rejected offer leaves what was agreed (RFC 6141)."""
        self.exchange()
        before = (self.alice.local, self.alice.remote, self.bob.local, self.bob.remote)
        self.offer(_media(), _media("video", "31"))
        self.assertIsNot(self.alice.pending_local, self.alice.local)
        self.alice.rollback()
        self.bob.rollback()
        after = (self.alice.local, self.alice.remote, self.bob.local, self.bob.remote)
        self.assertEqual(before, after)
        self.assertTrue(self.alice.is_complete and self.bob.is_complete)
        self.assertIsNone(self.alice.pending_local)
        self.assertIsNone(self.bob.pending_remote)

    def test_rollback_of_nothing(self) -> None:
        """Rolling back when nothing is open does nothing."""
        self.alice.rollback()
        self.assertEqual(self.alice.state, STABLE)
        self.exchange()
        self.alice.rollback()
        self.assertTrue(self.alice.is_complete)

    def test_later_answers_ignored(self) -> None:
        """
        Only the first answer counts (RFC 3261 13.2.1): other responses repeat it, or other forks.
        """
        self.exchange()
        agreed = self.alice.remote
        self.assertFalse(self.alice.receive_answer(_offer(host=BOB)))
        self.assertIs(self.alice.remote, agreed)

    def test_session_id(self) -> None:
        """The session id is a number below 2**62 - 1 (RFC 3264 5)."""
        for number in (-1, 2**62 - 1):
            self.assertRaises(LocalSDPError, OfferAnswer, number)
        self.assertEqual(OfferAnswer(2**62 - 2).session_id, 2**62 - 2)

    def test_fork(self) -> None:
        """Each dialog of one INVITE gets its own answer to the same offer."""
        self.alice.send_offer(_offer())
        other = self.alice.fork()
        self.alice.receive_answer(_offer(host=BOB))
        self.assertEqual((self.alice.state, other.state), (STABLE, LOCAL_OFFER))
        other.receive_answer(_offer(_media(port=5000), host=BOB))
        assert self.alice.remote and other.remote
        self.assertEqual(
            (self.alice.remote.media[0].port, other.remote.media[0].port), (4000, 5000)
        )
        again = self.alice.fork()
        again.send_offer(_offer(_media("audio", "96=opus/48000/2")))
        again.receive_answer(_offer(_media("audio", "96=opus/48000/2"), host=BOB))
        self.alice.send_offer(_offer(_media("audio", "96=L16/8000")))

    def test_renew(self) -> None:
        """Under a new o= line payload types may mean what they like (RFC 8866 5.2)."""
        self.alice.send_offer(_offer(_media("audio", "96=opus/48000/2")))
        self.alice.receive_answer(_offer(_media("audio", "96=opus/48000/2"), host=BOB))
        other = _offer(_media("audio", "96=L16/8000"))
        self.assertRaises(LocalSDPError, self.alice.send_offer, other)
        self.alice.renew(77)
        origin = self.alice.send_offer(other).origin
        self.assertEqual((origin.session_id, origin.version), (77, 1))


class VersionTests(MachineTestCase):
    """The o= line (RFC 3264 8)."""

    def version(self, machine: OfferAnswer) -> int:
        """Return the version in the last description that ``machine`` agreed on."""
        assert machine.local is not None
        self.assertEqual(machine.local.origin.session_id, machine.session_id)
        return machine.local.origin.version

    def test_only_on_change(self) -> None:
        """The version grows by one when the description changed, and only then."""
        self.exchange()
        self.assertEqual((self.version(self.alice), self.version(self.bob)), (1, 1))
        self.exchange()
        self.assertEqual((self.version(self.alice), self.version(self.bob)), (1, 1))
        self.exchange(_media("audio", "8"))
        self.assertEqual((self.version(self.alice), self.version(self.bob)), (2, 2))
        self.offer(_media("audio", "8"))
        self.answer(_media("audio", "8", port=6000))
        self.assertEqual((self.version(self.alice), self.version(self.bob)), (2, 3))

    def test_own_id_in_answer(self) -> None:
        """An answer has the answerer's own session id, not the offerer's (RFC 8866 5.2)."""
        self.exchange()
        assert self.bob.local is not None
        self.assertEqual(str(self.bob.local.origin), f"- 2000 1 IN IP4 {BOB}")

    def test_after_rollback(self) -> None:
        """The same offer again keeps its version; another gets a new one, never an old one."""
        self.exchange()
        more = (_media(), _media("video", "31"))
        self.assertEqual(self.alice.send_offer(_offer(*more)).origin.version, 2)
        self.alice.rollback()
        self.assertEqual(self.alice.send_offer(_offer(*more)).origin.version, 2)
        self.alice.rollback()
        self.assertEqual(self.alice.send_offer(_offer()).origin.version, 3)

    def test_address_counts(self) -> None:
        """Another address in o= is a change."""
        first = self.alice.send_offer(_offer())
        self.alice.rollback()
        moved = first.copy()
        moved.origin = _offer(host=BOB).origin
        self.assertEqual(self.alice.send_offer(moved).origin.version, 2)

    def test_stamp_twice(self) -> None:
        """Stamping changes neither the description nor the machine."""
        offer = _offer()
        stamped = self.alice.stamp(self.alice.stamp(offer))
        self.assertEqual((stamped.origin.version, offer.origin.version), (1, 0))
        self.assertEqual(self.alice.send_offer(stamped).origin.version, 1)


class GlareTests(MachineTestCase):
    """One offer at a time (RFC 3264 4, RFC 3261 14)."""

    def test_offer_while_ours_is_open(self) -> None:
        """The peer's offer is refused with 491, and ours stays open."""
        self.alice.send_offer(_offer())
        error = self.assertRaises(LocalGlareError, self.alice.receive_offer, _offer(host=BOB))
        self.assertEqual((error.reason_code, error.status), ("offer-glare-local", 491))
        self.assertEqual(self.alice.state, LOCAL_OFFER)
        self.assertIsNone(self.alice.pending_remote)

    def test_offer_while_theirs_is_open(self) -> None:
        """A second offer of the peer is refused with 500, and the first stays open."""
        self.offer()
        first = self.bob.pending_remote
        error = self.assertRaises(RemoteGlareError, self.bob.receive_offer, _offer())
        self.assertEqual((error.reason_code, error.status), ("offer-glare-remote", 500))
        self.assertEqual(self.bob.state, REMOTE_OFFER)
        self.assertIs(self.bob.pending_remote, first)

    def test_own_mistakes(self) -> None:
        """Offering while an offer is open, or answering nothing, is a bug of this side."""
        self.assertRaises(IllegalTransition, self.alice.send_answer, _offer())
        self.offer()
        self.assertRaises(IllegalTransition, self.alice.send_offer, _offer())
        self.assertRaises(IllegalTransition, self.alice.send_answer, _offer())
        self.assertRaises(IllegalTransition, self.bob.send_offer, _offer())
        self.answer()
        assert self.alice.local is not None
        self.assertEqual(self.alice.local.origin.version, 1)

    def test_unexpected_answers(self) -> None:
        """An answer to nothing, or to the peer's own offer, is refused."""
        error = self.assertRaises(OfferAnswerError, self.alice.receive_answer, _offer())
        self.assertEqual((error.reason_code, error.status), ("answer-unexpected", 488))
        self.offer()
        error = self.assertRaises(OfferAnswerError, self.bob.receive_answer, _offer())
        self.assertEqual(error.reason_code, "answer-unexpected")
        self.assertEqual(self.bob.state, REMOTE_OFFER)


class CheckTests(MachineTestCase):
    """What an answer and a new offer must keep."""

    def test_answer_with_another_count(self) -> None:
        """An answer has as many m= lines as the offer (RFC 3264 6)."""
        self.alice.send_offer(_offer())
        for media in ((), (_media(), _media())):
            wrong = build_offer(media, BOB)
            error = self.assertRaises(OfferAnswerError, self.alice.receive_answer, wrong)
            self.assertEqual(error.reason_code, "answer-media-count")
        self.assertEqual(self.alice.state, LOCAL_OFFER)
        self.assertTrue(self.alice.receive_answer(_offer(host=BOB)))

    def test_answer_with_another_type(self) -> None:
        """An answer has the media types of the offer in its order (RFC 3264 6)."""
        self.alice.send_offer(_offer(_media(), _media("video", "31")))
        wrong = _offer(_media("video", "31"), _media())
        error = self.assertRaises(OfferAnswerError, self.alice.receive_answer, wrong)
        self.assertEqual(error.reason_code, "answer-media-type")
        self.assertTrue(self.alice.receive_answer(_offer(_media("Audio"), _media("video", "31"))))

    def test_own_wrong_answers(self) -> None:
        """Our own answer is held to the same rules."""
        self.offer(_media(), _media("video", "31", port=0))
        for media in (
            (_media(),),
            (_media("video", "31"), _media()),
            (_media(), _media("video", "31")),
        ):
            self.assertRaises(LocalSDPError, self.bob.send_answer, build_offer(media, BOB))
        self.answer()

    def test_offer_with_fewer_lines(self) -> None:
        """A new offer has at least the m= lines of the session (RFC 3264 8)."""
        self.exchange(_media(), _media("video", "31"))
        self.assertRaises(LocalSDPError, self.alice.send_offer, _offer())
        error = self.assertRaises(OfferAnswerError, self.bob.receive_offer, _offer())
        self.assertEqual((error.reason_code, error.status), ("offer-media-removed", 488))
        self.assertEqual((self.alice.state, self.bob.state), (STABLE, STABLE))
        self.exchange(_media(), _media("video", "31"), _media("text", "98=t140/1000"))

    def test_free_slots(self) -> None:
        """An m= line with port 0 may become another stream (RFC 3264 8.1)."""
        self.assertEqual(self.alice.free_slots, [])
        self.offer(_media(), _media("video", "31"), _media())
        self.answer(_media(), None, _media())
        self.assertEqual((self.alice.free_slots, self.bob.free_slots), ([1], [1]))
        self.exchange(_media(), _media("text", "98=t140/1000"), _media())
        self.assertEqual(self.alice.free_slots, [])


class PayloadTests(MachineTestCase):
    """A payload type keeps its codec within a stream (RFC 3264 8.3.2)."""

    def setUp(self) -> None:
        """Agree on opus as 96."""
        super().setUp()
        self.exchange(_media("audio", "0", "96=opus/48000/2"), _media("video", "31"))

    def receive(self, *media: MediaDescription, session_id: int = 1000) -> None:
        """Let bob receive another offer of alice's and forget it again."""
        offer = _offer(*media)
        offer.origin = type(offer.origin)("-", session_id, 9, "IN", "IP4", ALICE)
        self.bob.receive_offer(offer)
        self.bob.rollback()

    def test_remapped(self) -> None:
        """Another codec for a known payload type is refused, and nothing is open."""
        video = _media("video", "31")
        error = self.assertRaises(
            OfferAnswerError, self.receive, _media("audio", "96=L16/8000"), video
        )
        self.assertEqual((error.reason_code, error.status), ("payload-remapped", 488))
        self.assertEqual(self.bob.state, STABLE)
        offer = _offer(_media("audio", "96=L16/8000"), video)
        self.assertRaises(LocalSDPError, self.alice.send_offer, offer)

    def test_forks_keep_apart(self) -> None:
        """A fork knows what was agreed before it, and what it agrees on later is its own."""
        video = _media("video", "31")
        again = _offer(_media("audio", "96=opus/48000/2"), video)
        self.alice.send_offer(again)
        self.alice.rollback()
        other = self.alice.fork()
        new = _offer(_media("audio", "97=L16/8000"), video)
        other.send_offer(new)
        other.receive_answer(new)
        for known in ("96=L16/8000", "97=G722/8000"):
            offer = _offer(_media("audio", known), video)
            self.assertRaises(LocalSDPError, other.send_offer, offer)
        self.alice.send_offer(_offer(_media("audio", "97=G722/8000"), video))

    def test_kept(self) -> None:
        """The same codec, in any case, another order, or left out, is no remapping."""
        video = _media("video", "31")
        self.receive(_media("audio", "96=OPUS/48000/2", "97=L16/8000", "0"), video)
        self.receive(_media("audio", "0"), video)
        # A map without its format in the m= line means nothing.
        audio = _media("audio", "0")
        audio.attributes.add("rtpmap", "96 L16/8000")
        self.receive(audio, video)

    def test_remembered_when_left_out(self) -> None:
        """A payload type that is out of use for a while still means the same."""
        video = _media("video", "31")
        self.exchange(_media("audio", "0"), video)
        self.assertRaises(OfferAnswerError, self.receive, _media("audio", "96=L16/8000"), video)

    def test_other_stream(self) -> None:
        """Each m= line has its own payload types, and another media type begins anew."""
        self.receive(_media("video", "96=H264/90000"), _media("video", "96=H264/90000"))
        self.exchange(_media("video", "96=H264/90000"), _media("video", "31"))

    def test_slot_used_again(self) -> None:
        """After port 0 the m= line is a new stream."""
        self.exchange(_media("audio", "0", port=0), _media("video", "31"))
        self.exchange(_media("audio", "96=L16/8000"), _media("video", "31"))

    def test_other_agent(self) -> None:
        """When o= names another session, somebody else was connected to us and begins anew."""
        video = _media("video", "31")
        self.receive(_media("audio", "96=L16/8000"), video, session_id=7)

    def test_answer_remapped(self) -> None:
        """An answer must keep the payload types, too; the offer stays open then."""
        video = _media("video", "31")
        self.alice.send_offer(_offer(_media("audio", "0", "96=opus/48000/2"), video))
        wrong = _offer(_media("audio", "96=L16/8000"), video, host=BOB)
        assert self.alice.remote is not None
        wrong.origin = self.alice.remote.origin
        error = self.assertRaises(OfferAnswerError, self.alice.receive_answer, wrong)
        self.assertEqual(error.reason_code, "payload-remapped")
        self.assertEqual(self.alice.state, LOCAL_OFFER)

    def test_own_answer_remapped(self) -> None:
        """Our own answer must keep them as well."""
        self.offer(_media("audio", "0", "97=L16/8000"), _media("video", "31"))
        wrong = _offer(_media("audio", "96=L16/8000"), _media("video", "31"), host=BOB)
        self.assertRaises(LocalSDPError, self.bob.send_answer, wrong)

    def test_not_rtp(self) -> None:
        """Formats that are no payload types are not remembered."""
        fax = MediaDescription.build("image", 4000, "udptl", ["t38"])
        self.exchange(fax, _media("audio", "999=x/8000"))
        self.exchange(fax, _media("audio", "999=y/8000"))


class TableTests(SynchronousTestCase):
    """The table itself."""

    def test_complete(self) -> None:
        """Each state has a cell for each event."""
        self.assertEqual(list(TABLE), list(STATES))
        for cells in TABLE.values():
            self.assertEqual(list(cells), list(EVENTS))

    def test_every_cell_visited(self) -> None:
        """Every cell does what its legality says, in every state."""
        methods = ("send_offer", "receive_offer", "send_answer", "receive_answer")
        with recording({"OFFER_ANSWER": TABLE}) as seen:
            for state in STATES:
                for event, method in zip(EVENTS, methods, strict=False):
                    self.check_cell(state, event, method)
                self.machine(state).rollback()
        self.assertEqual(len(seen), len(STATES) * len(EVENTS))

    def machine(self, state: str) -> OfferAnswer:
        """Return a machine in that state."""
        machine = OfferAnswer(1)
        if state == LOCAL_OFFER:
            machine.send_offer(_offer())
        elif state == REMOTE_OFFER:
            machine.receive_offer(_offer(host=BOB))
        return machine

    def check_cell(self, state: str, event: str, method: str) -> None:
        """Feed the event and compare with the cell."""
        machine = self.machine(state)
        cell = TABLE[state][event]
        act = getattr(machine, method)
        if not cell.legal:
            self.assertRaises(IllegalTransition, act, _offer())
        elif cell.actions[0].__name__.startswith(("_refuse", "_ignore")):
            self.assertRaises(OfferAnswerError, act, _offer())
        else:
            act(_offer())
        self.assertEqual(machine.state, cell.next_state)
