# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
One rtpengine, as it is asked: its *ng* protocol over UDP.

Theory of operation
    A message is a cookie, a space and a bencoded dictionary; the answer to a request begins with
    the cookie of the request. A request whose answer does not come is sent again, with the same
    cookie, by which the engine knows it, and does nothing twice. After :data:`DELAYS` it has
    failed, and at once when the system says that nobody listens there. The cookie cannot be
    guessed, so that nobody else can answer.

    While the node is started it is asked each :data:`PING_INTERVAL` whether it is there. Any answer
    says so; a request that gets none says that it is not, and the next answer to a ping that it is
    again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeAlias

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from sipsess.counters import Counters
from sipsess.flow import Address, format_address

from .bencode import BencodeError, Value, Writable, decode, encode
from .options import MediaEngineError

#: Seconds after each copy of a request until the next is sent, or until it has failed. An engine on
#: the same network answers within a millisecond; and the 1.5 seconds in all may pass with a second
#: engine, too, before a caller loses patience.
DELAYS = (0.1, 0.2, 0.4, 0.8)
#: Seconds between two pings.
PING_INTERVAL = 5.0
#: Requests without an answer at a time; more means that the engine is lost in work.
MAX_PENDING = 2000
#: Bytes of a request; a UDP datagram of IPv4 holds no more. A longer one would never be answered,
#: and the engine be taken for one that is down: by a single caller with a long description.
MAX_REQUEST = 65_507
#: Characters of a cookie, 5 bits each: nobody guesses it within the time of a request.
COOKIE_LENGTH = 16

REASONS: dict[str, str] = {
    "engine-busy": "too many requests to a media engine had no answer yet",
    "engine-description": "a media engine made a session description that cannot be read",
    "engine-down": "a media engine was not there, or the last one was not",
    "engine-full": "a media engine carries as many calls as it may",
    "engine-garbage": "a datagram of a media engine was no answer",
    "engine-refused": "a media engine did not do what it was asked for",
    "engine-request": "a session description was too long for a request to a media engine",
    "engine-timeout": "a media engine did not answer",
}

#: Of an engine that is there, maybe.
STOPPED = "is asked no more, as the server stops"

_log = Logger()

Reply: TypeAlias = dict[bytes, Value]


class DelayedCall(Protocol):
    """What ``callLater`` gives."""

    def cancel(self) -> Any:
        """Do not call."""


class Timekeeper(Protocol):
    """The part of a reactor that is needed."""

    def callLater(self, delay: float, callable: Any, *args: Any) -> DelayedCall:
        """Call it after ``delay`` seconds."""


class _Request:
    """A request that has no answer yet."""

    __slots__ = ("copies", "data", "deferred", "timer")

    def __init__(self, data: bytes, deferred: Deferred[Reply]) -> None:
        self.data = data
        self.deferred = deferred
        #: How often it was sent.
        self.copies = 0
        self.timer: DelayedCall | None = None


class Node:
    """
    One engine.

    :param address: its ng socket.
    :param send: sends it a datagram; may raise :class:`OSError`.
    :param clock: the reactor.
    :param make_cookie: returns a new cookie.
    :param counters: where what it fails to do is counted.
    """

    def __init__(
        self,
        address: Address,
        send: Callable[[bytes], object],
        clock: Timekeeper,
        make_cookie: Callable[[], str],
        counters: Counters,
    ) -> None:
        self.name = format_address(address)
        self._send = send
        self._clock = clock
        self._make_cookie = make_cookie
        self._counters = counters
        self._pending: dict[bytes, _Request] = {}
        self._pinging: DelayedCall | None = None
        self._is_stopped = False
        #: Whether the last that was heard of it was good; at first nobody knows better.
        self.is_up = True

    # -- life ------------------------------------------------------------------------------

    def start(self) -> None:
        """Ask from now on whether it is there."""
        self._ping()

    def stop(self) -> None:
        """Ask no more, and let what has no answer yet fail."""
        self._is_stopped = True
        if self._pinging is not None:
            self._pinging.cancel()
            self._pinging = None
        self._fail_all(STOPPED)

    def _ping(self) -> None:
        self._pinging = self._clock.callLater(PING_INTERVAL, self._ping)
        self.request("ping", {}).addErrback(_ignore)

    # -- asking ----------------------------------------------------------------------------

    def request(self, command: str, fields: Mapping[str, Writable]) -> Deferred[Reply]:
        """
        Ask for something.

        :param fields: of the dictionary, besides the command.
        :return: fires with the answer, whatever it says; fails with :class:`.MediaEngineError` when
            none comes.
        """
        if self._is_stopped:
            return fail(self._error("engine-down", STOPPED))
        if len(self._pending) >= MAX_PENDING:
            return fail(self._error("engine-busy", "has too much to do"))
        cookie = self._make_cookie().encode("ascii")
        data = cookie + b" " + encode({"command": command, **fields})
        if len(data) > MAX_REQUEST:
            return fail(self._error("engine-request", f"cannot be told {len(data)} bytes at once"))
        deferred: Deferred[Reply] = Deferred(partial(self._given_up, cookie))
        self._pending[cookie] = _Request(data, deferred)
        self._transmit(cookie)
        return deferred

    def _transmit(self, cookie: bytes) -> None:
        """Send a copy of a request, unless it was sent often enough."""
        request = self._pending[cookie]
        request.timer = None
        if request.copies == len(DELAYS):
            self._set_up(False)
            self._fail(cookie, "engine-timeout", "does not answer")
            return
        request.timer = self._clock.callLater(DELAYS[request.copies], self._transmit, cookie)
        request.copies += 1
        # What cannot be sent is as good as lost on its way; the next copy may get through.
        with suppress(OSError):
            self._send(request.data)

    def _take(self, cookie: bytes) -> Deferred[Reply]:
        """Wait no longer for the answer to a request; return what waits for it."""
        request = self._pending.pop(cookie)
        if request.timer is not None:
            request.timer.cancel()
        return request.deferred

    def _given_up(self, cookie: bytes, deferred: Deferred[Reply]) -> None:
        self._take(cookie)

    def _fail(self, cookie: bytes, reason_code: str, text: str) -> None:
        self._take(cookie).errback(self._error(reason_code, text))

    # -- hearing ---------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take a datagram; never raises."""
        cookie, _, text = data.partition(b" ")
        if cookie not in self._pending:
            # Mostly a second copy of an answer, or one to a request that was given up.
            return
        try:
            reply = decode(text)
        except BencodeError:
            reply = b""
        if not isinstance(reply, dict):
            self._counters.refuse("engine-garbage")
            return
        self._set_up(True)
        self._take(cookie).callback(reply)

    def refused(self) -> None:
        """Hear from the system that nobody listens there."""
        self._set_up(False)
        self._fail_all("is not there")

    def _fail_all(self, text: str) -> None:
        for cookie in list(self._pending):
            # Whoever hears of one may have given up another one.
            if cookie in self._pending:
                self._fail(cookie, "engine-down", text)

    def _set_up(self, is_up: bool) -> None:
        if is_up is not self.is_up:
            self.is_up = is_up
            if is_up:
                _log.info("the media engine at {node} is there again", node=self.name)
            else:
                _log.warn("the media engine at {node} does not answer", node=self.name)

    def _error(self, reason_code: str, text: str) -> MediaEngineError:
        return MediaEngineError(reason_code, f"the media engine at {self.name} {text}")


def _ignore(failure: Failure) -> None:
    """Hear of a ping without an answer: that it is down is known by then."""
    failure.trap(MediaEngineError)
