# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that refuses every call."""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from sipsess.application import Application, Reject
from sipsess.call import Call
from sipsess.interfaces import IConfigurableApplication


@dataclass(frozen=True, slots=True)
class RejectOptions:
    """The options of a route to ``reject`` or ``busy``."""

    #: What the caller gets, 400 to 699. [default: the application's own]
    status: int | None = None


@implementer(IConfigurableApplication)
class RejectApplication(Application):
    """
    Refuses.

    :param name: by which it is called.
    :param status: 603 for "nobody here wants this call", 486 for "busy".
    """

    options = RejectOptions

    def __init__(self, name: str = "reject", status: int = 603) -> None:
        self.name = name
        self.status = status

    def with_options(self, options: RejectOptions) -> RejectApplication:
        """See :meth:`.IConfigurableApplication.with_options`."""
        status = self.status if options.status is None else options.status
        if not 400 <= status <= 699:
            raise ValueError(f"status is 400 to 699, not {status}")
        return RejectApplication(self.name, status)

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        raise Reject(self.status)
