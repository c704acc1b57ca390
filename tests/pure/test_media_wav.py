# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""WAV files: what people have is read, what we write is read by others."""

from __future__ import annotations

import io
import wave
from math import pi, sin
from pathlib import Path
from struct import pack

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import LocalError
from sipsess.media import tone, wav
from sipsess.media.codecs import PCMA, PCMU
from sipsess.media.wav import WAVError, WAVWriter, read_clip, read_wav
from tests.pure.signals import amplitude, rms, samples, to_pcm


def build(
    body: bytes,
    kind: int = 1,
    channels: int = 1,
    rate: int = 8000,
    bits: int = 16,
    more: bytes = b"",
) -> bytes:
    """Build a file."""
    block = channels * bits // 8
    form = pack("<HHIIHH", kind, channels, rate, rate * block, block, bits) + more
    chunks = b"fmt " + pack("<I", len(form)) + form + b"data" + pack("<I", len(body)) + body
    return b"RIFF" + pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def read(data: bytes) -> bytes:
    """Read a file from memory."""
    return read_wav(io.BytesIO(data))


def sine(rate: int, frequency: float, seconds: float = 0.5) -> list[int]:
    """Return the samples of a sine at half of full scale, at any rate."""
    return [
        round(16000 * sin(2 * pi * frequency * index / rate))
        for index in range(round(rate * seconds))
    ]


