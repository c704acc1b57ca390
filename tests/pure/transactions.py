# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the transaction tests share: a hand-driven clock, messages, a user that records."""

from __future__ import annotations

from typing import TypedDict, Unpack
from weakref import WeakKeyDictionary

from sipsess.counters import Counters
from sipsess.errors import SIPError
from sipsess.flow import Flow
from sipsess.message import Request, Response, build_response, parse
from sipsess.timers import TimerQueue
from sipsess.transaction import (
    DEFAULT_TIMING,
    ClientTransaction,
    ServerTransaction,
    Timing,
    Transaction,
    TransactionLayer,
)
from sipsess.turn import Turn

UDP = Flow("UDP", ("192.0.2.1", 5060), ("192.0.2.2", 5060), "udp:5060")
TCP = Flow("TCP", ("192.0.2.1", 5060), ("192.0.2.2", 40000), "tcp:5060", is_reliable=True, serial=1)


class Details(TypedDict, total=False):
    """What a test may say about a request."""

    #: Empty for none.
    branch: str
    sent_by: str
    uri: str
    to_tag: str
    cseq: int
    call_id: str
    #: More header lines, each with its line end.
    extra: str


def request_bytes(method: str = "INVITE", **details: Unpack[Details]) -> bytes:
    """Return a request as it comes from the wire."""
    branch = details.get("branch", "z9hG4bKabc")
    to_tag = details.get("to_tag", "")
    return (
        f"{method} {details.get('uri', 'sip:bob@192.0.2.1')} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {details.get('sent_by', '192.0.2.2:5060')}"
        f"{branch and ';branch=' + branch}\r\n"
        "Max-Forwards: 70\r\n"
        "From: Alice <sip:alice@192.0.2.2>;tag=from\r\n"
        f"To: Bob <sip:bob@192.0.2.1>{to_tag and ';tag=' + to_tag}\r\n"
        f"Call-ID: {details.get('call_id', 'call')}\r\n"
        f"CSeq: {details.get('cseq', 1)} {method}\r\n"
        f"Contact: <sip:alice@192.0.2.2>\r\n{details.get('extra', '')}"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def make_request(method: str = "INVITE", **details: Unpack[Details]) -> Request:
    """Return a request to send."""
    message = parse(request_bytes(method, **details))
    assert isinstance(message, Request)
    return message


def answer(request: Request, status: int) -> Response:
    """Return a response to a request."""
    return build_response(request, status, to_tag="to" if status > 100 else None)


class User:
    """A user of both kinds of transaction that records its upcalls."""

    def __init__(self) -> None:
        #: The upcalls: the time, the method's name, the status or the error's class.
        self.calls: list[tuple[float, str, int | str]] = []

    def server_failed(self, transaction: ServerTransaction, error: SIPError, now: float) -> None:
        """Record an upcall."""
        self.calls.append((now, "server_failed", type(error).__name__))

    def server_terminated(self, transaction: ServerTransaction, now: float) -> None:
        """Record an upcall."""
        self.calls.append((now, "server_terminated", ""))

    def response_received(
        self, transaction: ClientTransaction, response: Response, now: float
    ) -> None:
        """Record an upcall."""
        self.calls.append((now, "response_received", response.status))

    def client_failed(self, transaction: ClientTransaction, error: SIPError, now: float) -> None:
        """Record an upcall."""
        self.calls.append((now, "client_failed", type(error).__name__))

    def client_terminated(self, transaction: ClientTransaction, now: float) -> None:
        """Record an upcall."""
        self.calls.append((now, "client_terminated", ""))


class World(User):
    """A transaction layer whose time is moved by hand, its user, and all that it did."""

    def __init__(self, timing: Timing = DEFAULT_TIMING, **limits: int) -> None:
        super().__init__()
        self.now = 0.0
        #: What was sent: the time, the flow, the bytes.
        self.sent: list[tuple[float, Flow, bytes]] = []
        self._requests: WeakKeyDictionary[Transaction, Request] = WeakKeyDictionary()
        self.timers = TimerQueue()
        self.counters = Counters()
        self.turn = Turn(self._transmit, self._fail, lambda: self.now)
        self.layer = TransactionLayer(
            turn=self.turn,
            timers=self.timers,
            counters=self.counters,
            timing=timing,
            **limits,
        )

    def _transmit(self, flow: Flow, wire: bytes) -> None:
        self.sent.append((self.now, flow, wire))

    def _fail(self, error: BaseException) -> None:
        raise error

    def run_for(self, seconds: float) -> None:
        """Let time pass, from deadline to deadline."""
        until = self.now + seconds
        deadline = self.timers.next_deadline()
        while deadline is not None and deadline <= until:
            self.now = deadline
            with self.turn:
                self.timers.fire_due(deadline)
            deadline = self.timers.next_deadline()
        self.now = until

    def receive(self, data: bytes, flow: Flow = UDP) -> Request | Response | None:
        """Feed one message."""
        with self.turn:
            return self.layer.receive(data, flow, self.now)

    def serve(
        self, method: str = "INVITE", flow: Flow = UDP, **details: Unpack[Details]
    ) -> ServerTransaction:
        """Receive a new request and begin its server transaction."""
        message = self.receive(request_bytes(method, **details), flow)
        assert isinstance(message, Request)
        with self.turn:
            return self.layer.create_server(message, flow, self.now, user=self)

    def request_of(self, transaction: Transaction) -> Request:
        """Return the request of a transaction, which need not keep it any more."""
        if not getattr(transaction, "has_final", False):
            self._requests[transaction] = transaction.request
        return self._requests[transaction]

    def call(
        self, method: str = "INVITE", flow: Flow = UDP, **details: Unpack[Details]
    ) -> ClientTransaction:
        """Begin a client transaction."""
        with self.turn:
            return self.layer.create_client(make_request(method, **details), flow, self, self.now)

    def respond(self, transaction: ServerTransaction, status: int) -> None:
        """Answer as the TU of a server transaction."""
        with self.turn:
            transaction.respond(answer(self.request_of(transaction), status), self.now)

    def reply(self, transaction: ClientTransaction, status: int) -> Request | Response | None:
        """Answer as the peer of a client transaction."""
        return self.receive(answer(transaction.request, status).to_bytes())

    def lose(self, flow: Flow = UDP) -> None:
        """Lose a flow."""
        with self.turn:
            self.layer.flow_lost(flow, self.now)

    def sent_labels(self) -> list[str]:
        """Return the method or status of each message that was sent."""
        return [label(wire) for _, _, wire in self.sent]

    def sent_times(self) -> list[float]:
        """Return when each message was sent."""
        return [round(when, 6) for when, _, _ in self.sent]

    def is_quiet(self) -> bool:
        """Return whether no transaction and no timer is left."""
        return not len(self.layer) and not len(self.timers) and self.layer.leftovers() == []


def label(wire: bytes) -> str:
    """Return the method or the status of a message."""
    words = wire.decode().split(" ", 2)
    return words[1] if words[0] == "SIP/2.0" else words[0]
