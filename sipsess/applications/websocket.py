# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that lets a voice agent speak: audio to and from a WebSocket server."""

from __future__ import annotations

from zope.interface import implementer

from sipsess.application import Application, Reject
from sipsess.call import Call
from sipsess.errors import TransportError
from sipsess.interfaces import IConfigurableApplication
from sipsess.mediastream import Connector, Conversation

from .websocket_options import WebSocketOptions


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
        if self.connector is None or not self.how.url:
            raise Reject(404)
        conversation = Conversation(call, self.connector, self.how.agent_for(call))
        try:
            await conversation.open()
            if not call.is_answered:
                await call.answer()
            await conversation.run()
        except TransportError:
            raise Reject(480, "Agent Unreachable") from None
        finally:
            conversation.close()
