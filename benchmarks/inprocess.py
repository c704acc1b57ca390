# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What is measured within this process: no socket, no reactor, a clock that we set."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from zope.interface import implementer

from benchmarks.messages import FLOW, SDP, make_request, tag_of
from benchmarks.results import Result, measure
from sipsess.application import Application
from sipsess.call import Call
from sipsess.core import SIPCore
from sipsess.counters import Counters
from sipsess.endpoint import AnonymousGate
from sipsess.flow import Address, Flow
from sipsess.ids import IdSource
from sipsess.interfaces import IMediaClock, IMediaPort, IMediaPorts
from sipsess.manager import DialogManager
from sipsess.media import AudioStream
from sipsess.message import Request, build_response, parse
from sipsess.sdp import parse as parse_sdp
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.timers import TimerQueue
from sipsess.transaction import TransactionLayer
from sipsess.turn import Turn

#: Seconds between two calls, on the clock that we set: 100 calls a second.
INTERVAL = 0.01
#: Longer than any transaction is kept.
LINGER = 40.0


# -- parsing -------------------------------------------------------------------------------


def parse_many(data: bytes) -> Callable[[int], None]:
    """Return a function that parses and validates one message again and again."""

    def operate(count: int) -> None:
        for _ in range(count):
            parse(data).validate()

    return operate


def parse_descriptions(count: int) -> None:
    """Parse one session description again and again, and read what each answer needs."""
    for _ in range(count):
        audio = parse_sdp(SDP).media[0]
        audio.rtpmap(audio.formats[0])


# -- transactions --------------------------------------------------------------------------


def _fail(error: BaseException) -> None:
    raise error


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
            self._receive(make_request(self._number, self._method))
            if self._method == "INVITE":
                self._receive(make_request(self._number, "ACK", to_tag="ours"))
            self._now += INTERVAL
            if self._number % 10 == 0:
                with self._turn:
                    self._timers.fire_due(self._now)

    def _receive(self, data: bytes) -> None:
        with self._turn:
            request = self._layer.receive(data, FLOW, self._now)
            if not isinstance(request, Request):
                return
            transaction = self._layer.create_server(request, FLOW, self._now)
        for status in self._statuses:
            with self._turn:
                response = build_response(request, status, to_tag="ours")
                transaction.respond(response, self._now)


# -- calls ---------------------------------------------------------------------------------


class Answer(Application):
    """Rings, answers, and waits for the end."""

    name = "answer"

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        await call.session.send_response(180)
        await call.answer()
        await call.ended


@implementer(IMediaPort)
class SilentPort:
    """A port without a socket."""

    host = "192.0.2.1"

    def __init__(self, port: int) -> None:
        self.port = port

    def send(self, data: bytes, address: Address) -> None:
        """Send nothing."""

    def close(self) -> None:
        """Close nothing."""


@implementer(IMediaPorts, IMediaClock)
class SilentMedia:
    """RTP ports without sockets, and a clock that never ticks."""

    def open(self, host: str, receive: Callable[[bytes, Address, float], None]) -> SilentPort:
        """See :meth:`.IMediaPorts.open`."""
        return SilentPort(10000)

    def add(self, stream: AudioStream, port: IMediaPort) -> None:
        """See :meth:`.IMediaClock.add`."""

    def remove(self, stream: AudioStream) -> None:
        """See :meth:`.IMediaClock.remove`."""


class Calls:
    """
    A whole core with the dialog manager, the audio handler and an application.

    One operation is a basic call: INVITE with an offer, 180, 200 with the answer, ACK, BYE, 200.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._number = 0
        self._sent: list[bytes] = []
        self._core = SIPCore(
            transmit=lambda flow, wire: self._sent.append(wire),
            seconds=lambda: self._now,
            ids=IdSource(random.Random(1)),
            gates=[AnonymousGate()],
        )
        media = SilentMedia()
        self._manager = DialogManager(
            self._core,
            handlers=[AudioHandler()],
            applications=[Answer()],
            application="answer",
            media_ports=media,
            media_clock=media,
        )

    def operate(self, count: int) -> None:
        """Do ``count`` calls, the ends of the earlier transactions included."""
        for _ in range(count):
            self._number += 1
            self._call(self._number)
            self._now += INTERVAL
            if self._number % 10 == 0:
                self._core.handle_timeout(self._now)

    def _call(self, number: int) -> None:
        receive = self._core.receive_datagram
        receive(make_request(number, "INVITE", body=SDP), FLOW, self._now)
        tag = tag_of(self._expect(b"SIP/2.0 200"))
        receive(make_request(number, "ACK", branch=1, to_tag=tag), FLOW, self._now)
        receive(make_request(number, "BYE", cseq=2, branch=2, to_tag=tag), FLOW, self._now)
        self._expect(b"SIP/2.0 200")

    def _expect(self, start: bytes) -> bytes:
        last = self._sent[-1]
        if not last.startswith(start):
            raise AssertionError(f"expected {start!r}, got {last!r}")
        self._sent.clear()
        return last

    def finish(self) -> None:
        """
        Let everything come to its end.

        :raises AssertionError: when something is left.
        """
        self._now += LINGER
        self._core.handle_timeout(self._now)
        left = self._manager.leftovers()
        if left:
            raise AssertionError(f"left after all calls: {left[:5]}")


def run(rounds: int, scale: float) -> Iterator[Result]:
    """
    Yield the results, as they come.

    :param scale: 1.0 for the usual number of operations in a round.
    """

    def of(count: int) -> int:
        return max(20, int(count * scale))

    invite = make_request(1, "INVITE", body=SDP)
    bye = make_request(1, "BYE", cseq=2, branch=2, to_tag="ours")
    yield measure("parse an INVITE", parse_many(invite), count=of(10000), rounds=rounds)
    yield measure("parse a BYE", parse_many(bye), count=of(10000), rounds=rounds)
    yield measure("parse an SDP", parse_descriptions, count=of(10000), rounds=rounds)
    non_invite = Transactions("OPTIONS", 200)
    yield measure("transaction: OPTIONS 200", non_invite.operate, count=of(5000), rounds=rounds)
    refused = Transactions("INVITE", 180, 486)
    yield measure("transaction: INVITE 180 486 ACK", refused.operate, count=of(5000), rounds=rounds)
    calls = Calls()
    yield measure("basic call, in process", calls.operate, count=of(1000), rounds=rounds)
    calls.finish()
