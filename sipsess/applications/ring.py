# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that lets the caller wait, as a telephone on a desk does."""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from sipsess.application import Application
from sipsess.call import Call
from sipsess.interfaces import IConfigurableApplication
from sipsess.session.incoming import SETUP_LIMIT


@dataclass(frozen=True, slots=True)
class RingOptions:
    """The options of a route to ``ring``."""

    #: For how long it rings.
    seconds: float = 3.0


@implementer(IConfigurableApplication)
class RingApplication(Application):
    """
    Rings, answers after some seconds, and echoes.

    :param seconds: for how long it rings.
    """

    name = "ring"
    options = RingOptions

    def __init__(self, seconds: float = 3.0) -> None:
        self.seconds = seconds

    def with_options(self, options: RingOptions) -> RingApplication:
        """See :meth:`.IConfigurableApplication.with_options`."""
        if not 0 < options.seconds <= SETUP_LIMIT:
            raise ValueError(f"seconds is more than 0, and at most {SETUP_LIMIT:.0f}")
        return RingApplication(options.seconds)

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        await call.ring()
        await call.wait(self.seconds)
        await call.answer()
        await call.echo()
