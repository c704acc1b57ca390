# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of :mod:`sipsess.sdp.description` and :mod:`sipsess.sdp.section`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.sdp import (
    Connection,
    LocalSDPError,
    MediaDescription,
    Origin,
    RTPMap,
    SessionDescription,
    parse,
)

BODY = b"""v=0
o=alice 53655765 2353687637 IN IP4 192.0.2.1
s=-
c=IN IP4 192.0.2.1
b=AS:512
b=X-YZ:1
b=TIAS:many
t=0 0
a=group:LS a v
a=sendonly
m=audio 49170 RTP/AVP 0 96 97 18
c=IN IP6 2001:db8::1
c=IN IP6 2001:db8::2
b=AS:64
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=fmtp:96 second=1
a=rtpmap:97 broken
a=rtpmap:97 telephone-event/8000
a=rtpmap:97 other/8000
a=rtpmap: 98 spaced/8000
a=ptime:20
a=crypto:1 one
a=crypto:2 two
a=mid:01
a=recvonly
m=video 0/2 RTP/AVP 31
a=inactive
m=image 49172 udptl t38
""".replace(b"\n", b"\r\n")


def _body(*lines: str) -> MediaDescription:
    """Return the one stream of a body with these lines in front of and after m=."""
    text = "\r\n".join(("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "t=0 0", *lines, ""))
    return parse(text.encode()).media[0]


class MediaTests(SynchronousTestCase):
    """The typed views of an m= line."""

    def setUp(self) -> None:
        """Read the body."""
        self.description = parse(BODY)
        self.audio, self.video, self.image = self.description.media

    def test_line(self) -> None:
        """The fields of m= are read (RFC 8866 5.14)."""
        self.assertEqual((self.audio.media, self.audio.port), ("audio", 49170))
        self.assertEqual(self.audio.formats, ["0", "96", "97", "18"])
        self.assertEqual((self.video.port_count, self.video.proto), (2, "RTP/AVP"))
        self.assertEqual([m.is_declined for m in self.description.media], [False, True, False])
        self.assertEqual([m.is_rtp for m in self.description.media], [True, True, False])

    def test_rtpmap(self) -> None:
        """The first readable rtpmap counts, then the static payload types (RFC 3551 6)."""
        self.assertEqual(self.audio.rtpmap("0"), RTPMap("PCMU", 8000))
        self.assertEqual(self.audio.rtpmap("96"), RTPMap("opus", 48000, 2))
        self.assertEqual(self.audio.rtpmap("97"), RTPMap("telephone-event", 8000))
        self.assertEqual(self.audio.rtpmap("98"), RTPMap("spaced", 8000))
        self.assertIsNone(self.audio.rtpmap("99"))
        self.assertIsNone(self.image.rtpmap("0"))

    def test_fmtp(self) -> None:
        """The first fmtp of a format counts (RFC 8866 6.15)."""
        self.assertEqual(self.audio.fmtp("96"), "useinbandfec=1")
        self.assertIsNone(self.audio.fmtp("0"))

    def test_address(self) -> None:
        """The first c= of the stream counts, then the session's (RFC 8866 5.7)."""
        self.assertEqual(self.audio.address, "2001:db8::1")
        self.assertEqual(len(self.audio.connections), 2)
        self.assertEqual(self.video.address, "192.0.2.1")
        self.assertIsNone(_body("m=audio 1 RTP/AVP 0").address)
        self.assertIsNone(MediaDescription.build("audio", 1, "RTP/AVP", ["0"]).address)

    def test_direction(self) -> None:
        """The stream's direction counts, then the session's, then sendrecv (RFC 8866 6.7)."""
        self.assertEqual(
            [m.direction for m in self.description.media], ["recvonly", "inactive", "sendonly"]
        )
        self.assertEqual(_body("m=audio 1 RTP/AVP 0").direction, "sendrecv")
        self.assertEqual(MediaDescription.build("audio", 1, "RTP/AVP", ["0"]).direction, "sendrecv")

    def test_held(self) -> None:
        """Who only sends, or nothing, or names 0.0.0.0, holds the stream (RFC 3264 8.4)."""
        audio = "m=audio 1 RTP/AVP 0"
        self.assertTrue(_body(audio, "a=sendonly").is_held)
        self.assertTrue(_body("a=inactive", audio).is_held)
        self.assertTrue(_body(audio, "c=IN IP4 0.0.0.0").is_held)
        self.assertFalse(_body(audio, "c=IN IP4 192.0.2.1", "a=recvonly").is_held)
        self.assertFalse(_body(audio).is_held)
        self.assertFalse(_body("m=audio 0 RTP/AVP 0", "a=inactive").is_held)

    def test_ice_is_no_hold(self) -> None:
        """With ICE, 0.0.0.0 says that no candidate is known yet (RFC 8840)."""
        lines = ("m=audio 9 RTP/SAVPF 0", "c=IN IP4 0.0.0.0")
        self.assertFalse(_body(*lines, "a=ice-ufrag:0123").is_held)
        self.assertFalse(_body("a=ice-ufrag:0123", *lines).is_held)
        built = MediaDescription.build("audio", 9, "RTP/AVP", ["0"], host="0.0.0.0")
        self.assertTrue(built.is_held)

    def test_inherited(self) -> None:
        """What a stream does not say may stand in the session; what it says comes first."""
        media = _body("a=setup:active", "m=audio 9 RTP/AVP 0", "a=setup:passive")
        self.assertEqual(media.inherited("setup"), ["passive"])
        media = _body("a=setup:active", "m=audio 9 RTP/AVP 0")
        self.assertEqual(media.inherited("setup"), ["active"])
        built = MediaDescription.build("audio", 9, "RTP/AVP", ["0"])
        self.assertEqual(built.inherited("setup"), [])

    def test_ptime(self) -> None:
        """Only a number of milliseconds is a ptime."""
        self.assertEqual(self.audio.ptime, 20)
        self.assertIsNone(self.video.ptime)
        for text in ("x", "0", "", "20.5", "99999"):
            self.assertIsNone(_body("m=audio 1 RTP/AVP 0", f"a=ptime:{text}").ptime)

    def test_bandwidths(self) -> None:
        """b= lines are read by name; odd ones are left out, but kept."""
        self.assertEqual(self.description.head.bandwidths, {"AS": 512, "X-YZ": 1})
        self.assertEqual(self.audio.bandwidths, {"AS": 64})
        self.assertIn(("b", "TIAS:many"), self.description.head.lines)

    def test_attributes(self) -> None:
        """Attributes are found by name, in order, with case; values stay text."""
        attributes = self.audio.attributes
        self.assertEqual(attributes.get("mid"), "01")
        self.assertEqual(attributes.get_all("crypto"), ["1 one", "2 two"])
        self.assertEqual((attributes.get("recvonly"), attributes.get("Mid")), ("", None))
        self.assertEqual(attributes.get_all("none"), [])
        self.assertIn("ptime", attributes)
        self.assertEqual((len(attributes), list(attributes)[-1]), (12, ("recvonly", "")))
        self.assertEqual(self.description.attributes.get("group"), "LS a v")


class ChangeTests(SynchronousTestCase):
    """What is changed is written; what is not stays as it was."""

    def setUp(self) -> None:
        """Read the body."""
        self.description = parse(BODY)
        self.audio = self.description.media[0]

    def check(self, old: bytes, new: bytes) -> None:
        """Check that exactly ``old`` was replaced by ``new``."""
        self.assertIn(old, BODY)
        self.assertEqual(self.description.to_bytes(), BODY.replace(old, new, 1))

    def test_port_and_formats(self) -> None:
        """The m= line is rewritten in its place."""
        self.audio.port = 4000
        self.audio.formats = ["96", "0"]
        self.check(b"audio 49170 RTP/AVP 0 96 97 18", b"audio 4000 RTP/AVP 96 0")
        self.assertEqual((self.audio.port, self.audio.formats), (4000, ["96", "0"]))

    def test_direction(self) -> None:
        """The new direction takes the place of the old one."""
        self.audio.direction = "inactive"
        self.check(b"a=mid:01\r\na=recvonly", b"a=mid:01\r\na=inactive")
        self.assertRaises(LocalSDPError, setattr, self.audio, "direction", "x\r\n")

    def test_direction_added(self) -> None:
        """A stream without direction gets one at its end."""
        self.description.media[2].direction = "recvonly"
        self.check(b"udptl t38\r\n", b"udptl t38\r\na=recvonly\r\n")

    def test_connection(self) -> None:
        """All c= lines of the stream become one."""
        self.audio.connection = Connection.build("192.0.2.9")
        self.check(b"c=IN IP6 2001:db8::1\r\nc=IN IP6 2001:db8::2\r\n", b"c=IN IP4 192.0.2.9\r\n")
        self.assertEqual(self.audio.address, "192.0.2.9")

    def test_session_connection(self) -> None:
        """The session's c= changes for every stream without one."""
        self.description.connection = Connection.build("2001:db8::9")
        self.check(b"c=IN IP4 192.0.2.1", b"c=IN IP6 2001:db8::9")
        self.assertEqual(self.description.media[1].address, "2001:db8::9")
        self.assertEqual(self.description.connection, Connection.build("2001:db8::9"))

    def test_set_attribute(self) -> None:
        """All of a name become one, in the place of the first; typed views follow."""
        self.audio.attributes.set("crypto", "3 three")
        self.check(b"a=crypto:1 one\r\na=crypto:2 two\r\n", b"a=crypto:3 three\r\n")
        self.audio.attributes.set("rtpmap", "96 L16/8000")
        self.assertEqual(self.audio.rtpmap("96"), RTPMap("L16", 8000))

    def test_add_and_remove_attributes(self) -> None:
        """What was added can be removed; removing nothing is no error."""
        self.audio.attributes.add("x-flag")
        self.audio.attributes.add("x-value", "1")
        self.check(b"a=recvonly\r\n", b"a=recvonly\r\na=x-flag\r\na=x-value:1\r\n")
        self.audio.attributes.remove("x-flag", "x-value", "x-none")
        self.check(b"", b"")

    def test_removing_nothing_touches_nothing(self) -> None:
        """A body with odd line ends stays byte for byte when nothing is removed from it."""
        odd = BODY.replace(b"\r\n", b" \n")
        description = parse(odd)
        description.media[0].attributes.remove("x-none")
        description.head.remove_lines("i")
        self.assertEqual(description.to_bytes(), odd)

    def test_place_of_new_lines(self) -> None:
        """A new line is placed in the order of RFC 8866 5, before unknown types too."""
        body = b"v=0\r\no=- 1 1 IN IP4 a\r\ns=-\r\nt=0 0\r\nx=1\r\n"
        description = parse(body)
        description.head.add_line("b", "AS:1")
        description.head.add_line("c", "IN IP4 192.0.2.1")
        description.head.add_line("y", "2")
        description.attributes.set("tool", "x")
        self.assertEqual(
            [kind for kind, _ in description.head.lines],
            ["v", "o", "s", "c", "b", "t", "a", "x", "y"],
        )

    def test_set_and_remove_lines(self) -> None:
        """Lines of other types are set and removed as text."""
        head = self.description.head
        head.set_line("b", "AS:1")
        self.assertEqual(head.values("b"), ["AS:1"])
        head.set_line("i", "hello")
        self.assertEqual(head.value("i"), "hello")
        head.remove_lines("b")
        head.remove_lines("b")
        self.assertEqual(head.values("b"), [])
        self.assertEqual(head.lines[3], ("i", "hello"))

    def test_refused_lines(self) -> None:
        """Lines that would break the description are not written."""
        head = self.description.head
        for kind, value in (
            ("o", "x"),
            ("v", "1"),
            ("m", "audio"),
            ("c", "IN IP4"),
            ("ab", "x"),
            ("", "x"),
            ("\n", "x"),
            ("\u00e4", "x"),
            ("i", "x\r\na=y"),
        ):
            self.assertRaises(LocalSDPError, head.add_line, kind, value)
            self.assertRaises(LocalSDPError, head.set_line, kind, value)
        self.assertRaises(LocalSDPError, head.remove_lines, "o")
        self.check(b"", b"")

    def test_refused_attributes(self) -> None:
        """No attribute can inject a line, or another name."""
        attributes = self.audio.attributes
        for name, value in (
            ("x\r\nc=IN IP4 203.0.113.66", None),
            ("x", "1\nc=IN IP4 203.0.113.66"),
            ("x", "1\rm=audio 1 RTP/AVP 0"),
            ("x", "\0"),
            ("x:y", "1"),
            ("", "1"),
        ):
            self.assertRaises(LocalSDPError, attributes.add, name, value)
            self.assertRaises(LocalSDPError, attributes.set, name, value)
        self.assertRaises(LocalSDPError, attributes.replace, ("mid",), "mid:\n")
        self.check(b"", b"")

    def test_origin(self) -> None:
        """A new origin is written in its place, unless it could not be read."""
        self.description.origin = Origin.build("192.0.2.9", session_id=5, version=6)
        self.check(b"alice 53655765 2353687637 IN IP4 192.0.2.1", b"- 5 6 IN IP4 192.0.2.9")
        for host in ("", "a b", "a\r\ns=x"):
            origin = Origin.build(host)
            self.assertRaises(LocalSDPError, setattr, self.description, "origin", origin)

    def test_media_added_and_replaced(self) -> None:
        """Streams are copied in, and then fall back to this session."""
        added = self.description.add_media(MediaDescription.build("text", 4, "RTP/AVP", ["98"]))
        self.assertEqual((added.direction, added.address), ("sendonly", "192.0.2.1"))
        self.check(b"udptl t38\r\n", b"udptl t38\r\nm=text 4 RTP/AVP 98\r\n")
        other = MediaDescription.build("audio", 4, "RTP/AVP", ["98"])
        replaced = self.description.replace_media(1, other)
        self.assertIs(self.description.media[1], replaced)
        self.assertEqual([m.port for m in self.description.media], [49170, 4, 49172, 4])

    def test_copy(self) -> None:
        """A copy says the same bytes, and changes apart."""
        copy = self.description.copy()
        self.assertEqual(copy.to_bytes(), BODY)
        copy.media[0].port = 1
        copy.attributes.remove("sendonly")
        self.assertEqual(copy.media[2].direction, "sendrecv")
        self.check(b"", b"")
        again = copy.copy()
        self.assertEqual(again.to_bytes(), copy.to_bytes())
        self.assertNotEqual(again.to_bytes(), BODY)

    def test_same(self) -> None:
        """Two descriptions are the same when only their origins differ."""
        other = parse(BODY.replace(b"2353687637", b"2353687638"))
        self.assertTrue(self.description.is_same_as(other))
        self.audio.port = 1
        self.assertFalse(self.description.is_same_as(other))
        other = parse(BODY.replace(b"s=-", b"s=x"))
        self.assertFalse(parse(BODY).is_same_as(other))
        other.add_media(self.audio)
        self.assertFalse(self.description.is_same_as(other))


class BuildTests(SynchronousTestCase):
    """What is built can be read."""

    def test_build(self) -> None:
        """A built description is canonical, and a name is optional."""
        audio = MediaDescription.build(
            "audio",
            4000,
            "RTP/AVP",
            ["0", "101"],
            host="2001:db8::1",
            attributes=["rtpmap:101 telephone-event/8000", ("ptime", "20"), ("sendonly", None)],
        )
        description = SessionDescription.build(
            Origin.build("192.0.2.1", session_id=1, version=2),
            connection=Connection.build("192.0.2.1"),
            attributes=["tool:x"],
            media=[audio],
        )
        self.assertEqual(
            description.to_bytes().decode().split("\r\n"),
            [
                "v=0",
                "o=- 1 2 IN IP4 192.0.2.1",
                "s=-",
                "c=IN IP4 192.0.2.1",
                "t=0 0",
                "a=tool:x",
                "m=audio 4000 RTP/AVP 0 101",
                "c=IN IP6 2001:db8::1",
                "a=rtpmap:101 telephone-event/8000",
                "a=ptime:20",
                "a=sendonly",
                "",
            ],
        )
        self.assertTrue(parse(description.to_bytes()).is_same_as(description))
        self.assertIsNot(description.media[0], audio)

    def test_without_anything(self) -> None:
        """An offer may have no stream at all (RFC 3264 5)."""
        description = SessionDescription.build(Origin.build("192.0.2.1"), name="x")
        again = parse(description.to_bytes())
        self.assertEqual((again.name, again.connection, again.media), ("x", None, ()))

    def test_name_missing(self) -> None:
        """Without an s= line the name is a dash."""
        self.assertEqual(parse(b"v=0\r\no=- 1 1 IN IP4 a\r\n").name, "-")

    def test_refused(self) -> None:
        """No field of a built description can inject a line."""
        build = MediaDescription.build
        evil = "x\r\na=y"
        for fields in (("audio", evil, ["0"]), (evil, "RTP/AVP", ["0"]), ("audio", "x", [evil])):
            self.assertRaises(LocalSDPError, build, fields[0], 1, fields[1], fields[2])
        for host, attributes in ((evil, []), (None, [evil]), (None, [("x", evil)]), (None, [""])):
            self.assertRaises(
                LocalSDPError, build, "audio", 1, "x", ["0"], host=host, attributes=attributes
            )
        origin = Origin.build("192.0.2.1")
        whole = SessionDescription.build
        self.assertRaises(LocalSDPError, whole, origin, name=evil)
        self.assertRaises(LocalSDPError, whole, origin, timing=[evil])
        self.assertRaises(LocalSDPError, whole, origin, attributes=[evil])
        self.assertRaises(LocalSDPError, whole, origin, connection=Connection(evil))
        self.assertRaises(LocalSDPError, whole, Origin.build(evil))

    def test_declined(self) -> None:
        """A declined stream has port 0, its formats and its mid, and nothing else (RFC 3264 6)."""
        offered = MediaDescription.build(
            "video", 4000, "RTP/AVP", ["31", "96"], attributes=["mid:v", "sendonly"], port_count=2
        )
        declined = MediaDescription.declined(offered)
        self.assertEqual(declined.lines, (("m", "video 0 RTP/AVP 31 96"), ("a", "mid:v")))
        self.assertTrue(declined.is_declined)
