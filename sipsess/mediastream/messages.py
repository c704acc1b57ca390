# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The messages of a media stream: JSON objects with an ``event``, as telephony services speak them.

To the server::

    {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    {"event": "start", "sequenceNumber": "1", "streamSid": "MZ...", "start": {...}}
    {"event": "media", "sequenceNumber": "2", "streamSid": "MZ...",
     "media": {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": "base64"}}
    {"event": "dtmf", ..., "dtmf": {"track": "inbound_track", "digit": "1"}}
    {"event": "mark", ..., "mark": {"name": "..."}}
    {"event": "stop", ..., "stop": {"accountSid": "...", "callSid": "..."}}

and from it::

    {"event": "media", "streamSid": "MZ...", "media": {"payload": "base64"}}
    {"event": "mark", "streamSid": "MZ...", "mark": {"name": "..."}}
    {"event": "clear", "streamSid": "MZ..."}
    {"event": "stop", "streamSid": "MZ...", "stop": {"route": "..."}}

The last one is ours: the end of the stream, which closing the connection means, too; and with whom
the call goes on, if it does. Numbers are strings; a timestamp counts milliseconds from the
beginning of the stream.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from sipsess.errors import RemoteError
from sipsess.media import PCMU

#: What goes wrong with servers, as it is counted.
REASONS = {
    "agent-lost": "the connection to a voice agent's server was lost within a call",
    "agent-message-broken": "a voice agent's server sent a message that is none of the protocol's",
    "agent-stream-unknown": "a voice agent's server spoke of another stream than the present one",
    "agent-too-many-marks": "a voice agent's server set a mark while too many were waiting",
    "agent-unreachable": "no connection to a voice agent's server could be made",
}

#: Characters of the name of a mark or a route; as many names as marks wait are kept.
MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How audio is written into ``media`` messages; always mono."""

    #: What ``mediaFormat`` says.
    encoding: str
    #: Samples per second.
    rate: int
    #: PCM (16-bit little-endian) to payload, and back; any bytes will do.
    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes], bytes]
    #: Bytes of a second of payload.
    bytes_per_second: int


def _whole(payload: bytes) -> bytes:
    """Return whole samples of L16."""
    return payload[: len(payload) & ~1]


def mulaw() -> AudioFormat:
    """Return the format that every server speaks: G.711 mu-law."""
    return AudioFormat("audio/x-mulaw", 8000, PCMU.encode, PCMU.decode, 8000)


def l16(rate: int) -> AudioFormat:
    """Return PCM as it is, which here, unlike in RTP, is little-endian."""
    return AudioFormat("audio/x-l16", rate, _whole, _whole, 2 * rate)


@dataclass(frozen=True, slots=True)
class Media:
    """Audio to be heard."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """Something to be told when all audio before it was heard."""

    name: str


@dataclass(frozen=True, slots=True)
class Clear:
    """Drop the audio that waits."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The stream is over."""

    #: The user whose route the call goes on with, if any.
    route: str = ""


ServerMessage: TypeAlias = Media | Mark | Clear | Stop


class MessageWriter:
    """
    Writes the messages of one stream, and numbers them.

    :param stream_id: of the stream.
    :param call_id: of the call.
    :param account: whose call it is.
    """

    def __init__(self, stream_id: str, call_id: str, account: str) -> None:
        self.stream_id = stream_id
        self._call = {"accountSid": account, "callSid": call_id}
        self._number = 0
        self._chunk = 0

    def connected(self) -> str:
        """The first message of a connection; it has no number."""
        return _write({"event": "connected", "protocol": "Call", "version": "1.0.0"})

    def start(self, audio: AudioFormat, parameters: Mapping[str, str]) -> str:
        """The beginning of the stream."""
        media = {"encoding": audio.encoding, "sampleRate": audio.rate, "channels": 1}
        start = {
            "streamSid": self.stream_id,
            **self._call,
            "tracks": ["inbound"],
            "mediaFormat": media,
            "customParameters": dict(parameters),
        }
        return self._numbered("start", start)

    def media(self, payload: bytes, seconds: float) -> str:
        """
        A frame of audio.

        :param seconds: since the beginning of the stream.
        """
        self._chunk += 1
        return self._numbered(
            "media",
            {
                "track": "inbound",
                "chunk": str(self._chunk),
                "timestamp": str(round(seconds * 1000)),
                "payload": base64.b64encode(payload).decode("ascii"),
            },
        )

    def dtmf(self, digit: str) -> str:
        """A key was pressed."""
        return self._numbered("dtmf", {"track": "inbound_track", "digit": digit})

    def mark(self, name: str) -> str:
        """All audio before a mark was heard, or dropped."""
        return self._numbered("mark", {"name": name})

    def stop(self) -> str:
        """The end of the stream."""
        return self._numbered("stop", self._call)

    def _numbered(self, event: str, content: Mapping[str, Any]) -> str:
        self._number += 1
        return _write(
            {
                "event": event,
                "sequenceNumber": str(self._number),
                "streamSid": self.stream_id,
                event: content,
            }
        )


def read_message(text: str, stream_id: str) -> ServerMessage:
    """
    Read a message of the server.

    :param stream_id: of the present stream; a message need not name it.
    :raises RemoteError: when it is none, or of another stream.
    """
    try:
        # A RecursionError is that of many brackets.
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise _broken("it is no JSON object")
    if message.get("streamSid", stream_id) != stream_id:
        raise RemoteError("agent-stream-unknown", "it is of another stream")
    event = message.get("event")
    if event == "media":
        return Media(_read_payload(message))
    if event == "mark":
        return Mark(_read_name(message, "mark", "name"))
    if event == "clear":
        return Clear()
    if event == "stop":
        return Stop(_read_name(message, "stop", "route")) if "stop" in message else Stop()
    raise _broken("its event is none of media, mark, clear and stop")


def _read_payload(message: Mapping[str, Any]) -> bytes:
    try:
        return base64.b64decode(_read(message, "media", "payload"), validate=True)
    except ValueError:
        raise _broken("its payload is no base64") from None


def _read_name(message: Mapping[str, Any], event: str, key: str) -> str:
    name = _read(message, event, key)
    if len(name) > MAX_NAME:
        raise _broken(f"{event}.{key} is at most {MAX_NAME} characters")
    return name


def _read(message: Mapping[str, Any], event: str, key: str) -> str:
    """Return a string of the object that is named like the event."""
    content = message.get(event)
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, str):
        raise _broken(f"it has no string {event}.{key}")
    return value


def _broken(text: str) -> RemoteError:
    return RemoteError("agent-message-broken", text)


def _write(message: Mapping[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))
