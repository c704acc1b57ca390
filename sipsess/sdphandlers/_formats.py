# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Which formats of an audio description we speak, and how we describe them.

Calls come with the same few lists of formats again and again; what follows from a list alone is
worked out once.

Digits as RTP events (:rfc:`4733`) count with the clock of the audio beside them (its section 2.1):
with PCMU and Opus there are events at 8 kHz and at 48 kHz, and the codec that is spoken says which
are sent. Many telephones know those at 8 kHz only, whatever the audio; they are understood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from sipsess.errors import LocalError
from sipsess.media import Codec
from sipsess.media.codec import CodecKey
from sipsess.sdp import AttributeLines, MediaDescription
from sipsess.sdphandler import NegotiationFailed

#: What digits as RTP events are called.
EVENT = "telephone-event"
#: Those that we take and send: 0-9, ``*``, ``#``, A-D.
EVENT_CODES = "0-15"
#: Their usual clock and number.
_EVENT_CLOCK = 8000
_EVENT_NUMBER = 101

#: Seven bits (:rfc:`3550#section-5.1`), less what could be taken for RTCP
#: (:rfc:`5761#section-4`).
_PAYLOAD_TYPES = frozenset({*range(64), *range(96, 128)})
_WRITTEN_PAYLOAD_TYPES = frozenset(map(str, _PAYLOAD_TYPES))
#: Those that have no meaning of their own (:rfc:`3551#section-3`).
_DYNAMIC = range(96, 128)
_MAX_DIGITS = 20
#: Characters of ``a=fmtp`` that are read; no codec of ours has so many.
_MAX_FMTP = 256
#: Formats of an offer, and characters of each, that a refusal names.
_MAX_SHOWN = 8
_MAX_NAME = 24
#: Lists of formats that are remembered.
_MAX_LISTS = 128


class Format(NamedTuple):
    """One payload type of a description."""

    #: As SDP writes it.
    number: str
    #: What it is; for telephone-event a codec that encodes nothing.
    codec: Codec
    #: The parameters that the description gives it, empty for none.
    fmtp: str = ""

    @property
    def is_event(self) -> bool:
        """Whether it carries digits, not audio."""
        return self.codec.encoding == EVENT


class Choice(NamedTuple):
    """What is sent."""

    codec: Codec
    #: The payload type of the codec.
    number: int
    #: The parameters that the peer gives it.
    fmtp: str
    #: The payload type of telephone-event, or ``None``, and the clock that it counts with.
    event: int | None
    event_clock: int


class Spoken:
    """
    What an endpoint speaks.

    :param codecs: in the order of our offers.
    :param has_events: whether digits are RTP events.
    """

    __slots__ = ("codecs", "has_events", "known")

    def __init__(self, codecs: tuple[Codec, ...], *, has_events: bool) -> None:
        #: The codecs, in the order of our offers.
        self.codecs = codecs
        #: Whether digits are RTP events.
        self.has_events = has_events
        events = map(event_codec, {_EVENT_CLOCK, *(codec.clock_rate for codec in codecs)})
        #: What is understood, by what ``a=rtpmap`` says.
        self.known: Mapping[CodecKey, Codec] = {
            codec.key: codec for codec in (*codecs, *(events if has_events else ()))
        }

    def offer(self) -> tuple[Format, ...]:
        """
        Return what a first offer holds.

        :raises NegotiationFailed: when no codec is left that could be spoken.
        """
        if not self.codecs:
            raise NegotiationFailed("no codec of the endpoint can be spoken here")
        free = iter([number for number in _DYNAMIC if number != _EVENT_NUMBER])
        numbers = [
            (next(free) if codec.payload_type is None else codec.payload_type, codec)
            for codec in self.codecs
        ]
        clocks = sorted({codec.clock_rate for codec in self.codecs}) if self.has_events else ()
        for clock in clocks:
            number = _EVENT_NUMBER if clock == _EVENT_CLOCK else next(free)
            numbers.append((number, event_codec(clock)))
        return tuple(Format(str(number), codec, codec.fmtp) for number, codec in numbers)


@lru_cache(maxsize=_MAX_LISTS)
def event_codec(clock_rate: int) -> Codec:
    """Return telephone-event with a clock: always the same one."""
    return Codec(EVENT, clock_rate, fmtp=EVENT_CODES)


