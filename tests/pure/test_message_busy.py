# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A 503 made of the bytes of an INVITE is the one that would be built of the parsed INVITE."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.flow import Flow
from sipsess.message import MessageError, Request, build_response, parse
from sipsess.message.busy import build_busy, is_in_dialog
from sipsess.transaction.via import reply_flow, stamp_received
from tests.pure.test_message_parser import INVITE, parse_request, swap

FLOW = Flow("UDP", ("192.0.2.1", 5060), ("192.0.2.9", 40000))
COMPACT = (
    INVITE.replace(b"Via:", b"v:")
    .replace(b"To:", b"t :")
    .replace(b"From:", b"f:")
    .replace(b"Call-ID:", b"i:")
)
VIA = b"SIP/2.0/UDP pc33.atlanta.example.com"


def careful(request: Request) -> tuple[bytes, int]:
    """Return the 503 and its port, as the core makes them of a parsed INVITE."""
    stamp_received(request, FLOW)
    response = build_response(request, 503, to_tag="ours")
    response.headers.set("Retry-After", "2")
    return response.to_bytes(), reply_flow(request, FLOW).remote[1]


def quick(data: bytes) -> tuple[bytes, int] | None:
    """Return them as they are made of the bytes."""
    return build_busy(data, FLOW.remote, b"ours", 2)


class BusyTests(SynchronousTestCase):
    """The quick way."""

    def is_same(self, data: bytes) -> None:
        """Check that both ways say the same."""
        found = quick(data)
        assert found is not None
        wire, port = careful(parse_request(data))
        ours, theirs = parse(found[0]), parse(wire)
        for name in ("Via", "From", "To", "Call-ID", "CSeq", "Retry-After", "Content-Length"):
            self.assertEqual(ours.headers.get_all(name), theirs.headers.get_all(name), name)
        self.assertEqual(len(ours.headers), len(theirs.headers))
        self.assertEqual(found[0].partition(b"\r\n")[0], wire.partition(b"\r\n")[0])
        self.assertEqual(found[1], port)

    def test_plain(self) -> None:
        """With long and compact names, with several Vias, and with each form of the top one."""
        second = b"Via: SIP/2.0/UDP p2;branch=z9hG4bKp2\r\nMax-Forwards"
        for data in (INVITE, COMPACT, swap(b"Max-Forwards", second)):
            self.is_same(data)
        for via in (
            b"SIP/2.0/UDP h:5070",
            b"SIP/2.0/UDP [2001:db8::1]",
            b"SIP/2.0/UDP [2001:db8::1]:5080",
            b"SIP/2.0/UDP h;rport",
            b"SIP/2.0/UDP h:5070;rport;x=y",
        ):
            self.is_same(swap(VIA, via))

    def test_what_must_be_parsed(self) -> None:
        """Whatever the bytes do not show plainly is left to the parser."""
        for data in (
            swap(b"Max-Forwards", b" ;x=y\r\nMax-Forwards"),
            swap(b"z9hG4bK776asdhds", b"z9hG4bK776asdhds, SIP/2.0/UDP p2;branch=z9hG4bKp2"),
            swap(b"z9hG4bK776asdhds", b'z9hG4bK776asdhds;x="y"'),
            swap(b"z9hG4bK776asdhds", b"z9hG4bK776asdhds;received=192.0.2.3"),
            swap(b"Max-Forwards: 70", b"CSeq: 2 INVITE"),
            swap(b"Call-ID: a84b4c76e66710\r\n", b""),
            swap(b"Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds\r\n", b""),
            swap(b"a84b4c76e66710", b"a84b\n4c"),
            b"INVITE sip:x SIP/2.0",
        ):
            self.assertIsNone(quick(data), data)

    def test_in_dialog(self) -> None:
        """A To tag shows in any spelling; one of somebody else's header is none."""
        for to in (
            b"To: <sip:b@h>;tag=1",
            b"t:<sip:b@h>; x=y ; TAG = 1",
            b"TO : b <sip:b@h>;tag=2",
        ):
            self.assertTrue(is_in_dialog(swap(b"To: Bob <sip:bob@biloxi.example.com>", to)))
        self.assertFalse(is_in_dialog(INVITE))

    @given(st.binary(max_size=3), st.integers(0, len(INVITE)), st.integers(0, 3))
    def test_mutants(self, new: bytes, at: int, cut: int) -> None:
        """Bytes changed anywhere: nothing is raised, and what can be parsed gets its answer."""
        data = INVITE[:at] + new + INVITE[at + cut :]
        found = quick(data)
        if found is None or is_in_dialog(data):
            return
        try:
            request = parse(data)
            request.validate()
        except MessageError:
            return
        if not isinstance(request, Request) or request.method != "INVITE":
            return
        wire, port = careful(request)
        answer = parse(found[0])
        self.assertEqual(found[1], port)
        for name in ("From", "Call-ID", "CSeq"):
            self.assertEqual(answer.headers.get_all(name), parse(wire).headers.get_all(name))
