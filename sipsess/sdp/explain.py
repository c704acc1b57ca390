# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Say in plain words what each line of a session description means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sipsess.sdp.description import MediaDescription
from sipsess.sdp.values import (
    STATIC_PAYLOAD_TYPES,
    Connection,
    MediaLine,
    Origin,
    RTPMap,
    split_fields,
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """One line of a body, made printable, and what it means."""

    line_number: int
    line: str
    meaning: str


#: What the types mean whose values explain themselves.
_TYPES: dict[str, str] = {
    "v": "The version of SDP; there is only 0.",
    "s": "The name of the session.",
    "i": "A description for people.",
    "u": "A web page about the session.",
    "e": "An e-mail address of who is responsible.",
    "p": "A phone number of who is responsible.",
    "r": "How the session repeats.",
    "z": "How the clocks of the time zone change during the repeats.",
    "k": "A key in clear text; obsolete and unsafe.",
}

#: What attributes mean that need no look at their value.
_ATTRIBUTES: dict[str, str] = {
    "sendrecv": "The sender of this description sends and receives.",
    "sendonly": "The sender of this description only sends: hold, or an announcement.",
    "recvonly": "The sender of this description only receives.",
    "inactive": "Nobody sends; the stream is on hold.",
    "ptime": "The wanted length of a packet, in milliseconds.",
    "maxptime": "The greatest length of a packet, in milliseconds.",
    "mid": "The name of this stream, for a=group.",
    "group": "Streams that belong together; BUNDLE shares one port.",
    "msid": "Which media stream and track of a browser this is.",
    "msid-semantic": "How the a=msid lines are meant.",
    "label": "A name of this stream, for other protocols.",
    "content": "What the stream shows: the speaker, slides...",
    "lang": "The language of the stream.",
    "rtcp": "The port, and perhaps the address, for RTCP.",
    "rtcp-mux": "RTP and RTCP share one port.",
    "rtcp-rsize": "RTCP packets may be short ones.",
    "rtcp-fb": "Feedback about the stream that is understood.",
    "rtcp-xr": "Extended RTCP reports that are wanted.",
    "extmap": "A header extension of RTP and its number.",
    "ssrc": "A source of RTP and a property of it.",
    "ssrc-group": "Sources of RTP that belong together.",
    "rid": "One encoding of a stream that is sent in several.",
    "simulcast": "The encodings in which the stream is sent.",
    "crypto": "A key for SRTP (SDES); keep it secret.",
    "fingerprint": "The hash of the certificate for DTLS.",
    "setup": "Who opens the connection, or begins DTLS.",
    "connection": "Whether a connection is new or goes on.",
    "tls-id": "Which DTLS association this is.",
    "ice-ufrag": "The user name for ICE.",
    "ice-pwd": "The password for ICE.",
    "ice-options": "What ICE can do besides.",
    "ice-lite": "ICE by one with a public address, which only answers checks.",
    "candidate": "An address that ICE may try.",
    "end-of-candidates": "ICE has no more addresses to come.",
    "remote-candidates": "The addresses of the other side that ICE chose.",
    "silenceSupp": "Whether silence is suppressed.",
    "framerate": "The greatest number of pictures in a second.",
    "imageattr": "Sizes of pictures that are understood.",
    "sctp-port": "The SCTP port of the data channel.",
    "max-message-size": "The greatest message of the data channel, in bytes.",
    "path": "The MSRP address to send messages to.",
    "accept-types": "The content types that are accepted.",
    "tool": "The program that made this description.",
    "charset": "The character set of the texts.",
    "direction": "Who opens the connection; an old form of a=setup.",
    "key-mgmt": "The exchange of keys (MIKEY).",
    "curr": "The present state of a precondition.",
    "des": "The desired state of a precondition.",
    "conf": "A confirmation of a precondition that is asked for.",
    "bundle-only": "The stream exists only together with its group.",
    "floorctrl": "The role in floor control (BFCP).",
}


def printable(text: str) -> str:
    """
    Return ``text`` with everything that a terminal would act on, or cannot show, written as an
    escape.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def explain_rows(rows: Sequence[str], media: Sequence[MediaDescription]) -> list[Explanation]:
    """
    Explain the lines of a body; blank ones at its end are left out.

    :param rows: the lines, as :func:`sipsess.sdp.parser.split_lines` gives them; they may be wrong.
    :param media: the m= lines that could be read, in order, so that formats get their names.
    """
    result = []
    index = -1
    for number, row in enumerate(rows, 1):
        if row[:2] == "m=":
            index += 1
        present = media[index] if 0 <= index < len(media) else None
        meaning = _explain(row, present) if row.strip(" \t") else "A blank line; it is skipped."
        result.append(Explanation(number, printable(row), printable(meaning)))
    while result and not result[-1].line.strip(" "):
        result.pop()
    return result


def _explain(row: str, media: MediaDescription | None) -> str:
    kind, value = row[:1], row[2:].rstrip(" \t")
    try:
        explain = _EXPLAINERS.get(kind)
        if explain is not None:
            return explain(value, media)
    except ValueError as error:
        return f"Cannot be read: {error}."
    return _TYPES.get(kind, "Not a type of RFC 8866.")


def _explain_origin(value: str, media: MediaDescription | None) -> str:
    origin = Origin.parse(value)
    who = "" if origin.username == "-" else f" by {origin.username}"
    return f"Made{who} at {origin.address}: session {origin.session_id}, version {origin.version}."


def _explain_connection(value: str, media: MediaDescription | None) -> str:
    connection = Connection.parse(value)
    if connection.is_black_hole:
        return "Send nothing: an old way of putting a stream on hold."
    if connection.ttl is not None or connection.count > 1:
        return f"Multicast: {connection.count} group(s) from {connection.address} on."
    return f"Send media to {connection.address}."


def _explain_bandwidth(value: str, media: MediaDescription | None) -> str:
    name, _, number = value.partition(":")
    unit = {"AS": "kbit/s", "CT": "kbit/s", "TIAS": "bit/s", "RS": "bit/s", "RR": "bit/s"}
    return f"The bandwidth {name} is {number} {unit.get(name, '(unit unknown)')}."


def _explain_time(value: str, media: MediaDescription | None) -> str:
    if value == "0 0":
        return "The session has no fixed time."
    return "When the session begins and ends, in seconds since 1900."


def _explain_media(value: str, media: MediaDescription | None) -> str:
    line = MediaLine.parse(value)
    if not line.port:
        return f"Stream {line.media}, declined or ended: its port is 0."
    ports = f"port {line.port}"
    if line.port_count > 1:
        ports = f"{line.port_count} ports from {line.port} on"
    names = [_format_name(name, media) for name in line.formats]
    return f"Stream {line.media} to {ports} by {line.proto}; best first: {', '.join(names)}."


def _format_name(name: str, media: MediaDescription | None) -> str:
    rtpmap = None if media is None else media.rtpmap(name)
    return name if rtpmap is None else f"{rtpmap.encoding} ({name})"


def _explain_attribute(value: str, media: MediaDescription | None) -> str:
    name, _, text = value.partition(":")
    if name == "rtpmap":
        return _explain_rtpmap(text.strip(" "))
    if name == "fmtp":
        number, _, parameters = text.strip(" ").partition(" ")
        return f"Parameters of {_format_name(number, media)}: {parameters.strip(' ')}."
    return _ATTRIBUTES.get(name, "An attribute that we do not know; it is kept.")


def _explain_rtpmap(text: str) -> str:
    number, *rest = split_fields(text)
    rtpmap = RTPMap.parse(" ".join(rest))
    channels = f", {rtpmap.channels} channels" if rtpmap.channels > 1 else ""
    hint = " It is so without this line, too." if number in STATIC_PAYLOAD_TYPES else ""
    return f"Payload type {number} is {rtpmap.encoding}, {rtpmap.clock_rate} Hz{channels}.{hint}"


_EXPLAINERS: dict[str, Callable[[str, MediaDescription | None], str]] = {
    "o": _explain_origin,
    "c": _explain_connection,
    "b": _explain_bandwidth,
    "t": _explain_time,
    "m": _explain_media,
    "a": _explain_attribute,
}
