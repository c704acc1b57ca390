# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Digits as RTP events, :rfc:`4733`.

The payload is four bytes::

    byte 0      event code: 0-9, 10 is ``*``, 11 is ``#``, 12-15 are A-D
    byte 1      E end | R | volume (6 bits, in -dBm0)
    bytes 2-3   duration so far, in timestamp units

Theory of operation
    All packets of one event carry the timestamp of its *start*; that is the key. The marker bit
    is never relied on: some telephones do not send it. An event is reported once, when its first
    packet with the E bit comes. When all of these are lost it is reported as soon as a packet of
    a new event shows that it is over, or after :data:`EVENT_TIMEOUT` without a packet. What comes
    later for a reported timestamp, or for one just before it, is a copy or came out of order and
    is ignored.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from sipsess.errors import LocalError
from sipsess.media.rtp import MediaError

#: The digits by event code.
DIGITS = "0123456789*#ABCD"
#: The usual clock of the timestamps, in Hz.
EVENT_CLOCK = 8000
#: Seconds without a packet after which an event is over: packets come every 20 to 50 ms, so that
#: several in a row must be lost before a long press is taken for two.
EVENT_TIMEOUT = 0.2
#: Seconds that a key of ours may be pressed: receivers miss what is shorter, and may take what is
#: longer for a key that hangs.
MIN_PRESS = 0.04
MAX_PRESS = 8.0
#: 2.5.1.4: the packet with the E bit is sent three times in all.
END_PACKETS = 3
#: The longest single event: its duration has 16 bits (longer ones come in segments, 2.5.1.3).
MAX_DURATION = 0xFFFF
#: How far back, in seconds, a packet counts as late rather than as a restarted clock.
LATE_WINDOW = 1
#: How many reported events are remembered against late copies.
_REMEMBERED = 8

_EVENT = Struct("!BBH")


class EventPacket(NamedTuple):
    """What goes into one RTP packet of an event."""

    #: Four bytes.
    payload: bytes
    #: The timestamp of the event's start.
    timestamp: int
    #: Only on the first packet of an event.
    marker: bool


class DigitReceiver:
    """Turns the event packets of one SSRC into digits, each reported once."""

    __slots__ = (
        *("_code", "_deadline", "_is_open", "_longest", "_recent", "_segments", "_timestamp"),
        *("clock_rate", "duration"),
    )

    def __init__(self) -> None:
        #: Of the timestamps, in Hz: that of the audio beside.
        self.clock_rate = EVENT_CLOCK
        #: How long the last event was, in timestamp units, as far as its packets came.
        self.duration = 0
        self._segments = 0
        self._is_open = False
        self._code = 0
        self._timestamp = 0
        self._longest = 0
        self._deadline = 0.0
        self._recent: list[int] = []

    @property
    def is_open(self) -> bool:
        """Whether an event has begun and its end has not been seen."""
        return self._is_open

    def receive(self, payload: bytes, timestamp: int, now: float) -> str:
        """
        Feed one packet.

        :param payload: the RTP payload.
        :param timestamp: the RTP timestamp.
        :param now: seconds, monotonic.
        :return: the digits that ended with it: mostly none, one, or two when the end of the one
            before was lost.
        :raises MediaError: if the payload is too short.
        """
        if len(payload) < 4:
            raise MediaError("event-too-short", f"{len(payload)} bytes are no telephone-event")
        code, flags, duration = _EVENT.unpack_from(payload)
        if timestamp in self._recent:
            return ""
        ended = ""
        if not (self._is_open and timestamp == self._timestamp):
            if self._is_late(timestamp):
                return ""
            if self._is_next_segment(code, timestamp):
                self._segments += MAX_DURATION
            else:
                ended = self.flush()
                self._segments = 0
            self._begin(code, timestamp)
        self._longest = max(self._longest, duration)
        self._deadline = now + EVENT_TIMEOUT
        return ended + self.flush() if flags & 0x80 else ended

    def expire(self, now: float) -> str:
        """
        End the open event if nothing has come for :data:`EVENT_TIMEOUT`.

        :param now: seconds, the same clock as :meth:`receive`.
        :return: its digit, or nothing.
        """
        return self.flush() if self._is_open and now >= self._deadline else ""

    def flush(self) -> str:
        """End the open event now (another SSRC speaks, say) and return its digit, or nothing."""
        if not self._is_open:
            return ""
        self._is_open = False
        self._recent = [*self._recent[1 - _REMEMBERED :], self._timestamp]
        self.duration = self._segments + self._longest
        # 16 is a hook flash, those above are tones of modems and lines: events, but no digits.
        return DIGITS[self._code] if self._code < len(DIGITS) else ""

    def _begin(self, code: int, timestamp: int) -> None:
        self._is_open = True
        self._code = code
        self._timestamp = timestamp
        self._longest = 0

    def _is_late(self, timestamp: int) -> bool:
        """Whether the timestamp lies shortly before that of the newest event."""
        newest = self._timestamp if self._is_open else self._recent[-1] if self._recent else None
        window = LATE_WINDOW * self.clock_rate
        return newest is not None and 0 < (newest - timestamp & 0xFFFFFFFF) <= window

    def _is_next_segment(self, code: int, timestamp: int) -> bool:
        """2.5.1.3: an event too long for 16 bits goes on with a new timestamp."""
        if not self._is_open or code != self._code:
            return False
        return self._longest == MAX_DURATION == (timestamp - self._timestamp & 0xFFFFFFFF)


