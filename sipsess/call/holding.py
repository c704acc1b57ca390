# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Hold and resume from one side of a bridge to the other.

Theory of operation
    What is kept of each side is what its peer wants by himself: whether he sends, and whether he
    listens. An offer says both; an answer says only what our offer has left open. What the one
    peer wants is the direction that we offer to the other (:rfc:`3264#section-8.4`): who is put on
    hold by the one is put on hold by us.

    One re-INVITE at a time goes to a side, and then none for a moment, so that a peer who holds and
    resumes like mad does not make the other one suffer: he hears of the last state only. One that
    would change nothing is not sent, and one that was refused is not repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from sipsess.errors import SIPError
from sipsess.message import Response
from sipsess.sdphandler import NegotiationFailed
from sipsess.sdphandlers.audio import find_audio_stream, peer_direction
from sipsess.session import MediaChange

if TYPE_CHECKING:
    from .call import Call

#: Seconds between two re-INVITEs to one side.
PAUSE = 0.5
_SENDING = frozenset({"sendrecv", "sendonly"})
_LISTENING = frozenset({"sendrecv", "recvonly"})


class Side:
    """
    One side of a bridge.

    :param call: of its peer.
    """

    __slots__ = ("_is_busy", "_other", "_refused", "call", "listens", "sends")

    def __init__(self, call: Call) -> None:
        self.call = call
        #: Whether the peer wants to be heard, and to hear.
        self.sends = self.listens = True
        self._other = self
        self._is_busy = False
        #: The direction that the peer has refused.
        self._refused = ""

    def join(self, other: Side) -> None:
        """Take what the other side wants."""
        self._other = other

    def look(self) -> None:
        """See what the peer wants now."""
        stream = find_audio_stream(self.call.session)
        if stream is None or stream.remote is None:
            return
        theirs, ours = peer_direction(stream.remote), stream.wanted_direction
        if theirs in _SENDING or ours in _LISTENING:
            self.sends = theirs in _SENDING
        if theirs in _LISTENING or ours in _SENDING:
            self.listens = theirs in _LISTENING

    def tell(self) -> None:
        """Tell the peer what the other one wants, if that changes anything for him."""
        stream, audio = find_audio_stream(self.call.session), self.call.audio
        is_bound = self._other is not self and self.call.is_answered
        if self._is_busy or stream is None or audio is None or not is_bound:
            return
        other = self._other
        wanted = _direction(other.sends, other.listens)
        if wanted in (stream.wanted_direction, self._refused):
            return
        if (
            _direction(other.sends and self.listens, other.listens and self.sends)
            == audio.direction
        ):
            stream.wanted_direction = stream.active_direction = wanted
            return
        self._is_busy = True
        self._refused = ""
        sending = self.call.session.send_reinvite(change=MediaChange(direction=wanted))
        sending.addCallbacks(self._told, self._failed, callbackArgs=(wanted,))

    def _told(self, response: Response, wanted: str) -> None:
        if response.status >= 300:
            self._refused = wanted
        self._rest()

    def _failed(self, failure: Failure) -> None:
        failure.trap(SIPError, NegotiationFailed, CancelledError)
        self._rest()

    def _rest(self) -> None:
        session = self.call.session
        if session.is_over:
            self._is_busy = False
        else:
            session.start_timer(PAUSE, self._rested)

    def _rested(self) -> None:
        self._is_busy = False
        self.tell()


def _direction(sends: bool, listens: bool) -> str:
    """Return a direction of ours."""
    if sends:
        return "sendrecv" if listens else "sendonly"
    return "recvonly" if listens else "inactive"
