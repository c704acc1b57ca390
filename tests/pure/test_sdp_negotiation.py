# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of :mod:`sipsess.sdp.negotiation`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.sdp import (
    DIRECTIONS,
    LocalSDPError,
    MediaDescription,
    answer_direction,
    build_answer,
    build_offer,
    negotiate_formats,
    parse,
)
from sipsess.sdp.negotiation import read_parameters

PCMU = ("PCMU", 8000, 1, None)
PCMA = ("PCMA", 8000, 1, None)
OPUS = ("opus", 48000, 2, None)
EVENTS = ("telephone-event", 8000, 1, None)


def _audio(*formats: str, attributes: tuple[str, ...] = ()) -> MediaDescription:
    """Return an audio stream."""
    return MediaDescription.build("audio", 4000, "RTP/AVP", formats, attributes=attributes)


class DirectionTests(SynchronousTestCase):
    """The direction of an answer (RFC 3264 6.1)."""

    def test_table(self) -> None:
        """Each of the sixteen pairs has the answer that the RFC allows, nearest to the wish."""
        rows = {
            "sendrecv": "sendrecv sendonly recvonly inactive",
            "sendonly": "recvonly inactive recvonly inactive",
            "recvonly": "sendonly sendonly inactive inactive",
            "inactive": "inactive inactive inactive inactive",
        }
        for offered, answers in rows.items():
            found = [answer_direction(offered, wanted) for wanted in DIRECTIONS]
            self.assertEqual(found, answers.split())

    def test_nothing_unasked(self) -> None:
        """An answerer sends only what the offerer receives, and what it wants to send itself."""
        for offered in DIRECTIONS:
            for wanted in DIRECTIONS:
                answer = answer_direction(offered, wanted)
                can_send = offered in ("sendrecv", "recvonly") and wanted in (
                    "sendrecv",
                    "sendonly",
                )
                can_receive = offered in ("sendrecv", "sendonly") and wanted in (
                    "sendrecv",
                    "recvonly",
                )
                self.assertEqual(answer in ("sendrecv", "sendonly"), can_send)
                self.assertEqual(answer in ("sendrecv", "recvonly"), can_receive)

    def test_no_direction(self) -> None:
        """What is no direction is a bug of the caller."""
        self.assertRaises(KeyError, answer_direction, "both", "sendrecv")


class FormatTests(SynchronousTestCase):
    """The formats that both sides know (RFC 3264 6.1)."""

    def test_order_of_the_offerer(self) -> None:
        """The offerer's order counts, and each format comes with the entry that it matches."""
        offered = _audio("8", "0", "9")
        self.assertEqual(negotiate_formats(offered, [PCMU, PCMA]), [("8", PCMA), ("0", PCMU)])

    def test_names_without_case(self) -> None:
        """Encoding names do not know case (RFC 4855 3); rate and channels must be the same."""
        offered = _audio(
            "96", "97", "98", attributes=("rtpmap:96 OPUS/48000/2", "rtpmap:97 opus/48000")
        )
        self.assertEqual(negotiate_formats(offered, [OPUS, PCMU]), [("96", OPUS)])

    def test_static_type_with_another_map(self) -> None:
        """An rtpmap says more than the static table."""
        offered = _audio("0", attributes=("rtpmap:0 telephone-event/8000",))
        self.assertEqual(negotiate_formats(offered, [PCMU, EVENTS]), [("0", EVENTS)])

    def test_parameters(self) -> None:
        """The parameters of an entry must stand in the offer, in any order and case of names."""
        one = ("H264", 90000, 1, "packetization-mode=1")
        zero = ("H264", 90000, 1, "packetization-mode=0")
        maps = tuple(f"rtpmap:{number} H264/90000" for number in (96, 97, 98))
        offered = _audio(
            "96",
            "97",
            "98",
            attributes=(
                *maps,
                "fmtp:96 profile-level-id=42e01f; Packetization-Mode=1",
                "fmtp:97 packetization-mode=2",
            ),
        )
        self.assertEqual(negotiate_formats(offered, [zero, one]), [("96", one)])

    def test_format_named_twice(self) -> None:
        """A format counts once, however often the offer names it."""
        self.assertEqual(negotiate_formats(_audio("0", "0"), [PCMU]), [("0", PCMU)])

    def test_no_rtp(self) -> None:
        """Formats that are names match entries without clock rate."""
        offered = MediaDescription.build("image", 4000, "udptl", ["T38"])
        fax = ("t38", 0, 1, None)
        self.assertEqual(negotiate_formats(offered, [fax]), [("T38", fax)])

    def test_nothing_common(self) -> None:
        """Nothing in common is an empty list."""
        self.assertEqual(negotiate_formats(_audio("3", "99"), [PCMU]), [])

    def test_read_parameters(self) -> None:
        """Names are lower-cased, the first of a name counts, empty parts are nothing."""
        self.assertEqual(read_parameters("Mode=20 ;cng; ;mode=30"), {"mode": "20", "cng": ""})
        self.assertEqual(read_parameters(None), {})