class DigitSender:
    """
    Makes the packets of a string of digits, one at most every 20 ms.

    :param text: digits, ``*``, ``#``, A to D in either case.
    :param duration: seconds that each digit lasts (rounded to frames; 0.04 to 8).
    :param pause: seconds of silence after each (at least 0.04, in which the copies of the end
        leave).
    :param volume: the level in -dBm0, 0 to 63.
    :raises LocalError: if there is another character in the text, or a number is out of range.
    """

    __slots__ = ("_elapsed", "_frames", "_pause", "_start", "_text", "_volume")

    def __init__(
        self, text: str, *, duration: float = 0.1, pause: float = 0.08, volume: int = 10
    ) -> None:
        self._text = check_digits(text)
        if not (MIN_PRESS <= duration <= MAX_PRESS and 0.04 <= pause <= 60 and 0 <= volume <= 63):
            raise LocalError(
                f"out of range: duration {duration} s, pause {pause} s or volume {volume}"
            )
        self._frames = round(duration / 0.02)
        self._pause = round(pause / 0.02)
        self._volume = volume
        self._elapsed = 0
        self._start = 0

    @property
    def is_done(self) -> bool:
        """Whether the last digit and the pause after it are over."""
        return not self._text

    def next_packet(self, timestamp: int, ticks: int = 160) -> EventPacket | None:
        """
        Let 20 ms pass.

        :param timestamp: the RTP timestamp of now; it must grow by ``ticks`` from call to call.
        :param ticks: units of the RTP clock in 20 ms; the clock is that of the audio beside
            (:rfc:`4733#section-2.1`). At 48 kHz a key is cut off after 1.36 seconds, where its 16
            bits end.
        :return: the packet that is due, or ``None`` in a pause or when done.
        """
        if not self._text:
            return None
        if not self._elapsed:
            self._start = timestamp
        self._elapsed += 1
        elapsed, frames = self._elapsed, min(self._frames, MAX_DURATION // ticks)
        code = DIGITS.index(self._text[0])
        if elapsed >= frames + self._pause:
            self._text = self._text[1:]
            self._elapsed = 0
        if elapsed >= frames + END_PACKETS:
            return None
        flags = self._volume | (0x80 if elapsed >= frames else 0)
        payload = _EVENT.pack(code, flags, ticks * min(elapsed, frames))
        return EventPacket(payload, self._start, elapsed == 1)


def check_digits(text: str) -> str:
    """
    Return the digits in capitals.

    :param text: what shall be sent.
    :raises LocalError: if something in it is no digit of a telephone.
    """
    capitals = text.upper()
    for character in capitals:
        if character not in DIGITS:
            raise LocalError(f"{character!r} is no telephone digit: 0-9, *, #, A-D are")
    return capitals
