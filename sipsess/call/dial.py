# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Calling somebody for a call: ringing, early media and refusals go to the caller.

Theory of operation
    A :class:`Dialling` lasts from the INVITE of a leg to its answer. It is something that the call
    waits for, so that it ends with the call: whoever gives up first, the application, the caller or
    the time, the legs that ring are cancelled, and an answer that crosses the CANCEL is hung up by
    its session. The leg that was answered belongs to the call, and ends with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sipsess.dialog.reliable import OPTION_TAG
from sipsess.endpoint import ANONYMOUS, Endpoint
from sipsess.errors import SIPError
from sipsess.locating import next_hop_of
from sipsess.message import NameAddr, Response
from sipsess.message.reason import Reason
from sipsess.registrar.hunt import status_of
from sipsess.sdphandler import NegotiationFailed
from sipsess.sdphandlers.audio import find_audio
from sipsess.session import EndReason, MediaNegotiation, Session, SessionEnded
from sipsess.session.reason import LOCAL
from sipsess.supplement import Reject, Verdict

from .passing import NOTHING, HeaderPolicy, reason_headers
from .wait import Wait

if TYPE_CHECKING:
    from .call import Call

#: Under this name a leg keeps the Call-ID of the call for which it was dialled.
CALLER_COOKIE = "sipsess.dial"
#: A target that begins so is a user who has registered here.
USER = "user:"
#: Refusals that mean us and not the caller, and what he gets instead: he cannot answer a challenge
#: to us, nor do without an extension of ours; he cancelled nothing; and a 503 would keep him from
#: all that we can do (:rfc:`3261#section-16.7`).
_OURS = {401: 403, 407: 403, 420: 500, 421: 500, 487: 480, 503: 500}
#: What the caller gets for a redirection that nobody has followed, and when nobody answers.
_UNAVAILABLE = 480
#: "No answer from user", a cause of Q.850.
_NO_ANSWER = 19


class DialFailed(Reject):
    """
    Nobody has answered.

    An application that lets it pass refuses its own call with it, as the callee has refused the
    leg.

    :param status: for the caller, 400 to 699.
    :param original: as the callee gave it; left out, the same.
    :param reasons: that the callee gave; those of Q.850 go to the caller (:rfc:`6432`).
    :param end: why the leg ended; ``None`` when there was none.
    """

    def __init__(
        self,
        status: int,
        reasons: tuple[Reason, ...] = (),
        end: EndReason | None = None,
        original: int | None = None,
    ) -> None:
        network = tuple(item for item in reasons if item.protocol.upper() == "Q.850")
        super().__init__(status, headers=reason_headers(network))
        #: The status that the callee gave; 408 when he did not answer in time.
        self.original = original or status
        #: All reasons that the callee gave.
        self.reasons = reasons
        #: Why the leg ended.
        self.end = end

    @classmethod
    def of(cls, error: BaseException | None) -> DialFailed:
        """Return what a caller hears for the error that a leg failed with."""
        end = error.reason if isinstance(error, SessionEnded) else None
        original = status_of(error) or 500
        if end is not None and end.by == LOCAL and original == 408:
            return cls(_UNAVAILABLE, (Reason.q850(_NO_ANSWER),), end, original)
        if isinstance(error, NegotiationFailed):
            # Nobody was asked: without its media engine this server takes no such call.
            return cls(original, original=original)
        status = _UNAVAILABLE if original < 400 else _OURS.get(original, original)
        return cls(status, () if end is None else end.reasons, end, original)


def end_with(call: Call, ended: Call, policy: HeaderPolicy) -> None:
    """End a call since another one has ended, or is about to, for its reasons."""
    if not call.is_ended:
        session = call.session
        session.terminate(headers=policy.of_end(ended.session, session.endpoint))


