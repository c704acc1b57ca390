# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Measures audio: what is in it, and how loud."""

from __future__ import annotations

from math import cos, log10, pi, sqrt
from struct import pack, unpack

from sipsess.media.codecs import SAMPLE_RATE


def samples(pcm: bytes) -> tuple[int, ...]:
    """Return the samples of 16-bit little-endian PCM."""
    return unpack(f"<{len(pcm) // 2}h", pcm)


def to_pcm(values: list[int]) -> bytes:
    """Return PCM of samples."""
    return pack(f"<{len(values)}h", *values)


def rms(pcm: bytes) -> float:
    """Return the level in dB relative to full scale."""
    values = samples(pcm)
    power = sum(value * value for value in values) / len(values)
    return 20 * log10(sqrt(power) / 32768) if power else -200.0


def amplitude(pcm: bytes, frequency: float, rate: int = SAMPLE_RATE) -> float:
    """Return the amplitude of one frequency, by Goertzel's algorithm."""
    values = samples(pcm)
    factor = 2 * cos(2 * pi * frequency / rate)
    one = two = 0.0
    for value in values:
        one, two = value + factor * one - two, one
    return 2 * sqrt(max(0.0, one * one + two * two - factor * one * two)) / len(values)


def loudest(pcm: bytes, frequencies: list[float], count: int = 1) -> list[float]:
    """Return the frequencies that are strongest, in ascending order."""
    by_strength = sorted(frequencies, key=lambda item: amplitude(pcm, item), reverse=True)
    return sorted(by_strength[:count])
