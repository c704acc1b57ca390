# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What the callee sends before it answers: provisional responses, reliable ones, early media.

Theory of operation
    A provisional response may bring our session description. In an unreliable one it is only a
    preview of the answer, and the 2xx brings the same again (:rfc:`3261#section-13.2.1`); in a
    reliable one (:rfc:`3262`) it is the answer, and the 2xx brings none. When the INVITE had no
    offer, a reliable one may bring ours, whose answer comes in the PRACK.

    No 2xx leaves while a reliable response with a description is not acknowledged (section 3), or
    an exchange that a PRACK or UPDATE began is open: :meth:`EarlyMedia.settled` waits for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure

from sipsess.dialog.reliable import MAX_FIRST_RSEQ, OPTION_TAG, ReliableSender, rack_of
from sipsess.errors import DialogStateError, RemoteError
from sipsess.message import Request, Response
from sipsess.sdp import RemoteGlareError, SessionDescription

from .bodies import SDP_TYPE, has_sdp, parse_sdp
from .incoming import IncomingRequest
from .part import Part
from .reason import SessionEnded, fail_quietly

if TYPE_CHECKING:
    from .session import Session


class Provisional:
    """A reliable response, from the wish to its PRACK."""

    __slots__ = ("has_sdp", "incoming", "response", "sent")

    def __init__(self, incoming: IncomingRequest, response: Response) -> None:
        self.incoming = incoming
        self.response = response
        self.has_sdp = bool(response.body)
        #: Fires when it was sent.
        self.sent: Deferred[Response] = Deferred()