class Dialling:
    """
    One ``call.dial``.

    :param call: for which somebody is called.
    :param early_media: whether the caller hears what comes before the answer.
    :param policy: which headers go along.
    :param endpoint: how whoever is called is treated.
    """

    __slots__ = (
        "_call",
        "_chosen",
        "_early_media",
        "_endpoint",
        "_joined",
        "_legs",
        "_passed",
        "_placing",
        "_policy",
        "_wait",
    )

    def __init__(
        self,
        call: Call,
        *,
        early_media: bool,
        policy: HeaderPolicy = NOTHING,
        endpoint: Endpoint = ANONYMOUS,
    ) -> None:
        self._call = call
        self._early_media = early_media
        self._policy = policy
        self._endpoint = endpoint
        #: All that ring, or rang.
        self._legs: list[Session] = []
        self._chosen: Session | None = None
        #: The leg whose early media the caller hears.
        self._joined: Session | None = None
        #: The last status that the caller was told.
        self._passed = 0
        self._placing: Deferred[Session] | None = None
        self._wait = Wait(call, self._release)
        self._wait.ending = self._give_up

    def start(
        self, target: str, timeout: float, from_: str | None, headers: Mapping[str, str] | None
    ) -> Deferred[Call]:
        """See :meth:`.Call.dial`."""
        self._wait.start_timer(timeout, partial(self._late, target, timeout))
        sender = from_ or _address_of(self._call)
        core = self._call.session.core
        with core.turn:
            # Later: by then whoever asked waits, and hears of a failure.
            passed = self._policy.of_invite(self._call.session, self._endpoint)
            core.turn.later(self._begin, target, timeout, sender, {**passed, **(headers or {})})
        return self._wait.deferred

    def _begin(self, target: str, timeout: float, from_: str, headers: dict[str, str]) -> None:
        if self._wait not in self._call.waits:
            return
        self._placing = Deferred.fromCoroutine(self._place(target, timeout, from_, headers))
        self._placing.addCallbacks(self._answered, self._failed, errbackArgs=(target,))

    async def _place(
        self, target: str, timeout: float, from_: str, headers: dict[str, str]
    ) -> Session:
        session = self._call.session
        manager = session.manager
        if session.is_callee:
            headers.setdefault("Max-Forwards", _forwards(session))
        if target.startswith(USER):
            users = manager.user_calls
            if users is None:
                raise DialFailed(404)
            return await users.dial(
                target.removeprefix(USER),
                timeout=timeout,
                from_=from_,
                headers=headers,
                placed=self._watch,
                media=self._make_media,
            )
        hop = await manager.find_next_hop(next_hop_of(target, headers), session.flow)
        leg = manager.dial(
            target,
            hop,
            from_=from_,
            headers=headers,
            endpoint=self._endpoint,
            media=self._make_media,
        )
        self._watch(leg)
        await leg.invite_client.answered
        return leg

    def _make_media(self, leg: Session) -> MediaNegotiation | None:
        """Return who negotiates the media of a leg; without an offer of the caller it has none."""
        session = self._call.session
        media = session.media
        if media.is_passed_on and not (media.is_answering or media.is_established):
            leg.offered_media = ()
            invite = session.invite
            if OPTION_TAG not in invite.supported | invite.require:
                # An offer in a reliable response could not be passed on before the answer.
                leg.endpoint = replace(leg.endpoint, reliable="no")
        return media.make_partner(leg)

    def _watch(self, leg: Session) -> None:
        self._legs.append(leg)
        leg.cookies.add(CALLER_COOKIE, self._call.session.call_id)
        leg.note("dialled for", f"Call-ID {self._call.session.call_id}")
        self._call.session.note("dials", f"Call-ID {leg.call_id}")
        leg.on_provisional = partial(self._provisional, leg)

    # -- before the answer -----------------------------------------------------------------

    def _provisional(self, leg: Session, response: Response) -> None:
        """Tell the caller that somebody rings, once per status; and let him hear."""
        is_heard = self._early_media and self._joined is None and _is_heard(leg)
        if response.status == 100 or self._is_kept(response):
            return
        if response.status == self._passed and not is_heard:
            return
        self._passed = response.status
        session = self._call.session
        if is_heard:
            self._joined = leg
            session.media.join(leg.media)
        if session.is_callee and not session.is_answered:
            self._tell(leg, response, is_heard)
        elif is_heard:
            self._join()

    def _is_kept(self, response: Response) -> bool:
        """Ask the application, if it wants to be asked, whether the caller is not to be told."""
        call, events = self._call, self._call.events
        if events is None:
            return False
        try:
            return events.on_provisional(call, response) is Verdict.HANDLED
        except Exception as error:
            call.session.report.plugin_failed("application", "on_provisional", error)
            return False

    def _tell(self, leg: Session, response: Response, is_heard: bool) -> None:
        call, status = self._call, response.status
        headers = self._policy.of_response(leg, response, call.session.endpoint)
        try:
            if is_heard:
                telling = call.progress(status, headers=headers).addCallback(lambda _: self._join())
            else:
                telling = call.ring(status, headers=headers).addCallback(lambda _: None)
        except SIPError as error:
            self._call.session.note("not told", f"{status}: {error}")
            return
        telling.addErrback(self._not_told, status)

    def _not_told(self, failure: Failure, status: int) -> None:
        failure.trap(SIPError, NegotiationFailed, CancelledError)
        self._call.session.note("not told", f"{status}: {failure.value}")

    def _join(self) -> None:
        """Let caller and callee hear each other before the answer."""
        near = self._call.audio
        far = None if self._joined is None else find_audio(self._joined)
        if self._placing is not None and near is not None and far is not None:
            near.on_packet, far.on_packet = far.forward, near.forward

    # -- the outcome -----------------------------------------------------------------------

    def _answered(self, leg: Session) -> None:
        self._chosen = leg
        self._call.session.media.join(leg.media)
        call = leg.manager.make_call(leg)
        call.events = self._call.events
        belong(call, self._call, self._policy)
        self._wait.finish(call)

    def _failed(self, failure: Failure, target: str) -> None:
        if self._placing is not None:
            self._call.session.note("dial failed", f"{target}: {failure.value}")
        if failure.check(SIPError, NegotiationFailed, Reject) and not failure.check(DialFailed):
            failed = DialFailed.of(failure.value)
            refusal = None if failed.end is None else failed.end.headers
            if refusal is not None:
                endpoint = self._call.session.endpoint
                failed.headers.update(self._policy.of_refusal(refusal, self._endpoint, endpoint))
            failure = Failure(failed)
        self._wait.fail(failure)

    def _late(self, target: str, timeout: float) -> None:
        self._call.session.note("dial failed", f"{target}: no answer in {timeout:g} s")
        reasons = (Reason.q850(_NO_ANSWER),)
        self._wait.fail(Failure(DialFailed(_UNAVAILABLE, reasons, original=408)))

    def _give_up(self) -> None:
        """End all legs: the call itself is about to end."""
        self._wait.fail(Failure(self._call.ended_error()))

    def _release(self) -> None:
        """End all legs but the one that was answered."""
        placing, self._placing = self._placing, None
        if self._joined is not None:
            for stream in (self._call.audio, find_audio(self._joined)):
                if stream is not None:
                    stream.on_packet = None
        session = self._call.session
        for leg in self._legs:
            leg.on_provisional = None
            if leg is not self._chosen:
                leg.terminate(headers=self._policy.of_end(session, leg.endpoint))
        if placing is not None:
            placing.cancel()


def _is_heard(leg: Session) -> bool:
    """Tell whether there are early media of a leg, or an offer that is passed on."""
    media = leg.media
    if media.is_passed_on:
        return media.is_established or media.is_answering
    return media.is_established and find_audio(leg) is not None


def belong(leg: Call, call: Call, policy: HeaderPolicy) -> None:
    """Let a leg end with the call that it was dialled for."""
    wait = Wait(call)
    wait.ending = partial(end_with, leg, call, policy)
    wait.deferred.addErrback(lambda _: None)
    leg.ended.addCallback(lambda _: wait.finish())


def _address_of(call: Call) -> str:
    """Return the From of a leg: the peer of the call, without his tag."""
    request = call.request
    peer = request.from_ if call.session.is_callee else request.to
    return str(NameAddr(peer.display_name, peer.uri))


def _forwards(session: Session) -> str:
    """
    Return the Max-Forwards of a leg, so that calls that go round in a circle end.

    :raises DialFailed: when the call has come a long way (483).
    """
    forwards = session.invite.max_forwards
    if forwards is None:
        forwards = 70
    if forwards == 0:
        raise DialFailed(483)
    return str(forwards - 1)
