# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that lets a voice agent speak: audio to and from a WebSocket server."""

from __future__ import annotations

from zope.interface import implementer

from sipsess.application import Application, Reject
from sipsess.call import Call
from sipsess.errors import TransportError
from sipsess.interfaces import IApplication, IConfigurableApplication
from sipsess.mediastream import Connector, Conversation

from .handover import find_route
from .websocket_options import WebSocketOptions

#: Agents that may have a call one after the other, so that two do not pass it to and fro for ever.
MAX_AGENTS = 20


@implementer(IConfigurableApplication)
class WebSocketApplication(Application):
    """
    Connects, answers, and lets the two speak until one of them ends it.

    :param connector: opens connections; without one there is nobody to speak with.
    :param how: the options.
    """

    name = "websocket"
    options = WebSocketOptions

    def __init__(
        self, connector: Connector | None = None, how: WebSocketOptions | None = None
    ) -> None:
        self.connector = connector
        self.how = how or WebSocketOptions()

    def with_options(self, options: WebSocketOptions) -> WebSocketApplication:
        """See :meth:`.IConfigurableApplication.with_options`."""
        if self.connector is None:
            raise ValueError("nothing here connects to servers")
        options.check(self.connector)
        return type(self)(self.connector, options)

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        agent = self
        for _ in range(MAX_AGENTS):
            found = await agent.speak(call)
            if not isinstance(found, WebSocketApplication):
                break
            agent = found
        else:
            raise Reject(482)
        if found is not None:
            await found.handle(call)

    async def speak(self, call: Call) -> IApplication | None:
        """Let the agent speak; return who goes on with the call, if anybody does."""
        if self.connector is None or not self.how.url:
            raise Reject(404)
        conversation = Conversation(call, self.connector, self.how.agent_for(call))
        try:
            await conversation.open()
            if not call.is_answered:
                await call.answer()
            route = await conversation.run()
        except TransportError:
            raise Reject(480, "Agent Unreachable") from None
        finally:
            conversation.close()
        if not route:
            return None
        found = find_route(call, route)
        call.session.note("websocket", f"{'on' if found else 'no route'} to {route}")
        return found
