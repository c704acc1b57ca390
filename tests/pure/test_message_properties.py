# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Whatever a peer sends: only MessageError, and what was accepted can be written and read again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.message import (
    SIPURI,
    Headers,
    MessageError,
    NameAddr,
    Params,
    Request,
    Response,
    StreamFramer,
    TelURI,
    URIParams,
    Via,
    build_cancel,
    build_response,
    escape_user,
    parse,
    parse_uri,
    peek,
)
from sipsess.message._lex import quote, split_list, unquote
from tests.pure.test_message_parser import INVITE, RINGING

_TORTURE = Path(__file__).parent.parent / "torture"
SEEDS = [INVITE, RINGING, *(path.read_bytes() for path in sorted(_TORTURE.glob("rfc*/*.dat")))]
VIEWS = (
    *("via", "vias", "from_", "to", "from_tag", "to_tag", "call_id", "cseq", "contact", "contacts"),
    *("routes", "record_routes", "max_forwards", "require", "supported", "allow", "content_type"),
    *("retry_after", "date"),
)
#: Characters that mean something, and some that do not.
WIRE = st.text(st.sampled_from('abZ09 \t\r\n\0;,:=<>@"\\%4[]?&./-_~é\udce9\u2028\x0b'), max_size=30)
#: What may be written: any text without line breaks and half characters.
SAFE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=30)

PIECES = (b"\r\n", b"\r\n ", b",", b";", b'"', b"<", b"v:", b"\0", b"%", b"=")

_settings = settings(deadline=None, max_examples=150)


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """Take a message, and cut, repeat, replace or insert pieces of it."""
    data = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.integers(0, 12)))
        piece = draw(
            st.one_of(
                st.just(b""),
                st.just(2 * data[begin:end]),
                st.binary(max_size=4),
                st.sampled_from(
                    (b"\r\n", b"\r\n ", b",", b";", b'"', b"<", b"v:", b"\0", b"%", b"=")
                ),
            )
        )
        data = data[:begin] + piece + data[end:]
    return data


def quietly(function: Callable[[], object]) -> object:
    """Return the result, or ``None`` if the peer's mistake was refused."""
    try:
        return function()
    except MessageError:
        return None


class MessageTests(SynchronousTestCase):
    """Whole messages."""

    def exercise(self, data: bytes) -> None:
        """Do all that a core does with what arrived."""
        key = peek(data)
        try:
            message = parse(data)
        except MessageError as error:
            if isinstance(error.message, Request):
                parse(build_response(error.message, error.status, to_tag="t").to_bytes())
            return
        self.assertIn(message.copy().to_bytes(), data)
        for name in VIEWS:
            quietly(lambda name=name: getattr(message, name))  # type: ignore[misc]
        for address in quietly(lambda: message.contacts) or ():  # type: ignore[attr-defined]
            quietly(lambda address=address: address.parsed_uri)  # type: ignore[misc]
        try:
            message.validate()
        except MessageError as error:
            self.assertIs(error.message, message)
        else:
            self.check_valid(message)
            if key is not None:
                found = (key.method, key.branch, key.sent_by)
                self.assertEqual(
                    found, (message.cseq.method, message.via.branch, message.via.sent_by)
                )
        if isinstance(message, Request):
            parse(build_response(message, 400, to_tag="t").to_bytes())

    def check_valid(self, message: Request | Response) -> None:
        """Change, answer and cancel what is valid; nothing of it may fail."""
        twin = message.copy()
        twin.set_top_via(twin.via.with_param("received", "192.0.2.1"))
        twin.headers.set("From", str(twin.from_.with_param("x", "y")))
        twin.set_body("text/plain", b"hello")
        again = parse(twin.to_bytes())
        again.validate()
        self.assertEqual(again.via, twin.via)
        self.assertEqual(
            (again.to, again.call_id, again.cseq), (message.to, message.call_id, message.cseq)
        )
        self.assertEqual((again.from_tag, again.body), (message.from_tag, b"hello"))
        if isinstance(message, Request):
            parse(build_cancel(message).to_bytes()).validate()
            answer = parse(build_response(message, 200, to_tag="t").to_bytes())
            answer.validate()
            self.assertEqual(answer.to_tag, message.to_tag if "tag" in message.to.params else "t")

    @_settings
    @given(st.binary(max_size=200))
    def test_arbitrary_bytes(self, data: bytes) -> None:
        """Any bytes at all are accepted or refused with MessageError."""
        self.exercise(data)
        self.exercise(b"INVITE sip:a@b SIP/2.0\r\nVia: " + data)

    @settings(deadline=None, max_examples=400)
    @given(mutants())
    def test_mutants(self, data: bytes) -> None:
        """So are messages that were good once; and those still good can be used."""
        self.exercise(data)

    def test_seeds(self) -> None:
        """The messages themselves pass through the same mill."""
        for data in SEEDS:
            self.exercise(data)

    @_settings
    @given(st.lists(st.sampled_from([*SEEDS, b"\r\n\r\n", b"\r\n"]), max_size=5), st.data())
    def test_framing_does_not_depend_on_the_cuts(
        self, parts: list[bytes], data: st.DataObject
    ) -> None:
        """A stream gives the same messages however it is cut."""
        stream = b"".join(parts)
        whole = StreamFramer()
        expected = whole.feed(stream)
        cut = StreamFramer()
        found: list[bytes] = []
        while stream:
            size = data.draw(st.integers(1, 400))
            found += cut.feed(stream[:size])
            stream = stream[size:]
        self.assertEqual(join(found), join(expected))
        self.assertEqual(cut.error is None, whole.error is None)

    @_settings
    @given(st.binary(max_size=300))
    def test_framing_of_arbitrary_bytes(self, data: bytes) -> None:
        """A stream of noise never raises."""
        framer = StreamFramer()
        for byte in data:
            framer.feed(bytes([byte]))

    @_settings
    @given(SAFE, SAFE)
    def test_headers_round_trip(self, first: str, second: str) -> None:
        """What may be set comes back from the wire, without the white space around it."""
        request = Request("INFO", "sip:a@b", Headers([("X-First", first), ("X-Second", second)]))
        again = parse(request.to_bytes())
        self.assertEqual(again.headers.get("x-first"), first.strip(" \t"))
        self.assertEqual(again.headers.get("x-second"), second.strip(" \t"))


