# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The quick look at the usual shapes of lines and values says what the careful reading says."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.message import (
    SIPURI,
    Headers,
    MessageError,
    NameAddr,
    OtherURI,
    Params,
    Via,
    parse_uri,
)
from sipsess.message import _params as params
from sipsess.message import _parser as parser
from sipsess.message import _uri as uris
from sipsess.message import _values as values
from tests.pure.test_message_properties import mutants

_settings = settings(deadline=None, max_examples=300)


def text_of(*pieces: str) -> st.SearchStrategy[str]:
    """Return texts that are put together from such pieces, and from some that are odd anywhere."""
    odd = ("", " ", "\t", "%", "%41", '"', "\\", "@", "?", "&", "<", ">", ",", ";", "é", "\udce9")
    return st.lists(st.sampled_from((*pieces, *pieces, *odd)), max_size=9).map("".join)


PARAMS = text_of("tag", "=", ";", "a", "B", "1.2", "[::1]:5060", "branch=z9hG4bK", ";tag=x", ";lr")
HOPS = text_of(
    *("SIP/2.0/", "sip/2.0/UDP ", "SIP/2.0/UDP ", "TCP", "h", "host.example", "192.0.2.1", ":5060"),
    *(":05060", ":65535", ":65536", ":59999", "[2001:db8::1]", ";branch=z9hG4bK1", ";rport", ";"),
)
URIS = text_of(
    *("sip:", "SIP:", "sips:", "tel:", "urn:", "alice", "@", "h", ":", ":5060", ":65536", ":60000"),
    *("192.0.2.1", "[2001:db8::1]", "[::g]", ";lr", ";transport=udp", ";", "?a=b", "0", "."),
)
ADDRESSES = text_of(
    *('"Bob" ', '"', "Bob ", "B. ", "<sip:b@h>", "<", "sip:b@h", ">", ";tag=x", ";tag=", ";TAG=y"),
    *(";tag", ";tag=x;y=z", ";x=y", " ;tag=x", "*", "\x7f"),
)


class UsualTests(SynchronousTestCase):
    """Each quick look against its careful reading, over texts that are nearly usual."""

    @_settings
    @example("a=")
    @given(PARAMS)
    def test_parameters(self, part: str) -> None:
        """A parameter of a header and one of a URI."""
        for usual, read in (
            (params._USUAL_PARAM, params._read_param),
            (params._USUAL_URI_PARAM, params._read_uri_param),
        ):
            match = usual(part)
            if match:
                self.assertEqual(match.groups(), read(part))

    @_settings
    @example("SIP/2.0/UDP h:65536;x")
    @example("SIP/2.0/UDP h;x=\n")
    @given(HOPS)
    def test_via(self, text: str) -> None:
        """A Via value, with what is wrong with it."""
        front, semicolon, tail = text.partition(";")
        try:
            hop = values._read_hop(front)
            careful = (*hop, Params.parse(tail) if semicolon else Params())
        except MessageError as error:
            refusal = self.assertRaises(MessageError, Via.parse, text)
            self.assertEqual(str(refusal), str(error))
        else:
            via = Via.parse(text)
            self.assertEqual((via.transport, via.host, via.port, via.params), careful)
            self.assertEqual(str(via), text)

    @_settings
    @example("sip:h;x=a@b")
    @example("sip:h:65536")
    @example("sip:h;lr\n")
    @example("sip:h;lr;lr")
    @example("URN:x")
    @given(URIS)
    def test_uri(self, text: str) -> None:
        """A URI, with what is wrong with it."""
        try:
            careful = uris._read_uri(text)
        except MessageError as error:
            refusal = self.assertRaises(MessageError, parse_uri, text)
            self.assertEqual(str(refusal), str(error))
            self.assertFalse(uris.is_usual_uri(text))
        else:
            uri = parse_uri(text)
            written = str(careful) if isinstance(careful, OtherURI) else text
            self.assertEqual((repr(uri), str(uri)), (repr(careful), written))
            if uris.is_usual_uri(text):
                assert isinstance(careful, SIPURI)
                self.assertEqual((len(careful.params), careful.headers), (0, ()))

    @_settings
    @example('""<sip:h>')
    @example('"a"b<sip:h>')
    @example(" <sip:h>;tag=x")
    @given(ADDRESSES)
    def test_address(self, text: str) -> None:
        """An address, with what is wrong with it."""
        try:
            careful = values._read_address(text)
        except MessageError as error:
            for read in (NameAddr.parse, values.read_tag):
                refusal = self.assertRaises(MessageError, read, text)
                self.assertEqual(str(refusal), str(error))
        else:
            address = NameAddr.parse(text)
            self.assertEqual((address.display_name, address.uri, address.params), careful)
            self.assertEqual((str(address.params), str(address)), (str(careful[2]), text))
            self.assertEqual(values.read_tag(text), address.tag)

    @settings(deadline=None, max_examples=400)
    @example(b"INVITE sip:h SIP/2.0\r\nVia\r\nTo : b\r\n")
    @example(b"INVITE sip:h SIP/2.0\r\nX : y\r\nVia:\r\nTo : b\r\nx-y: z")
    @given(mutants())
    def test_header_lines(self, data: bytes) -> None:
        """The lines of a head; the quick look sees none that the careful reading would refuse."""
        text = data.partition(b"\r\n\r\n")[0].decode("utf-8", "surrogateescape")
        lines = text.split("\r\n")
        usual = parser._index_usual(text, lines)
        if usual is not None:
            careful = Headers()
            repaired, problem = parser._repair(text, lines)
            self.assertIsNone(problem or parser._index(repaired, careful))
            self.assertEqual(repaired, lines)
            self.assertEqual(list(usual.items()), list(careful.items()))
            self.assertEqual((usual.keys(), len(usual)), (careful.keys(), len(careful)))

    def test_what_is_seen(self) -> None:
        """The usual shapes are told by the quick look, or it would be of no use."""
        self.assertTrue(values._USUAL_VIA("SIP/2.0/UDP 192.0.2.1:54321;rport;branch=z9hG4bK-1"))
        self.assertTrue(values._USUAL_ADDRESS('"Bob B." <sip:bob@h.example:5060;ob>;tag=a-1'))
        self.assertTrue(uris._USUAL_SIP("sip:+49-30@h.example:5060;transport=udp;lr"))
        self.assertTrue(params._USUAL_PARAM("received=[2001:db8::1]"))
        head = "BYE sip:h SIP/2.0\r\nv: SIP/2.0/UDP h\r\nX-Own: y\r\nTo: <sip:h>"
        self.assertIsNotNone(parser._index_usual(head, head.split("\r\n")))
        uri = parse_uri("sip:h:5060")
        assert isinstance(uri, SIPURI)
        self.assertEqual((uri.host, uri.port), ("h", 5060))
