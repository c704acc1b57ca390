# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that is heard before it answers: early media."""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from sipsess.application import Application
from sipsess.call import Call
from sipsess.interfaces import IConfigurableApplication
from sipsess.session.incoming import SETUP_LIMIT

#: The tone of a telephone that rings: 440 and 480 Hz, one second of three.
RINGING = (440.0, 480.0)


@dataclass(frozen=True, slots=True)
class EarlyOptions:
    """The options of a route to ``early``."""

    #: For how long it rings.
    seconds: float = 3.0


@implementer(IConfigurableApplication)
class EarlyApplication(Application):
    """
    Plays a ringing tone of its own before it answers, and then echoes.

    The 183 that begins it is sent reliably (:rfc:`3262`) when the caller supports that.

    :param seconds: for how long it rings.
    """

    name = "early"
    options = EarlyOptions

    def __init__(self, seconds: float = 3.0) -> None:
        self.seconds = seconds

    def with_options(self, options: EarlyOptions) -> EarlyApplication:
        """See :meth:`.IConfigurableApplication.with_options`."""
        if not 0 < options.seconds <= SETUP_LIMIT:
            raise ValueError(f"seconds is more than 0, and at most {SETUP_LIMIT:.0f}")
        return EarlyApplication(options.seconds)

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        await call.progress()
        if call.audio is not None:
            # It rings while we wait: nobody waits for the end of the tone.
            call.play_tone(RINGING, min(1.0, self.seconds)).addErrback(lambda failure: None)
        await call.wait(self.seconds)
        await call.answer()
        await call.echo()
