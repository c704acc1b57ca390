# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The core: every message comes in here, and every byte leaves from here.

Theory of operation
    Inputs are datagrams, time and the public methods; outputs are messages on flows and one
    deadline. No socket, no reactor. A request that no transaction absorbs gets its server
    transaction at once, so that copies are absorbed whatever happens next; then it passes
    *admission*: the core's own checks, then each gate, which may take time; then Require; then it
    goes to the first service that claims it. When none does, the core answers itself.

    Nothing a peer sends may raise out of :meth:`SIPCore.receive_datagram`. Every request gets
    exactly one final answer, every refusal a counted reason.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sipsess.counters import Counters
from sipsess.endpoint import Endpoint
from sipsess.errors import RemoteError, SIPError
from sipsess.flow import Address, Flow
from sipsess.ids import IdSource
from sipsess.interfaces import IMessageHook, IRequestGate, ISIPService, ITrace
from sipsess.message import (
    SIPURI,
    Request,
    Response,
    TelURI,
    build_response,
    parse_uri,
)
from sipsess.status import reason_phrase
from sipsess.supplement import Reject, Verdict
from sipsess.timers import TimerQueue
from sipsess.transaction import (
    ClientTransaction,
    ClientUser,
    ServerTransaction,
    Timing,
    TransactionLayer,
)
from sipsess.transaction.via import (
    DEFAULT_PORT,
    DEFAULT_TLS_PORT,
    client_via,
    reply_flow,
    stamp_received,
)
from sipsess.turn import Turn

if TYPE_CHECKING:
    from sipsess.session import Chain

_log = Logger()

#: The methods that IANA knows: not supporting one is 405, any other is 501 (8.2.1, 21.5.2).
KNOWN_METHODS = frozenset(
    {"ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH"}
    | {"REFER", "REGISTER", "SUBSCRIBE", "UPDATE"}
)
#: Seconds after which a peer may come back when the server is full (:rfc:`3261#section-21.5.4`).
RETRY_AFTER = 10
#: How long a gate may take: below the 64*T1 after which the peer gives up.
GATE_LIMIT = 28.0
#: Tracebacks logged per plugin callback; after these, failures are only counted for a minute.
LOGGED_FAILURES = 5
LOG_PERIOD = 60.0

#: Why the core refuses or drops.
REASONS: dict[str, str] = {
    "merged-request": "the same request came over two ways (482)",
    "unsupported-scheme": "the Request-URI's scheme is neither sip, sips nor tel (416)",
    "bad-extension": "the request requires an extension that is not there (420)",
    "method-not-allowed": "the method is not supported here (405, 501, 489)",
    "gate-refused": "a gate refused the request",
    "gate-overdue": "a gate did not decide in time (500)",
    "transactions-full": "there are too many transactions (503)",
    "cancel-unmatched": "a CANCEL matches no INVITE (481)",
    "ack-unmatched": "an ACK matches no session",
    "ack-unexpected": "an ACK came again, or for a 2xx that was never sent",
    "ack-missing": "no ACK came for a 2xx in 64*T1",
    "response-unmatched": "a response matches no transaction and no session",
    "internal-error": "a bug of this side (500)",
}


