# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Properties of :mod:`sipsess.sdp` that must hold for every input."""

from __future__ import annotations

from io import BytesIO, StringIO

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import IllegalTransition
from sipsess.sdp import (
    DIRECTIONS,
    LocalSDPError,
    MediaDescription,
    OfferAnswer,
    OfferAnswerError,
    Origin,
    SDPError,
    SessionDescription,
    build_answer,
    build_offer,
    parse,
)
from sipsess.sdp.__main__ import main
from sipsess.sdp.check import find_problems
from sipsess.sdp.errors import REASONS

#: Lines that are nearly right, so that more than the first check is reached.
_ROWS = st.one_of(
    st.sampled_from(
        [
            b"v=0",
            b"o=- 1 1 IN IP4 192.0.2.1",
            b"s=-",
            b"t=0 0",
            b"c=IN IP4 192.0.2.1",
            b"c=IN IP6 FF15::101/3",
            b"m=audio 49170 RTP/AVP 0 96",
            b"m=image 0 udptl t38",
            b"a=rtpmap:96 opus/48000/2",
            b"a=fmtp:96 x=1",
            b"a=ptime:20",
            b"a=sendonly",
            b"",
        ]
    ),
    st.builds(
        lambda kind, value: kind + b"=" + value,
        st.sampled_from([b"c", b"m", b"a", b"o"]),
        st.binary(),
    ),
    st.binary(),
)
_BODIES = st.one_of(
    st.binary(),
    st.builds(
        lambda rows, end: end.join([b"v=0", b"o=- 1 1 IN IP4 192.0.2.1", *rows]),
        st.lists(_ROWS),
        st.sampled_from([b"\r\n", b"\n", b"\r"]),
    ),
)


def _look_at(description: SessionDescription) -> None:
    """Ask for every typed value."""
    _ = description.origin, description.name, description.connection, description.head.bandwidths
    for media in description.media:
        _ = media.direction, media.address, media.connections, media.ptime, media.is_held
        _ = media.bandwidths, list(media.attributes)
        for name in media.formats:
            _ = media.rtpmap(name), media.fmtp(name)


class ParserProperties(SynchronousTestCase):
    """The parser and any bytes."""

    @settings(deadline=None)
    @given(_BODIES)
    def test_any_bytes(self, data: bytes) -> None:
        """Only SDPError comes out; what is read gives all its values, and comes back as it was."""
        try:
            description = parse(data)
        except SDPError as error:
            self.assertIn(error.reason_code, REASONS)
            return
        _look_at(description)
        self.assertEqual(description.to_bytes(), data)
        self.assertTrue(all(problem.text for problem in find_problems(data)))

    @settings(deadline=None)
    @given(_BODIES)
    def test_canonical_form(self, data: bytes) -> None:
        """A touched description is written so that it reads as the same lines again."""
        try:
            description = parse(data)
        except SDPError:
            return
        description.attributes.set("x-touched")
        again = parse(description.to_bytes())
        self.assertTrue(again.is_same_as(description))
        self.assertEqual(again.head.lines, description.head.lines)

    @settings(deadline=None)
    @given(_BODIES)
    def test_command(self, data: bytes) -> None:
        """
        The command never fails otherwise than with its status, and prints only what is printable.
        """
        out, err = StringIO(), StringIO()
        self.assertIn(main(["-"], BytesIO(data), out, err), (0, 1))
        self.assertTrue((out.getvalue() + err.getvalue()).replace("\n", "").isprintable())

    @settings(deadline=None)
    @given(st.text(), st.one_of(st.none(), st.text()), st.text())
    def test_no_injection(self, name: str, value: str | None, other: str) -> None:
        """Whatever is built has exactly the lines that were asked for."""
        try:
            media = MediaDescription.build("audio", 1, "RTP/AVP", ["0"], attributes=[(name, value)])
            media.attributes.add("x-other", other)
            description = SessionDescription.build(
                Origin.build("192.0.2.1"), name=other, media=[media]
            )
        except LocalSDPError:
            return
        data = description.to_bytes()
        self.assertEqual(data.count(b"\r\n"), 7)
        again = parse(data)
        self.assertEqual([kind for kind, _ in again.media[0].lines], ["m", "a", "a"])


_CODECS = st.sampled_from(
    [
        ("0", None),
        ("8", None),
        ("96", "96 opus/48000/2"),
        ("97", "97 L16/8000"),
        ("96", "96 L16/8000"),
    ]
)


