# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The plugins of a scene: those that take their time, and those that do what the story says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sipsess.application import Application
from sipsess.call import Call
from sipsess.core import Admission
from sipsess.endpoint import Endpoint
from sipsess.interfaces import IDeferOffer, IRequestGate, ITransferPolicy
from sipsess.message import Request, Response
from sipsess.message.refer import ReferTo
from sipsess.sdp import SessionDescription
from sipsess.sdp.negotiation import answer_direction
from sipsess.sdphandler import SDPHandler, StreamDescription, StreamVerdict
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.session import LocalDescription, Session, SessionStream
from sipsess.supplement import Reject, RequestVerdict, SessionSupplement, Verdict
from tests.sim.stories import Census


def later(session: Session, seconds: float, result: Callable[[], Any]) -> Any:
    """Return a result, or a Deferred of it when it takes time."""
    if not seconds:
        return result()
    deferred: Deferred[None] = Deferred()
    session.start_timer(seconds, _fire, deferred)
    return deferred.addCallback(lambda _: result())


def _fire(deferred: Deferred[None]) -> None:
    """Fire a Deferred, unless it was cancelled."""
    if not deferred.called:
        deferred.callback(None)


class Register(Census):
    """
    Tells of each session that begins.

    :param begun: is told.
    """

    def __init__(self, begun: Callable[[Session], None]) -> None:
        super().__init__()
        self._tell = begun

    def session_begin(self, session: Session) -> None:
        """Count and tell."""
        super().session_begin(session)
        self._tell(session)


class Thinker(SessionSupplement):
    """
    Takes its time over each request that can be refused.

    :param seconds: how long.
    """

    name = "thinker"
    priority = 300

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def incoming_request(self, session: Session, request: Request) -> RequestVerdict:
        """Go on, at once or later."""
        if request.method in ("ACK", "CANCEL"):
            return None
        verdict: RequestVerdict = later(session, self._seconds, lambda: Verdict.CONTINUE)
        return verdict


class Modest(SessionSupplement):
    """Says that UPDATE is not allowed here, so that offers go with PRACK before the answer."""

    name = "modest"
    priority = 990

    def outgoing_request(self, session: Session, request: Request) -> None:
        """Hide it."""
        self._hide(request)

    def outgoing_response(self, session: Session, response: Response) -> None:
        """Hide it."""
        self._hide(response)

    def _hide(self, message: Request | Response) -> None:
        allowed = [method for method in message.headers.values("Allow") if method != "UPDATE"]
        if allowed:
            message.headers.set("Allow", ", ".join(allowed))


class SlowAudio(AudioHandler):
    """
    Audio whose description takes time.

    :param seconds: how long.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def create_outgoing_sdp_stream(  # type: ignore[override]
        self, session: Session, stream: SessionStream, sdp: LocalDescription
    ) -> StreamDescription:
        """Describe it, at once or later."""
        describe = super().create_outgoing_sdp_stream
        described: StreamDescription = later(
            session, self._seconds, lambda: describe(session, stream, sdp)
        )
        return described


@implementer(IDeferOffer)
class Video(SDPHandler):
    """
    Video that nobody sees: it is described, and that is all.

    :param describing: how long its description takes.
    :param deferring: how long it takes to agree to a change.
    """

    name = "video"
    media_type = "video"

    def __init__(self, describing: float, deferring: float) -> None:
        self._describing = describing
        self._deferring = deferring
        #: The streams that are open.
        self.open: set[SessionStream] = set()

    def defer_incoming_sdp_stream(
        self, session: Session, stream: SessionStream, sdp: SessionDescription
    ) -> Awaitable[None] | None:
        """Let a re-offer wait."""
        wait: Awaitable[None] | None = later(session, self._deferring, lambda: None)
        return wait

    def handle_incoming_sdp_stream_offer(
        self, session: Session, stream: SessionStream, sdp: SessionDescription
    ) -> StreamVerdict:
        """Claim it."""
        return StreamVerdict.HANDLED

    def create_outgoing_sdp_stream(
        self, session: Session, stream: SessionStream, sdp: LocalDescription
    ) -> StreamDescription:
        """Open it, and describe it at once or later."""
        self.open.add(stream)
        direction = stream.wanted_direction
        if stream.remote is not None:
            direction = answer_direction(stream.remote.direction, direction)
        media = sdp.media("video", 41000, "RTP/AVP", ["31"], attributes=[(direction, None)])
        described: StreamDescription = later(session, self._describing, lambda: media)
        return described

    def destroy_stream(self, session: Session, stream: SessionStream) -> None:
        """Close it."""
        self.open.discard(stream)


@implementer(ITransferPolicy)
class Puppet(Application):
    """Does nothing by itself; the story does it."""

    name = "puppet"

    def __init__(self) -> None:
        #: Whether it lets itself be transferred.
        self.is_willing = True

    async def handle(self, call: Call) -> None:
        """Wait until the call is over."""
        await call.ended

    def transfer_requested(self, call: Call, refer_to: ReferTo) -> None:
        """Refuse when the story wants it."""
        if not self.is_willing:
            raise Reject(603)


class Busy(Application):
    """Refuses."""

    name = "busy"

    async def handle(self, call: Call) -> None:
        """Do the call."""
        raise Reject(486)


@implementer(IRequestGate)
class Door:
    """
    Treats everybody alike.

    :param endpoint: who everybody is.
    """

    name = "door"

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def admit(self, admission: Admission) -> Verdict:
        """Admit."""
        admission.endpoint = self._endpoint
        return Verdict.CONTINUE
