# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The session: one INVITE dialog with its media, its plugins, and what they keep with it.

Theory of operation
    The session is the hub. :class:`.IncomingRequest` and :class:`.OutgoingRequest` bring messages
    through the supplements; :class:`.InviteServer` and :class:`.InviteClient` know INVITE and ACK;
    :class:`.MediaNegotiation` knows offers and answers; :class:`.InviteUsage` is the table that
    says how the call stands. Each of them tells the session, and the session tells the others.

    It ends exactly once, in :meth:`_finish`: timers, pending work, the application,
    ``session_end``, cookies, media, ``session_destroy``, in this order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sipsess.dialog import CSeqError, Dialog, InviteUsage
from sipsess.dialog.usage import (
    BYE_DONE,
    CALLING,
    CANCEL_TIMEOUT,
    FAIL,
    HANG_UP,
    PROCEEDING,
    RECEIVE_BYE,
    RECEIVE_CANCEL,
    SEND_AGAIN,
    SEND_FAILURE,
)
from sipsess.endpoint import Endpoint
from sipsess.errors import DialogStateError, RemoteError, SIPError
from sipsess.flow import Flow
from sipsess.interfaces import IApplication
from sipsess.message import Request, Response, build_cancel, build_response
from sipsess.sdp import SessionDescription
from sipsess.sdp import parse as parse_sdp
from sipsess.status import reason_phrase
from sipsess.supplement import Reject, Retry, Verdict
from sipsess.timers import Timer
from sipsess.trace import DecisionRecord

from .chain import CORE_METHODS, Chain, Link
from .cookies import Cookies
from .identity import Identity, get_identity
from .incoming import IncomingRequest
from .invite_client import InviteClient
from .invite_server import InviteServer
from .negotiation import Handlers, MediaNegotiation
from .outgoing import OutgoingRequest
from .reason import LOCAL, NETWORK, REMOTE, EndReason, SessionEnded

if TYPE_CHECKING:
    from sipsess.call import Call
    from sipsess.core import Admission
    from sipsess.manager import DialogManager

_log = Logger()

#: Requests of one dialog that wait while a supplement takes its time over another.
MAX_WAITING_REQUESTS = 16
#: Requests that never wait: they end or complete what the others wait for.
_URGENT = frozenset({"BYE", "PRACK"})
#: Seconds after which a peer may come back when a session is too busy (Retry-After).
RETRY_AFTER = 5


