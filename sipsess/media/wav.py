# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
WAV files: read what people have, write what every player reads.

Python's own ``wave`` refuses mu-law and A-law, which are the usual formats of telephone prompts.
Layout::

    "RIFF" size "WAVE"  then chunks: four letters, 32-bit length, the data, a pad byte if odd
    "fmt "              format, channels, rate, bytes per second, bytes per block, bits per sample
    "data"              the samples

The format is 1 for PCM, 6 for A-law, 7 for mu-law; 0xFFFE says that it stands at byte 24.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from struct import error as struct_error
from struct import pack, unpack, unpack_from
from typing import IO, NamedTuple

from sipsess.errors import LocalError
from sipsess.media.codecs import PCMA, PCMU, SAMPLE_RATE
from sipsess.media.resample import MAX_RATE, MIN_RATE, check_rate, convert_whole

#: The largest file that is read, in bytes: an hour of stereo at 48 kHz would be larger, and is no
#: prompt.
MAX_FILE = 256 * 1024 * 1024

_PCM, _ALAW, _ULAW, _EXTENSIBLE = 1, 6, 7, 0xFFFE
#: What a writer says before it knows the length: as much as fits.
_UNKNOWN = 0xFFFFFFFF


class WAVError(LocalError):
    """A file is no WAV file that can be used; the text names the file and says why."""


class Clip(NamedTuple):
    """A sound."""

    #: 16-bit little-endian mono.
    pcm: bytes
    #: Its samples per second.
    rate: int


def read_wav(source: str | Path | IO[bytes], name: str | None = None) -> bytes:
    """
    Read a WAV file as PCM at 8 kHz; see :func:`read_clip`.

    :return: 16-bit little-endian mono.
    """
    clip = read_clip(source, SAMPLE_RATE, name)
    return convert_whole(clip.pcm, clip.rate, SAMPLE_RATE)


def read_clip(source: str | Path | IO[bytes], highest: int, name: str | None = None) -> Clip:
    """
    Read a WAV file.

    8 and 16 bit PCM, mu-law and A-law, any number of channels (they are mixed) and any rate are
    understood.

    :param source: its path, or an open binary file.
    :param highest: the sample rate that a file of a higher one is converted to.
    :param name: what to call it in errors; the path by default.
    :raises WAVError: if it cannot be opened or used.
    """
    if isinstance(source, (str, Path)):
        name = name or str(source)
        try:
            with Path(source).open("rb") as file:
                data = _read_limited(file, name)
        except OSError as error:
            raise WAVError(f"{name}: cannot be read: {error.strerror or error}") from error
    else:
        name = name or str(getattr(source, "name", "the WAV data"))
        data = _read_limited(source, name)
    try:
        clip = _decode(data)
    except (ValueError, struct_error) as error:
        raise WAVError(f"{name}: {error}") from error
    if clip.rate <= highest:
        return clip
    return Clip(convert_whole(clip.pcm, clip.rate, highest), highest)


def _read_limited(file: IO[bytes], name: str) -> bytes:
    data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise WAVError(f"{name}: is larger than {MAX_FILE} bytes")
    return data