class Admission:
    """
    One request on its way in; the user of its server transaction until a service takes it.

    :param core: that received it.
    :param request: valid, its top Via stamped.
    :param transaction: that the answer goes to.
    :param flow: where it came from.
    """

    __slots__ = (
        "_deadline",
        "_deferred",
        "_gate",
        "core",
        "endpoint",
        "flow",
        "request",
        "transaction",
    )

    def __init__(
        self, core: SIPCore, request: Request, transaction: ServerTransaction, flow: Flow
    ) -> None:
        self.core = core
        self.request = request
        self.transaction = transaction
        self.flow = flow
        #: Who the peer is; a gate sets it.
        self.endpoint: Endpoint | None = None
        self._gate = 0
        self._deferred: Deferred[Any] | None = None
        self._deadline: Any = None
        transaction.user = self

    # -- the gates -------------------------------------------------------------------------

    def begin(self) -> None:
        """Pass the gates in order, then the request is the core's again."""
        gates = self.core.gates
        while self._gate < len(gates):
            gate = gates[self._gate]
            self._gate += 1
            try:
                verdict = gate.admit(self)
            except Exception as error:
                self._refuse(gate, error)
                return
            if isinstance(verdict, Awaitable):
                self._await(gate, verdict)
                return
            if not self._goes_on(gate, verdict):
                return
        self.core.admitted(self)

    def _goes_on(self, gate: IRequestGate, verdict: object) -> bool:
        if verdict is None or verdict is Verdict.CONTINUE:
            return True
        if verdict is Verdict.HANDLED:
            if not self.transaction.has_final:
                self._start_deadline()
        else:
            self._refuse(gate, TypeError(f"{verdict!r} is not a Verdict"))
        return False

    def _await(self, gate: IRequestGate, verdict: Awaitable[object]) -> None:
        deferred: Deferred[object] = ensureDeferred(verdict)  # type: ignore[arg-type]
        self._deferred = deferred
        deferred.addBoth(self._resume, gate)
        if self._deferred is not None:
            self._start_deadline()

    def _resume(self, result: object, gate: IRequestGate) -> None:
        self._deferred = None
        self.core.timers.cancel(self._deadline)
        with self.core.turn:
            if self.transaction.has_final:
                self.core.counters.late_verdicts += 1
            elif isinstance(result, Failure):
                value = result.value
                error = value if isinstance(value, Exception) else RuntimeError(repr(value))
                self._refuse(gate, error)
            elif self._goes_on(gate, result):
                self.core.turn.later(self.begin)

    def _refuse(self, gate: IRequestGate, error: Exception) -> None:
        if isinstance(error, Reject):
            self.core.counters.refuse("gate-refused")
            self.respond(error.status, error.reason, error.headers)
        elif not isinstance(error, CancelledError):
            call_id = self.request.call_id
            self.core.plugin_failed(f"gate {gate.name}", "admit", error, call_id)
            self.respond(500)

    def _start_deadline(self) -> None:
        core = self.core
        self._deadline = core.timers.start(core.turn.now, GATE_LIMIT, self._expired, None)

    def _expired(self, payload: None, now: float) -> None:
        self._deadline = None
        if not self.transaction.has_final:
            self.core.counters.refuse("gate-overdue")
            self.respond(500)

    # -- the answer ------------------------------------------------------------------------

    def respond(
        self, status: int, reason: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer the request, outside any session; a second final answer is ignored."""
        if self.transaction.has_final:
            return
        core = self.core
        response = build_response(self.request, status, reason, to_tag=core.ids.tag())
        for name, value in (headers or {}).items():
            response.headers.set(name, value)
        core.respond(self.transaction, response)
        self._release()

    def _release(self) -> None:
        self.core.timers.cancel(self._deadline)
        self._deadline = None
        deferred, self._deferred = self._deferred, None
        if deferred is not None:
            deferred.cancel()

    def cancelled(self, admission: Admission) -> None:
        """A CANCEL came while a gate was thinking: 200 for it, 487 for the INVITE (9.2)."""
        admission.respond(200)
        self.respond(487)

    def server_failed(self, transaction: ServerTransaction, error: SIPError, now: float) -> None:
        """The answer could not be delivered; there is nobody to tell."""
        if not transaction.has_final:
            self.respond(503)

    def server_terminated(self, transaction: ServerTransaction, now: float) -> None:
        """The transaction is over."""
        self._release()


class IgnoringUser:
    """The user of a client transaction whose outcome changes nothing, such as a CANCEL's."""

    def response_received(
        self, transaction: ClientTransaction, response: Response, now: float
    ) -> None:
        """Ignore a response."""

    def client_failed(self, transaction: ClientTransaction, error: SIPError, now: float) -> None:
        """Ignore a failure."""

    def client_terminated(self, transaction: ClientTransaction, now: float) -> None:
        """Ignore the end."""


class SIPCore:
    """
    The core of one server.

    :param transmit: sends bytes on a flow; never raises.
    :param seconds: the monotonic clock.
    :param ids: where tags, branches and Call-IDs come from.
    :param gates: asked in this order.
    :param hooks: see the messages outside sessions, in this order.
    :param flow_for: ``flow_for(transport, address)`` returns a flow of ours to an address, or
        ``None`` when no listener reaches it.
    """

    ignoring_user = IgnoringUser()

    def __init__(
        self,
        *,
        transmit: Callable[[Flow, bytes], None],
        seconds: Callable[[], float],
        ids: IdSource | None = None,
        gates: Iterable[IRequestGate] = (),
        hooks: Iterable[IMessageHook] = (),
        flow_for: Callable[[str, Address], Flow | None] | None = None,
        timing: Timing | None = None,
        trace: ITrace | None = None,
    ) -> None:
        self.counters = Counters()
        self.ids = ids or IdSource()
        self.timing = timing or Timing()
        self.timers = TimerQueue()
        self.trace = trace
        self._transmit = transmit
        self.turn = Turn(self._send_out, self._upcall_failed, seconds)
        self.layer = TransactionLayer(
            turn=self.turn, timers=self.timers, counters=self.counters, timing=self.timing
        )
        self.gates = tuple(gates)
        self.hooks = tuple(hooks)
        self.services: tuple[ISIPService, ...] = ()
        self._flow_for = flow_for
        self._allow: dict[frozenset[str], str] = {}
        self._failures: dict[tuple[str, str], tuple[float, int]] = {}

    def register_service(self, service: ISIPService) -> None:
        """Let a service take requests; services are asked in the order of registration."""
        self.services = (*self.services, service)

    def unregister_service(self, service: ISIPService) -> None:
        """Ask a service no more."""
        self.services = tuple(item for item in self.services if item is not service)

    # -- inputs ----------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, flow: Flow, now: float) -> None:
        """
        Feed one datagram; never raises because of what the peer sent.

        :param data: 1 to 65535 bytes.
        :param flow: where it came from.
        :param now: seconds, of the clock that the core was made with.
        """
        with self.turn:
            self.counters.messages_received += 1
            if self.trace is not None:
                self.trace.bytes_received(flow, data, now)
            try:
                message = self.layer.receive(data, flow, now)
                if message is None:
                    return
                if isinstance(message, Request):
                    self._receive_request(message, flow, now)
                else:
                    self._receive_stray(message, flow)
            except RemoteError as error:
                self._refuse_message(error, flow, now)
            except Exception:
                self.counters.refuse("internal-error")
                self.internal_error(Failure(), "")

    #: A whole message of a stream is fed in the same way.
    receive_message = receive_datagram

    def handle_timeout(self, now: float) -> None:
        """Fire the timers that are due."""
        with self.turn:
            self.timers.fire_due(now)

    def next_deadline(self) -> float | None:
        """Return when :meth:`handle_timeout` wants to be called, or ``None``."""
        return self.timers.next_deadline()

    def flow_lost(self, flow: Flow, now: float) -> None:
        """Tell the transactions of a flow that it is no more."""
        with self.turn:
            self.layer.flow_lost(flow, now)

    def send_failed(self, flow: Flow, error: Exception) -> None:
        """A message could not be sent; a retransmission may still get through."""
        self.counters.send_errors += 1

    # -- requests --------------------------------------------------------------------------

    def _receive_request(self, request: Request, flow: Flow, now: float) -> None:
        self.counters.requests_received += 1
        if request.method == "ACK":
            if not any(service.handle_ack(request, flow) for service in self.services):
                self._drop("ack-unmatched", flow, now)
            return
        stamp_received(request, flow)
        reply = reply_flow(request, flow)
        if self.layer.is_full:
            self._drop("transactions-full", flow, now)
            self._answer_statelessly(request, reply, 503, {"Retry-After": str(RETRY_AFTER)})
            return
        transaction = self.layer.create_server(request, flow, now, reply_flow=reply)
        admission = Admission(self, request, transaction, flow)
        if request.method == "CANCEL":
            self._receive_cancel(admission)
        else:
            self._check(admission)

    def _receive_cancel(self, admission: Admission) -> None:
        """Find the INVITE that a CANCEL means (9.2); no gate may stop it."""
        invite = self.layer.find_cancelled(admission.request, admission.flow)
        if invite is None:
            self.counters.refuse("cancel-unmatched")
            admission.respond(481)
            return
        user = invite.user
        if user is None:
            admission.respond(200)
        else:
            self.turn.later(user.cancelled, admission)  # type: ignore[attr-defined]

    def _check(self, admission: Admission) -> None:
        """Check what needs no service, then let the gates decide."""
        request = admission.request
        if request.to_tag is None and self.layer.find_merged(request):
            self.counters.refuse("merged-request")
            admission.respond(482)
        elif not isinstance(request.request_uri, SIPURI | TelURI):
            self.counters.refuse("unsupported-scheme")
            admission.respond(416)
        else:
            admission.begin()

    def admitted(self, admission: Admission) -> None:
        """Find the service of a request that all gates let in."""
        request = admission.request
        missing = request.require - self.option_tags
        if missing:
            self.counters.refuse("bad-extension")
            admission.respond(420, headers={"Unsupported": ", ".join(sorted(missing))})
            return
        for service in self.services:
            try:
                if service.handle_request(admission):
                    return
            except RemoteError as error:
                self.counters.refuse(error.reason_code)
                admission.respond(error.status_hint or 400)
                return
            except Exception:
                self.counters.refuse("internal-error")
                self.internal_error(Failure(), request.call_id)
                admission.respond(500)
                return
        self._answer_itself(admission)

    def _answer_itself(self, admission: Admission) -> None:
        """Answer what no service wants: OPTIONS with our capabilities, the rest with a refusal."""
        request = admission.request
        for hook in self.hooks:
            try:
                hook.incoming_request(request)
            except Reject as reject:
                admission.respond(reject.status, reject.reason, reject.headers)
                return
            except Exception as error:
                self.plugin_failed(f"hook {hook.name}", "incoming_request", error, request.call_id)
        if request.method == "OPTIONS" and request.to_tag is None:
            self.respond(admission.transaction, self.build_capabilities(request))
        elif request.to_tag is not None:
            admission.respond(481)
        else:
            self.counters.refuse("method-not-allowed")
            status = self.refusal_of_method(request.method)
            admission.respond(status, headers={"Allow": self._format_allow(self.allow)})

    # -- what is supported -----------------------------------------------------------------

    @property
    def allow(self) -> frozenset[str]:
        """The methods that some service answers, and OPTIONS."""
        return frozenset({"OPTIONS"}).union(*(service.allow for service in self.services))

    @property
    def option_tags(self) -> frozenset[str]:
        """The option tags that some service understands."""
        return frozenset[str]().union(*(service.option_tags for service in self.services))

    def refusal_of_method(self, method: str) -> int:
        """Return 405 for a method that SIP knows, 501 for any other."""
        return 405 if method in KNOWN_METHODS else 501

    def allow_of(self, chain: Chain) -> str:
        """Return the Allow value of a session."""
        return self._format_allow(chain.allow)

    def _format_allow(self, methods: frozenset[str]) -> str:
        text = self._allow.get(methods)
        if text is None:
            text = self._allow[methods] = ", ".join(sorted(methods))
        return text

    def build_capabilities(self, request: Request, chain: Chain | None = None) -> Response:
        """Return the 200 to an OPTIONS (:rfc:`3261#section-11.2`)."""
        response = build_response(request, 200, to_tag=self.ids.tag())
        allow = self.allow if chain is None else chain.allow
        tags = self.option_tags if chain is None else chain.option_tags
        bodies = frozenset[str]().union(*(service.accept for service in self.services))
        response.headers.set("Allow", self._format_allow(allow))
        response.headers.set("Accept", ", ".join(sorted(bodies or {"application/sdp"})))
        response.headers.set("Supported", ", ".join(sorted(tags)))
        return response

    # -- responses and refusals ------------------------------------------------------------

    def _receive_stray(self, response: Response, flow: Flow) -> None:
        self.counters.responses_received += 1
        if not any(service.handle_stray_response(response, flow) for service in self.services):
            self._drop("response-unmatched", flow, self.turn.now)

    def _drop(self, reason_code: str, flow: Flow, now: float) -> None:
        self.counters.refuse(reason_code)
        if self.trace is not None:
            self.trace.message_refused(reason_code, flow, now)

    def _refuse_message(self, error: RemoteError, flow: Flow, now: float) -> None:
        """Answer a request that cannot be understood when it can be answered; drop the rest."""
        self._drop(error.reason_code, flow, now)
        message = getattr(error, "message", None)
        if not isinstance(message, Request) or message.method == "ACK":
            return
        status = getattr(error, "status", 400)
        try:
            reply = reply_flow(message, flow)
            self._answer_statelessly(message, reply, status, {}, error.text)
        except SIPError:
            # Not even the way back can be read: the code was counted, there is no answer.
            return

    def _answer_statelessly(
        self,
        request: Request,
        flow: Flow,
        status: int,
        headers: Mapping[str, str],
        text: str = "",
    ) -> None:
        """Send one answer without a transaction (8.2.7); each copy of the request gets it again."""
        reason = f"{reason_phrase(status)} ({_printable(text)})" if text else None
        response = build_response(request, status, reason, to_tag=self.ids.tag())
        for name, value in headers.items():
            response.headers.set(name, value)
        self.send(flow, response.to_bytes())

    def respond(self, transaction: ServerTransaction, response: Response) -> None:
        """Send a response outside sessions; the message hooks see it before it is serialised."""
        for hook in self.hooks:
            try:
                hook.outgoing_response(response)
            except Exception as error:
                self.plugin_failed(f"hook {hook.name}", "outgoing_response", error, "")
        with self.turn:
            transaction.respond(response, self.turn.now)

    # -- what sessions need ----------------------------------------------------------------

    def stamp_via(self, request: Request, flow: Flow) -> None:
        """Set the top Via of a request of ours."""
        request.headers.prepend("Via", client_via(flow, self.ids.branch()))

    def start_client(self, request: Request, flow: Flow, user: ClientUser) -> ClientTransaction:
        """Send a request of ours, complete with Via."""
        return self.layer.create_client(request, flow, user, self.turn.now)

    def send(self, flow: Flow, wire: bytes) -> None:
        """Let bytes leave that no transaction owns, such as the ACK of a 2xx."""
        self.turn.send(flow, wire)

    def flow_to(self, uri: str, otherwise: Flow) -> Flow:
        """
        Return the flow to the host of a URI.

        A host that is no address goes ``otherwise``, the way that the peer's own messages came.
        """
        try:
            parsed = parse_uri(uri)
        except RemoteError:
            return otherwise
        if not isinstance(parsed, SIPURI) or otherwise.is_reliable or not _is_address(parsed.host):
            return otherwise
        port = parsed.port or (DEFAULT_TLS_PORT if parsed.is_secure else DEFAULT_PORT)
        address = (parsed.host, port)
        if address == otherwise.remote:
            return otherwise
        if (":" in address[0]) == (":" in otherwise.local[0]):
            return otherwise.to(address)
        flow = None if self._flow_for is None else self._flow_for(otherwise.transport, address)
        return flow or otherwise

    # -- outputs ---------------------------------------------------------------------------

    def _send_out(self, flow: Flow, wire: bytes) -> None:
        self.counters.messages_sent += 1
        if self.trace is not None:
            self.trace.bytes_sent(flow, wire, self.turn.now)
        self._transmit(flow, wire)

    # -- errors of this side ---------------------------------------------------------------

    def _upcall_failed(self, error: BaseException) -> None:
        self.counters.refuse("internal-error")
        self.internal_error(Failure(error), "")

    def internal_error(self, failure: Failure, call_id: str) -> None:
        """Log a bug of this side, not more often than :data:`LOGGED_FAILURES` a minute."""
        if self._may_log("sipsess", str(failure.type)):
            _log.failure("bug in sipsess, call {call_id}", failure=failure, call_id=call_id)

    def plugin_failed(self, name: str, callback: str, error: BaseException, call_id: str) -> None:
        """Log and count what a plugin raised; the log names the plugin and the call."""
        self.counters.plugin_errors += 1
        if self._may_log(name, callback):
            _log.failure(
                "plugin {plugin} failed in {callback}, call {call_id}",
                failure=Failure(error),
                plugin=name,
                callback=callback,
                call_id=call_id,
            )

    def plugin_overdue(self, name: str, method: str, call_id: str) -> None:
        """Log and count a plugin that took a request and never answered it."""
        self.counters.plugin_errors += 1
        if self._may_log(name, method):
            _log.warn(
                "plugin {plugin} took {method} of call {call_id} and did not answer; 500 was sent",
                plugin=name,
                method=method,
                call_id=call_id,
            )

    def _may_log(self, name: str, what: str) -> bool:
        now = self.turn.now
        since, count = self._failures.get((name, what), (now, 0))
        if now - since > LOG_PERIOD:
            since, count = now, 0
        if len(self._failures) < 1000 or (name, what) in self._failures:
            self._failures[(name, what)] = (since, count + 1)
        return count < LOGGED_FAILURES


def _is_address(host: str) -> bool:
    """Tell whether a URI's host is an IP address: cheaply, as the parser has checked its form."""
    return ":" in host or host.replace(".", "").isdigit()


def _printable(text: str) -> str:
    """Return what may stand in a reason phrase."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:160]
