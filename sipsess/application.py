# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What an application's author imports: one coroutine per call.

::

    from sipsess.application import Application

    class Greeter(Application):
        name = "greeter"

        async def handle(self, call):
            await call.answer()
            await call.play("welcome.wav")

    greeter = Greeter()

When the caller hangs up, ``handle`` is cancelled where it waits; when ``handle`` returns, the call
is hung up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.plugin import IPlugin
from zope.interface import implementer

from sipsess.interfaces import IApplication, ICallEvents
from sipsess.supplement import Reject, RequestVerdict, ResponseVerdict, Verdict

if TYPE_CHECKING:
    from sipsess.call import Call
    from sipsess.message import Request, Response
    from sipsess.sdp import SessionDescription

__all__ = ["Application", "CallEvents", "Reject", "Verdict"]


@implementer(IPlugin, IApplication)
class Application:
    """The base class of applications."""

    #: Unique; the user part of a Request-URI that equals it chooses the application.
    name: str = ""

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        raise Reject(480)


@implementer(ICallEvents)
class CallEvents:
    """
    The base class, besides :class:`Application`, of those who hear what comes within their calls.
    """

    def on_offer(self, call: Call, request: Request, offer: SessionDescription) -> RequestVerdict:
        """See :meth:`.ICallEvents.on_offer`."""
        return None

    def on_request(self, call: Call, request: Request) -> RequestVerdict:
        """See :meth:`.ICallEvents.on_request`."""
        return None

    def on_response(self, call: Call, response: Response) -> ResponseVerdict:
        """See :meth:`.ICallEvents.on_response`."""
        return None

    def on_provisional(self, call: Call, response: Response) -> Verdict | None:
        """See :meth:`.ICallEvents.on_provisional`."""
        return None
