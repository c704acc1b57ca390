# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Session timers (:rfc:`4028`): a call whose other end has silently gone is not kept for ever.

Theory of operation
    One 2xx to an INVITE or UPDATE settles everything until the next one: how long the session
    lasts, and who refreshes it. The refresher sends an UPDATE or re-INVITE after half of that time.
    When no refresh was accepted by the end of it, less the margin of
    :attr:`.SessionExpires.expiry_delay`, this side hangs up. A 2xx without Session-Expires ends
    the timer.

    As the callee we accept what the caller asks for, unless it is too short (422), and let the
    caller refresh if it can (section 9, table 2). As the caller we ask for nothing: the peer may.
    Whoever wants a timer places the call with a Session-Expires header, sets
    :attr:`.Endpoint.session_timer`, or :attr:`SessionTimer.is_wanted` for every endpoint.

    What a session must remember stands in one cookie, which sessions without a timer do not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipsess.dialog.usage import CONFIRMED
from sipsess.errors import SIPError
from sipsess.message import MessageError, Request, Response
from sipsess.message.session_expires import (
    ABSOLUTE_MINIMUM,
    UAC,
    UAS,
    SessionExpires,
    choose_refresher,
    get_min_se,
    get_session_expires,
)
from sipsess.sdphandler import NegotiationFailed
from sipsess.session.reason import NETWORK, EndReason
from sipsess.supplement import Reject, ResponseVerdict, Retry, SessionSupplement
from sipsess.timers import Timer

if TYPE_CHECKING:
    from sipsess.session import Session

#: Under this name the state of the timer is kept.
COOKIE = "sipsess.session-timer"
#: A refresh that was refused is tried again after half of the time that is left, but not when less
#: than so many seconds are.
_LAST_ATTEMPT = 10.0
#: The answer to an UPDATE that came before the call stood: whatever is settled when it is answered.
_UNSETTLED = SessionExpires(0)


class TimerState:
    """What one session remembers; see :data:`COOKIE`."""

    __slots__ = (
        "asked",
        "current",
        "expiry",
        "is_refresher",
        "is_refreshing",
        "min_se",
        "pending",
        "refresh",
    )

    def __init__(self) -> None:
        #: What the last 2xx settled, or ``None`` when the session has no timer.
        self.current: SessionExpires | None = None
        #: Whether this side refreshes.
        self.is_refresher = False
        #: Whether a refresh of this side has no outcome yet.
        self.is_refreshing = False
        #: The CSeqs of requests of this side that asked for a timer and have no answer yet.
        self.asked: set[int] = set()
        #: The largest Min-SE of a 422 to us, in seconds.
        self.min_se = 0
        #: By CSeq: what the 2xx to a request of the peer will say, and whether it supports timers.
        self.pending: dict[int, tuple[SessionExpires | None, bool]] = {}
        self.refresh: Timer | None = None
        self.expiry: Timer | None = None

    @property
    def own_role(self) -> str:
        """Who refreshes, as a request of ours says it: the roles stay as they are (7.4)."""
        return UAC if self.is_refresher else UAS


def get_timer(session: Session) -> TimerState | None:
    """Return the state of a session's timer; ``None`` when nobody has ever asked for one."""
    state: TimerState | None = session.cookies.get(COOKIE)
    return state


