# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Which formats of an audio description we speak: the quick way and the careful one agree."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.codec import CODECS, Codec
from sipsess.errors import LocalError
from sipsess.media import PCMA, PCMU
from sipsess.media.l16 import L16_16000
from sipsess.media.opus import OpusCodec
from sipsess.sdp import MediaDescription, negotiate_formats
from sipsess.sdp.negotiation import SupportedFormat
from sipsess.sdphandler import NegotiationFailed
from sipsess.sdphandlers._formats import (
    Format,
    Spoken,
    accepted,
    answered,
    choose,
    common_formats,
    event_codec,
    spoken,
)
from sipsess.sdphandlers._formats import describe as describe_formats
from tests.pure.codecs import Plain

#: As Opus stands in SDP, without its library.
WIDE = Plain("wide", 48000, channels=2, fmtp="ours=1")
EVENTS, WIDE_EVENTS = event_codec(8000), event_codec(48000)
ALL = Spoken((PCMU, PCMA, WIDE), has_events=True)

_SUPPORTED: list[SupportedFormat] = [
    *((name, 8000, 1, None) for name in ("PCMU", "PCMA", "telephone-event")),
    *(("telephone-event", 48000, 1, None), ("wide", 48000, 2, None)),
]
_NUMBERS = st.sampled_from(["0", "8", "00", "18", "63", "64", "95", "96", "101", "127", "128", "x"])
_CODECS = st.sampled_from(
    [
        *("PCMU/8000", "pcma/8000", "PCMA/16000", "telephone-event/8000", "PCMU/8000/2", "broken"),
        *("telephone-event/48000", "WIDE/48000/2", "wide/48000"),
    ]
)


def describe(*formats: tuple[str, str] | tuple[str, str, str]) -> MediaDescription:
    """Return an m-line with formats: number, what ``a=rtpmap`` says, and perhaps ``a=fmtp``."""
    attributes = [f"rtpmap:{item[0]} {item[1]}" for item in formats]
    attributes += [f"fmtp:{item[0]} {item[2]}" for item in formats if len(item) > 2]
    numbers = [item[0] for item in formats]
    return MediaDescription.build("audio", 4000, "RTP/AVP", numbers, attributes=attributes)


def careful_formats(media: MediaDescription) -> list[tuple[str, str]]:
    """Return what :func:`common_formats` shall return, by way of the general negotiation."""
    found: dict[SupportedFormat, str] = {}
    for number, entry in negotiate_formats(media, _SUPPORTED):
        if number.isdecimal() and int(number) in {*range(64), *range(96, 128)}:
            found.setdefault(entry, number)
    pairs = [(number, f"{name}/{clock}") for (name, clock, *_), number in found.items()]
    return sorted(pairs, key=lambda item: media.formats.index(item[0]))


