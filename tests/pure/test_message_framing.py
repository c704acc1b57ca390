# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Messages out of streams."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.message import PING, PONG, Request, StreamFramer, parse
from sipsess.message.limits import MAX_LINE, MAX_MESSAGE
from tests.pure.test_message_parser import INVITE, swap


class StreamFramerTests(SynchronousTestCase):
    """Cutting a stream (:rfc:`3261#section-18.3`)."""

    def setUp(self) -> None:
        """Make a framer."""
        self.framer = StreamFramer()

    def assert_broken(self, data: bytes, reason_code: str) -> None:
        """Expect the stream to be over."""
        self.assertEqual(self.framer.feed(data), [])
        assert self.framer.error is not None
        self.assertEqual(self.framer.error.reason_code, reason_code)
        self.assertEqual(self.framer.feed(INVITE), [])

    def test_whole_messages(self) -> None:
        """Several messages in one piece come out one by one."""
        self.assertEqual(self.framer.feed(INVITE + INVITE + INVITE[:50]), [INVITE, INVITE])
        self.assertEqual(self.framer.feed(INVITE[50:]), [INVITE])
        self.assertIsNone(self.framer.error)

    def test_byte_by_byte(self) -> None:
        """It does not matter how the stream is cut."""
        data = INVITE + swap(b"Content-Length: 4", b"l : 4") + PONG + INVITE
        frames = [frame for byte in data for frame in self.framer.feed(bytes([byte]))]
        self.assertEqual(b"".join(frames), data)
        self.assertEqual(len(frames), 4)

    def test_keep_alives(self) -> None:
        """Pings and pongs are reported in their place (:rfc:`5626#section-3.5.1`)."""
        self.assertEqual(self.framer.feed(PING + INVITE + PONG), [PING, INVITE, PONG])
        self.assertEqual(self.framer.feed(PING + PONG), [PING, PONG])

    def test_cut_keep_alives(self) -> None:
        """A keep-alive that is cut in the middle waits for its rest."""
        self.assertEqual(self.framer.feed(b"\r"), [])
        self.assertEqual(self.framer.feed(b"\n"), [PONG])
        self.assertEqual(self.framer.feed(b"\r\n\r"), [])
        self.assertEqual(self.framer.feed(b"\n"), [PING])

    def test_stray_line_breaks_are_dropped(self) -> None:
        """A bare CR or LF between messages is nothing, however many there are."""
        self.assertEqual(self.framer.feed(5000 * b"\n" + INVITE + b"\r\r\n"), [INVITE, PONG])

    def test_missing_length_ends_the_stream(self) -> None:
        """Without Content-Length nobody knows where the next message begins; answer 400."""
        self.assert_broken(swap(b"Content-Length: 4\r\n", b""), "missing-content-length")
        assert self.framer.error is not None
        self.assertIsInstance(self.framer.error.message, Request)

    def test_bad_head_ends_the_stream(self) -> None:
        """Neither does anyone when the length or the first line cannot be read."""
        self.assert_broken(swap(b"Content-Length: 4", b"Content-Length: -4"), "bad-content-length")
        self.framer = StreamFramer()
        self.assert_broken(b"GET / HTTP/1.1\r\n\r\n", "bad-start-line")

    def test_what_is_not_sip_ends_the_stream_at_once(self) -> None:
        """Neither a web browser nor a hand-shake of TLS is waited for."""
        for data in (b"\x16\x03\x01\x02", b"\x80\x2e", b"GET / HTTP/1.1\r\nHost: ", b"hello\n"):
            self.framer = StreamFramer()
            self.assert_broken(data, "bad-start-line")

    def test_beginnings_of_sip_are_waited_for(self) -> None:
        """A first line that is cut, or of another version of SIP, is left to the parser."""
        for data in (b"I", b"INVITE sip:a@b", b"sip/2.0 200 OK\r\n", b"X y SIP/7.0\r\nVia: "):
            self.framer = StreamFramer()
            self.assertFalse(self.framer.is_within)
            self.assertEqual(self.framer.feed(data), [])
            self.assertIsNone(self.framer.error)
            self.assertTrue(self.framer.is_within)

    def test_messages_before_the_error_are_delivered(self) -> None:
        """What was good before stays good."""
        self.assertEqual(self.framer.feed(INVITE + b"x\r\n\r\n"), [INVITE])
        self.assertIsNotNone(self.framer.error)

    def test_size_is_bounded(self) -> None:
        """Neither headers nor body may fill the memory."""
        self.assert_broken(INVITE[:50] + b"A" * MAX_MESSAGE, "message-too-large")
        self.framer = StreamFramer()
        self.assert_broken(b"A" * (MAX_LINE + 1), "line-too-long")
        for data in (
            swap(b"Length: 4", b"Length: 65535"),
            b"A" * (MAX_MESSAGE + 1) + b"\r\n\r\n",
        ):
            self.framer = StreamFramer()
            self.assert_broken(data, "message-too-large")

    def test_largest_message_passes(self) -> None:
        """The bound itself is allowed."""
        head = swap(b"Length: 4\r\n\r\nv=0\n", b"Length: 65000\r\n\r\n")
        data = head + b"x" * 65000
        self.assertEqual(self.framer.feed(data), [data])
        self.assertEqual(len(parse(data).body), 65000)
