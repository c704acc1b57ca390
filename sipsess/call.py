# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The call: what an application holds of a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from sipsess.message import Response
    from sipsess.session import EndReason, Session


class Call:
    """
    A call as an application sees it.

    :param session: that it stands for.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def ended(self) -> Deferred[EndReason]:
        """Fires when the call is over, with the reason."""
        return self.session.when_ended()

    def answer(self, headers: Mapping[str, str] | None = None) -> Deferred[Response]:
        """Answer the call."""
        return self.session.send_response(200, headers=headers)

    def receive_digit(self, digit: str) -> None:
        """Take a digit that the peer pressed."""
