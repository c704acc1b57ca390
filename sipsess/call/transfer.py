# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Transfers, as far as they concern a call: asking for one, and going on with another peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from sipsess.errors import DialogStateError
from sipsess.interfaces import ITransfer
from sipsess.message.refer import Replaces, StatusLine

if TYPE_CHECKING:
    from sipsess.session import Session


def get_replaced(target: str | None, other: Session | None) -> tuple[str, Replaces | None]:
    """
    Return the URI to refer a peer to, and the Replaces that goes with it.

    :param target: the URI, if any was given.
    :param other: the session whose peer is the target of an attended transfer.
    :raises DialogStateError: when there is neither, or ``other`` is no standing call.
    """
    if other is None:
        if target is None:
            raise DialogStateError("a transfer needs a target, or a call to replace")
        return target, None
    dialog = other.dialog
    if dialog is None or not other.is_answered or other.end_reason is not None:
        raise DialogStateError("only a call that was answered can be replaced")
    # RFC 3891 3: the tags as the one sees them who gets the INVITE.
    header = Replaces(dialog.call_id, to_tag=dialog.remote_tag, from_tag=dialog.local_tag)
    return target or dialog.remote_target, header


def ask_transfer(session: Session, uri: str, replaces: Replaces | None) -> Deferred[StatusLine]:
    """
    Let the supplement that can do so transfer the peer.

    :raises DialogStateError: when there is none, or it cannot now.
    """
    for item in session.chain.supplements:
        if ITransfer.providedBy(item):
            outcome: Deferred[StatusLine] = session.wait(item.transfer(session, uri, replaces))
            return outcome
    raise DialogStateError("no supplement of this call can transfer it; the shipped one is refer")


def move_session(old: Session, new: Session) -> None:
    """Let the application of one session go on in another, and the other way round."""
    old.note("moved", f"to the call {new.call_id}")
    new.note("moved", f"from the call {old.call_id}")
    old.runner, new.runner = new.runner, old.runner
    old.runner.session, new.runner.session = old, new
    old.application, new.application = new.application, old.application
    old.channel = None
