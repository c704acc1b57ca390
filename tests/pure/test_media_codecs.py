# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""G.711 against its definition."""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sipsess.media.codecs import PCMA, PCMU, load_audioop, make_codecs
from tests.pure.signals import samples, to_pcm

TABLE_PCMU, TABLE_PCMA = make_codecs(None)
ALL = to_pcm(list(range(-32768, 32768)))


def ulaw(sample: int) -> int:
    """Encode one sample as G.711 section 3.2 and its tables 2a and 2b define it."""
    value = sample >> 2
    sign, magnitude = (0x80, value) if value >= 0 else (0, -value)
    # The decision values are 33 below a power of two: add the bias, find the segment.
    biased = min(magnitude + 33, 8191)
    segment = biased.bit_length() - 6
    step = biased >> segment + 1 & 0x0F
    return sign | (segment << 4 | step) ^ 0x7F


def alaw(sample: int) -> int:
    """Encode one sample as G.711 section 3.1 and its tables 1a and 1b define it."""
    value = sample >> 3
    sign, magnitude = (0x80, value) if value >= 0 else (0, -value - 1)
    if magnitude < 32:
        code = magnitude >> 1
    else:
        segment = magnitude.bit_length() - 5
        code = segment << 4 | magnitude >> segment & 0x0F
    return (sign | code) ^ 0x55


def deprecated_audioop() -> ModuleType:
    """Return audioop even where importing it warns; skip where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("audioop")
        except ImportError:
            raise SkipTest("audioop is not installed") from None


class DefinitionTests(SynchronousTestCase):
    """The tables say what the recommendation says."""

    def test_ulaw_encodes_each_sample_as_defined(self) -> None:
        """All 65536 samples give the code of G.711 table 2."""
        expected = bytes(ulaw(sample) for sample in range(-32768, 32768))
        self.assertEqual(TABLE_PCMU.encode(ALL), expected)

    def test_alaw_encodes_each_sample_as_defined(self) -> None:
        """All 65536 samples give the code of G.711 table 1."""
        expected = bytes(alaw(sample) for sample in range(-32768, 32768))
        self.assertEqual(TABLE_PCMA.encode(ALL), expected)

    def test_known_ulaw_values(self) -> None:
        """Silence is 0xFF, the loudest samples are 0x80 and 0x00 and mean 8031 of 14 bits."""
        self.assertEqual(TABLE_PCMU.encode(to_pcm([0, 32767, -32768])), b"\xff\x80\x00")
        self.assertEqual(samples(TABLE_PCMU.decode(b"\xff\x7f\x80\x00")), (0, 0, 32124, -32124))

    def test_known_alaw_values(self) -> None:
        """Silence is 0xD5, the loudest samples are 0xAA and 0x2A and mean 4032 of 13 bits."""
        self.assertEqual(TABLE_PCMA.encode(to_pcm([0, 32767, -32768])), b"\xd5\xaa\x2a")
        self.assertEqual(samples(TABLE_PCMA.decode(b"\xd5\x55\xaa\x2a")), (8, -8, 32256, -32256))

    def test_each_code_comes_back(self) -> None:
        """Decoding and encoding again changes no code, but for mu-law's negative zero."""
        every = bytes(range(256))
        self.assertEqual(TABLE_PCMA.encode(TABLE_PCMA.decode(every)), every)
        self.assertEqual(
            TABLE_PCMU.encode(TABLE_PCMU.decode(every)), every.replace(b"\x7f", b"\xff")
        )

    def test_error_is_below_the_step(self) -> None:
        """Each sample comes back within the half of its step (and the clipping of the loudest)."""
        for codec in (TABLE_PCMU, TABLE_PCMA):
            decoded = samples(codec.decode(codec.encode(ALL)))
            for sample, value in zip(range(-32768, 32768), decoded, strict=True):
                self.assertLessEqual(abs(sample - value), max(16, abs(sample) // 25 + 4))

    def test_audioop_agrees(self) -> None:
        """The table version and audioop give the same bytes for everything."""
        for fast, table in zip(
            make_codecs(deprecated_audioop()), (TABLE_PCMU, TABLE_PCMA), strict=True
        ):
            self.assertEqual(fast.encode(ALL), table.encode(ALL))
            self.assertEqual(fast.decode(bytes(range(256))), table.decode(bytes(range(256))))
            self.assertEqual(fast.encode(b"abc"), table.encode(b"abc"))


class FakeAudioop(ModuleType):
    """Has the functions of audioop, and says who was called."""

    @staticmethod
    def lin2ulaw(pcm: bytes, width: int) -> bytes:
        """Encode mu-law."""
        return b"U%d" % width + pcm

    @staticmethod
    def ulaw2lin(payload: bytes, width: int) -> bytes:
        """Decode mu-law."""
        return b"u%d" % width + payload

    @staticmethod
    def lin2alaw(pcm: bytes, width: int) -> bytes:
        """Encode A-law."""
        return b"A%d" % width + pcm

    @staticmethod
    def alaw2lin(payload: bytes, width: int) -> bytes:
        """Decode A-law."""
        return b"a%d" % width + payload


class CodecTests(SynchronousTestCase):
    """The codec objects."""

    def test_static_payload_types(self) -> None:
        """PCMU is 0 and PCMA is 8, both at 8 kHz (RFC 3551 section 6)."""
        self.assertEqual((PCMU.encoding, PCMU.payload_type, PCMU.clock_rate), ("PCMU", 0, 8000))
        self.assertEqual((PCMA.encoding, PCMA.payload_type, PCMA.clock_rate), ("PCMA", 8, 8000))
        self.assertEqual(PCMU.key, ("pcmu", 8000, 1))

    @given(st.binary(max_size=330))
    def test_any_bytes_encode_and_decode(self, data: bytes) -> None:
        """Lengths follow from lengths, and an odd byte is dropped."""
        for codec in (TABLE_PCMU, TABLE_PCMA):
            self.assertEqual(len(codec.decode(data)), 2 * len(data))
            self.assertEqual(len(codec.encode(data)), len(data) // 2)

    def test_audioop_is_used_when_there_is_one(self) -> None:
        """With audioop the work is done there, on whole samples of two bytes."""
        ulaw_codec, alaw_codec = make_codecs(FakeAudioop("audioop"))
        self.assertEqual(ulaw_codec.encode(b"abc"), b"U2ab")
        self.assertEqual(ulaw_codec.decode(b"x"), b"u2x")
        self.assertEqual(alaw_codec.encode(b"abc"), b"A2ab")
        self.assertEqual(alaw_codec.decode(b"x"), b"a2x")

    def test_import_without_a_warning(self) -> None:
        """An audioop that imports in silence is taken."""
        fake = FakeAudioop("audioop")
        self.patch(sys, "modules", {**sys.modules, "audioop": fake})
        self.assertIs(load_audioop(), fake)

    def test_import_with_a_warning(self) -> None:
        """A deprecated audioop is left alone, and nobody sees the warning."""

        def warn(name: str) -> ModuleType:
            warnings.warn(f"{name} is deprecated", DeprecationWarning, stacklevel=2)
            raise AssertionError("the warning is an error here")

        self.patch(importlib, "import_module", warn)
        self.assertIsNone(load_audioop())
        self.assertEqual(self.flushWarnings(), [])

    def test_import_of_nothing(self) -> None:
        """Without audioop the tables do it."""

        def fail(name: str) -> ModuleType:
            raise ImportError(name)

        self.patch(importlib, "import_module", fail)
        self.assertIsNone(load_audioop())