class SessionTimer(SessionSupplement):
    """Refreshes sessions, and ends those that the peer no longer refreshes."""

    name = "session-timer"
    #: Early: a 422 shall cost nothing else.
    priority = 50
    methods = frozenset({"INVITE", "UPDATE"})
    option_tags = frozenset({"timer"})
    #: Whether this side asks for a timer when nobody else does.
    is_wanted = False
    #: Seconds that it asks for.
    interval = 1800
    #: Seconds below which an interval is refused with 422; not less than 90 (section 5).
    minimum = ABSOLUTE_MINIMUM

    # -- the peer asks ---------------------------------------------------------------------

    def incoming_request(self, session: Session, request: Request) -> None:
        """
        Decide what a 2xx will say.

        :raises Reject: 422, when the interval is too short.
        """
        if session.endpoint.session_timer == "no":
            return
        offered = get_session_expires(request.headers)
        minimum = session.endpoint.session_minimum or self.minimum
        if offered is None and not self._is_wanted(session) and COOKIE not in session.cookies:
            return
        state = _state(session)
        is_supported = "timer" in request.supported or "timer" in request.require
        is_early = request.method == "UPDATE" and session.usage.state != CONFIRMED
        if offered is not None and offered.interval < minimum:
            if is_supported:
                # Section 6: Min-SE stands in each 422.
                raise Reject(422, headers={"Min-SE": str(minimum)})
            # Section 9: who does not know timers cannot do anything about a 422.
            session.note("session timer", f"{offered.interval} s is too short")
            answer = None
        elif offered is None and is_early:
            # The 2xx to the INVITE settles it; the peer may not know that yet.
            answer = _UNSETTLED
        elif offered is None:
            answer = self._own_answer(session, state, request)
        elif offered.refresher is None and state.current is not None and is_supported:
            answer = SessionExpires(offered.interval, UAS if state.is_refresher else UAC)
        else:
            refresher = choose_refresher(offered, is_supported=is_supported)
            answer = SessionExpires(offered.interval, refresher)
        state.pending[request.cseq.number] = (answer, is_supported)

    def _is_wanted(self, session: Session) -> bool:
        """Tell whether this side asks for a timer."""
        policy = session.endpoint.session_timer
        return policy == "request" or (self.is_wanted and policy != "no")

    def _interval(self, session: Session) -> int:
        return session.endpoint.session_interval or self.interval

    def _own_answer(
        self, session: Session, state: TimerState, request: Request
    ) -> SessionExpires | None:
        """Return the timer that goes on, or begins, though the request says nothing of it."""
        if state.current is not None:
            return SessionExpires(state.current.interval, UAS) if state.is_refresher else None
        if not self._is_wanted(session):
            return None
        interval = max(self._interval(session), get_min_se(request.headers))
        return SessionExpires(interval, UAS)

    def outgoing_response(self, session: Session, response: Response) -> None:
        """Say in a 2xx what was decided, and begin to count."""
        state = get_timer(session)
        if state is None or response.status < 200:
            return
        answer, is_supported = state.pending.pop(response.cseq.number, (None, None))
        if is_supported is None or response.status >= 300:
            return
        if answer is _UNSETTLED:
            answer = state.current
            if answer is None:
                return
            answer = SessionExpires(answer.interval, UAS if state.is_refresher else UAC)
        if answer is None:
            _stop(session, state)
            return
        response.headers.set("Session-Expires", str(answer))
        if is_supported and "timer" not in response.require:
            # Section 9: MUST when the UAC refreshes, SHOULD when it only has to watch.
            response.headers.add("Require", "timer")
        self._start(session, state, answer.interval, is_refresher=answer.refresher == UAS)

    # -- this side asks --------------------------------------------------------------------

    def outgoing_request(self, session: Session, request: Request) -> None:
        """Ask for the timer again in each refresh, with the roles as they are."""
        self._ask(session, request)
        if "Session-Expires" in request.headers:
            _state(session).asked.add(request.cseq.number)

    def _ask(self, session: Session, request: Request) -> None:
        state = get_timer(session)
        headers = request.headers
        if "Session-Expires" in headers:
            return
        if state is not None and state.current is not None:
            headers.set("Session-Expires", f"{state.current.interval};refresher={state.own_role}")
            if state.min_se:
                # Section 7.4: what a 422 taught us is said in each further request.
                headers.set("Min-SE", str(state.min_se))
        elif self._is_wanted(session) and session.is_initial(request):
            headers.set("Session-Expires", str(self._interval(session)))

    def incoming_response(self, session: Session, response: Response) -> ResponseVerdict:
        """Ask for more time after a 422; take what a 2xx says."""
        state = get_timer(session)
        number = response.cseq.number
        has_asked = state is not None and number in state.asked
        if state is not None and response.status >= 200:
            state.asked.discard(number)
        if response.status == 422:
            return self._ask_for_more(session, response)
        if not 200 <= response.status < 300 or session.is_over:
            return None
        if session.dialog is not None and session.dialog.remote_tag != response.to_tag:
            return None  # Another fork, which is hung up at once.
        settled = _read(session, response)
        if session.endpoint.session_timer == "no":
            return None
        if settled is not None:
            is_refresher = settled.refresher != UAS
            self._start(session, _state(session), settled.interval, is_refresher=is_refresher)
        elif state is not None and has_asked:
            # That a request which did not ask gets no timer does not end one that began meanwhile.
            _stop(session, state)
        return None

    def _ask_for_more(self, session: Session, response: Response) -> Retry | None:
        """Ask for the interval that a 422 wants (7.3); ``None`` when it wants nothing new."""
        state = _state(session)
        try:
            min_se = get_min_se(response.headers)
        except MessageError:
            return None
        if "Min-SE" not in response.headers or min_se <= state.min_se:
            return None
        state.min_se = min_se
        if state.current is not None:
            asked = SessionExpires(max(min_se, state.current.interval), state.own_role)
        else:
            asked = SessionExpires(max(min_se, self._first_wish(session)))
        return Retry({"Session-Expires": str(asked), "Min-SE": str(min_se)})

    def _first_wish(self, session: Session) -> int:
        """Return the interval that the first INVITE asked for; 0 when it did not."""
        wish = _read(session, session.invite)
        if wish is not None:
            return wish.interval
        return self._interval(session) if self._is_wanted(session) else 0

    # -- time ------------------------------------------------------------------------------

    def _start(
        self, session: Session, state: TimerState, interval: int, *, is_refresher: bool
    ) -> None:
        """Count anew, from the 2xx that was just sent or received."""
        before = (state.current, state.is_refresher)
        _stop(session, state)
        # A peer that goes below what section 5 allows shall not make us send without end.
        settled = state.current = SessionExpires(max(interval, ABSOLUTE_MINIMUM))
        state.is_refresher = is_refresher
        if before != (settled, is_refresher):
            who = "this side" if is_refresher else "the far end"
            session.note("session timer", f"{settled.interval} s, refreshed by {who}")
        if is_refresher:
            state.refresh = session.start_timer(settled.refresh_delay, self._refresh, session)
        state.expiry = session.start_timer(settled.expiry_delay, self._expired, session)

    def refresh(self, session: Session) -> Deferred[Response]:
        """Send a refresh: an UPDATE without an offer, or a re-INVITE; override it for another."""
        return session.refresh()

    def _refresh(self, session: Session) -> None:
        """Refresh the session; what its 2xx says counts."""
        if session.end_reason is not None:
            return
        _state(session).is_refreshing = True
        self.refresh(session).addBoth(self._done, session).addCallbacks(
            self._refreshed, self._not_refreshed, callbackArgs=(session,), errbackArgs=(session,)
        )

    def _done(self, result: Response | Failure, session: Session) -> Response | Failure:
        state = get_timer(session)
        if state is not None:
            state.is_refreshing = False
        return result

    def _refreshed(self, response: Response, session: Session) -> None:
        if response.status >= 300:
            self._try_again(session, f"{response.status} {response.reason}")

    def _not_refreshed(self, failure: Failure, session: Session) -> None:
        """Try again, unless the call has ended over it: no answer ends it, as 408 and 481 do."""
        failure.trap(SIPError, NegotiationFailed)
        self._try_again(session, failure.getErrorMessage())

    def _try_again(self, session: Session, why: str) -> None:
        """Refresh again in time: a refusal ends nothing as long as the session lasts (10)."""
        state = get_timer(session)
        if session.end_reason is not None or state is None or state.expiry is None:
            return
        session.note("not refreshed", why)
        left = state.expiry.when - session.core.turn.now
        if left > _LAST_ATTEMPT:
            state.refresh = session.start_timer(left / 2, self._refresh, session)

    def _expired(self, session: Session) -> None:
        """Hang up before the session expires (10), or when it does if a refresh has begun."""
        state = _state(session)
        current = state.current
        if current is None or not (state.is_refreshing or state.pending):
            self._hang_up(session)
            return
        margin = current.interval - current.expiry_delay
        state.expiry = session.start_timer(margin, self._hang_up, session)

    def _hang_up(self, session: Session) -> None:
        session.set_reason(EndReason(NETWORK, "BYE", 408, "the session timer expired"))
        session.terminate(headers={"Reason": 'SIP;cause=408;text="Session timer expired"'})


def _state(session: Session) -> TimerState:
    state = get_timer(session)
    if state is None:
        state = TimerState()
        session.cookies.add(COOKIE, state)
    return state


def _stop(session: Session, state: TimerState) -> None:
    """Count no more: the session lasts as long as it likes."""
    session.cancel_timer(state.refresh)
    session.cancel_timer(state.expiry)
    state.refresh = state.expiry = state.current = None


def _read(session: Session, message: Request | Response) -> SessionExpires | None:
    """Return what a message of no request of the peer says; what cannot be read says nothing."""
    try:
        return get_session_expires(message.headers)
    except MessageError as error:
        session.note("session timer", error.text)
        return None
