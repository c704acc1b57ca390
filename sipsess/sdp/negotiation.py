# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What offerer and answerer compute: directions, common formats, whole offers and answers
(:rfc:`3264`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from sipsess.sdp.description import MediaDescription, SessionDescription
from sipsess.sdp.errors import LocalSDPError
from sipsess.sdp.values import Connection, Origin

#: A format that somebody supports: encoding name, clock rate in Hz, channels, and the parameters
#: that the offer must name (``"packetization-mode=1"``), or ``None`` when any will do.
SupportedFormat = tuple[str, int, int, str | None]

#: The t= lines of a session that may happen at any time.
_UNBOUNDED = ("0 0",)

#: Offered direction to wanted direction to the direction of the answer (:rfc:`3264#section-6.1`): a
#: stream offered sendonly is answered recvonly or inactive, and so on; never more than was offered.
ANSWER_DIRECTIONS: dict[str, dict[str, str]] = {
    "sendrecv": {
        "sendrecv": "sendrecv",
        "sendonly": "sendonly",
        "recvonly": "recvonly",
        "inactive": "inactive",
    },
    "sendonly": {
        "sendrecv": "recvonly",
        "sendonly": "inactive",
        "recvonly": "recvonly",
        "inactive": "inactive",
    },
    "recvonly": {
        "sendrecv": "sendonly",
        "sendonly": "sendonly",
        "recvonly": "inactive",
        "inactive": "inactive",
    },
    "inactive": {
        "sendrecv": "inactive",
        "sendonly": "inactive",
        "recvonly": "inactive",
        "inactive": "inactive",
    },
}


def answer_direction(offered: str, wanted: str) -> str:
    """
    Return the direction to answer with, seen by the answerer.

    :param offered: the direction in the offer, seen by the offerer.
    :param wanted: what the answerer would like, seen by itself.
    :raises KeyError: when one of them is no direction.
    """
    return ANSWER_DIRECTIONS[offered][wanted]


def negotiate_formats(
    offered: MediaDescription, supported: Sequence[SupportedFormat]
) -> list[tuple[str, SupportedFormat]]:
    """
    Return the common formats with the entry that each matches, in the offerer's order
    (:rfc:`3264#section-6.1`).

    Encoding names do not know case. Formats that are no RTP payload types, such as ``t38``, match
    an entry of that name with clock rate 0 and one channel. A format named twice counts once.
    """
    by_codec = _by_codec(tuple(supported))
    result = []
    for name in dict.fromkeys(offered.formats):
        rtpmap = offered.rtpmap(name)
        key = (name.lower(), 0, 1) if rtpmap is None else rtpmap.key
        for entry in by_codec.get(key, ()):
            if entry[3] is None or _has_parameters(offered.fmtp(name), entry[3]):
                result.append((name, entry))
                break
    return result


@lru_cache(maxsize=64)
def _by_codec(
    supported: tuple[SupportedFormat, ...],
) -> dict[tuple[str, int, int], list[SupportedFormat]]:
    by_codec: dict[tuple[str, int, int], list[SupportedFormat]] = {}
    for entry in supported:
        by_codec.setdefault((entry[0].lower(), entry[1], entry[2]), []).append(entry)
    return by_codec


def read_parameters(text: str | None) -> dict[str, str]:
    """
    Return the parameters of an fmtp value, ``mode=20;cng`` as ``{"mode": "20", "cng": ""}``; names
    in lower case.
    """
    result: dict[str, str] = {}
    for item in (text or "").split(";"):
        name, _, value = item.partition("=")
        if name.strip():
            result.setdefault(name.strip().lower(), value.strip())
    return result


def _has_parameters(offered: str | None, needed: str) -> bool:
    return read_parameters(needed).items() <= read_parameters(offered).items()


def build_offer(
    media: Iterable[MediaDescription],
    origin_host: str,
    attributes: Iterable[tuple[str, str | None]] = (),
) -> SessionDescription:
    """
    Make an offer, to be given to :meth:`OfferAnswer.send_offer`, which stamps its o= line.

    :param origin_host: the address for o= and for the session's c= line.
    :param attributes: of the session.
    """
    return _complete(_usual_session(origin_host).with_media(media), attributes)


def _complete(
    description: SessionDescription, attributes: Iterable[tuple[str, str | None]]
) -> SessionDescription:
    for name, value in attributes:
        description.attributes.add(name, value)
    return description


def _session(host: str, timing: Iterable[str] = _UNBOUNDED) -> SessionDescription:
    """Return a description of ours without media."""
    return SessionDescription.build(
        Origin.build(host), connection=Connection.build(host), timing=timing
    )


#: The same for those of nearly all calls, which are not to be changed.
_usual_session = lru_cache(maxsize=64)(_session)


def build_answer(
    offer: SessionDescription,
    answered: Sequence[MediaDescription | None],
    origin_host: str,
    attributes: Iterable[tuple[str, str | None]] = (),
) -> SessionDescription:
    """
    Make an answer, to be given to :meth:`OfferAnswer.send_answer`, which stamps its o= line.

    :param answered: one for each m= line of the offer, in its order; ``None`` declines with port 0.
        What was offered with port 0 stays declined whatever stands here (:rfc:`3264#section-6`).
    :param origin_host: the address for o= and for the session's c= line.
    :param attributes: of the session.
    :raises LocalSDPError: when ``answered`` has another number of items, or another media type in
        one.
    """
    if len(answered) != len(offer.media):
        raise LocalSDPError(f"{len(offer.media)} m= lines are offered, {len(answered)} answered")
    media = []
    for offered, item in zip(offer.media, answered, strict=True):
        if item is None or offered.is_declined:
            media.append(MediaDescription.declined(offered))
        elif item.media != offered.media:
            raise LocalSDPError(f"{offered.media} is offered, {item.media} answered")
        else:
            media.append(item)
    # RFC 3264 6: the t= line of an answer equals that of its offer.
    timing = tuple(offer.head.values("t")) or _UNBOUNDED
    is_usual = timing == _UNBOUNDED
    session = _usual_session(origin_host) if is_usual else _session(origin_host, timing)
    return _complete(session.with_media(media), attributes)