class ReadTests(SynchronousTestCase):
    """Reading."""

    def refuse(self, data: bytes) -> str:
        """Return what a person is told about a file."""
        error = self.assertRaises(WAVError, read_wav, io.BytesIO(data), "my.wav")
        self.assertTrue(str(error).startswith("my.wav: "))
        return str(error)

    def test_16_bit_is_taken_as_it_is(self) -> None:
        """16-bit mono at 8 kHz is PCM already."""
        self.assertEqual(read(build(b"\x01\x00\xff\x7f")), b"\x01\x00\xff\x7f")

    def test_file_of_the_standard_library(self) -> None:
        """What Python's own wave module writes is read."""
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setparams((1, 2, 8000, 0, "NONE", ""))
            writer.writeframes(tone.beep())
        self.assertEqual(read(file.getvalue()), tone.beep())

    def test_8_bit_is_unsigned(self) -> None:
        """8-bit PCM has its middle at 128."""
        self.assertEqual(samples(read(build(b"\x80\x00\xff", bits=8))), (0, -32768, 32512))

    def test_g711(self) -> None:
        """Formats 7 and 6 are mu-law and A-law."""
        self.assertEqual(read(build(b"\x12\x93", kind=7, bits=8)), PCMU.decode(b"\x12\x93"))
        self.assertEqual(read(build(b"\x12\x93", kind=6, bits=8)), PCMA.decode(b"\x12\x93"))

    def test_extensible(self) -> None:
        """Format 0xFFFE has the real one in its GUID."""
        more = pack("<HHI", 22, 16, 4) + pack("<H", 1) + bytes(14)
        self.assertEqual(read(build(b"\x01\x00", kind=0xFFFE, more=more)), b"\x01\x00")

    def test_stereo_is_mixed(self) -> None:
        """Two channels become their mean; half a frame at the end is dropped."""
        body = to_pcm([100, 300, -50, 50, 7])
        self.assertEqual(samples(read(build(body, channels=2))), (200, 0))

    def test_other_rates_keep_the_tone(self) -> None:
        """A tone of 1 kHz is one of 1 kHz, of the same length and about the same level."""
        for rate in (6000, 11025, 16000, 22050, 44100, 48000):
            pcm = read(build(to_pcm(sine(rate, 1000)), rate=rate))
            self.assertApproximates(len(pcm) / 2, 4000, 1)
            strength = amplitude(pcm, 1000)
            self.assertTrue(15500 < strength < 16500, f"{rate}: {strength}")
            for other in (500, 1500, 2000, 3000):
                self.assertLess(amplitude(pcm, other), strength / 50, f"{rate}, {other}")

    def test_aliases_are_weakened(self) -> None:
        """What 8 kHz cannot carry is damped before it is folded down."""
        pcm = read(build(to_pcm(sine(48000, 7000)), rate=48000))
        self.assertLess(amplitude(pcm, 1000), 16000 / 50)

    def test_rates_that_are_kept(self) -> None:
        """A file of no more than the rate that is wanted stays as it is, a higher one does not."""
        for rate, expected in ((8000, 8000), (16000, 16000), (44100, 16000)):
            clip = read_clip(io.BytesIO(build(to_pcm(sine(rate, 5000)), rate=rate)), 16000)
            self.assertEqual((clip.rate, len(clip.pcm)), (expected, expected))
            pitch = 5000 if expected > 8000 else 3000
            self.assertGreater(amplitude(clip.pcm, pitch, expected), 15000)

    def test_other_chunks_are_skipped(self) -> None:
        """Chunks of any kind may come first, padded to even length."""
        data = build(b"\x01\x00")
        more = data[:12] + b"LIST" + pack("<I", 3) + b"abc\0" + data[12:]
        self.assertEqual(read(more), b"\x01\x00")

    def test_cut_off_file(self) -> None:
        """A length that is larger than the file means: all there is."""
        data = build(b"\x01\x00\x02\x00")
        self.assertEqual(read(data[:-1]), b"\x01\x00")

    def test_empty(self) -> None:
        """A file without samples is silence of no length, at any rate."""
        self.assertEqual(read(build(b"", rate=44100)), b"")

    def test_path(self) -> None:
        """A path may be text or Path."""
        path = self.mktemp()
        Path(path).write_bytes(build(b"\x01\x00"))
        self.assertEqual(read_wav(path), b"\x01\x00")
        self.assertEqual(read_wav(Path(path)), b"\x01\x00")

    def test_errors_name_the_file(self) -> None:
        """Who made the mistake is told which file it is."""
        path = self.mktemp()
        error = self.assertRaises(WAVError, read_wav, path)
        self.assertEqual(str(error), f"{path}: cannot be read: No such file or directory")
        Path(path).write_bytes(b"no")
        self.assertIn(path, str(self.assertRaises(WAVError, read_wav, path)))
        self.assertIn("the WAV data", str(self.assertRaises(WAVError, read, b"no")))

    def test_refusals(self) -> None:
        """Each kind of wrong file has its own sentence."""
        good = build(b"\x01\x00")
        cases = {
            b"ID3" + bytes(20): "is no WAV file",
            good[:8] + b"AVI " + good[12:]: "is no WAV file",
            good[:12]: "has no samples",
            good[:12] + good[36:]: "come before their format",
            good[:12] + b"fmt \x02\0\0\0\x01\0data\0\0\0\0": "format chunk is too short",
            build(b"", channels=0): "has no channels",
            build(b"", rate=999): "has a rate of 999 Hz",
            build(b"", rate=384_001): "has a rate of 384001 Hz",
            build(b"", bits=24): "has format 1 with 24 bits",
            build(b"", kind=7, bits=16): "has format 7 with 16 bits",
            build(b"", kind=6, bits=16): "has format 6 with 16 bits",
            build(b"", kind=85): "has format 85",
            build(b"", kind=0xFFFE): "has format 65534",
        }
        for data, text in cases.items():
            self.assertIn(text, self.refuse(data))

    def test_too_large(self) -> None:
        """A huge file is refused before it fills the memory."""
        self.patch(wav, "MAX_FILE", 50)
        self.assertIn("larger than 50 bytes", self.refuse(build(bytes(100))))

    @given(st.binary(max_size=80), st.binary(max_size=30))
    def test_any_bytes(self, form: bytes, body: bytes) -> None:
        """A broken file gives WAVError or audio, nothing else."""
        data = b"RIFF\0\0\0\0WAVEfmt " + pack("<I", len(form)) + form + b"\0" * (len(form) & 1)
        for candidate in (form + body, data + b"data" + pack("<I", len(body)) + body):
            try:
                self.assertEqual(len(read(candidate)) % 2, 0)
            except WAVError:
                pass


