# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What a bridge asks of the one who negotiates the media of a call; nothing, as a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .negotiation import MediaNegotiation
    from .session import Session


class Joining:
    """A negotiation that is not touched when its call is joined with another one."""

    __slots__ = ()

    #: Whether the peers of a bridge negotiate with each other, and no handler does.
    is_passed_on = False

    def make_partner(self, session: Session) -> MediaNegotiation | None:
        """Return who negotiates for a session that is dialled for this one; ``None``: itself."""
        return None

    def make_successor(self, session: Session) -> MediaNegotiation | None:
        """
        Return who negotiates for a session whose peer shall take the place of this one's; ``None``:
        itself.
        """
        return None

    def join(self, other: MediaNegotiation) -> None:
        """Hear that the two calls are joined."""
