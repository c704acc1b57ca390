# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Which formats of an audio description we speak: the quick way and the careful one agree."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.sdp import MediaDescription, negotiate_formats
from sipsess.sdp.negotiation import SupportedFormat
from sipsess.sdphandlers._formats import EVENT, Format, accepted, choose, common_formats
from sipsess.sdphandlers._formats import describe as describe_formats

_SUPPORTED: list[SupportedFormat] = [
    (name, 8000, 1, None) for name in ("PCMU", "PCMA", "telephone-event")
]
_NUMBERS = st.sampled_from(["0", "8", "00", "18", "63", "64", "95", "96", "101", "127", "128", "x"])
_CODECS = st.sampled_from(
    ["PCMU/8000", "pcma/8000", "PCMA/16000", "telephone-event/8000", "PCMU/8000/2", "broken"]
)


def careful_formats(media: MediaDescription) -> list[Format]:
    """Return what :func:`common_formats` shall return, by way of the general negotiation."""
    found: dict[str, str] = {}
    for number, (name, *_) in negotiate_formats(media, _SUPPORTED):
        if number.isdecimal() and int(number) in {*range(64), *range(96, 128)}:
            found.setdefault(name.upper(), number)
    order = {number: media.formats.index(number) for number in found.values()}
    return sorted(
        ((number, name) for name, number in found.items()), key=lambda item: order[item[0]]
    )


class FormatTests(SynchronousTestCase):
    """What follows from a list of formats."""

    @settings(deadline=None)
    @given(
        st.lists(_NUMBERS, min_size=1, max_size=6),
        st.lists(st.tuples(_NUMBERS, _CODECS), max_size=6),
    )
    def test_common_formats(self, numbers: list[str], maps: list[tuple[str, str]]) -> None:
        """The formats we speak are those that the general negotiation finds, one per encoding."""
        media = MediaDescription.build(
            "audio",
            4000,
            "RTP/AVP",
            numbers,
            attributes=[f"rtpmap:{number} {codec}" for number, codec in maps],
        )
        self.assertEqual(common_formats(media), careful_formats(media))

    def test_number_of_many_digits(self) -> None:
        """A payload type of thousands of digits is none, and does no harm."""
        number = "0" * 5000
        media = MediaDescription.build(
            "audio", 4000, "RTP/AVP", [number], attributes=[f"rtpmap:{number} PCMU/8000"]
        )
        self.assertEqual(common_formats(media), [])

    def test_described_formats_are_found_again(self) -> None:
        """What we describe is what we read of it, with the same numbers."""
        formats = (("8", "PCMA"), ("96", EVENT), ("0", "PCMU"))
        numbers = [number for number, _ in formats]
        media = MediaDescription.build(
            "audio", 4000, "RTP/AVP", numbers, attributes=describe_formats(formats, "sendonly")
        )
        self.assertEqual(tuple(common_formats(media)), formats)
        self.assertEqual((media.direction, media.ptime, media.fmtp("96")), ("sendonly", 20, "0-15"))
        codec, number, event = choose(formats, formats)
        self.assertEqual((codec.encoding, number, event), ("PCMA", 8, 96))
        self.assertEqual(accepted(formats)[8], codec)
        self.assertIsNone(accepted(formats)[96])