@lru_cache(maxsize=_MAX_LISTS)
def spoken(codecs: tuple[Codec, ...], names: tuple[str, ...], has_events: bool) -> Spoken:
    """
    Return what an endpoint speaks: of all codecs those that it names and that are installed.

    :param names: the codecs of the endpoint.
    :raises LocalError: when one is known to nobody.
    """
    by_name = {codec.name: codec for codec in codecs}
    for name in names:
        if name not in by_name:
            raise LocalError(f"there is no codec {name!r}; there are: {', '.join(by_name)}")
    usable = [by_name[name] for name in names if not by_name[name].missing]
    return Spoken(tuple(usable), has_events=has_events)


def common_formats(media: MediaDescription, speaks: Spoken) -> list[Format]:
    """
    Return the payload types of an m-line that we understand, in its order.

    :return: the first number of each codec.
    """
    found: dict[Codec, Format] = {}
    for number in media.formats:
        rtpmap = media.rtpmap(number)
        codec = None if rtpmap is None else speaks.known.get(rtpmap.key)
        if codec is None or codec in found:
            continue
        if number in _WRITTEN_PAYLOAD_TYPES or _is_payload_type(number):
            fmtp = media.fmtp(number) or ""
            found[codec] = Format(number, codec, fmtp if len(fmtp) <= _MAX_FMTP else "")
    return list(found.values())


def no_common_codec(media: MediaDescription, speaks: Spoken) -> str:
    """Say what is offered, and what is spoken instead; for people on both sides."""
    shown = media.formats[:_MAX_SHOWN]
    offered = [str(media.rtpmap(number) or number)[:_MAX_NAME] for number in shown]
    more = ["..."] if len(media.formats) > _MAX_SHOWN else []
    spoken = [codec.name for codec in speaks.codecs] or ["none"]
    return (
        f"no codec in common: offered are {', '.join([*offered, *more])}; "
        f"spoken are {', '.join(spoken)}"
    )


@lru_cache(maxsize=_MAX_LISTS)
def answered(offered: tuple[Format, ...]) -> tuple[Format, ...]:
    """
    Return what our answer holds: what we speak as it is offered, with our own parameters.

    Events are left out whose clock is no codec's, unless the peer knows no others.
    """
    answers = ((item, item.codec.answer_fmtp(item.fmtp)) for item in offered)
    spoken = [item._replace(fmtp=fmtp) for item, fmtp in answers if fmtp is not None]
    clocks = {item.codec.clock_rate for item in spoken if not item.is_event}
    has_fitting = any(item.is_event and item.codec.clock_rate in clocks for item in spoken)
    return tuple(
        item
        for item in spoken
        if not (item.is_event and has_fitting) or item.codec.clock_rate in clocks
    )


def _is_payload_type(number: str) -> bool:
    # Zeros may stand before it, but not so many that it would be too long for a number.
    is_number = number.isascii() and number.isdecimal() and len(number) <= _MAX_DIGITS
    return is_number and int(number) in _PAYLOAD_TYPES


def has_codec(formats: Iterable[Format]) -> bool:
    """Tell whether there is more than telephone-event."""
    return any(not item.is_event for item in formats)


@lru_cache(maxsize=_MAX_LISTS)
def choose(theirs: tuple[Format, ...], ours: tuple[Format, ...]) -> Choice:
    """
    Return what to send.

    :param theirs: what the peer takes, in his order, with his numbers.
    :param ours: what our own description says.
    :raises NegotiationFailed: when there is no codec in both.
    """
    known = {item.codec for item in ours}
    common = [item for item in theirs if item.codec in known]
    events = [item for item in common if item.is_event]
    for item in common:
        if item.is_event:
            continue
        clock = item.codec.clock_rate
        fitting = [event for event in events if event.codec.clock_rate == clock]
        event = next(iter(fitting or events), None)
        return Choice(
            item.codec,
            int(item.number),
            item.fmtp,
            None if event is None else int(event.number),
            clock if event is None else event.codec.clock_rate,
        )
    raise NegotiationFailed("the answer has no codec of the offer")


@lru_cache(maxsize=_MAX_LISTS)
def accepted(formats: tuple[Format, ...]) -> Mapping[int, Codec | None]:
    """Return the codec of each payload type, ``None`` for telephone-event; not to be changed."""
    return {int(item.number): None if item.is_event else item.codec for item in formats}


@lru_cache(maxsize=_MAX_LISTS)
def describe(
    formats: tuple[Format, ...], direction: str, *more: tuple[str, str | None]
) -> AttributeLines:
    """Return the attributes of our m-line, and some more of them."""
    attributes: list[tuple[str, str | None]] = []
    for item in formats:
        attributes.append(("rtpmap", f"{item.number} {item.codec.rtpmap}"))
        if item.fmtp:
            attributes.append(("fmtp", f"{item.number} {item.fmtp}"))
    return AttributeLines([*attributes, ("ptime", "20"), *more, (direction, None)])
