# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The applications of the server under test, for ``twistd sipsess --plugin-dir``."""

from sipsess.application import Application
from sipsess.call import Call


class AnswerApplication(Application):
    """Rings, answers, and waits for the caller to hang up; it does nothing with the audio."""

    name = "answer"

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        await call.ring()
        await call.answer()
        await call.ended


class AlertApplication(Application):
    """Rings, and never answers."""

    name = "alert"

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        await call.ring()
        await call.ended


answer = AnswerApplication()
alert = AlertApplication()
