# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What each side of a session supports, as far as it has said so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.dialog.reliable import OPTION_TAG
from sipsess.message import Request, Response

from .part import Part

if TYPE_CHECKING:
    from .session import Session


class Capabilities(Part):
    """
    The Allow, Supported and Recv-Info of a session.

    :param session: that they belong to.
    """

    __slots__ = ("_told",)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        #: What the peer last said that it allows, if it did.
        self._told: frozenset[str] | None = None

    def note(self, message: Request | Response) -> None:
        """Note a message of the peer that may say what it allows."""
        if "Allow" in message.headers:
            self._told = message.allow

    def allows(self, method: str) -> bool:
        """Tell whether the peer has said, in its last Allow, that it takes a method."""
        return self._told is not None and method in self._told

    def refuses(self, method: str) -> bool:
        """Tell whether the peer has said that it does not take a method."""
        return self._told is not None and method not in self._told

    def announce(self, message: Request | Response) -> None:
        """Say in a request or response what this side supports, as the endpoint wants it."""
        session = self.session
        session.chain.announce(message)
        withheld = session.endpoint.withheld
        if withheld:
            tags = session.chain.option_tags - withheld
            if tags:
                message.headers.set("Supported", ", ".join(sorted(tags)))
            else:
                message.headers.remove("Supported")
        is_ours = message is session.invite and not session.is_callee
        if is_ours and session.endpoint.reliable == "required":
            message.headers.set("Require", OPTION_TAG)
