# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the parts of a session have in common: the session, until nothing of it is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session


class Part:
    """
    A part of a session.

    :param session: that it belongs to.
    """

    __slots__ = ("session",)

    def __init__(self, session: Session) -> None:
        self.session = session

    def retire(self) -> None:
        """Let go of the session, so that no cycle of references keeps either."""
        del self.session
