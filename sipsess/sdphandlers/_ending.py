# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The end of calls whose audio was to be encrypted and cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.session.reason import LOCAL, EndReason

if TYPE_CHECKING:
    from sipsess.session import Session


def end_unprotected(session: Session, text: str) -> None:
    """End a call: silence would help nobody."""
    session.set_reason(EndReason(LOCAL, "BYE", text=text))
    session.start_timer(0, session.terminate)
