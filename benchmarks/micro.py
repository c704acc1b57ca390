# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What is measured within this process: no socket, no reactor, a clock that we set."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

from benchmarks.inprocess import INTERVAL, Calls, silent_media, tuned_collector
from benchmarks.messages import WRITER, make_sdp
from benchmarks.results import Report
from sipsess.cdr import CallRecord, CallRecords
from sipsess.counters import Counters
from sipsess.flow import Flow
from sipsess.interfaces import ISessionSupplement
from sipsess.message import Request, build_response, parse
from sipsess.plugins import sipsess_builtin
from sipsess.sdp import MediaDescription, Origin, SessionDescription
from sipsess.sdp import parse as parse_sdp
from sipsess.supplement import SessionSupplement
from sipsess.timers import TimerQueue
from sipsess.transaction import TransactionLayer
from sipsess.turn import Turn

#: Does an operation as often as its argument says.
Operation = Callable[[int], object]

INVITE = WRITER.invite(1)
BYE = WRITER.bye(1, "ours")
SDP = make_sdp("127.0.0.2", 6000)


def measure(
    report: Report, title: str, operations: dict[str, Operation], *, count: int, rounds: int
) -> None:
    """
    Measure operations in turns, after one turn that does not count.

    :param operations: by the name of their figure.
    :param count: how often in a round.
    """
    report.begin(title)
    for operate in operations.values():
        operate(max(1, count // 4))
    figures: dict[str, list[float]] = {name: [] for name in operations}
    for _ in range(rounds):
        for name, operate in operations.items():
            gc.collect()
            begin = time.process_time()
            operate(count)
            figures[name].append((time.process_time() - begin) * 1e6 / count)
    report.add_rounds("us", figures)


# -- messages ------------------------------------------------------------------------------


def repeat(function: Callable[[], object]) -> Operation:
    """Return an operation that does the same thing again and again."""

    def operate(count: int) -> None:
        for _ in range(count):
            function()

    return operate


def parse_sdp_offer() -> None:
    """Parse a session description, and read what each answer needs."""
    audio = parse_sdp(SDP).media[0]
    audio.rtpmap(audio.formats[0])


def build_sdp_answer() -> None:
    """Build and write a session description."""
    attributes = (("rtpmap", "0 PCMU/8000"), ("ptime", "20"), ("sendrecv", None))
    media = MediaDescription.build("audio", 10000, "RTP/AVP", ["0"], attributes=attributes)
    origin = Origin.build("127.0.0.1", session_id=1, version=1)
    SessionDescription.build(origin, media=[media]).to_bytes()


class ResponseBuilder:
    """Builds and writes the 180 of one INVITE."""

    def __init__(self) -> None:
        request = parse(INVITE)
        assert isinstance(request, Request)
        self._request = request

    def build(self) -> None:
        """Do it once."""
        build_response(self._request, 180, to_tag="ours").to_bytes()


# -- timers and transactions ---------------------------------------------------------------


class Timers:
    """The timers of a call that goes well: three are started and cancelled, two expire."""

    def __init__(self) -> None:
        self._queue = TimerQueue()
        self._now = 0.0

    def operate(self, count: int) -> None:
        """Let the timers of ``count`` calls run."""
        queue = self._queue
        for _ in range(count):
            now, fired = self._now, self._fired
            started = [queue.start(now, delay, fired, None) for delay in (0.2, 0.5, 180.0)]
            queue.start(now, 32.0, fired, None)
            queue.start(now, 32.0, fired, None)
            for timer in started:
                queue.cancel(timer)
            self._now += INTERVAL
            queue.fire_due(self._now)

    def _fired(self, payload: object, now: float) -> None:
        pass


class Transactions:
    """
    A transaction layer that answers each request at once.

    :param method: of the requests.
    :param statuses: of the responses to each.
    """

    def __init__(self, method: str, *statuses: int) -> None:
        self._method = method
        self._statuses = statuses
        self._now = 0.0
        self._number = 0
        self._timers = TimerQueue()
        self._turn = Turn(self._send, self._failed, lambda: self._now)
        self._layer = TransactionLayer(turn=self._turn, timers=self._timers, counters=Counters())

    def _send(self, flow: Flow, wire: bytes) -> None:
        pass

    def _failed(self, error: BaseException) -> None:
        raise error

    def operate(self, count: int) -> None:
        """Do ``count`` transactions, the ends of the earlier ones included."""
        for _ in range(count):
            self._number += 1
            self._receive(WRITER.request(self._number, self._method))
            if self._method == "INVITE":
                self._receive(WRITER.request(self._number, "ACK", to_tag="ours"))
            self._now += INTERVAL
            if self._number % 10 == 0:
                with self._turn:
                    self._timers.fire_due(self._now)

    def _receive(self, data: bytes) -> None:
        flow = WRITER.flow
        with self._turn:
            request = self._layer.receive(data, flow, self._now)
            if not isinstance(request, Request):
                return
            transaction = self._layer.create_server(request, flow, self._now)
        for status in self._statuses:
            with self._turn:
                response = build_response(request, status, to_tag="ours")
                transaction.respond(response, self._now)


# -- calls and supplements -----------------------------------------------------------------


class Idle(SessionSupplement):
    """Overrides nothing."""

    name = "idle"
    priority = 900


class Stamp(SessionSupplement):
    """Adds a header to each message that leaves."""

    name = "stamp"
    priority = 900

    def outgoing_request(self, session: object, request: Request) -> None:
        """See :meth:`.ISessionSupplement.outgoing_request`."""
        request.headers.set("X-Stamp", "seen")

    outgoing_response = outgoing_request  # type: ignore[assignment]


def record_calls() -> CallRecords:
    """Return the supplement that records calls, with all but the file."""
    return CallRecords(time.time, CallRecord.to_json)


#: The supplements that are shipped.
SHIPPED: tuple[ISessionSupplement, ...] = tuple(
    item for item in vars(sipsess_builtin).values() if isinstance(item, SessionSupplement)
)


def make_calls(supplements: Sequence[ISessionSupplement] = SHIPPED) -> Calls:
    """Return calls to a server with audio but without sockets."""
    return Calls(supplements, silent_media())


def run(report: Report, *, rounds: int, scale: float) -> None:
    """
    Measure.

    :param scale: 1.0 for the usual number of operations in a round.
    """

    def of(count: int) -> int:
        return max(20, int(count * scale))

    pieces: dict[str, Operation] = {
        "micro: parse an INVITE": repeat(lambda: parse(INVITE).validate()),
        "micro: parse a BYE": repeat(lambda: parse(BYE).validate()),
        "micro: build a 180": repeat(ResponseBuilder().build),
        "micro: parse an SDP": repeat(parse_sdp_offer),
        "micro: build an SDP": repeat(build_sdp_answer),
        "micro: the timers of a call": Timers().operate,
    }
    title = "micro: pieces, processor time in this process"
    measure(report, title, pieces, count=of(10000), rounds=rounds)
    transactions: dict[str, Operation] = {
        "micro: transaction OPTIONS 200": Transactions("OPTIONS", 200).operate,
        "micro: transaction INVITE 180 486 ACK": Transactions("INVITE", 180, 486).operate,
    }
    title = "micro: transactions, the server's side"
    measure(report, title, transactions, count=of(4000), rounds=rounds)
    calls = {
        "micro: call, no supplement": make_calls(()),
        "micro: call, shipped supplements": make_calls(),
        "micro: call, and one that does nothing": make_calls((*SHIPPED, Idle())),
        "micro: call, and one that adds a header": make_calls((*SHIPPED, Stamp())),
        "micro: call, and its record as a line": make_calls((*SHIPPED, record_calls())),
    }
    operations: dict[str, Operation] = {name: item.operate for name, item in calls.items()}
    title = "micro: a basic call in process"
    with tuned_collector(lambda: 1):
        measure(report, title, operations, count=of(600), rounds=rounds)
    for item in calls.values():
        item.finish()
