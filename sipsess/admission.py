# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Admission: the gates that stand between a request and the services.

Theory of operation
    The server transaction of the request exists already, so its copies are absorbed however long a
    gate takes, and a CANCEL finds what it means. The admission is the transaction's user until a
    service takes it over. It asks one gate after the other; at most one Deferred of a gate is
    pending, with one deadline. Whatever happens, the request gets one final answer: a gate that
    raises, gives up or forgets to answer costs its request, never the server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from sipsess.endpoint.endpoint import Endpoint
from sipsess.errors import LocalError, RemoteError, SIPError
from sipsess.failures import CANCELLED
from sipsess.flow import Flow
from sipsess.message import Request, Response, build_response
from sipsess.status import reason_phrase
from sipsess.supplement import Reject, Verdict
from sipsess.timers import Timer
from sipsess.transaction import ServerTransaction

if TYPE_CHECKING:
    from sipsess.core import SIPCore
    from sipsess.interfaces import IRequestGate

#: Headers of an answer; several values make several headers of that name.
_Headers: TypeAlias = Mapping[str, str | Sequence[str]]

#: How long a gate may take: below the 64*T1 after which the peer gives up.
GATE_LIMIT = 28.0
#: Characters of a reason phrase that says what is wrong with a request.
MAX_REASON = 200


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
        "_gates",
        "_local_tag",
        "core",
        "endpoint",
        "flow",
        "request",
        "transaction",
        "user",
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
        #: Who has proven to be one of the endpoint's users; a gate sets it.
        self.user: str | None = None
        # Those that stand now: a reload may put others in their place while one of them thinks.
        self._gates = core.gates
        self._gate = 0
        self._local_tag = ""
        self._deferred: Deferred[Any] | None = None
        self._deadline: Timer | None = None
        transaction.user = self

    @property
    def is_answered(self) -> bool:
        """Whether the final response was sent."""
        return self.transaction.has_final

    @property
    def is_known(self) -> bool:
        """Whether something shows who the peer is, which nobody else could bring about."""
        endpoint = self.endpoint
        return self.user is not None or (endpoint is not None and endpoint.is_shown)

    @property
    def local_tag(self) -> str:
        """The To tag of every response to the request (:rfc:`3261#section-8.2.6.2`)."""
        if not self._local_tag:
            self._local_tag = self.core.new_tag(self.flow)
        return self._local_tag

    def adopt(self, local_tag: str) -> None:
        """Take the To tag of the response to the request that this one cancels (9.2)."""
        self._local_tag = local_tag

    def authenticated(self) -> None:
        """
        Hear of a gate that a nonce of ours came back with good credentials.

        The defence then takes the peer for who it says it is, and forgives a failure of it.
        """
        perimeter = self.core.perimeter
        if perimeter is not None:
            perimeter.authenticated(self.flow, self.core.turn.now)

    # -- the gates -------------------------------------------------------------------------

    def begin(self) -> None:
        """Pass the gates in order, then the request is the core's again."""
        self.attempt(Admission._pass_gates)

    def attempt(self, step: Callable[[Admission], object]) -> None:
        """Do ``step(self)``; what it raises is answered, so that the peer is never left waiting."""
        try:
            step(self)
        except RemoteError as error:
            self.refuse_remote(error)
        except Exception:
            self.core.internal_error(Failure(), self.request.call_id)
            self.respond(500)

    def _pass_gates(self) -> None:
        gates = self._gates
        while self._gate < len(gates):
            if self.is_answered:
                return
            gate = gates[self._gate]
            self._gate += 1
            try:
                verdict = gate.admit(self)
                deferred: Deferred[object] | None = None
                if verdict is not Verdict.CONTINUE and isinstance(verdict, Awaitable):
                    deferred = ensureDeferred(verdict)  # type: ignore[arg-type]
            except Exception as error:
                self._refuse(gate, error)
                return
            if deferred is not None:
                self._await(gate, deferred)
                return
            if not self._goes_on(gate, verdict):
                return
        if not self.is_answered:
            self.core.admitted(self)

    def _goes_on(self, gate: IRequestGate, verdict: object) -> bool:
        if verdict is None or verdict is Verdict.CONTINUE:
            return True
        if verdict is Verdict.HANDLED:
            self._trace(gate, "handled")
            if not self.is_answered:
                self._start_deadline(gate)
        else:
            self._refuse(gate, TypeError(f"{verdict!r} is not a Verdict"))
        return False

    def _await(self, gate: IRequestGate, deferred: Deferred[object]) -> None:
        self._deferred = deferred
        deferred.addBoth(self._resume, gate)
        if self._deferred is not None:
            self._start_deadline(gate)

    def _resume(self, result: object, gate: IRequestGate) -> None:
        self._deferred = None
        with self.core.turn:
            self._stop_deadline()
            if self.is_answered:
                self._note_answered(result, gate)
            elif isinstance(result, Failure):
                value = result.value
                error = value if isinstance(value, Exception) else RuntimeError(repr(value))
                self._refuse(gate, error)
            elif self._goes_on(gate, result):
                self.core.turn.later(self.begin)

    def _note_answered(self, result: object, gate: IRequestGate) -> None:
        """Take a verdict on a request that has its answer: from the gate itself, or too late."""
        if result is Verdict.HANDLED:
            self._trace(gate, "handled")
        elif not (isinstance(result, Failure) and result.check(*CANCELLED)):
            self.core.counters.late_verdicts += 1

    def _refuse(self, gate: IRequestGate, error: Exception) -> None:
        """Answer what a gate raised: a refusal, a peer's mistake, or a bug of the gate."""
        if isinstance(error, Reject):
            self._trace(gate, str(error))
            self.refuse("gate-refused", error.status, error.reason, error.headers)
        elif isinstance(error, RemoteError):
            self.refuse_remote(error)
        else:
            self.core.plugin_failed(f"gate {gate.name}", "admit", error, self.request.call_id)
            self.respond(500)

    def _trace(self, gate: IRequestGate, verdict: str) -> None:
        core = self.core
        if core.trace is not None:
            name, call_id = f"gate {gate.name}", self.request.call_id
            core.trace.plugin_verdict(name, "admit", verdict, call_id, core.turn.now)

    def _start_deadline(self, gate: IRequestGate) -> None:
        core = self.core
        self._deadline = core.timers.start(core.turn.now, GATE_LIMIT, self._expired, gate.name)

    def _stop_deadline(self) -> None:
        self.core.timers.cancel(self._deadline)
        self._deadline = None

    def _expired(self, name: str, now: float) -> None:
        self._deadline = None
        if not self.is_answered:
            request = self.request
            self.core.plugin_overdue(f"gate {name}", request.method, request.call_id)
            self.refuse("gate-overdue", 500)

    # -- the answer ------------------------------------------------------------------------

    def respond(
        self, status: int, reason: str | None = None, headers: _Headers | None = None
    ) -> None:
        """Answer the request, outside any session; a second final answer is ignored."""
        if self.is_answered:
            return
        try:
            response = self._build(status, reason, headers or {})
        except LocalError as error:
            # Whoever chose these headers wrote a line break into one: the peer gets an answer yet.
            self.core.plugin_failed("a refusal", "headers", error, self.request.call_id)
            response = self._build(500, None, {})
        self.core.respond(self.transaction, response)

    def answered(self) -> None:
        """
        Let go of the transaction, after its final response.

        It lives on for 32 s, for the copies of the request; what holds the request must not.
        """
        self._release()
        self.transaction.user = Answered(self._local_tag)

    def _build(self, status: int, reason: str | None, headers: _Headers) -> Response:
        response = build_response(self.request, status, reason, to_tag=self.local_tag)
        for name, values in headers.items():
            response.headers.remove(name)
            for value in (values,) if isinstance(values, str) else values:
                response.headers.add(name, value)
        return response

    def refuse(
        self,
        reason_code: str,
        status: int,
        reason: str | None = None,
        headers: _Headers | None = None,
    ) -> None:
        """
        Refuse the request, and count why.

        :param reason_code: of one of the ``REASONS`` tables.
        """
        self.core.count_refusal(reason_code, self.flow)
        self.respond(status, reason, headers)

    def refuse_remote(self, error: RemoteError) -> None:
        """Refuse a request that breaks the protocol; the reason phrase says how."""
        status: int = getattr(error, "status", None) or error.status_hint or 400
        self.refuse(error.reason_code, status, reason_of(status, error.text))

    def _release(self) -> None:
        self._stop_deadline()
        deferred, self._deferred = self._deferred, None
        if deferred is not None:
            deferred.cancel()

    # -- what the transaction says ---------------------------------------------------------

    def cancelled(self, admission: Admission) -> None:
        """A CANCEL came while a gate was thinking: 200 for it, 487 for the INVITE (9.2)."""
        admission.adopt(self.local_tag)
        admission.respond(200)
        self.respond(487)

    def server_failed(self, transaction: ServerTransaction, error: SIPError, now: float) -> None:
        """The answer could not be delivered; there is nobody to tell."""
        self.respond(503)

    def server_terminated(self, transaction: ServerTransaction, now: float) -> None:
        """The transaction is over."""
        self._release()


class Answered:
    """
    The user of a server transaction that needs none any more.

    :param local_tag: the To tag of its final response.
    """

    __slots__ = ("_local_tag",)

    def __init__(self, local_tag: str) -> None:
        self._local_tag = local_tag

    def cancelled(self, admission: Admission) -> None:
        """A CANCEL came too late: 200 for it, with the To tag of the response that went (9.2)."""
        admission.adopt(self._local_tag)
        admission.respond(200)

    def server_failed(self, transaction: ServerTransaction, error: SIPError, now: float) -> None:
        """The answer could not be delivered; there is nobody to tell."""

    def server_terminated(self, transaction: ServerTransaction, now: float) -> None:
        """The transaction is over."""


def reason_of(status: int, text: str) -> str | None:
    """
    Return a reason phrase that says what is wrong, such as ``Bad Request (there is no To header)``.

    :param text: may hold what the peer wrote; what cannot be printed is replaced.
    :return: ``None``, for the usual phrase, when there is nothing to say.
    """
    if not text:
        return None
    text = text[:MAX_REASON]
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return f"{reason_phrase(status)} ({text})"
