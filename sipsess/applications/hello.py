# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that says hello, repeats each key that is pressed, and ends with ``#``."""

from __future__ import annotations

from sipsess.application import Application
from sipsess.call import Call

#: Seconds without a key after which the caller has gone away from the telephone.
PATIENCE = 60.0


class HelloApplication(Application):
    """Greets, says each key back, and hangs up at ``#`` or when nothing is pressed for long."""

    name = "hello"

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        await call.ring()
        await call.wait(0.2)
        await call.answer()
        digit = await call.read_digits(1, timeout=PATIENCE, terminators="", prompt="hello")
        while digit and digit != "#":
            await call.say_digits(digit)
            digit = await call.read_digits(1, timeout=PATIENCE, terminators="")
        await call.play("goodbye")
        await call.hangup(digit or "no key was pressed")
