# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of :mod:`sipsess.sdp.lines`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.sdp import AttributeLines, LocalSDPError, MediaDescription, parse
from sipsess.sdp.limits import MAX_SHARED_CHARACTERS, MAX_SHARED_LINES
from sipsess.sdp.lines import Lines, share_lines

#: Nearly the lines of an audio stream, so that equal and nearly equal blocks are drawn.
_ROWS = st.lists(
    st.sampled_from(
        [
            "c=IN IP4 192.0.2.1",
            "c=IN IP6 2001:db8::1",
            "a=rtpmap:96 opus/48000/2",
            "a=rtpmap:96 L16/8000",
            "a=rtpmap:97 broken",
            "a=fmtp:96 x=1",
            "a=ptime:20",
            "a=sendonly",
            "a=inactive",
            "b=AS:64",
            "i=text",
        ]
    ),
    max_size=MAX_SHARED_LINES + 2,
)

BODY = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\na=sendonly\r\n"
)


class SharingTests(SynchronousTestCase):
    """Equal lines of different calls are one object, and nobody notices."""

    @settings(deadline=None)
    @given(_ROWS)
    def test_same_as_not_shared(self, rows: list[str]) -> None:
        """What is read from shared lines is what is read from lines of one's own."""
        shared, own = share_lines(tuple(rows)), Lines(tuple(rows))
        self.assertEqual(shared.rows, own.rows)
        self.assertEqual(shared.attributes, own.attributes)
        self.assertEqual(shared.connections, own.connections)
        self.assertEqual(shared.codecs, own.codecs)
        self.assertEqual(shared.parameters, own.parameters)
        self.assertEqual(shared.direction, own.direction)

    def test_shared(self) -> None:
        """Calls with the same attributes keep and read them once, whatever their ports."""
        one = parse(BODY.encode()).media[0]
        other = parse(BODY.replace("4000", "5000").encode()).media[0]
        self.assertIs(one._lines, other._lines)

    def test_large_blocks(self) -> None:
        """Many or long lines are not kept for others: they differ from call to call."""
        for rows in (("a=x",) * (MAX_SHARED_LINES + 1), ("a=" + "x" * MAX_SHARED_CHARACTERS,)):
            self.assertIsNot(share_lines(rows), share_lines(rows))

    def test_change(self) -> None:
        """A change of one description reaches no other, nor a copy made before."""
        one, other = parse(BODY.encode()), parse(BODY.encode())
        copy = one.copy()
        media = one.media[0]
        media.attributes.set("rtpmap", "96 L16/8000")
        media.direction = "inactive"
        media.attributes.add("x-own")
        self.assertEqual(str(media.rtpmap("96")), "L16/8000")
        for description in (other, copy, parse(BODY.encode())):
            self.assertEqual(description.to_bytes(), BODY.encode())
            self.assertEqual(str(description.media[0].rtpmap("96")), "opus/48000/2")
            self.assertEqual(description.media[0].direction, "sendonly")

    def test_checked_attributes(self) -> None:
        """Attributes that were checked once are written for each stream, with its own c= line."""
        attributes = AttributeLines(["ptime:20", ("sendonly", None)])
        self.assertRaises(LocalSDPError, AttributeLines, ["x\r\na=y"])
        for host in (None, "192.0.2.1"):
            media = MediaDescription.build(
                "audio", 4000, "RTP/AVP", ["0"], host=host, attributes=attributes
            )
            rows = [] if host is None else [("c", "IN IP4 192.0.2.1")]
            rows += [("a", "ptime:20"), ("a", "sendonly")]
            self.assertEqual(list(media.lines[1:]), rows)


class OriginTests(SynchronousTestCase):
    """The o= line, which is no other description's."""

    def test_set_version(self) -> None:
        """Only the two numbers change, wherever the line stands."""
        late = BODY.replace("o=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n", "s=-\r\no=- 1 1 IN IP4 a\r\n")
        for body in (BODY, late):
            description = parse(body.encode())
            before = description.origin
            description.set_version(7, 8)
            after = description.origin
            self.assertEqual((after.session_id, after.version), (7, 8))
            self.assertEqual((after.username, after.address), (before.username, before.address))
            self.assertEqual(description.to_bytes().decode(), body.replace("1 1", "7 8"))