class BuilderTests(SynchronousTestCase):
    """Whole offers and answers."""

    def test_offer(self) -> None:
        """An offer can be read, and its streams have the session's address."""
        offer = parse(build_offer([_audio("0")], "2001:db8::1").to_bytes())
        self.assertEqual(offer.media[0].address, "2001:db8::1")
        self.assertEqual(offer.origin.address_type, "IP6")

    def test_answer(self) -> None:
        """Each m= line is answered in its place; ``None`` declines (RFC 3264 6)."""
        video = MediaDescription.build("video", 4002, "RTP/AVP", ["31"], attributes=["mid:v"])
        offer = build_offer([video, _audio("0", "8"), _audio("0")], "192.0.2.1")
        offer.media[2].port = 0
        offer.head.set_line("t", "10 20")
        answer = build_answer(offer, [None, _audio("8"), _audio("0")], "192.0.2.2")
        self.assertEqual([m.media for m in answer.media], ["video", "audio", "audio"])
        self.assertEqual([m.port for m in answer.media], [0, 4000, 0])
        self.assertEqual(answer.media[0].attributes.get("mid"), "v")
        self.assertEqual(answer.media[1].address, "192.0.2.2")
        self.assertEqual(answer.head.values("t"), ["10 20"])

    def test_attributes_of_the_session(self) -> None:
        """Attributes of the whole description stand in it, and not in the next one."""
        attributes = (("ice-lite", None), ("group", "BUNDLE 0"))
        offer = build_offer([], "192.0.2.1", attributes)
        self.assertEqual(list(offer.attributes), [("ice-lite", ""), ("group", "BUNDLE 0")])
        answer = build_answer(offer, [], "192.0.2.1", attributes[:1])
        self.assertEqual(list(answer.attributes), [("ice-lite", "")])
        self.assertEqual(list(build_offer([], "192.0.2.1").attributes), [])

    def test_answer_without_time(self) -> None:
        """An offer without t= is answered with ``t=0 0``."""
        answer = build_answer(parse(b"v=0\r\no=- 1 1 IN IP4 a\r\n"), [], "192.0.2.2")
        self.assertEqual(answer.head.values("t"), ["0 0"])

    def test_wrong_answers(self) -> None:
        """Another number of streams, or another media type, is a bug of the caller."""
        offer = build_offer([_audio("0")], "192.0.2.1")
        video = MediaDescription.build("video", 4002, "RTP/AVP", ["31"])
        self.assertRaises(LocalSDPError, build_answer, offer, [], "192.0.2.2")
        self.assertRaises(LocalSDPError, build_answer, offer, [None, None], "192.0.2.2")
        self.assertRaises(LocalSDPError, build_answer, offer, [video], "192.0.2.2")