class FormatTests(SynchronousTestCase):
    """What follows from a list of formats."""

    @settings(deadline=None)
    @given(
        st.lists(_NUMBERS, min_size=1, max_size=6),
        st.lists(st.tuples(_NUMBERS, _CODECS), max_size=6),
    )
    def test_common_formats(self, numbers: list[str], maps: list[tuple[str, str]]) -> None:
        """The formats we speak are those that the general negotiation finds, one per codec."""
        media = MediaDescription.build(
            "audio",
            4000,
            "RTP/AVP",
            numbers,
            attributes=[f"rtpmap:{number} {codec}" for number, codec in maps],
        )
        found = common_formats(media, ALL)
        pairs = [(item.number, f"{item.codec.encoding}/{item.codec.clock_rate}") for item in found]
        self.assertEqual(pairs, careful_formats(media))

    def test_number_of_many_digits(self) -> None:
        """A payload type of thousands of digits is none, and does no harm."""
        self.assertEqual(common_formats(describe(("0" * 5000, "PCMU/8000")), ALL), [])

    def test_parameters_of_many_letters(self) -> None:
        """They are not read, and not kept."""
        formats = common_formats(describe(("96", "wide/48000/2", "x" * 257)), ALL)
        self.assertEqual(formats, [Format("96", WIDE)])

    def test_described_formats_are_found_again(self) -> None:
        """What we describe is what we read of it, with the same numbers and parameters."""
        formats = (
            Format("8", PCMA),
            Format("96", EVENTS, "0-15"),
            Format("0", PCMU),
            Format("97", WIDE, "ours=1"),
        )
        numbers = [item.number for item in formats]
        media = MediaDescription.build(
            "audio", 4000, "RTP/AVP", numbers, attributes=describe_formats(formats, "sendonly")
        )
        self.assertEqual(tuple(common_formats(media, ALL)), formats)
        self.assertEqual((media.direction, media.ptime, media.fmtp("96")), ("sendonly", 20, "0-15"))
        choice = choose(formats, formats)
        self.assertEqual((choice.codec, choice.number, choice.event), (PCMA, 8, 96))
        self.assertEqual(accepted(formats), {8: PCMA, 96: None, 0: PCMU, 97: WIDE})


class SpokenTests(SynchronousTestCase):
    """What an endpoint speaks."""

    def test_the_order_is_the_endpoints(self) -> None:
        """Of all codecs those that it names, in its order."""
        speaks = spoken(CODECS, ("L16/16000", "PCMA", "PCMU"), False)
        self.assertEqual(speaks.codecs, (L16_16000, PCMA, PCMU))
        self.assertNotIn(EVENTS.key, speaks.known)

    def test_a_name_that_nobody_has(self) -> None:
        """It is a mistake of this side, and the names that there are are told."""
        error = self.assertRaises(LocalError, spoken, (PCMA, PCMU), ("PCMU", "G729"), True)
        self.assertEqual(str(error), "there is no codec 'G729'; there are: PCMA, PCMU")

    def test_without_the_extra(self) -> None:
        """What is not installed is not spoken."""
        absent = OpusCodec("no_such_module")
        self.assertEqual(spoken((absent, PCMU), ("OPUS", "PCMU"), True).codecs, (PCMU,))

    def test_nothing_is_left(self) -> None:
        """Then nothing can be offered."""
        speaks = spoken((OpusCodec("no_such_module"),), ("OPUS",), True)
        self.assertRaises(NegotiationFailed, speaks.offer)


class OfferTests(SynchronousTestCase):
    """What a first offer holds."""

    def offer(self, *codecs: Codec, has_events: bool = True) -> list[tuple[str, str]]:
        """Return numbers and what ``a=rtpmap`` says."""
        formats = Spoken(codecs, has_events=has_events).offer()
        return [(item.number, item.codec.rtpmap) for item in formats]

    def test_g711(self) -> None:
        """Static numbers, and the usual one of telephone-event."""
        expected = [("0", "PCMU/8000"), ("8", "PCMA/8000"), ("101", "telephone-event/8000")]
        self.assertEqual(self.offer(PCMU, PCMA), expected)

    def test_each_clock_has_its_events(self) -> None:
        """With codecs of two clocks there are events at both (RFC 4733 section 2.1)."""
        self.assertEqual(
            self.offer(WIDE, PCMU),
            [
                *(("96", "wide/48000/2"), ("0", "PCMU/8000")),
                *(("101", "telephone-event/8000"), ("97", "telephone-event/48000")),
            ],
        )
        self.assertEqual(self.offer(WIDE)[-1], ("97", "telephone-event/48000"))

    def test_numbers_are_unique(self) -> None:
        """However many codecs there are, the number of telephone-event stays free for it."""
        codecs = [Plain(f"x{number}", 8000) for number in range(12)]
        numbers = [number for number, _ in self.offer(*codecs)]
        self.assertEqual(len(set(numbers)), 13)
        self.assertEqual(numbers[-1], "101")

    def test_without_events(self) -> None:
        """An endpoint whose keys are tones is offered none."""
        self.assertEqual(self.offer(PCMU, has_events=False), [("0", "PCMU/8000")])


