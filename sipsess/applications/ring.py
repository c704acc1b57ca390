# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that lets the caller wait, as a telephone on a desk does."""

from __future__ import annotations

from sipsess.application import Application
from sipsess.call import Call


class RingApplication(Application):
    """
    Rings, answers after some seconds, and echoes.

    :param seconds: for how long it rings.
    """

    name = "ring"

    def __init__(self, seconds: float = 3.0) -> None:
        self.seconds = seconds

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        await call.ring()
        await call.wait(self.seconds)
        await call.answer()
        await call.echo()