class Session:
    """
    One call, as SIP sees it.

    :param manager: the dialog manager that owns it.
    :param endpoint: how the peer is treated.
    :param application: what the call is for, or ``None`` when the program drives it.
    :param chain: the supplements, for the whole life of the session.
    :param handlers: the SDP handlers, likewise.
    :param invite: the INVITE as received, or as built.
    :param flow: between us and the peer.
    :param is_callee: whether the INVITE came to us.
    """

    __slots__ = (
        "_application",
        "_application_deferred",
        "_began",
        "_current",
        "_extra_headers",
        "_failure",
        "_incoming",
        "_timers",
        "_waiting",
        "_when_ended",
        "_work",
        "application",
        "chain",
        "channel",
        "cookies",
        "core",
        "dialog",
        "dialogs",
        "end_reason",
        "endpoint",
        "final_response",
        "flow",
        "invite",
        "invite_client",
        "invite_server",
        "is_callee",
        "local_tag",
        "manager",
        "media",
        "offered_media",
        "on_confirmed",
        "on_provisional",
        "record",
        "usage",
    )

    def __init__(
        self,
        manager: DialogManager,
        *,
        endpoint: Endpoint,
        application: IApplication | None,
        chain: Chain,
        handlers: Handlers,
        invite: Request,
        flow: Flow,
        is_callee: bool,
    ) -> None:
        self.manager = manager
        self.core = core = manager.core
        self.endpoint = endpoint
        self.application = application
        self.chain = chain
        self.invite = invite
        self.flow = flow
        self.is_callee = is_callee
        self.local_tag: str = core.ids.tag() if is_callee else (invite.from_tag or "")
        #: Every early and confirmed dialog, by remote tag; :attr:`dialog` is the chosen one.
        self.dialogs: dict[str, Dialog] = {}
        self.dialog: Dialog | None = None
        self.usage = InviteUsage(self, core.turn, is_callee=is_callee)
        self.media = MediaNegotiation(
            self,
            handlers,
            host=flow.host,
            session_id=core.ids.random.getrandbits(62),
            wait=self.wait,
        )
        #: The media types of an offer of ours.
        self.offered_media: tuple[str, ...] = ("audio",)
        self.cookies = Cookies()
        #: What the application holds; made when the call reaches it.
        self.channel: Call | None = None
        self.invite_server = InviteServer(self)
        self.invite_client = InviteClient(self)
        #: Why the session ended, ``None`` while it lives and nobody has decided its end.
        self.end_reason: EndReason | None = None
        #: The final response to our INVITE.
        self.final_response: Response | None = None
        #: Called when the call stands, and for each provisional response.
        self.on_confirmed: Callable[[], None] | None = None
        self.on_provisional: Callable[[Response], None] | None = None
        now = core.turn.now
        who = invite.from_.uri if is_callee else invite.to.uri
        self.record = DecisionRecord(
            invite.call_id, f"call {'from' if is_callee else 'to'} {who}", now
        )
        self._current: IncomingRequest | None = None
        self._waiting: deque[IncomingRequest] = deque()
        self._incoming: dict[int, IncomingRequest] = {}
        self._timers: set[Timer] = set()
        self._work: Deferred[Any] | None = None
        self._began = False
        self._when_ended: list[Deferred[EndReason]] = []
        self._application: CoroutineType[Any, Any, None] | None = None
        self._application_deferred: Deferred[None] | None = None
        self._extra_headers: dict[str, str] = {}
        self._failure: tuple[int, str | None] = (480, None)

    # -- what everybody asks ---------------------------------------------------------------

    @property
    def call_id(self) -> str:
        """The Call-ID of all its dialogs."""
        return self.record.call_id

    @property
    def is_over(self) -> bool:
        """Whether the call is over; nothing can be sent any more."""
        return self.usage.is_over

    @property
    def is_answered(self) -> bool:
        """Whether a 2xx was sent or received and the call is not over."""
        return self.usage.is_answered

    def is_initial(self, request: Request) -> bool:
        """Tell whether ``request`` is an INVITE that makes the call: it has no To tag."""
        return request.method == "INVITE" and request.to_tag is None

    def get_identity(self, message: Request | Response | None = None) -> Identity:
        """
        Return who the peer says he is, as far as the endpoint is trusted to say it.

        :param message: of the peer; left out, the one that began the call.
        """
        if message is None:
            message = self.invite if self.is_callee else self.final_response or self.invite
        return get_identity(message, is_trusted=self.endpoint.is_trusted)

    def note(self, what: str, detail: str = "") -> None:
        """Add a fact to the decision record that ``sipsess explain`` prints."""
        self.record.add(self.core.turn.now, what, detail)

    def reason_or_unknown(self) -> EndReason:
        """Return why the session ended or is about to."""
        return self.end_reason or EndReason(LOCAL, "BYE", text="ended")

    def set_reason(self, reason: EndReason) -> None:
        """Note why the session ends; the first reason counts."""
        if self.end_reason is None:
            self.end_reason = reason

    # -- turns, timers, work that waits ----------------------------------------------------

    def wait(self, awaitable: Awaitable[Any]) -> Deferred[Any]:
        """
        Return a Deferred for a plugin's Deferred or coroutine, fired inside a turn.

        Cancelling it cancels the plugin's; what the plugin gives after that is counted and dropped.
        """
        inner: Deferred[Any] = ensureDeferred(awaitable)  # type: ignore[arg-type]
        if inner.called and not inner.paused:
            return inner
        outer: Deferred[Any] = Deferred(lambda _: inner.cancel())
        inner.addBoth(self._fire, outer)
        return outer

    def _fire(self, result: object, outer: Deferred[Any]) -> None:
        if outer.called:
            self.count_late_verdict()
            return
        with self.core.turn:
            if isinstance(result, Failure):
                outer.errback(result)
            else:
                outer.callback(result)

    def start_timer(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """
        Call ``callback(*args)`` after ``delay`` seconds, unless the session ends before.

        :return: for :meth:`cancel_timer`.
        :raises SessionEnded: when it has ended already.
        """
        if self.is_over:
            raise SessionEnded(self.reason_or_unknown())
        timer = self.core.timers.start(
            self.core.turn.now, delay, self._timer_fired, (callback, args)
        )
        self._timers.add(timer)
        return timer

    def _timer_fired(
        self, payload: tuple[Callable[..., object], tuple[Any, ...]], now: float
    ) -> None:
        self._timers = {timer for timer in self._timers if timer.is_active}
        self.core.turn.later(payload[0], *payload[1])

    def cancel_timer(self, timer: Timer | None) -> None:
        """Stop a timer; harmless when it has fired."""
        if timer is not None:
            self.core.timers.cancel(timer)
            self._timers.discard(timer)

    def count_late_verdict(self) -> None:
        """Count what a plugin gave when nobody waited for it any more."""
        self.core.counters.late_verdicts += 1

    def plugin_failed(self, name: str, callback: str, error: BaseException) -> None:
        """Log, count and note what a plugin raised."""
        self.note("plugin failed", f"{name}.{callback}: {error!r}")
        self.core.plugin_failed(name, callback, error, self.call_id)

    def internal_error(self, failure: Failure) -> None:
        """Log a bug of this side and end the call."""
        if failure.check(SessionEnded):
            return
        self.core.internal_error(failure, self.call_id)
        self.set_reason(EndReason(LOCAL, "BYE", text="internal error"))
        self.terminate(500)

    # -- life ------------------------------------------------------------------------------

    def begin(self) -> None:
        """Tell the supplements that the session begins."""
        self._began = True
        self.core.counters.sessions_begun += 1
        self.note("began", f"endpoint {self.endpoint.name}, application {self._application_name}")
        self._tell(self.chain.begin, "session_begin")
        if self.core.trace is not None:
            self.core.trace.session_begun(self, self.core.turn.now)

    @property
    def _application_name(self) -> str:
        return "none" if self.application is None else self.application.name

    def _tell(self, links: tuple[Link, ...], callback: str) -> None:
        for link in links:
            try:
                link.callback(self)
            except Exception as error:
                self.plugin_failed(link.name, callback, error)

    def usage_ended(self) -> None:
        """See :meth:`.UsageOwner.usage_ended`."""
        self._finish()

    def _finish(self) -> None:
        """End: release all that is of this session, exactly once and in this order."""
        reason = self.end_reason = self.reason_or_unknown()
        self.note("ended", str(reason))
        for timer in self._timers:
            self.core.timers.cancel(timer)
        self._timers.clear()
        self.invite_server.stop()
        for incoming in [*self._incoming.values(), *self._waiting]:
            incoming.release()
            if not incoming.is_answered:
                self.reject(incoming, 487 if incoming.request.method == "INVITE" else 481)
        self._waiting.clear()
        self._cancel_application()
        if self._work is not None:
            self._work.cancel()
        self.invite_client.stop()
        if self._began:
            self._tell(self.chain.end, "session_end")
        self.cookies.destroy_all()
        self.media.close()
        if self._began:
            self._tell(self.chain.destroy, "session_destroy")
            self.core.counters.sessions_ended += 1
        for dialog in self.dialogs.values():
            dialog.terminate()
        if self.core.trace is not None:
            self.core.trace.session_ended(self, self.core.turn.now)
        self.manager.session_over(self)
        waiting, self._when_ended = self._when_ended, []
        for deferred in waiting:
            deferred.callback(reason)

    def when_ended(self) -> Deferred[EndReason]:
        """Return a Deferred that fires when the session is over, with the reason."""
        deferred: Deferred[EndReason] = Deferred()
        if self.is_over:
            deferred.callback(self.reason_or_unknown())
        else:
            self._when_ended.append(deferred)
        return deferred

    def fail(self, reason: EndReason) -> None:
        """End a session whose INVITE was not sent."""
        self.set_reason(reason)
        self.usage.feed(FAIL)

    def give_up(self) -> None:
        """End a call of ours that nobody answers."""
        if not self.is_answered:
            self.set_reason(EndReason(LOCAL, "CANCEL", 408, "nobody answered"))
            self.terminate()

    def work_on(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run what prepares a call; the session's end cancels it."""
        deferred = Deferred.fromCoroutine(coroutine)
        if not deferred.called:
            self._work = deferred
        deferred.addErrback(self.internal_error)

    # -- the application -------------------------------------------------------------------

    def start_application(self) -> None:
        """Let the application have the call."""
        application = self.application
        if application is None or self.is_over:
            return
        self.channel = self.manager.make_call(self)
        self.note("application", application.name)
        self._application = cast("CoroutineType[Any, Any, None]", application.handle(self.channel))
        deferred = Deferred.fromCoroutine(self._application)
        if not deferred.called:
            self._application_deferred = deferred
        deferred.addBoth(self._application_done)

    def _application_done(self, result: object) -> None:
        self._application_deferred = self._application = None
        with self.core.turn:
            self.core.turn.later(self._application_over, result)

    def _application_over(self, result: object) -> None:
        if self.is_over:
            return
        status: int = 480
        reason: str | None = None
        headers: dict[str, str] = {}
        if isinstance(result, Failure):
            status, reason, headers = self._application_failed(result)
        self.set_reason(EndReason(LOCAL, "BYE", text=reason or "the application is done"))
        self.terminate(status, reason=reason, headers=headers)

    def _application_failed(self, failure: Failure) -> tuple[int, str | None, dict[str, str]]:
        error = failure.value
        if isinstance(error, Reject):
            return error.status, error.reason, error.headers
        if not isinstance(error, SIPError):
            name = f"application {self._application_name}"
            self.plugin_failed(name, "handle", error or RuntimeError())
            return 500, None, {}
        self.note("application failed", str(error))
        return error.status_hint or 480, None, {}

    def _cancel_application(self, payload: None = None, now: float = 0.0) -> None:
        """Cancel the application where it waits; if it is running just now, when it waits next."""
        deferred = self._application_deferred
        if deferred is None or self._application is None:
            return
        if self._application.cr_running:
            core = self.core
            core.timers.start(core.turn.now, 0.0, self._cancel_application, None)
            return
        deferred.addErrback(lambda failure: None)
        deferred.cancel()

    # -- requests of the peer --------------------------------------------------------------

    def receive_initial(self, admission: Admission) -> None:
        """Take the INVITE that makes the call."""
        incoming = self._open(admission)
        self.invite_server.current = incoming
        self.dialog = Dialog.as_uas(admission.request, self.local_tag)
        self.add_dialog(self.dialog)
        incoming.run(self.chain.incoming(admission.request.method))

    def receive_request(self, admission: Admission) -> None:
        """Take a request within the dialog: checks first, then the supplements."""
        request = admission.request
        incoming = self._open(admission)
        dialog = self.dialogs.get(request.from_tag or "")
        try:
            if dialog is None:
                self.reject(incoming, 481)
                return
            dialog.accept_request(request)
        except CSeqError as error:
            self.reject_remote(incoming, error)
            return
        if request.method not in self.chain.allow:
            self._refuse_method(incoming)
        elif request.method in _URGENT or not self._is_busy:
            self._admit(incoming)
        elif len(self._waiting) < MAX_WAITING_REQUESTS:
            self._waiting.append(incoming)
        else:
            self.core.counters.refuse("session-busy")
            self.reject(incoming, 500, headers={"Retry-After": str(RETRY_AFTER)})

    @property
    def _is_busy(self) -> bool:
        """Whether a supplement still thinks about an earlier request of this dialog."""
        return self._current is not None and self._current.is_pending

    def _open(self, admission: Admission) -> IncomingRequest:
        incoming = IncomingRequest(self, admission.request, admission.transaction)
        self._incoming[id(admission.request)] = incoming
        return incoming

    def _refuse_method(self, incoming: IncomingRequest) -> None:
        method = incoming.request.method
        self.core.counters.refuse("method-not-allowed")
        if method in ("SUBSCRIBE", "NOTIFY") and "Event" in incoming.request.headers:
            self.reject(incoming, 489)
        elif method == "PRACK":
            # RFC 3262 3: a PRACK that matches no reliable provisional response.
            self.reject(incoming, 481)
        else:
            status = self.core.refusal_of_method(method)
            self.reject(incoming, status, headers={"Allow": self.core.allow_of(self.chain)})

    def _admit(self, incoming: IncomingRequest) -> None:
        request = incoming.request
        if request.method == "INVITE" and not self._admit_reinvite(incoming):
            return
        self._current = incoming
        incoming.run(self.chain.incoming(request.method))

    def _admit_reinvite(self, incoming: IncomingRequest) -> bool:
        """Refuse a re-INVITE that meets another INVITE (14.2); ``False`` when it was refused."""
        server, client = self.invite_server, self.invite_client
        if server.current is not None and not server.current.is_answered:
            delay = self.core.ids.random.randint(0, 10)
            self.reject(incoming, 500, headers={"Retry-After": str(delay)})
            return False
        if client.outgoing is not None or self.media.is_open:
            self.reject(incoming, 491)
            return False
        server.current = incoming
        return True

    def next_request(self) -> None:
        """Go on with the next request that waited for a supplement."""
        while self._waiting and not self._is_busy and not self.is_over:
            incoming = self._waiting.popleft()
            if not incoming.is_over:
                self._admit(incoming)

    def negotiate(self, request: Request) -> None:
        """
        Take the offer of a request, at the MEDIA mark of the chain.

        :raises RemoteError: when the body cannot be read.
        :raises NegotiationFailed: when nothing of it is wanted.
        """
        if request.body:
            self.media.receive_offer(self.parse_sdp(request))
            self.note("offer", describe_media(self.media.machine.pending_remote))

    def parse_sdp(self, message: Request | Response) -> SessionDescription:
        """
        Return the session description of a message.

        :raises SDPError: when it has none, or one that cannot be read.
        """
        return parse_sdp(message.body)

    def request_admitted(self, incoming: IncomingRequest) -> None:
        """Do what a request asks for that all supplements let through."""
        request = incoming.request
        method = request.method
        if method == "INVITE":
            if self.is_initial(request):
                incoming.start_deadline()
                self.core.turn.later(self.start_application)
            else:
                self.invite_server.answer(incoming).addErrback(self._reinvite_not_answered)
        elif method == "BYE":
            self._receive_bye(incoming)
        elif method == "OPTIONS":
            self.respond(incoming, self.core.build_capabilities(request, self.chain))
        elif method == "INFO" and not request.body:
            # An empty INFO is a keep-alive of some session border controllers.
            self.reply(incoming, 200)
        else:
            self.core.counters.refuse("request-unclaimed")
            self.note("unclaimed", method)
            self.reject(incoming, 415 if request.body else 501)

    def _reinvite_not_answered(self, failure: Failure) -> None:
        """The refusal was sent already; a bug of ours is logged."""
        if not failure.check(SIPError) and not isinstance(failure.value, Exception):
            self.internal_error(failure)
        self.note("re-INVITE refused", str(failure.value))

    def _receive_bye(self, incoming: IncomingRequest) -> None:
        reason = incoming.request.headers.get("Reason") or ""
        self.set_reason(EndReason(REMOTE, "BYE", text=reason))
        self.reply(incoming, 200)
        self.usage.feed(RECEIVE_BYE)

    def receive_ack(self, request: Request) -> None:
        """Take the ACK of a 2xx."""
        self.invite_server.receive_ack(request)

    def receive_cancel(self, incoming: IncomingRequest, admission: Admission) -> None:
        """Take the CANCEL of an INVITE: answer it, and end the INVITE if it is still open."""
        self.notify_incoming(admission.request)
        cancel = IncomingRequest(self, admission.request, admission.transaction)
        self.respond(cancel, self.build_response(admission.request, 200))
        if incoming.is_answered or self.is_over:
            return
        incoming.release()
        if self.is_initial(incoming.request):
            reason = admission.request.headers.get("Reason") or ""
            self.set_reason(EndReason(REMOTE, "CANCEL", text=reason))
            self.usage.feed(RECEIVE_CANCEL)
        else:
            self.invite_server.stop_answering()
            self.media.rollback()
            self.reject(incoming, 487)

    def notify_incoming(self, request: Request) -> None:
        """Show a request that cannot be refused, ACK or CANCEL, to the supplements."""
        for link in self.chain.observers(request.method):
            try:
                result = link.callback(self, request)
                if isinstance(result, Awaitable):
                    self.wait(result).addErrback(self._observer_failed, link.name)
            except Exception as error:
                self.plugin_failed(link.name, "incoming_request", error)

    def _observer_failed(self, failure: Failure, name: str) -> None:
        self.plugin_failed(name, "incoming_request", failure.value or RuntimeError())

    def request_handled(self, incoming: IncomingRequest) -> None:
        """A supplement has claimed the request; it answers, or did."""
        if incoming.is_answered:
            incoming.release()

    def answer_overdue(self, incoming: IncomingRequest) -> None:
        """Nobody answered in time: the core does."""
        self.core.counters.refuse("answer-overdue")
        if incoming.handled_by:
            self.core.plugin_overdue(incoming.handled_by, incoming.request.method, self.call_id)
            self.reject(incoming, 500)
        else:
            self.reject(incoming, 480)

    def answer_failed(self, incoming: IncomingRequest, error: SIPError) -> None:
        """An answer could not be delivered, or the ACK of a refusal never came."""
        self.note("answer lost", f"{incoming.request.method}: {error}")
        if self.is_initial(incoming.request) and not incoming.is_answered:
            self.set_reason(EndReason(NETWORK, "INVITE", error.status_hint, str(error)))
            self.usage.feed(FAIL)

    def request_over(self, incoming: IncomingRequest) -> None:
        """The server transaction of a request is over."""
        self._incoming.pop(id(incoming.request), None)

    # -- responses of ours -----------------------------------------------------------------

    def build_response(
        self,
        request: Request,
        status: int,
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Return a response with our tag and the headers that its status needs."""
        response = build_response(request, status, reason, to_tag=self.local_tag)
        if request.method == "INVITE" and 100 < status < 300:
            response.headers.set("Contact", self.contact)
            if status >= 200:
                response.headers.set("Allow", self.core.allow_of(self.chain))
                self.add_supported(response)
        for name, value in (headers or {}).items():
            response.headers.set(name, value)
        return response

    @property
    def contact(self) -> str:
        """The Contact value of this side: where the peer reaches this session."""
        transport = self.flow.transport.lower()
        suffix = "" if transport == "udp" else f";transport={transport}"
        return f"<sip:{self.flow.sent_by}{suffix}>"

    def add_supported(self, message: Request | Response) -> None:
        """Set Supported, when there is anything to say."""
        if self.chain.option_tags:
            message.headers.set("Supported", ", ".join(sorted(self.chain.option_tags)))

    def add_standard_headers(self, request: Request) -> None:
        """Set what every INVITE of ours carries: Contact, Allow, Supported."""
        request.headers.set("Contact", self.contact)
        request.headers.set("Allow", self.core.allow_of(self.chain))
        self.add_supported(request)

    def respond(self, incoming: IncomingRequest, response: Response) -> None:
        """Show a response to the supplements and send it."""
        self._run_outgoing("outgoing_response", incoming.request.method, response)
        incoming.transaction.respond(response, self.core.turn.now)
        if response.status >= 200:
            incoming.release()
            self._answered(incoming)

    def _answered(self, incoming: IncomingRequest) -> None:
        if self.invite_server.current is incoming:
            self.invite_server.current = None
            self.core.turn.later(self.invite_client.send_waiting)
        self.core.turn.later(self.next_request)

    def reply(self, incoming: IncomingRequest, status: int) -> None:
        """Send a plain response."""
        self.respond(incoming, self.build_response(incoming.request, status))

    def send_final(self, incoming: IncomingRequest, response: Response) -> None:
        """Send the final response of an INVITE."""
        self.note("answered", f"{response.status} {response.reason}")
        self.respond(incoming, response)

    def reject(
        self,
        incoming: IncomingRequest,
        status: int,
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Refuse a request; refusing the first INVITE ends the session."""
        if incoming.is_answered:
            return
        request = incoming.request
        text = reason or reason_phrase(status)
        if request.method == "INVITE":
            self.invite_server.stop_answering()
            self.media.rollback()
        self.note("refused", f"{request.method}: {status} {text}")
        self.respond(incoming, self.build_response(request, status, reason, headers))
        if self.is_initial(request) and not self.is_over:
            self.set_reason(EndReason(LOCAL, "INVITE", status, text))
            self.usage.feed(SEND_FAILURE)

    def reject_media(self, incoming: IncomingRequest, text: str, warn_code: int) -> None:
        """Refuse an offer: 488 with a Warning that says why (13.3.1.3)."""
        agent = self.flow.sent_by
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        self.core.counters.refuse("media-refused")
        self.reject(incoming, 488, headers={"Warning": f'{warn_code} {agent} "{quoted}"'})

    def reject_remote(self, incoming: IncomingRequest, error: RemoteError) -> None:
        """Refuse a request that breaks the protocol."""
        self.core.counters.refuse(error.reason_code)
        status = getattr(error, "status", None) or error.status_hint or 400
        if status == 488:
            self.reject_media(incoming, error.text, 399)
        else:
            self.reject(incoming, status, f"{reason_phrase(status)} ({error.text})"[:200])

    def send_response(
        self,
        status: int,
        request: Request | None = None,
        *,
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Deferred[Response]:
        """
        Answer a request of the peer; a 2xx to INVITE brings the media's description with it.

        :param status: 101 to 699; 100 is the core's.
        :param request: left out, the INVITE that has no answer yet.
        :return: fires with the response when it was sent, at once unless an SDP handler takes time.
        :raises DialogStateError: when the request has its final response, or is none of this
            session.
        """
        with self.core.turn:
            incoming = self._find_incoming(request)
            if incoming.request.method == "INVITE" and 200 <= status < 300:
                return self.invite_server.answer(incoming, headers)
            result: Deferred[Response] = Deferred()
            if status >= 300:
                self.reject(incoming, status, reason, headers)
                response = self.build_response(incoming.request, status, reason, headers)
            else:
                response = self.build_response(incoming.request, status, reason, headers)
                self.respond(incoming, response)
            result.callback(response)
            return result

    def _find_incoming(self, request: Request | None) -> IncomingRequest:
        if request is None:
            incoming = self.invite_server.current
        else:
            incoming = self._incoming.get(id(request))
        if incoming is None or incoming.is_answered:
            what = "INVITE" if request is None else request.method
            raise DialogStateError(f"no {what} of the call {self.call_id} waits for an answer")
        return incoming

    # -- requests of ours ------------------------------------------------------------------

    def send_request(
        self,
        method: str,
        *,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        body: bytes = b"",
    ) -> Deferred[Response]:
        """
        Send a request within the dialog.

        :param method: not INVITE, ACK, BYE or CANCEL; see :meth:`send_reinvite`, :meth:`terminate`.
        :return: fires with the final response, whatever it says; fails with :class:`.Timeout` or
            :class:`.TransportError`.
        :raises DialogStateError: when there is no dialog, or the call is over.
        """
        if method in CORE_METHODS - {"OPTIONS"}:
            raise DialogStateError(f"{method} is sent by the session itself")
        with self.core.turn:
            dialog = self.dialog
            if dialog is None or self.is_over:
                raise DialogStateError(f"the call {self.call_id} has no dialog for {method}")
            request = dialog.build_request(method)
            for name, value in (headers or {}).items():
                request.headers.set(name, value)
            if body:
                request.set_body(content_type or "application/octet-stream", body)
            result: Deferred[Response] = Deferred()
            OutgoingRequest(
                self,
                request,
                self.flow_to(dialog),
                lambda outgoing, response: self._responded(outgoing, response, result),
                lambda outgoing, error: result.errback(error),
            ).send()
            return result

    def _responded(
        self, outgoing: OutgoingRequest, response: Response, result: Deferred[Response]
    ) -> None:
        if response.status < 200:
            return
        if response.status in (408, 481):
            # RFC 3261 12.2.1.2: the dialog is gone at the other end.
            self.set_reason(
                EndReason(REMOTE, outgoing.request.method, response.status, response.reason)
            )
            self.terminate()
        result.callback(response)

    def send_reinvite(
        self,
        headers: Mapping[str, str] | None = None,
        response_callback: Callable[[Response], object] | None = None,
    ) -> Deferred[Response]:
        """
        Re-negotiate the media; waits while another INVITE is pending, and after glare.

        :param headers: more headers of the INVITE.
        :param response_callback: called with the final response.
        :return: fires with the final response, whatever it says; fails with :class:`.SessionEnded`,
            :class:`.Timeout`, :class:`.TransportError` or :class:`.NegotiationFailed`.
        """
        with self.core.turn:
            if self.is_over:
                raise SessionEnded(self.reason_or_unknown())
            deferred = self.invite_client.reinvite(headers)
            if response_callback is not None:
                deferred.addCallback(self._called_back, response_callback)
            return deferred

    def _called_back(
        self, response: Response, response_callback: Callable[[Response], object]
    ) -> Response:
        response_callback(response)
        return response

    def terminate(
        self,
        status: int = 480,
        *,
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """
        End the session, whatever its state: refuse, cancel or hang up; harmless when done twice.

        :param status: of the refusal, when the INVITE came to us and has no answer.
        :param reason: its reason phrase.
        :param headers: of the refusal, the CANCEL or the BYE, such as Reason (:rfc:`3326`).
        """
        with self.core.turn:
            if self.is_over:
                return
            self._failure = (status, reason)
            self._extra_headers = dict(headers or {})
            unanswered = self.is_callee and not self.is_answered
            method = "INVITE" if unanswered else "BYE" if self.is_answered else "CANCEL"
            self.set_reason(
                EndReason(LOCAL, method, status if unanswered else None, reason or "hung up")
            )
            self.media.stop()
            is_unsent = self.usage.state == CALLING and self.invite_client.outgoing is None
            self.usage.feed(FAIL if is_unsent else HANG_UP)

    # -- what the usage table says ---------------------------------------------------------

    def send_rejection(self) -> None:
        """See :meth:`.UsageOwner.send_rejection`."""
        status, reason = self._failure
        self._end_invite(status, reason, self._extra_headers)

    def send_request_terminated(self) -> None:
        """See :meth:`.UsageOwner.send_request_terminated`."""
        self._end_invite(487, None, {})

    def _end_invite(self, status: int, reason: str | None, headers: Mapping[str, str]) -> None:
        incoming = self.invite_server.current
        if incoming is not None:
            self.reject(incoming, status, reason, headers)

    def send_cancel(self) -> None:
        """See :meth:`.UsageOwner.send_cancel`."""
        outgoing = self.invite_client.outgoing
        if outgoing is None:
            return
        cancel = build_cancel(outgoing.request)
        for name, value in self._extra_headers.items():
            cancel.headers.set(name, value)
        self.run_outgoing_request(cancel)
        self.core.start_client(cancel, outgoing.flow, self.core.ignoring_user)
        self.start_timer(64 * self.core.timing.t1, self.usage.feed, CANCEL_TIMEOUT)

    def send_bye(self) -> None:
        """See :meth:`.UsageOwner.send_bye`."""
        dialog = self.dialog
        if dialog is None:
            self.usage.feed(BYE_DONE)
            return
        request = dialog.build_request("BYE")
        for name, value in self._extra_headers.items():
            request.headers.set(name, value)
        OutgoingRequest(
            self, request, self.flow_to(dialog), self._bye_answered, self._bye_failed
        ).send()

    def _bye_answered(self, outgoing: OutgoingRequest, response: Response) -> None:
        if response.status >= 200 and not self.is_over:
            self.usage.feed(BYE_DONE)

    def _bye_failed(self, outgoing: OutgoingRequest, error: SIPError) -> None:
        self.note("BYE unanswered", str(error))
        if not self.is_over:
            self.usage.feed(BYE_DONE)

    def usage_confirmed(self) -> None:
        """See :meth:`.UsageOwner.usage_confirmed`."""
        self.note("confirmed")
        self.core.counters.sessions_answered += 1
        if self.final_response is not None and not self.invite_client.answered.called:
            self.invite_client.answered.callback(self.final_response)
        if self.on_confirmed is not None:
            self.on_confirmed()
        self.invite_client.send_waiting()

    # -- for the parts ---------------------------------------------------------------------

    def provisional_received(self, response: Response) -> None:
        """A provisional response came."""
        if self.on_provisional is not None:
            self.on_provisional(response)

    def may_retry(self, outgoing: OutgoingRequest) -> bool:
        """Tell whether a request may be sent again: the call still wants it."""
        if outgoing is self.invite_client.outgoing and not self.is_answered:
            if self.usage.state not in (CALLING, PROCEEDING):
                return False
            self.usage.feed(SEND_AGAIN)
        return not self.is_over

    def next_cseq(self, outgoing: OutgoingRequest) -> int:
        """Return the CSeq number of a retry."""
        if self.dialog is None:
            return outgoing.request.cseq.number + 1
        self.dialog.local_seq = max(self.dialog.local_seq, outgoing.request.cseq.number) + 1
        return self.dialog.local_seq

    def outgoing_over(self, outgoing: OutgoingRequest) -> None:
        """A client transaction is over; nothing of it is kept."""

    def flow_to(self, dialog: Dialog) -> Flow:
        """Return the flow to a dialog's next hop."""
        return self.core.flow_to(dialog.next_hop(), self.flow)

    def add_dialog(self, dialog: Dialog) -> None:
        """Own one more dialog."""
        self.dialogs[dialog.remote_tag] = dialog
        self.manager.add_dialog(dialog, self)

    def remove_dialog(self, dialog: Dialog) -> None:
        """Own a dialog no more: its call was dropped."""
        dialog.terminate()
        self.dialogs.pop(dialog.remote_tag, None)
        self.manager.remove_dialog(dialog)

    def dialog_confirmed(self) -> None:
        """The callee's dialog is confirmed by its 2xx."""
        if self.dialog is not None:
            self.dialog.confirm()

    def dialog_refreshed(self, request: Request) -> None:
        """A target refresh of the peer was accepted (12.2.2)."""
        if self.dialog is not None:
            self.dialog.refresh_target(request)

    def run_outgoing_request(self, request: Request) -> None:
        """Show a request of ours to the supplements."""
        self._run_outgoing("outgoing_request", request.method, request)

    def _run_outgoing(self, callback: str, method: str, message: Request | Response) -> None:
        links = self.chain.links(callback, method)
        for link in (*links.before_media, *links.after_media):
            try:
                link.callback(self, message)
            except Exception as error:
                self.plugin_failed(link.name, callback, error)

    def run_incoming_response(self, request: Request, response: Response) -> Retry | None:
        """Show a response to the supplements; return the first Retry, or ``None``."""
        links = self.chain.links("incoming_response", request.method)
        for link in (*links.before_media, *links.after_media):
            try:
                verdict = link.callback(self, response)
            except Exception as error:
                self.plugin_failed(link.name, "incoming_response", error)
                continue
            if isinstance(verdict, Retry):
                return verdict
            if verdict is not None and verdict is not Verdict.CONTINUE:
                wrong = TypeError(f"{verdict!r} is neither CONTINUE nor a Retry")
                self.plugin_failed(link.name, "incoming_response", wrong)
        return None


def describe_media(sdp: SessionDescription | None) -> str:
    """Return the m-lines of a description in a few words, for the decision record."""
    if sdp is None:
        return "none"
    return ", ".join(
        f"{media.media} {media.proto} {'/'.join(media.formats[:6])} port {media.port}"
        for media in sdp.media
    )
