# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tones as PCM: single and mixed frequencies, telephone keys, ringing, beep, silence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import pi, sin
from struct import pack

from sipsess.media.codecs import SAMPLE_RATE
from sipsess.media.telephone_event import check_digits

#: The two frequencies of each key (ITU-T Q.23): row, then column.
DTMF_FREQUENCIES: dict[str, tuple[int, int]] = {
    key: (row, column)
    for row, keys in ((697, "123A"), (770, "456B"), (852, "789C"), (941, "*0#D"))
    for key, column in zip(keys, (1209, 1336, 1477, 1633), strict=True)
}
#: The level of 0 dBm0 as a peak: a sine 3.14 dB below full scale in G.711.
_FULL = 32767 / 10 ** (3.14 / 20)
#: Seconds over which a tone swells and fades, against clicks.
_FADE = 0.005


def generate(
    frequencies: Sequence[float], duration: float, level: float = -13.0, rate: int = SAMPLE_RATE
) -> bytes:
    """
    Make a tone.

    :param frequencies: in Hz; several are mixed.
    :param duration: in seconds.
    :param level: of each frequency, in dBm0: 0 is the loudest sine that G.711 knows, less 3 dB.
    :param rate: samples per second.
    :return: PCM.
    """
    count = round(duration * rate)
    peak = _FULL * 10 ** (level / 20)
    steps = [2 * pi * frequency / rate for frequency in frequencies]
    edge = round(_FADE * rate)
    samples = []
    for index in range(count):
        fade = min(1.0, (index + 1) / edge, (count - index) / edge)
        value = peak * fade * sum(sin(step * index) for step in steps)
        samples.append(max(-32768, min(32767, round(value))))
    return pack(f"<{count}h", *samples)


def silence(duration: float, rate: int = SAMPLE_RATE) -> bytes:
    """Return ``duration`` seconds of nothing, at ``rate`` samples per second."""
    return bytes(2 * round(duration * rate))


def dtmf(digits: str, duration: float = 0.1, pause: float = 0.08, rate: int = SAMPLE_RATE) -> bytes:
    """
    Make the tones of telephone keys.

    :param digits: 0-9, ``*``, ``#``, A-D.
    :param duration: seconds per key.
    :param pause: seconds of silence after each.
    :param rate: samples per second.
    :return: PCM, each of the two frequencies at -7 dBm0.
    :raises LocalError: if another character is among them.
    """
    pieces = []
    for digit in check_digits(digits):
        pieces += [generate(DTMF_FREQUENCIES[digit], duration, -7.0, rate), silence(pause, rate)]
    return b"".join(pieces)


def beep(duration: float = 0.25, frequency: float = 1000.0) -> bytes:
    """Return the short tone after which one speaks."""
    return generate((frequency,), duration)


def ringback(
    frequencies: Sequence[float] = (425.0,), on: float = 1.0, off: float = 4.0
) -> Iterator[bytes]:
    """
    Ring without end, for :meth:`AudioStream.play`.

    :param frequencies: 425 Hz in most of Europe, 440 and 480 Hz in North America.
    :param on: seconds of tone; 1 and 4 in most of Europe, 2 and 4 in North America.
    :param off: seconds of silence.
    :return: PCM, one burst and one pause in turn.
    """
    burst, pause = generate(frequencies, on), silence(off)
    while True:
        yield burst
        yield pause
