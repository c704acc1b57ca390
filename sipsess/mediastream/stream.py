# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""One media stream: a call's audio and keys over one connection, from ``start`` to ``stop``."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from twisted.internet.defer import Deferred, DeferredList, FirstError

from sipsess.errors import RemoteError

from .link import Link
from .messages import (
    AudioFormat,
    Clear,
    Mark,
    Media,
    MessageWriter,
    ServerMessage,
    Stop,
    read_message,
)
from .playout import Playout

if TYPE_CHECKING:
    from sipsess.call import Call

#: Seconds after which it is asked for a key once more.
_KEY_WAIT = 3600.0
#: Notes in the call's record about messages that were refused.
_MAX_NOTES = 5


class MediaStream:
    """
    The stream.

    :param call: whose audio it is.
    :param link: to the server; the stream closes it.
    :param playout: what the caller is to hear; it may outlive the stream.
    :param writer: of its messages.
    :param audio: the format of the payloads.
    """

    def __init__(
        self, call: Call, link: Link, playout: Playout, writer: MessageWriter, audio: AudioFormat
    ) -> None:
        self._call = call
        self._link = link
        self._playout = playout
        self._writer = writer
        self._audio = audio
        #: Frames that the server did not get, because it did not read.
        self.dropped = 0
        self._refused = 0

    async def run(self, parameters: Mapping[str, str]) -> Stop:
        """
        Carry audio until the server ends the stream.

        :param parameters: what the server is told at the start.
        :return: how it was ended.
        :raises LinkClosed: when the connection is over.
        """
        self._link.send(self._writer.connected())
        self._link.send(self._writer.start(self._audio, parameters))
        try:
            stop: Stop = await until_first(self._hear(), self._read_keys(), self._obey())
            return stop
        finally:
            self._link.send(self._writer.stop())
            self._link.close()
            if self.dropped:
                self._call.session.note("websocket", f"{self.dropped} frames were not read in time")

    async def _hear(self) -> Stop:
        """Send what the caller says, as long as the call lasts; who does not read misses it."""
        began = self._now()
        with self._call.audio_in(self._audio.rate) as source:
            async for frame in source:
                if self._link.is_congested:
                    self.dropped += 1
                    continue
                payload = self._audio.encode(frame)
                self._link.send(self._writer.media(payload, self._now() - began))
        return Stop()

    async def _read_keys(self) -> NoReturn:
        """Send the keys that the caller presses."""
        while True:
            digit = await self._call.read_digits(1, timeout=_KEY_WAIT, terminators="")
            if digit:
                self._link.send(self._writer.dtmf(digit))

    async def _obey(self) -> Stop:
        """Do what the server says; a message that is none is counted, and nothing more."""
        while True:
            text = await self._link.receive()
            try:
                message = read_message(text, self._writer.stream_id)
                if isinstance(message, Stop):
                    return message
                await self._do(message)
            except RemoteError as error:
                self._refuse(error)

    async def _do(self, message: ServerMessage) -> None:
        if isinstance(message, Media):
            # When much waits, the next message is not read before there is room.
            await self._playout.say(message.payload)
        elif isinstance(message, Mark):
            self._playout.mark(partial(self._passed, message.name))
        elif isinstance(message, Clear):
            self._playout.clear()

    def _passed(self, name: str) -> None:
        self._link.send(self._writer.mark(name))

    def _refuse(self, error: RemoteError) -> None:
        session = self._call.session
        session.core.counters.refuse(error.reason_code)
        self._refused += 1
        if self._refused <= _MAX_NOTES:
            session.note("websocket", f"a message was ignored: {error}")

    def _now(self) -> float:
        turn = self._call.session.core.turn
        with turn:
            return turn.now


async def until_first(*coroutines: Coroutine[Any, Any, Any]) -> Any:
    """
    Run coroutines side by side until the first of them returns or raises; cancel the others.

    :return: what the first one returned.
    :raises Exception: what the first one raised.
    """
    running = [Deferred.fromCoroutine(coroutine) for coroutine in coroutines]
    try:
        result: Any = await DeferredList(running, fireOnOneCallback=True, fireOnOneErrback=True)
        return result[0]
    except FirstError as error:
        error.subFailure.raiseException()
    finally:
        for one in running:
            one.addErrback(_forget)
            one.cancel()


def _forget(failure: object) -> None:
    """Let a coroutine that was cancelled go."""
