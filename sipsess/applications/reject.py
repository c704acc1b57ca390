# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that refuses every call."""

from __future__ import annotations

from sipsess.application import Application, Reject
from sipsess.call import Call


class RejectApplication(Application):
    """
    Refuses.

    :param name: by which it is called.
    :param status: 603 for "nobody here wants this call", 486 for "busy".
    """

    def __init__(self, name: str = "reject", status: int = 603) -> None:
        self.name = name
        self.status = status

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        raise Reject(self.status)