class WriteTests(SynchronousTestCase):
    """Writing."""

    def test_standard_library_reads_it(self) -> None:
        """PCM files have the header that Python's wave module expects."""
        file = io.BytesIO()
        writer = WAVWriter(file)
        for _ in range(3):
            writer.write(tone.beep(0.1))
        writer.close()
        file.seek(0)
        with wave.open(file) as reader:
            self.assertEqual(reader.getparams()[:4], (1, 2, 8000, 2400))
            self.assertEqual(reader.readframes(2400), 3 * tone.beep(0.1))

    def test_riff_length_is_right(self) -> None:
        """The outer length counts all behind it, pad byte included."""
        for encoding in ("PCM", "PCMU", "PCMA"):
            file = io.BytesIO()
            writer = WAVWriter(file, encoding)
            writer.write(bytes(6))
            writer.close()
            data = file.getvalue()
            self.assertEqual(int.from_bytes(data[4:8], "little"), len(data) - 8)
            self.assertEqual(len(data) % 2, 0)

    def test_g711_round_trip(self) -> None:
        """A compressed file holds the same sound in half the size."""
        for encoding in ("PCMU", "PCMA"):
            file = io.BytesIO()
            writer = WAVWriter(file, encoding)
            writer.write(tone.beep())
            writer.close()
            self.assertApproximates(rms(read(file.getvalue())), rms(tone.beep()), 0.1)
            self.assertLess(len(file.getvalue()), len(tone.beep()) / 2 + 60)

    def test_unfinished_file_can_be_read(self) -> None:
        """After a crash the length is unknown, and what was written is still there."""
        file = io.BytesIO()
        WAVWriter(file).write(tone.beep())
        self.assertEqual(read(file.getvalue()), tone.beep())

    def test_path_is_opened_and_closed(self) -> None:
        """A path is opened here, so it is closed here."""
        path = self.mktemp()
        writer = WAVWriter(path)
        writer.write(b"\x01\x02\x03")
        self.assertEqual(writer.samples, 1)
        writer.close()
        writer.close()
        self.assertTrue(writer.is_closed)
        self.assertEqual(read_wav(path), b"\x01\x02")

    def test_foreign_file_stays_open(self) -> None:
        """A file object belongs to who made it, and is left at its end."""
        file = io.BytesIO()
        file.write(b"before")
        writer = WAVWriter(file)
        writer.write(bytes(4))
        writer.close()
        self.assertFalse(file.closed)
        self.assertEqual(file.tell(), len(file.getvalue()))
        self.assertEqual(file.getvalue()[:10], b"beforeRIFF")
        self.assertEqual(read(file.getvalue()[6:]), bytes(4))

    def test_pipe(self) -> None:
        """Where one cannot seek the length stays unknown."""

        class Pipe(io.BytesIO):
            def seekable(self) -> bool:
                return False

        file = Pipe()
        writer = WAVWriter(file)
        writer.write(b"\x01\x02")
        writer.close()
        self.assertEqual(read(file.getvalue()), b"\x01\x02")

    def test_misuse(self) -> None:
        """A wrong path, encoding or order is said clearly."""
        error = self.assertRaises(WAVError, WAVWriter, "/nonexistent/x.wav")
        self.assertEqual(
            str(error), "/nonexistent/x.wav: cannot be written: No such file or directory"
        )
        self.assertRaises(LocalError, WAVWriter, io.BytesIO(), "MP3")
        writer = WAVWriter(io.BytesIO())
        writer.close()
        self.assertRaises(LocalError, writer.write, b"\0\0")
