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

The module is long because it is the one place where all ways meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2s
from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from sipsess.admission import Admission, reason_of
from sipsess.counters import Counters
from sipsess.defence import DefenceSettings, Perimeter
from sipsess.errors import RemoteError, SIPError, TransportError
from sipsess.failures import FailureLog
from sipsess.flow import Address, Flow
from sipsess.flows import DEFAULT_PORTS, ConnectionTable, FlowFinder
from sipsess.ids import IdSource
from sipsess.interfaces import IMessageHook, IRequestGate, ISIPService, ITrace
from sipsess.keepalive import KeepAlives
from sipsess.message import Request, Response, build_response
from sipsess.shedding import Shedder
from sipsess.supplement import Reject
from sipsess.timers import TimerQueue
from sipsess.trace import GuardedTrace
from sipsess.transaction import (
    ClientTransaction,
    ClientUser,
    ServerTransaction,
    Timing,
    TransactionLayer,
)
from sipsess.transaction.via import DEFAULT_PORT, client_via, reply_flow, stamp_received
from sipsess.turn import Turn

if TYPE_CHECKING:
    from sipsess.endpoint import Endpoint
    from sipsess.session import Chain

__all__ = ["KNOWN_METHODS", "REASONS", "RETRY_AFTER", "Admission", "IgnoringUser", "SIPCore"]

#: The methods that IANA knows: not supporting one is 405, any other is 501 (8.2.1, 21.5.2).
KNOWN_METHODS = frozenset(
    {"ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH"}
    | {"REFER", "REGISTER", "SUBSCRIBE", "UPDATE"}
)
#: The schemes of the Request-URIs that lead somewhere here.
_SCHEMES = frozenset({"sip", "sips", "tel"})
#: Seconds after which a peer may come back when the server is full (:rfc:`3261#section-21.5.4`).
RETRY_AFTER = 10
#: The methods that mean something only within a dialog (:rfc:`3261#section-15`, :rfc:`3262`,
#: :rfc:`3311`, :rfc:`6086`): outside one they are answered 481, supported or not.
_DIALOG_ONLY = frozenset({"BYE", "INFO", "PRACK", "UPDATE"})
#: Those that are answered 481 outside one when they are supported (:rfc:`6665#section-4.1.3`).
_UNKNOWN_OUTSIDE = _DIALOG_ONLY | {"NOTIFY"}

#: Why the core refuses or drops.
REASONS: dict[str, str] = {
    "merged-request": "the same request came over two ways (482)",
    "unsupported-scheme": "the Request-URI's scheme is neither sip, sips nor tel (416)",
    "bad-extension": "the request requires an extension that is not there (420)",
    "method-not-allowed": "the method is not supported here (405, 501, 489)",
    "gate-refused": "a gate refused the request",
    "hook-refused": "a message hook refused the request",
    "gate-overdue": "a gate did not decide in time (500)",
    "dialog-unknown": "a request belongs to no dialog here (481)",
    "transactions-full": "there are too many transactions (503)",
    "peer-transactions-full": "one peer has too many transactions (503)",
    "overload-refused": "a new call came while there was too much to do (503)",
    "overload-dropped": "a new call had waited too long, and its sender will repeat it",
    "cancel-unmatched": "a CANCEL matches no INVITE (481)",
    "ack-unmatched": "an ACK matches no session",
    "ack-unexpected": "an ACK came again, or for a 2xx that was never sent",
    "ack-missing": "no ACK came for a 2xx in 64*T1",
    "response-unmatched": "a response matches no transaction and no session",
    "internal-error": "a bug of this side (500)",
}


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