class ValueTests(SynchronousTestCase):
    """Single values."""

    @_settings
    @given(WIRE)
    @example('"\\')
    @example("<;")
    def test_arbitrary_values(self, text: str) -> None:
        """Any text is read or refused with MessageError."""
        for read in (Via.parse, NameAddr.parse, Params.parse, URIParams.parse, parse_uri):
            quietly(lambda read=read: read(text))  # type: ignore[misc]
        for prefix in ("sip:", "sip:a@", "sip:h;", "sip:h?", "tel:", "<sip:a@h>", "SIP/2.0/UDP h;"):
            for read in (NameAddr.parse, Via.parse, parse_uri):
                quietly(lambda read=read, prefix=prefix: read(prefix + text))  # type: ignore[misc]

    @_settings
    @given(WIRE, st.sampled_from(("sip:", "sip:h;", "sip:h?", "sip:a@h:", "tel:5", "tel:5;")))
    def test_uris_written_anew_are_equal(self, text: str, prefix: str) -> None:
        """A URI that was accepted can be taken apart and written, and is the same."""
        uri = quietly(lambda: parse_uri(prefix + text))
        if isinstance(uri, SIPURI | TelURI):
            again = parse_uri(str(replace(uri)))
            self.assertEqual(again, uri)
            self.assertEqual(hash(again), hash(uri))
            self.assertEqual(NameAddr.parse(str(NameAddr(None, str(uri)))).uri, prefix + text)

    @_settings
    @given(WIRE)
    def test_addresses_written_anew_are_equal(self, text: str) -> None:
        """So is an address."""
        for whole in (text, f"<sip:a@h>{text}", f"{text}<sip:a@h>;tag=1"):
            address = quietly(lambda whole=whole: NameAddr.parse(whole))  # type: ignore[misc]
            if isinstance(address, NameAddr) and "\r" not in whole and "\n" not in whole:
                again = NameAddr.parse(str(replace(address)))
                self.assertEqual(again.display_name or None, address.display_name or None)
                self.assertEqual((again.uri, again.params), (address.uri, address.params))

    @_settings
    @given(SAFE)
    def test_quoting_round_trips(self, text: str) -> None:
        """Quoted strings, parameters and users hold any text."""
        self.assertEqual(unquote(quote(text)), text)
        self.assertEqual(Params.parse(str(Params().with_("x", text))[1:]).get("x"), text)
        self.assertEqual(URIParams.parse(str(URIParams().with_("x", text))[1:]).get("x"), text)
        self.assertEqual(NameAddr.parse(str(NameAddr(text, "sip:a"))).display_name or "", text)
        if text:
            uri = parse_uri(str(SIPURI("sip", escape_user(text), None, "h")))
            assert isinstance(uri, SIPURI)
            self.assertEqual(uri.user_text, text)

    @_settings
    @given(st.lists(SAFE, min_size=1, max_size=5))
    def test_lists_of_quoted_strings(self, texts: list[str]) -> None:
        """Commas within quotes never split."""
        quoted = [quote(text) for text in texts]
        self.assertEqual(split_list(", ".join(quoted)), quoted)


def join(frames: Iterable[bytes]) -> bytes:
    """Join frames; keep-alives may be counted differently when they are cut."""
    return b"".join(frames)