@st.composite
def _media(draw: st.DrawFn) -> MediaDescription:
    codecs = draw(st.lists(_CODECS, min_size=1, max_size=3))
    media = MediaDescription.build(
        draw(st.sampled_from(["audio", "video"])),
        draw(st.sampled_from([0, 4000, 5000])),
        "RTP/AVP",
        [name for name, _ in codecs],
        attributes=[f"rtpmap:{text}" for _, text in codecs if text],
    )
    media.direction = draw(st.sampled_from(DIRECTIONS))
    return media


_STEPS = st.tuples(
    st.sampled_from(["offer", "answer", "reject"]),
    st.booleans(),
    st.lists(_media(), max_size=3),
)


class _Side:
    """One user agent: its machine, the number of versions it used, what it last sent."""

    def __init__(self, session_id: int, host: str) -> None:
        self.machine = OfferAnswer(session_id)
        self.host = host
        self.sent: list[SessionDescription] = []


class ExchangeProperties(SynchronousTestCase):
    """Two machines against each other, whatever they try."""

    @settings(deadline=None, max_examples=200)
    @given(st.lists(_STEPS, max_size=12))
    def test_two_machines(self, steps: list[tuple[str, bool, list[MediaDescription]]]) -> None:
        """After each step both sides agree on the same, and o= versions follow the changes."""
        alice, bob = _Side(1, "192.0.2.1"), _Side(2, "192.0.2.2")
        for kind, is_alice, media in steps:
            mine, theirs = (alice, bob) if is_alice else (bob, alice)
            getattr(self, kind)(mine, theirs, media)
            self.check_pair(alice, bob)
        for side in (alice, bob):
            self.check_versions(side)

    def offer(self, mine: _Side, theirs: _Side, media: list[MediaDescription]) -> None:
        """Send an offer; the other side takes it whenever this side may send it."""
        try:
            offer = mine.machine.send_offer(build_offer(media, mine.host))
        except (IllegalTransition, LocalSDPError):
            return
        mine.sent.append(offer)
        theirs.machine.receive_offer(parse(offer.to_bytes()))

    def answer(self, mine: _Side, theirs: _Side, media: list[MediaDescription]) -> None:
        """Answer the open offer, with what fits of ``media``."""
        offer = mine.machine.pending_remote
        if offer is None:
            self.assertRaises(IllegalTransition, mine.machine.send_answer, build_offer(media, "a"))
            return
        fitting = [
            item if item.media == offered.media else None
            for item, offered in zip(media, offer.media, strict=False)
        ]
        fitting += [None] * (len(offer.media) - len(fitting))
        try:
            answer = mine.machine.send_answer(build_answer(offer, fitting, mine.host))
        except LocalSDPError:
            return
        mine.sent.append(answer)
        self.assertTrue(theirs.machine.receive_answer(parse(answer.to_bytes())))

    def reject(self, mine: _Side, theirs: _Side, media: list[MediaDescription]) -> None:
        """Reject the open offer on both sides, after a try at glare."""
        if mine.machine.state != "STABLE":
            self.assertRaises(
                OfferAnswerError, mine.machine.receive_offer, build_offer(media, "192.0.2.3")
            )
        mine.machine.rollback()
        theirs.machine.rollback()

    def check_pair(self, alice: _Side, bob: _Side) -> None:
        """Compare both sides of the wire."""
        for mine, theirs in ((alice.machine, bob.machine), (bob.machine, alice.machine)):
            self.assertEqual(_wire(mine.local), _wire(theirs.remote))
            self.assertEqual(_wire(mine.pending_local), _wire(theirs.pending_remote))
            self.assertEqual(mine.is_complete, theirs.is_complete)
            if mine.local is not None and mine.remote is not None:
                kinds = [[m.media for m in side.media] for side in (mine.local, mine.remote)]
                self.assertEqual(*kinds)

    def check_versions(self, side: _Side) -> None:
        """The session id stays; the version grows by one with each change and only then."""
        for before, after in zip(side.sent, side.sent[1:], strict=False):
            self.assertEqual(before.origin.session_id, after.origin.session_id)
            step = after.origin.version - before.origin.version
            self.assertEqual(step, 0 if before.is_same_as(after) else 1)


def _wire(description: SessionDescription | None) -> bytes | None:
    return None if description is None else description.to_bytes()