class Picky(Plain):
    """Is spoken with the parameter that it is offered with, which is one of two."""

    __slots__ = ()

    def answer_fmtp(self, offered: str) -> str | None:
        """Return the same, or nothing."""
        return offered if offered in ("a", "b") else None


class AnswerTests(SynchronousTestCase):
    """What an answer holds."""

    def answer(self, *formats: tuple[str, str] | tuple[str, str, str]) -> list[tuple[str, str]]:
        """Return numbers and parameters of the answer to an offer."""
        offered = tuple(common_formats(describe(*formats), ALL))
        return [(item.number, item.fmtp) for item in answered(offered)]

    def test_the_parameters_are_ours(self) -> None:
        """They say what we take, not what the peer takes."""
        found = self.answer(("111", "wide/48000/2", "theirs=2"), ("0", "PCMU/8000"))
        self.assertEqual(found, [("111", "ours=1"), ("0", "")])

    def test_parameters_that_are_not_spoken(self) -> None:
        """A codec decides what it answers, and whether."""
        speaks = Spoken((Picky("picky", 8000),), has_events=True)
        for fmtp, expected in (("a", ["a"]), ("b", ["b"]), ("c", [])):
            offered = tuple(common_formats(describe(("96", "picky/8000", fmtp)), speaks))
            self.assertEqual([item.fmtp for item in answered(offered)], expected)

    def test_events_of_clocks_that_are_spoken(self) -> None:
        """Events at 48 kHz are left out when no codec has that clock, and the other way round."""
        events = (("101", "telephone-event/8000"), ("110", "telephone-event/48000"))
        for offer, expected in (
            ((("0", "PCMU/8000"), *events), ["0", "101"]),
            ((("111", "wide/48000/2"), *events), ["111", "110"]),
            ((("111", "wide/48000/2"), ("0", "PCMU/8000"), *events), ["111", "0", "101", "110"]),
        ):
            self.assertEqual([number for number, _ in self.answer(*offer)], expected)

    def test_the_only_events_that_a_peer_knows(self) -> None:
        """They are answered although their clock is not that of the audio."""
        found = self.answer(("111", "wide/48000/2"), ("101", "telephone-event/8000"))
        self.assertEqual([number for number, _ in found], ["111", "101"])


class ChoiceTests(SynchronousTestCase):
    """What is sent."""

    OURS = (
        *(Format("96", WIDE, "ours=1"), Format("0", PCMU)),
        *(Format("101", EVENTS, "0-15"), Format("97", WIDE_EVENTS, "0-15")),
    )

    def test_events_follow_the_codec(self) -> None:
        """The codec that is sent says which events are, with the numbers of the peer."""
        events = (Format("100", EVENTS), Format("99", WIDE_EVENTS))
        choice = choose((Format("98", WIDE, "theirs=2"), *events), self.OURS)
        self.assertEqual(choice, (WIDE, 98, "theirs=2", 99, 48000))
        choice = choose((Format("0", PCMU), *events), self.OURS)
        self.assertEqual(choice, (PCMU, 0, "", 100, 8000))

    def test_events_of_another_clock(self) -> None:
        """They are sent when the peer has no others, and count with their own clock."""
        choice = choose((Format("98", WIDE), Format("100", EVENTS)), self.OURS)
        self.assertEqual((choice.event, choice.event_clock), (100, 8000))

    def test_without_events(self) -> None:
        """A peer who knows none is sent none."""
        self.assertIsNone(choose((Format("98", WIDE),), self.OURS).event)

    def test_nothing_in_common(self) -> None:
        """Events alone are no audio."""
        self.assertRaises(NegotiationFailed, choose, (Format("101", EVENTS),), self.OURS)
