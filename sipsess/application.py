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

from sipsess.interfaces import IApplication
from sipsess.supplement import Reject

if TYPE_CHECKING:
    from sipsess.call import Call

__all__ = ["Application", "Reject"]


@implementer(IPlugin, IApplication)
class Application:
    """The base class of applications."""

    #: Unique; the user part of a Request-URI that equals it chooses the application.
    name: str = ""

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        raise Reject(480)