def _decode(data: bytes) -> Clip:
    """Turn the bytes of a file into PCM; ``ValueError`` says what is wrong."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("is no WAV file (it does not begin with RIFF and WAVE)")
    form, body = _find_chunks(data)
    if len(form) < 16:
        raise ValueError("its format chunk is too short")
    kind, channels, rate, _, _, bits = unpack_from("<HHIIHH", form)
    if kind == _EXTENSIBLE and len(form) >= 26:
        kind = unpack_from("<H", form, 24)[0]
    if not channels:
        raise ValueError("has no channels")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(f"has a rate of {rate} Hz; {MIN_RATE} to {MAX_RATE} can be used")
    samples = _mix_down(_to_samples(kind, bits, body), channels)
    return Clip(pack(f"<{len(samples)}h", *samples), rate)


def _find_chunks(data: bytes) -> tuple[bytes, bytes]:
    """Return the bodies of the format and the data chunk."""
    form, at = None, 12
    while at + 8 <= len(data):
        kind, length = unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + length]
        if kind == b"fmt ":
            form = body
        elif kind == b"data":
            if form is None:
                raise ValueError("its samples come before their format")
            # The length of a file that was cut off, or written to a pipe, says more than there is.
            return form, body
        at += 8 + length + (length & 1)
    raise ValueError("has no samples (no data chunk)")


def _to_samples(kind: int, bits: int, body: bytes) -> Sequence[int]:
    """Return the samples as numbers of 16 bits."""
    if kind == _PCM and bits == 8:
        return [byte - 128 << 8 for byte in body]
    if kind == _ULAW and bits == 8:
        body = PCMU.decode(body)
    elif kind == _ALAW and bits == 8:
        body = PCMA.decode(body)
    elif not (kind == _PCM and bits == 16):
        raise ValueError(
            f"has format {kind} with {bits} bits; PCM of 8 or 16 bits, mu-law and A-law can be used"
        )
    count = len(body) // 2
    return unpack(f"<{count}h", body[: 2 * count])


def _mix_down(samples: Sequence[int], channels: int) -> Sequence[int]:
    """Return the mean of the channels."""
    if channels == 1:
        return samples
    whole = len(samples) // channels * channels
    columns = [samples[channel:whole:channels] for channel in range(channels)]
    return [sum(frame) // channels for frame in zip(*columns, strict=True)]


class WAVWriter:
    """
    Writes a file, as a stream.

    The header is written at once with the greatest length, so that a recording that was cut off
    by a crash can be played; :meth:`close` corrects it where the file can seek.

    :param file: a binary file; a path is opened (and may raise :class:`WAVError`).
    :param encoding: ``"PCM"`` for 16 bits, ``"PCMU"`` or ``"PCMA"`` for half the size.
    :param rate: samples per second, :data:`.MIN_RATE` to :data:`.MAX_RATE`.
    :param channels: 1, or 2 whose samples take turns, the left one first.
    """

    __slots__ = (
        *("_codec", "_file", "_kind", "_owns", "_start"),
        *("channels", "is_closed", "rate", "samples"),
    )

    def __init__(
        self,
        file: str | Path | IO[bytes],
        encoding: str = "PCM",
        *,
        rate: int = SAMPLE_RATE,
        channels: int = 1,
    ) -> None:
        kinds = {"PCM": (_PCM, None), "PCMU": (_ULAW, PCMU), "PCMA": (_ALAW, PCMA)}
        if encoding not in kinds:
            raise LocalError(f"{encoding!r} cannot be written; PCM, PCMU and PCMA can")
        self._kind, self._codec = kinds[encoding]
        #: Samples per second, and samples at a time.
        self.rate, self.channels = check_rate(rate), channels
        self._owns = isinstance(file, (str, Path))
        self._file = _open_new(file)
        #: Samples written by now, of each channel.
        self.samples = 0
        #: Whether :meth:`close` was called.
        self.is_closed = False
        self._start = self._file.tell() if self._file.seekable() else None
        self._file.write(self._header(None))

    def write(self, pcm: bytes) -> None:
        """
        Add samples.

        :param pcm: 16-bit little-endian; what is left of an incomplete sample is dropped.
        :raises LocalError: after :meth:`close`.
        """
        if self.is_closed:
            raise LocalError("the WAV file is closed")
        count = len(pcm) // (2 * self.channels)
        pcm = pcm[: 2 * self.channels * count]
        self.samples += count
        self._file.write(pcm if self._codec is None else self._codec.encode(pcm))

    def close(self) -> None:
        """Correct the header; close the file if it was opened here. Idempotent."""
        if self.is_closed:
            return
        self.is_closed = True
        try:
            if self._codec is not None and self.samples * self.channels & 1:
                self._file.write(b"\0")
            if self._start is not None:
                self._file.seek(self._start)
                self._file.write(self._header(self.samples))
                self._file.seek(0, io.SEEK_END)
        finally:
            if self._owns:
                self._file.close()

    def _header(self, samples: int | None) -> bytes:
        """The header of a file of so many samples, or of one that is still being written."""
        bits = 16 if self._codec is None else 8
        width = bits // 8 * self.channels
        size = _UNKNOWN if samples is None else samples * width
        rate = self.rate
        form = pack("<HHIIHH", self._kind, self.channels, rate, rate * width, width, bits)
        if self._codec is not None:
            # Formats other than PCM have the length of an extension (none) and tell the number of
            # samples.
            form += b"\0\0"
        chunks = b"fmt " + pack("<I", len(form)) + form
        if self._codec is not None:
            chunks += b"fact" + pack("<II", 4, _UNKNOWN if samples is None else samples)
        whole = _UNKNOWN if samples is None else 4 + len(chunks) + 8 + size + (size & 1)
        return b"RIFF" + pack("<I", whole) + b"WAVE" + chunks + b"data" + pack("<I", size)


def _open_new(file: str | Path | IO[bytes]) -> IO[bytes]:
    """Open a path for writing; leave an open file as it is."""
    if not isinstance(file, (str, Path)):
        return file
    try:
        return Path(file).open("wb")
    except OSError as error:
        raise WAVError(f"{file}: cannot be written: {error.strerror or error}") from error