class _ShownUser:
    """Shows the responses to a request outside sessions to the message hooks first."""

    __slots__ = ("_core", "_user")

    def __init__(self, core: SIPCore, user: ClientUser) -> None:
        self._core = core
        self._user = user

    def response_received(
        self, transaction: ClientTransaction, response: Response, now: float
    ) -> None:
        """Show a response, then pass it on."""
        self._core.show_hooks("incoming_response", response)
        self._user.response_received(transaction, response, now)

    def client_failed(self, transaction: ClientTransaction, error: SIPError, now: float) -> None:
        """Pass a failure on."""
        self._user.client_failed(transaction, error, now)

    def client_terminated(self, transaction: ClientTransaction, now: float) -> None:
        """Pass the end on."""
        self._user.client_terminated(transaction, now)


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
    :param connections: ``None`` where there are datagrams only.
    :param defence: what is done about scanners, floods and invented addresses; ``None`` for
        nothing.
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
        connections: ConnectionTable | None = None,
        timing: Timing | None = None,
        trace: ITrace | None = None,
        defence: DefenceSettings | None = None,
    ) -> None:
        self.counters = Counters()
        self.ids = ids or IdSource()
        self.timing = timing or Timing()
        self.timers = TimerQueue()
        #: Watches the core; ``None`` costs one test at each point.
        self.trace: ITrace | None = None
        self._transmit = transmit
        self.turn = Turn(self._send_out, self._upcall_failed, seconds)
        self.layer = TransactionLayer(
            turn=self.turn, timers=self.timers, counters=self.counters, timing=self.timing
        )
        self.gates = tuple(gates)
        #: The endpoints of the configuration, by name; replace them as a whole.
        self.endpoints: Mapping[str, Endpoint] = {}
        self.hooks = tuple(hooks)
        self.services: tuple[ISIPService, ...] = ()
        self.flows = FlowFinder(flow_for, connections)
        #: Called with each flow that is lost, after its transactions.
        self.flow_watchers: list[Callable[[Flow], None]] = []
        self._allow: dict[frozenset[str], str] = {}
        self._failures = FailureLog(self.counters, lambda: self.turn.now)
        self._secret = self.ids.token(24).encode()
        self.shedder = Shedder(self)
        #: What stands before everything else; ``None`` lets all through.
        self.perimeter: Perimeter | None = None
        if defence is not None:
            self.perimeter = Perimeter(
                defence, self._secret, self.count_refusal, self.layer.has_server, seconds
            )
            self.layer.on_refused = self.perimeter.refused
        #: The flows through NATs that live calls need.
        self.keep_alives = KeepAlives(self)
        self.watch(trace)

    def watch(self, trace: ITrace | None) -> None:
        """Let ``trace`` watch from now on, or nobody; what it raises is logged and ignored."""
        self.trace = None if trace is None else GuardedTrace(trace, self.plugin_failed)

    def register_service(self, service: ISIPService) -> None:
        """Let a service take requests; services are asked in the order of registration."""
        self.services = (*self.services, service)

    def unregister_service(self, service: ISIPService) -> None:
        """Ask a service no more."""
        self.services = tuple(item for item in self.services if item is not service)

    # -- inputs ----------------------------------------------------------------------------

    def receive_datagram(self, data: bytes, flow: Flow, now: float, waited: float = 0.0) -> None:
        """
        Feed one datagram; never raises because of what the peer sent.

        :param data: 1 to 65535 bytes.
        :param flow: where it came from.
        :param now: seconds, of the clock that the core was made with.
        :param waited: seconds that a new INVITE has waited in the queue of its socket; of any other
            message, or when nobody knows, 0.
        """
        with self.turn:
            self.counters.messages_received += 1
            if self.trace is not None:
                self.trace.bytes_received(flow, data, now)
            try:
                perimeter = self.perimeter
                if perimeter is not None and perimeter.takes(data, flow, now):
                    return
                shedder = self.shedder
                if shedder.is_asked(waited) and shedder.takes(data, flow, now, waited):
                    return
                message = self.layer.receive(data, flow, now)
                if message is None:
                    if data.startswith(b"SIP/"):
                        self.counters.responses_received += 1
                elif isinstance(message, Request):
                    self._receive_request(message, flow, now)
                else:
                    self._receive_stray(message, flow)
            except RemoteError as error:
                self._refuse_message(error, flow)
            except Exception:
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

    def next_wake(self) -> float | None:
        """Return when :meth:`handle_timeout` should be called at the latest, or ``None``."""
        return self.timers.next_wake()

    def refusal_of_host(self, host: str) -> str | None:
        """Return the reason code why a host may not connect; ``None`` when it may."""
        if self.perimeter is None:
            return None
        with self.turn:
            return self.perimeter.refusal_of(host, self.turn.now)

    def refuse_stream(self, error: RemoteError, flow: Flow) -> None:
        """Answer, if it can be done, what nobody can read on a connection, which is then over."""
        with self.turn:
            self._refuse_message(error, flow)

    def flow_lost(self, flow: Flow, now: float, error: TransportError | None = None) -> None:
        """
        Tell the transactions of a flow, and the watchers, that it is no more.

        :param error: why, if more can be said than that.
        """
        with self.turn:
            self.layer.flow_lost(flow, now, error, self.flows.return_flow)
            for watcher in self.flow_watchers:
                self.turn.later(watcher, flow)

    def send_failed(self, flow: Flow, error: Exception) -> None:
        """
        Hear that a message could not be sent.

        After a temporary failure a retransmission may still get through; after another there is no
        way there, and who has sent a request outside any dialog may try another server.
        """
        self.counters.send_errors += 1
        if not getattr(error, "is_temporary", True):
            with self.turn:
                self.layer.send_failed(flow, error, self.turn.now)

    # -- requests --------------------------------------------------------------------------

    def _receive_request(self, request: Request, flow: Flow, now: float) -> None:
        self.counters.requests_received += 1
        if request.method == "ACK":
            for service in self.services:
                if service.handle_ack(request, flow):
                    return
            self.count_refusal("ack-unmatched", flow)
            return
        stamp_received(request, flow)
        reply = reply_flow(request, flow)
        fullness = self.layer.fullness(flow.remote[0])
        if fullness is not None:
            self.count_refusal(fullness, flow)
            self._answer_statelessly(request, reply, 503, {"Retry-After": str(RETRY_AFTER)})
            return
        transaction = self.layer.create_server(request, flow, now, reply_flow=reply)
        if flow.is_reliable:
            self._note_way_back(request, transaction, flow)
        Admission(self, request, transaction, flow).attempt(self._dispatch)

    def _note_way_back(self, request: Request, transaction: ServerTransaction, flow: Flow) -> None:
        """Note where responses go when the connection is lost, and whether it may be reused."""
        via = request.via
        transaction.return_port = via.port or DEFAULT_PORTS.get(flow.transport, DEFAULT_PORT)
        if "alias" in via.params and self.flows.connections is not None:
            self.flows.connections.offer_alias(flow, transaction.return_port)

    def _dispatch(self, admission: Admission) -> None:
        if admission.request.method == "CANCEL":
            self._receive_cancel(admission)
        else:
            self._check(admission)

    def _receive_cancel(self, admission: Admission) -> None:
        """Find the INVITE that a CANCEL means (9.2); no gate may stop it."""
        invite = self.layer.find_cancelled(admission.request, admission.flow)
        if invite is None:
            admission.refuse("cancel-unmatched", 481)
            return
        self.turn.later(admission.attempt, lambda cancel: self._cancel(cancel, invite))

    def _cancel(self, admission: Admission, invite: ServerTransaction) -> None:
        """Tell whoever has the INVITE by now."""
        cancelled = getattr(invite.user, "cancelled", None)
        if cancelled is None:
            # Nobody can be told any more; the CANCEL is answered all the same.
            admission.respond(200)
        else:
            cancelled(admission)

    def _check(self, admission: Admission) -> None:
        """Check what needs no service, then let the gates decide."""
        request = admission.request
        if request.to_tag is None and self.layer.find_merged(request, admission.flow):
            admission.refuse("merged-request", 482)
        elif request.uri.partition(":")[0].lower() not in _SCHEMES:
            admission.refuse("unsupported-scheme", 416)
        else:
            admission.begin()

    def admitted(self, admission: Admission) -> None:
        """Find the service of a request that all gates let in; the order is that of 8.2."""
        request = admission.request
        admission.transaction.is_known = admission.is_known
        method = request.method
        is_outside = request.to_tag is None
        if is_outside and method not in _DIALOG_ONLY and not self._allows(method):
            headers = {"Allow": self._format_allow(self.allow)}
            admission.refuse("method-not-allowed", self.refusal_of_method(method), headers=headers)
            return
        required = request.require
        missing = required and required - self.option_tags
        if missing:
            unsupported = ", ".join(sorted(missing))
            admission.refuse("bad-extension", 420, headers={"Unsupported": unsupported})
            return
        if is_outside and method != "INVITE" and not self._pass_hooks(admission):
            return
        for service in self.services:
            if service.handle_request(admission):
                return
        if is_outside and method == "OPTIONS":
            self.respond(admission.transaction, self.build_capabilities(request))
        elif is_outside and method not in _UNKNOWN_OUTSIDE:
            # A service allows the method, but none wants this request of it.
            admission.refuse("request-unclaimed", 501)
        else:
            admission.refuse("dialog-unknown", 481)

    def _pass_hooks(self, admission: Admission) -> bool:
        """Show a request outside sessions to the message hooks; ``False`` when one refused it."""
        request = admission.request
        for hook in self.hooks:
            try:
                hook.incoming_request(request)
            except Reject as reject:
                admission.refuse("hook-refused", reject.status, reject.reason, reject.headers)
                return False
            except Exception as error:
                self.plugin_failed(f"hook {hook.name}", "incoming_request", error, request.call_id)
        return True

    def show_hooks(self, callback: str, message: Request | Response) -> None:
        """Show a message outside sessions to the hooks; what one raises is logged and ignored."""
        for hook in self.hooks:
            try:
                getattr(hook, callback)(message)
            except Exception as error:
                call_id = message.headers.get("Call-ID") or ""
                self.plugin_failed(f"hook {hook.name}", callback, error, call_id)

    # -- what is supported -----------------------------------------------------------------

    def _allows(self, method: str) -> bool:
        """Tell whether :attr:`allow` holds a method, without making the set."""
        return method == "OPTIONS" or any(method in service.allow for service in self.services)

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
        response.headers.set("Accept-Encoding", "identity")
        response.headers.set("Supported", ", ".join(sorted(tags)))
        return response

    # -- responses and refusals ------------------------------------------------------------

    def _receive_stray(self, response: Response, flow: Flow) -> None:
        self.counters.responses_received += 1
        if not any(service.handle_stray_response(response, flow) for service in self.services):
            self.count_refusal("response-unmatched", flow)

    def count_refusal(self, reason_code: str, flow: Flow) -> None:
        """Count a message that was refused or dropped, and tell the trace."""
        self.counters.refuse(reason_code)
        if self.trace is not None:
            self.trace.message_refused(reason_code, flow, self.turn.now)

    def _refuse_message(self, error: RemoteError, flow: Flow) -> None:
        """Answer a request that cannot be understood when it can be answered; drop the rest."""
        self.count_refusal(error.reason_code, flow)
        message = getattr(error, "message", None)
        if not isinstance(message, Request) or message.method == "ACK":
            return
        if "Via" not in message.headers or "CSeq" not in message.headers:
            # 8.2.6.2: an answer repeats them, and without them nobody could tell what it answers.
            return
        status = getattr(error, "status", 400)
        try:
            stamp_received(message, flow)
            reply = reply_flow(message, flow)
        except RemoteError:
            # Not even the way back can be read: the answer goes to where the request came from.
            reply = flow
        self._answer_statelessly(message, reply, status, {}, error.text)

    def _answer_statelessly(
        self,
        request: Request,
        flow: Flow,
        status: int,
        headers: Mapping[str, str],
        text: str = "",
    ) -> None:
        """Send one answer without a transaction (8.2.7); each copy of the request gets it again."""
        response = build_response(
            request, status, reason_of(status, text), to_tag=self._stateless_tag(request, flow)
        )
        for name, value in headers.items():
            response.headers.set(name, value)
        self.send(flow, response.to_bytes())

    def _stateless_tag(self, request: Request, flow: Flow) -> str:
        """Return a To tag that is the same for each copy of a request, as 8.2.7 demands."""
        names = ("Via", "From", "Call-ID", "CSeq")
        text = "\n".join(request.headers.get(name) or "" for name in names)
        data = text.encode("utf-8", "surrogateescape")
        tag = blake2s(data, key=self._secret, digest_size=8).hexdigest()
        return tag if self.perimeter is None else tag + self.perimeter.proof_for(flow)

    def respond(self, transaction: ServerTransaction, response: Response) -> None:
        """Send a response outside sessions; the message hooks see it before it is serialised."""
        self.show_hooks("outgoing_response", response)
        with self.turn:
            transaction.respond(response, self.turn.now)
            if transaction.has_final and isinstance(transaction.user, Admission):
                transaction.user.answered()

    def send_request(self, request: Request, flow: Flow, user: ClientUser) -> ClientTransaction:
        """
        Send a request outside sessions, such as a REGISTER; the message hooks see it.

        :param request: complete but for Via.
        :param user: told what becomes of it.
        :raises HeaderValueError: when something of it cannot be written.
        """
        with self.turn:
            self.stamp_via(request, flow)
            self.show_hooks("outgoing_request", request)
            return self.start_client(request, flow, _ShownUser(self, user) if self.hooks else user)

    # -- what sessions need ----------------------------------------------------------------

    def new_tag(self, flow: Flow) -> str:
        """Return a tag of ours towards a peer; repeating it proves the peer's address."""
        tag = self.ids.tag()
        return tag if self.perimeter is None else tag + self.perimeter.proof_for(flow)

    def stamp_via(self, request: Request, flow: Flow) -> None:
        """Set the top Via of a request of ours."""
        request.headers.prepend("Via", client_via(flow, self.ids.branch()))

    def start_client(self, request: Request, flow: Flow, user: ClientUser) -> ClientTransaction:
        """
        Send a request of ours, complete with Via.

        One that is too large for a datagram goes over a connection, if one can be opened (18.1.1).
        """
        if self.perimeter is not None and request.to_tag is None:
            self.perimeter.expect(flow, self.turn.now)
        wider = self.flows.wider_flow(request, flow)
        if wider is None:
            return self.layer.create_client(request, flow, user, self.turn.now)
        twin = request.copy()
        twin.headers.replace_first("Via", client_via(wider, request.via.branch or ""))
        return self.layer.create_client(twin, wider, user, self.turn.now, (request, flow))

    def send(self, flow: Flow, wire: bytes) -> None:
        """Let bytes leave that no transaction owns, such as the ACK of a 2xx."""
        self.turn.send(flow, wire)

    def hold_open(self, holder: object, flow: Flow, *, is_translated: bool = False) -> None:
        """
        Keep a flow alive for somebody, if there is a NAT that may forget it.

        :param is_translated: the peer is known to be behind one; else it is asked whether we are.
        """
        if is_translated or self.layer.mirror.seen(flow, self.turn.now) is not None:
            self.keep_alives.hold(holder, flow)

    def contact_of(self, flow: Flow) -> str:
        """
        Return the ``host:port`` at which the peer of a flow reaches us.

        It is what is advertised; else where the peer has last seen us (:rfc:`3581`), which differs
        from our own address when a NAT stands before us.
        """
        return self.layer.mirror.seen(flow, self.turn.now) or flow.sent_by

    def flow_to(self, uri: str, otherwise: Flow, *, is_direct: bool = False) -> Flow:
        """Return the flow to the host of a URI; see :meth:`.FlowFinder.flow_to`."""
        return self.flows.flow_to(uri, otherwise, is_direct=is_direct)

    # -- outputs ---------------------------------------------------------------------------

    def _send_out(self, flow: Flow, wire: bytes) -> None:
        if self.perimeter is not None and self.perimeter.holds(wire, flow, self.turn.now):
            return
        self.counters.messages_sent += 1
        if self.trace is not None:
            self.trace.bytes_sent(flow, wire, self.turn.now)
        try:
            self._transmit(flow, wire)
        except Exception as error:
            # One message that cannot leave must not keep the others of its turn.
            self.send_failed(flow, error)

    # -- errors of this side ---------------------------------------------------------------

    def _upcall_failed(self, error: BaseException) -> None:
        self.internal_error(Failure(error), "")

    def internal_error(self, failure: Failure, call_id: str) -> None:
        """Log and count a bug of this side; see :mod:`sipsess.failures`."""
        self._failures.internal_error(failure, call_id)

    def plugin_failed(self, name: str, callback: str, error: BaseException, call_id: str) -> None:
        """Log and count what a plugin raised; the log names the plugin and the call."""
        self._failures.plugin_failed(name, callback, error, call_id)

    def plugin_overdue(self, name: str, method: str, call_id: str) -> None:
        """Log and count a plugin that took a request and never answered it."""
        self._failures.plugin_overdue(name, method, call_id)
