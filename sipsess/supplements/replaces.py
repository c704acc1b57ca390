# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Replaces: a new call takes the place of another one (:rfc:`3891`), as in an attended transfer.

An INVITE with Replaces is answered at once; then the :class:`.Call` of the call that it names, and
the application with it, moves to the new one, and the old one is hung up. The Request-URI does not
matter. Whoever knows Call-ID and both tags of a call may replace it; a supplement with a priority
below 350 can be stricter.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from zope.interface import implementer

from sipsess.application import Application
from sipsess.dialog import DialogId
from sipsess.interfaces import IApplication, IChooseApplication, IMediaPolicy
from sipsess.message import Request, build_response
from sipsess.message.refer import Replaces, get_replaces
from sipsess.supplement import Reject, SessionSupplement

if TYPE_CHECKING:
    from sipsess.call import Call
    from sipsess.manager import DialogManager
    from sipsess.session import MediaNegotiation, Session

#: Dialogs that are remembered after their end, to tell that from never having been: a transfer
#: takes seconds, and a busy server ends a hundred calls per second.
MAX_ENDED = 2048


class EndedDialogs:
    """
    The dialogs that ended last, as hashes: a ring.

    Their names would be 10,000 small texts that lie between the memory of calls that are over, and
    keep the system from getting that back. A search looks at all hashes, but only a Replaces that
    names no call searches.

    :param size: how many are remembered.
    """

    __slots__ = ("_hashes", "_next")

    def __init__(self, size: int) -> None:
        self._hashes = array("q", bytes(8 * size))
        self._next = 0

    def add(self, dialog: DialogId) -> None:
        """Remember a dialog, and forget the one that ended first."""
        self._hashes[self._next] = hash(dialog)
        self._next = (self._next + 1) % len(self._hashes)

    def __contains__(self, dialog: DialogId) -> bool:
        return hash(dialog) in self._hashes


@implementer(IMediaPolicy)
class Replacement(Application):
    """
    What an INVITE with Replaces is for, until the call of the other session has moved to its own.

    :param replaced: the other session.
    """

    name = "replaces"

    def __init__(self, replaced: Session) -> None:
        self._replaced: Session | None = replaced

    def make_media(self, session: Session) -> MediaNegotiation | None:
        """See :meth:`.IMediaPolicy.make_media`: as for the call that is replaced."""
        return None if self._replaced is None else self._replaced.media.make_successor(session)

    async def handle(self, call: Call) -> None:
        """Answer, take the place, and leave the other session to be hung up."""
        old, self._replaced = self._replaced, None
        assert old is not None  # there is one instance for each call
        if old.end_reason is not None:
            raise Reject(603)
        await call.answer()
        if old.end_reason is not None:
            # An INVITE without offer is answered in two steps; meanwhile the old call has ended, or
            # another one has replaced it. When this returns the new one is hung up.
            return
        if not old.is_answered:
            # Who dialled has his answer, though it came in another call.
            old.invite_client.settle(build_response(old.invite, 200))
        if old.channel is None:
            # The program has only the session; it may find the new one.
            old.terminate()
            await call.ended
        else:
            # From here on this coroutine is the application of the old session, which is hung up
            # when it returns.
            old.channel.move_to(call.session)


@implementer(IChooseApplication)
class ReplacesSupplement(SessionSupplement):
    """Lets calls be replaced."""

    name = "replaces"
    priority = 350
    option_tags = frozenset({"replaces"})

    def __init__(self) -> None:
        self._ended = EndedDialogs(MAX_ENDED)

    def choose_application(self, manager: DialogManager, request: Request) -> IApplication | None:
        """
        Return what replaces the call that an INVITE names.

        :raises MessageError: 400, when there is more than one Replaces or it cannot be read.
        :raises Reject: when there is no such call, or it cannot be replaced.
        """
        replaces = get_replaces(request.headers)
        return None if replaces is None else Replacement(self._find(manager, replaces))

    def _find(self, manager: DialogManager, replaces: Replaces) -> Session:
        """Return the session to be replaced, by the rules of :rfc:`3891#section-3`."""
        key = (replaces.call_id, replaces.to_tag, replaces.from_tag)
        session = manager.find_session(*key)
        if session is None and replaces.from_tag == "0":
            # A peer of RFC 2543 has no tag; "0" means that, too.
            session = manager.find_session(replaces.call_id, replaces.to_tag, "")
        if session is None:
            raise Reject(603 if key in self._ended else 481)
        if session.end_reason is not None:
            raise Reject(603)
        if session.is_answered and replaces.early_only:
            raise Reject(486)
        if not session.is_answered and session.is_callee:
            # Only who has begun an early dialog may let another one answer it.
            raise Reject(481)
        return session

    def incoming_request(self, session: Session, request: Request) -> None:
        """
        Refuse Replaces where it means nothing.

        :raises Reject: 400, in any request within a call.
        """
        if "Replaces" in request.headers and not session.is_initial(request):
            raise Reject(400, "Replaces is for an INVITE that begins a call")

    def session_end(self, session: Session) -> None:
        """Remember the dialogs that have ended, the latest ones."""
        for dialog in session.dialogs.values():
            self._ended.add(dialog.id)
