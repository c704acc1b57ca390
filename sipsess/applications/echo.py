# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that sends back what it hears: audio and keys."""

from __future__ import annotations

from sipsess.application import Application
from sipsess.call import Call


class EchoApplication(Application):
    """Answers at once and echoes until the caller hangs up."""

    name = "echo"

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        if not call.is_answered:
            await call.answer()
        await call.echo()
