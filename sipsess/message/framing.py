# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Messages out of a stream of bytes (:rfc:`3261#section-18.3`)."""

from __future__ import annotations

import re

from sipsess.message._errors import MessageError
from sipsess.message._parser import content_length, parse_head
from sipsess.message.limits import MAX_LINE, MAX_MESSAGE

#: What a peer sends to keep its connection open (:rfc:`5626#section-3.5.1`); answer with
#: :data:`PONG`.
PING = b"\r\n\r\n"
#: The answer to :data:`PING`.
PONG = b"\r\n"

#: What a start line may begin with: a character of a token.
_is_beginning = re.compile(rb"[!%'*+.\w`~-]", re.ASCII).match
_has_version = re.compile(rb"[^\n]*SIP/", re.IGNORECASE).match


class StreamFramer:
    """
    Cuts the bytes of one connection into messages.

    Every message on a stream must have a Content-Length. When one has none, or cannot be read,
    nobody knows where the next begins: :attr:`error` is set, all later bytes are dropped, and the
    caller answers (``error.message`` may hold what is needed for that) and closes the connection.
    What does not begin like SIP, such as a request of HTTP or a hand-shake of TLS, is over as soon
    as that can be seen.
    """

    __slots__ = ("_buffer", "_is_started", "_needed", "_scanned", "error")

    def __init__(self) -> None:
        self._buffer = bytearray()
        #: Where the search for the end of the headers goes on, so that no byte is searched twice.
        self._scanned = 0
        #: Whether the start line has been looked at.
        self._is_started = False
        #: Length of the message at the front of the buffer, once its headers are complete.
        self._needed = 0
        #: Why this stream is over, or ``None``.
        self.error: MessageError | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """
        Add what the connection received; never raises because of what the peer sent.

        :return: whole messages, and :data:`PING` and :data:`PONG` among them, in order.
        """
        frames: list[bytes] = []
        if self.error is None:
            self._buffer += data
            try:
                while (frame := self._next_frame()) is not None:
                    frames.append(frame)
            except MessageError as error:
                self.error = error
                self._buffer.clear()
        return frames

    @property
    def is_within(self) -> bool:
        """Whether a message has begun and is not whole."""
        return bool(self._buffer)

    def _next_frame(self) -> bytes | None:
        buffer = self._buffer
        if not self._needed:
            while buffer and buffer[0] in b"\r\n":
                if buffer == b"\r" or buffer == b"\r\n\r":
                    return None
                if buffer.startswith(PONG):
                    return self._take(4 if buffer.startswith(PING) else 2)
                del buffer[0]  # A bare CR or LF between messages is nothing.
            end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
            if end < 0:
                self._check_start()
                self._scanned = len(buffer)
                if len(buffer) > MAX_MESSAGE:
                    raise MessageError("message-too-large", "the headers do not end", 513)
                return None
            self._needed = self._measure(bytes(buffer[:end])) + end + 4
        if len(buffer) < self._needed:
            return None
        return self._take(self._needed)

    def _check_start(self) -> None:
        """Give up what is no SIP, before its end: that may never come."""
        buffer = self._buffer
        if self._is_started or not buffer:
            return
        if b"\n" in buffer:
            self._is_started = True
            if _has_version(buffer) is None:
                raise MessageError("bad-start-line", "the first line names no version of SIP")
        elif _is_beginning(buffer) is None:
            raise MessageError("bad-start-line", "the first byte begins no message")
        elif len(buffer) > MAX_LINE:
            raise MessageError("line-too-long", f"a first line of {len(buffer)} bytes")

    def _measure(self, head: bytes) -> int:
        """Return the length of the body that these headers announce."""
        if len(head) > MAX_MESSAGE:
            raise MessageError("message-too-large", f"{len(head)} bytes of headers", 513)
        message = parse_head(head)
        length = content_length(message)
        if length is None:
            text = "a message on a stream needs a Content-Length"
            raise MessageError("missing-content-length", text, 400, message)
        if len(head) + 4 + length > MAX_MESSAGE:
            raise MessageError("message-too-large", f"{length} bytes of body", 513, message)
        return length

    def _take(self, length: int) -> bytes:
        frame = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._scanned = self._needed = 0
        self._is_started = False
        return frame