class EarlyMedia(Part):
    """
    The provisional responses to the INVITE that makes a call; the owner of their machine.

    :param session: that they belong to.
    """

    __slots__ = (
        "_current",
        "_described",
        "_is_answer_due",
        "_making",
        "_prack",
        "_sender",
        "_settling",
        "description",
        "has_dialog",
        "is_acknowledged",
        "is_reliable",
        "is_wanted",
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        #: Our description that a provisional response brought, if one did.
        self.description: SessionDescription | None = None
        #: Whether that was a reliable one.
        self.is_reliable = False
        #: Whether somebody has asked for early media.
        self.is_wanted = False
        #: Whether a PRACK came: the caller hears what we send him.
        self.is_acknowledged = False
        #: Whether the caller knows of the dialog.
        self.has_dialog = False
        self._sender: ReliableSender | None = None
        #: What was sent last and is not acknowledged.
        self._current: Provisional | None = None
        #: The description that is being made.
        self._making: Deferred[Response] | None = None
        #: The one with our description, until it is acknowledged.
        self._described: Provisional | None = None
        #: The PRACK that is being answered, and whether it must bring the answer to our offer.
        self._prack: IncomingRequest | None = None
        self._is_answer_due = False
        self._settling: tuple[Deferred[None], ...] = ()

    # -- sending ---------------------------------------------------------------------------

    def send(
        self,
        incoming: IncomingRequest,
        status: int,
        reason: str | None,
        headers: Mapping[str, str] | None,
        *,
        reliable: bool | None,
        with_media: bool,
    ) -> Deferred[Response]:
        """See :meth:`.Session.send_response`."""
        session = self.session
        request = incoming.request
        if not session.is_initial(request):
            if with_media or reliable:
                raise DialogStateError("only the first INVITE has early media")
            return self._leave(incoming, self._build(incoming, status, reason, headers), False)
        may_be_reliable = _supports(request)
        if reliable and not may_be_reliable:
            raise DialogStateError(f"the caller does not support {OPTION_TAG}")
        is_helpful = with_media and session.endpoint.reliable != "no"
        is_demanded = OPTION_TAG in request.require or session.endpoint.reliable == "required"
        is_reliable = may_be_reliable and (
            is_demanded or (is_helpful if reliable is None else reliable)
        )
        response = self._build(incoming, status, reason, headers)
        if not with_media or (not is_reliable and not has_sdp(request)):
            return self._leave(incoming, response, is_reliable)
        if self.description is not None:
            if not self.is_reliable:
                # The first reliable one makes the preview the answer (RFC 6337 3.1).
                response.set_body(SDP_TYPE, self.description.to_bytes())
                self.is_reliable = is_reliable
            return self._leave(incoming, response, is_reliable)
        return self._describe(incoming, response, is_reliable)

    def _build(
        self,
        incoming: IncomingRequest,
        status: int,
        reason: str | None,
        headers: Mapping[str, str] | None,
    ) -> Response:
        return self.session.responder.build(incoming.request, status, reason, headers)

    def _describe(
        self, incoming: IncomingRequest, response: Response, is_reliable: bool
    ) -> Deferred[Response]:
        """Send a response with our description, when the SDP handlers have made it."""
        if self._making is not None or self.session.invite_server.is_answering:
            raise DialogStateError("the INVITE is being answered already")
        self.is_wanted = True
        making = Deferred.fromCoroutine(self._make(incoming, response, is_reliable))
        if not making.called:
            self._making = making
        making.addBoth(self._made)
        return making

    async def _make(
        self, incoming: IncomingRequest, response: Response, is_reliable: bool
    ) -> Response:
        session = self.session
        try:
            sdp = await session.invite_server.describe(incoming)
        except CancelledError:
            raise
        except Exception as error:
            self._making = None
            if not incoming.is_over:
                session.invite_server.refuse(incoming, error)
            raise
        if incoming.is_over:
            raise SessionEnded(session.reason_or_unknown())
        self.description = sdp
        self.is_reliable = is_reliable
        response.set_body(SDP_TYPE, sdp.to_bytes())
        return await self._leave(incoming, response, is_reliable)

    def _made(self, result: Response | Failure) -> Response | Failure:
        self._making = None
        self.check()
        if isinstance(result, Failure) and result.check(CancelledError):
            return Failure(SessionEnded(self.session.reason_or_unknown()))
        return result

    def _leave(
        self, incoming: IncomingRequest, response: Response, is_reliable: bool
    ) -> Deferred[Response]:
        """Send a response, or let the machine send it."""
        session = self.session
        if not is_reliable:
            session.responder.respond(incoming, response)
            self.has_dialog = True
            return succeed(response)
        core = session.core
        if self._sender is None:
            self._sender = ReliableSender(
                self,
                turn=core.turn,
                timers=core.timers,
                cseq=incoming.request.cseq.number,
                first_rseq=core.ids.random.randint(1, MAX_FIRST_RSEQ),
                t1=core.timing.t1,
            )
        provisional = Provisional(incoming, response)
        if provisional.has_sdp:
            self._described = provisional
        self._sender.send(provisional, core.turn.now, is_held=self._prack is not None)
        return provisional.sent

    # -- what the machine says -------------------------------------------------------------

    def send_reliable(self, payload: Provisional, rseq: int) -> None:
        """See :meth:`.ReliableOwner.send_reliable`."""
        incoming, response = payload.incoming, payload.response
        self._current = payload
        response.headers.set("Require", OPTION_TAG)
        response.headers.set("RSeq", str(rseq))
        # RFC 3311 5.1: the caller shall know that he may send UPDATE now.
        self.session.capabilities.announce(response)
        if self._sender is not None and self.session.responder.respond(incoming, response):
            self._sender.was_sent(incoming.transaction, response.to_bytes())
            self.has_dialog = True
            payload.sent.callback(response)
        else:
            fail_quietly(payload.sent, SessionEnded(self.session.reason_or_unknown()))

    def prack_missing(self) -> None:
        """See :meth:`.ReliableOwner.prack_missing`."""
        session = self.session
        incoming = session.invite_server.current
        session.core.counters.refuse("prack-missing")
        session.note("no PRACK", "for a reliable provisional response")
        if incoming is not None:
            # RFC 3262 3: the UAS SHOULD reject the original request with a 5xx response.
            session.responder.reject(incoming, 504)

    # -- the PRACK -------------------------------------------------------------------------

    def admit_prack(self, incoming: IncomingRequest) -> bool:
        """Match a PRACK; ``False`` when it matches nothing, and was answered so."""
        session = self.session
        sender = self._sender
        try:
            rack = None if sender is None else rack_of(incoming.request)
        except RemoteError as error:
            session.responder.reject_remote(incoming, error)
            return False
        if sender is None or rack is None or not sender.acknowledge(rack, session.core.turn.now):
            session.core.counters.refuse("prack-unmatched")
            session.responder.reject(incoming, 481)
            return False
        session.note("PRACK", str(rack))
        self.is_acknowledged = True
        self._prack = incoming
        if self._described is not None and self._described is self._current:
            self._described = None
            self._is_answer_due = not has_sdp(session.invite)
        self._current = None
        return True

    def take_sdp(self, request: Request) -> bool:
        """
        Take what a PRACK or UPDATE brings before the call is answered, unless it is an offer.

        :return: ``False`` when it is an offer, and may be one now.
        :raises RemoteError: when it may not, or the answer that is due is missing or does not fit;
            then the INVITE is refused, too.
        """
        if self._prack is not None and self._prack.request is request and self._is_answer_due:
            self._is_answer_due = False
            self._take_answer(request)
            return True
        if has_sdp(request) and not self.is_reliable:
            # RFC 3311 5.2: a preview is no answer, so the offer of the INVITE is still open.
            raise RemoteGlareError(
                "offer-glare-remote", "an offer came before the one of the INVITE was answered"
            )
        return False

    def _take_answer(self, request: Request) -> None:
        session = self.session
        try:
            session.media.receive_answer(parse_sdp(request))
        except RemoteError as error:
            session.note("bad answer", f"in the PRACK: {error.text}")
            wrong = RemoteError("prack-answer", f"bad answer in the PRACK: {error.text}")
            current = session.invite_server.current
            if current is not None:
                session.core.turn.later(session.responder.reject_remote, current, wrong)
            raise wrong from error

    def prack_answered(self, incoming: IncomingRequest) -> None:
        """Go on after a PRACK has its final response: send what waited for it."""
        if incoming is not self._prack:
            return
        self._prack = None
        current = self.session.invite_server.current
        if self._is_answer_due and current is not None:
            # A supplement has refused the PRACK before its answer was looked at.
            self._is_answer_due = False
            self.session.responder.reject(current, 500)
        if self._sender is not None:
            self._sender.send_waiting(self.session.core.turn.now)
        self.check()
        self.session.send_waiting()

    # -- what the 2xx waits for ------------------------------------------------------------

    @property
    def is_complete(self) -> bool:
        """Whether an exchange was completed reliably: now either side may send an offer."""
        return (
            self.is_reliable
            and self.description is not None
            and self._described is None
            and not self.session.media.is_open
        )

    @property
    def _is_settled(self) -> bool:
        media = self.session.media
        return (
            self._making is None
            and self._described is None
            and self._prack is None
            and not (self.description is not None and media.is_open)
        )

    async def settled(self) -> None:
        """Wait until a 2xx may be sent."""
        while not self._is_settled:
            waiting: Deferred[None] = Deferred()
            self._settling = (*self._settling, waiting)
            try:
                await waiting
            finally:
                self._settling = tuple(item for item in self._settling if item is not waiting)

    def check(self) -> None:
        """Let the 2xx go that waits, if nothing stands in its way any more."""
        if self._settling and self._is_settled:
            settling, self._settling = self._settling, ()
            for waiting in settling:
                self.session.core.turn.later(_fire, waiting)

    def stop(self) -> None:
        """Repeat nothing any more: the INVITE has its final response."""
        if self._sender is not None:
            for dropped in self._sender.stop(self.session.core.turn.now):
                fail_quietly(dropped.sent, DialogStateError("the INVITE was answered before"))
        making, self._making = self._making, None
        if making is not None:
            making.addErrback(lambda failure: None)
            making.cancel()
        self._described = None

    def close(self) -> None:
        """Fail what waits: the session is over."""
        self.stop()
        settling, self._settling = self._settling, ()
        for waiting in settling:
            fail_quietly(waiting, SessionEnded(self.session.reason_or_unknown()))


def _fire(waiting: Deferred[None]) -> None:
    if not waiting.called:
        waiting.callback(None)


def _supports(request: Request) -> bool:
    """Tell whether a caller understands reliable provisional responses."""
    return OPTION_TAG in request.supported or OPTION_TAG in request.require
