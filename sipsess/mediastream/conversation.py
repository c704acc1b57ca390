# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A call with a voice agent: one stream, and others after it when connections are lost.

A connection that is lost while the call stands is opened again: at once, then after 1, 2, 4 and 8
seconds. The agent gets a new stream of the same call; what the caller says meanwhile is not kept,
what waits for him is heard. When the server closes with 1000, or sends ``stop``, its part is over
as soon as what waits was heard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sipsess.errors import ConnectFailed, TransportError

from .link import NORMAL, Connector, Link, LinkClosed, LinkTarget
from .messages import AudioFormat, MessageWriter, Stop
from .playout import Playout
from .stream import MediaStream, until_first

if TYPE_CHECKING:
    from sipsess.call import Call

#: Seconds before each attempt to connect again, the last one for all that follow.
DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0)
#: Seconds after which a connection has proven itself: losing it begins the attempts anew.
PROVEN = 30.0


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent and how it is spoken with."""

    #: Where it is.
    target: LinkTarget
    #: How audio is written.
    audio: AudioFormat
    #: What it is told at the start.
    parameters: Mapping[str, str] = field(default_factory=dict)
    #: How often in a row to connect again.
    attempts: int = 3
    #: What ``accountSid`` says.
    account: str = "sipsess"


class Conversation:
    """
    The conversation.

    :param call: with whom.
    :param connector: opens the connections.
    :param agent: what is at their other end.
    """

    def __init__(self, call: Call, connector: Connector, agent: Agent) -> None:
        self._call = call
        self._connector = connector
        self._agent = agent
        self._link: Link | None = None

    async def open(self) -> None:
        """
        Connect; the call need not be answered yet.

        :raises ConnectFailed: when the agent cannot be reached.
        """
        try:
            self._link = await self._connector.connect(self._agent.target)
        except ConnectFailed as error:
            url = self._agent.target.url
            self._call.session.note("websocket", f"no connection to {url}: {error}")
            self._call.session.core.counters.refuse("agent-unreachable")
            raise

    def close(self) -> None:
        """Let go of a connection that has no stream."""
        if self._link is not None:
            self._link.close()

    async def run(self) -> str:
        """
        Speak with the agent until it is done; the call is answered.

        :return: the user whose route the call goes on with, or nothing.
        :raises TransportError: when the agent is lost.
        """
        audio = self._agent.audio
        playout = Playout(self._call.audio_out(audio.rate), audio)
        route: str = await until_first(playout.run(), self._talk(playout))
        return route

    async def _talk(self, playout: Playout) -> str:
        failures, stop = 0, Stop()
        while True:
            began = self._now()
            try:
                stop = await self._stream(playout)
                break
            except LinkClosed as error:
                session = self._call.session
                if error.code == NORMAL:
                    session.note("websocket", "the server has closed the stream")
                    break
                session.note("websocket", f"lost: {error}")
                session.core.counters.refuse("agent-lost")
                if self._now() - began >= PROVEN:
                    failures = 0
                failures = await self._connect_again(failures, error)
        await playout.finish()
        return stop.route

    async def _stream(self, playout: Playout) -> Stop:
        """Let one stream run over the present connection."""
        agent, call = self._agent, self._call
        link, self._link = self._link, None
        assert link is not None
        number = call.session.core.ids.random.getrandbits(128)
        writer = MessageWriter(f"MZ{number:032x}", call.session.call_id, agent.account)
        call.session.note("websocket", f"stream {writer.stream_id} to {agent.target.url}")
        return await MediaStream(call, link, playout, writer, agent.audio).run(agent.parameters)

    async def _connect_again(self, failures: int, error: TransportError) -> int:
        """
        Connect again; return how many attempts were made in a row by now.

        :param failures: those before.
        :param error: is raised when there have been enough.
        """
        while failures < self._agent.attempts:
            await self._call.wait(DELAYS[min(failures, len(DELAYS) - 1)])
            failures += 1
            try:
                await self.open()
                return failures
            except ConnectFailed as failed:
                error = failed
        raise error

    def _now(self) -> float:
        turn = self._call.session.core.turn
        with turn:
            return turn.now
