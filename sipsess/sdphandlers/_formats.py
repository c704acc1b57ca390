# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Which formats of an audio description we speak, and how we describe them.

Calls come with the same few lists of formats again and again; what follows from a list alone is
worked out once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeAlias

from sipsess.media import Codec, find_codec
from sipsess.sdp import AttributeLines, MediaDescription
from sipsess.sdphandler import NegotiationFailed

#: A payload type as SDP writes it, and the encoding name in capitals.
Format: TypeAlias = tuple[str, str]

#: Digits as RTP events (:rfc:`4733`); the numbers are those of 0-9, ``*``, ``#``, A-D.
EVENT = "TELEPHONE-EVENT"
EVENT_CODES = "0-15"

#: The payload types of our own offers.
_NUMBERS = {"PCMU": "0", "PCMA": "8", EVENT: "101"}
#: What is understood: as ``a=rtpmap`` writes it, and its key.
_RTPMAPS = {"PCMU": "PCMU/8000", "PCMA": "PCMA/8000", EVENT: "telephone-event/8000"}
_NAMES = {(name.lower(), 8000, 1): name for name in _RTPMAPS}
#: Seven bits (:rfc:`3550#section-5.1`), less what could be taken for RTCP
#: (:rfc:`5761#section-4`).
_PAYLOAD_TYPES = frozenset({*range(64), *range(96, 128)})
_WRITTEN_PAYLOAD_TYPES = frozenset(map(str, _PAYLOAD_TYPES))
_MAX_DIGITS = 20
#: Lists of formats that are remembered.
_MAX_LISTS = 128


def common_formats(media: MediaDescription) -> list[Format]:
    """
    Return the payload types of an m-line that we understand, in its order.

    :return: number and encoding name (in capitals), the first number of each encoding.
    """
    found: dict[str, str] = {}
    for number in media.formats:
        rtpmap = media.rtpmap(number)
        name = None if rtpmap is None else _NAMES.get(rtpmap.key)
        if name is None or name in found:
            continue
        if number in _WRITTEN_PAYLOAD_TYPES or _is_payload_type(number):
            found[name] = number
    return [(number, name) for name, number in found.items()]


@lru_cache(maxsize=_MAX_LISTS)
def offered(codecs: tuple[str, ...], has_events: bool) -> tuple[Format, ...]:
    """Return what a first offer holds: codecs in their order, and perhaps telephone-event."""
    names = (*codecs, EVENT) if has_events else codecs
    return tuple((_NUMBERS[name], name) for name in names)


def wanted(
    formats: Iterable[Format], codecs: tuple[str, ...], has_events: bool
) -> tuple[Format, ...]:
    """Return those of some formats that are wanted, in their order."""
    return tuple(
        item for item in formats if (has_events if item[1] == EVENT else item[1] in codecs)
    )


def _is_payload_type(number: str) -> bool:
    # Zeros may stand before it, but not so many that it would be too long for a number.
    is_number = number.isascii() and number.isdecimal() and len(number) <= _MAX_DIGITS
    return is_number and int(number) in _PAYLOAD_TYPES


def has_codec(formats: Iterable[Format]) -> bool:
    """Tell whether there is more than telephone-event."""
    return any(name != EVENT for _, name in formats)


@lru_cache(maxsize=_MAX_LISTS)
def choose(theirs: tuple[Format, ...], ours: tuple[Format, ...]) -> tuple[Codec, int, int | None]:
    """
    Return what to send: codec, its number, and the number of telephone-event or ``None``.

    :param theirs: what the peer takes, in his order, with his numbers.
    :param ours: what our own description says.
    :raises NegotiationFailed: when there is no codec in both.
    """
    known = {name for _, name in ours}
    numbers = {name: int(number) for number, name in theirs if name in known}
    event = numbers.pop(EVENT, None)
    for name, number in numbers.items():
        codec = find_codec(name)
        if codec is not None:
            return codec, number, event
    raise NegotiationFailed("the answer has no codec of the offer")


@lru_cache(maxsize=_MAX_LISTS)
def accepted(formats: tuple[Format, ...]) -> Mapping[int, Codec | None]:
    """Return the codec of each payload type, ``None`` for telephone-event; not to be changed."""
    return {int(number): find_codec(name) for number, name in formats}


@lru_cache(maxsize=_MAX_LISTS)
def describe(
    formats: tuple[Format, ...], direction: str, *more: tuple[str, str | None]
) -> AttributeLines:
    """Return the attributes of our m-line, and some more of them."""
    attributes: list[tuple[str, str | None]] = []
    for number, name in formats:
        attributes.append(("rtpmap", f"{number} {_RTPMAPS[name]}"))
        if name == EVENT:
            attributes.append(("fmtp", f"{number} {EVENT_CODES}"))
    return AttributeLines([*attributes, ("ptime", "20"), *more, (direction, None)])
