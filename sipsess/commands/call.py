# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
``sipsess call``: a small test phone on the same stack.

It dials, plays a tone, presses keys, listens until the far end hangs up or its own time is up, and
says in one line how that went.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import SystemRandom
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python import usage
from twisted.python.failure import Failure
from zope.interface import implementer

from sipsess.call import Call
from sipsess.codec import CODECS
from sipsess.commands import CommandOptions
from sipsess.endpoint import ANONYMOUS, DigestCredentials, Endpoint, Login
from sipsess.endpoint.credentials import ANY_REALM
from sipsess.errors import LocalError, RemoteError, SIPError
from sipsess.flow import Address, Flow
from sipsess.interfaces import INameResolver, ITrace
from sipsess.locating import Locator, Target
from sipsess.locating.names import find_resolver
from sipsess.media import Codec, RTPPacket
from sipsess.media.telephone_event import check_digits
from sipsess.message import SIPURI, NameAddr, TelURI
from sipsess.sdphandler import NegotiationFailed
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.server import SIPServer
from sipsess.session import EndReason, Session, SessionEnded
from sipsess.session.reason import LOCAL, NETWORK, REMOTE
from sipsess.supplement import Reject
from sipsess.supplements.credentials import Credentials
from sipsess.testing.ladder import Step, format_ladder
from sipsess.transport.address import SourceAddresses, is_cut_off
from sipsess.transport.connections import CONNECTABLE
from sipsess.transport.listen import ListenSpec

#: Seconds of conversation, unless ``--duration`` says otherwise.
DEFAULT_DURATION = 10.0
#: Seconds that the far end may take to answer.
DEFAULT_TIMEOUT = 60.0
#: What is played once: something to be heard, and to come back from an echo.
TONE_FREQUENCIES = (425.0,)
TONE_SECONDS = 0.5
#: The variable of the environment that may hold the password.
PASSWORD = "SIPSESS_PASSWORD"
#: Seconds that the far end may take to answer our BYE.
HANG_UP_LIMIT = 5.0

_WHO = {LOCAL: "this side", REMOTE: "the far end", NETWORK: "the network"}

#: Writes one line.
Write = Callable[[str], None]


class Options(CommandOptions):
    """The options of ``sipsess call``."""

    synopsis = "Usage: sipsess call [options] URI"
    longdesc = "Calls URI, plays a tone, sends digits, and says how it went."

    optFlags = [
        ["ladder", "l", "Print each message as it comes and goes."],
        ["no-tone", None, "Play nothing."],
    ]
    optParameters = [
        ["dtmf", "d", None, "Keys to press: 0-9, *, #, A-D."],
        ["codecs", None, None, "What to speak, such as OPUS,PCMU. [default: PCMU,PCMA]"],
        ["save", "s", None, "Write what is heard to this WAV file."],
        ["ca", None, "", "A PEM file of authorities for TLS. [default: those of the system]"],
        ["from", "f", None, "Who calls, a SIP URI. [default: sip:sipsess@ and our address]"],
        ["user", "u", None, "Who we are when a password is asked for: see --password-file."],
        [
            "password-file",
            None,
            None,
            "A file with it in its first line. [default: $SIPSESS_PASSWORD]",
        ],
    ]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["duration"] = DEFAULT_DURATION
        self["timeout"] = DEFAULT_TIMEOUT

    def opt_duration(self, seconds: str) -> None:
        """Hang up after so many seconds, unless the far end did. [default: 10]"""
        self["duration"] = _seconds("--duration", seconds)

    def opt_timeout(self, seconds: str) -> None:
        """Give up when nobody answers within so many seconds. [default: 60]"""
        self["timeout"] = _seconds("--timeout", seconds)

    def parseArgs(self, uri: str = "", *more: str) -> None:
        """
        Take the URI.

        :raises UsageError: when there is none, or more than one.
        """
        if not uri or more:
            raise usage.UsageError("say whom to call: sipsess call sip:hello@127.0.0.1")
        self["uri"] = uri if ":" in uri.partition("@")[0] else f"sip:{uri}"

    def postOptions(self) -> None:
        """
        Check what can be checked before anybody is called.

        :raises UsageError: with what to write instead.
        """
        try:
            self["dtmf"] = check_digits(self["dtmf"] or "")
        except LocalError as error:
            raise usage.UsageError(f"--dtmf {self['dtmf']}: {error}") from error
        self["from"] = _check_caller(self["from"])
        endpoint = _make_endpoint(self["user"], self["password-file"])
        if self["codecs"] is not None:
            endpoint = replace(endpoint, codecs=_read_codecs(self["codecs"]))
        self["endpoint"] = endpoint
        if self["save"] is not None:
            folder = os.path.dirname(os.path.abspath(self["save"]))
            if os.path.isdir(self["save"]) or not os.access(folder, os.W_OK):
                raise usage.UsageError(f"--save {self['save']}: no file can be written there")


def _make_endpoint(user: str | None, file: str | None) -> Endpoint:
    """
    Return how the far end is treated: it gets the password when it asks for one.

    :raises UsageError: when there is a user and no password, or a password for nobody.
    """
    if user is None:
        if file is not None:
            raise usage.UsageError("--password-file: say whose password it is with --user")
        return ANONYMOUS
    try:
        password = os.environ.get(PASSWORD, "") if file is None else _first_line(file)
    except (OSError, ValueError) as error:
        raise usage.UsageError(f"--password-file {file}: {error}") from error
    if not password:
        raise usage.UsageError(
            f"--user {user}: put the password into the first line of a file and name it with "
            f"--password-file, or into {PASSWORD}"
        )
    return replace(ANONYMOUS, credentials=DigestCredentials((Login(ANY_REALM, user, password),)))


def _read_codecs(text: str) -> tuple[str, ...]:
    """
    Return the names of codecs that can be spoken here.

    :raises UsageError: when one is not known, or not installed.
    """
    known = {codec.name: codec for codec in CODECS}
    names = tuple(name.strip().upper() for name in text.split(","))
    for name in names:
        if name not in known:
            raise usage.UsageError(f"--codecs {text}: these are known: {', '.join(known)}")
        if known[name].missing:
            raise usage.UsageError(f"--codecs {name}: {known[name].missing}")
    return names


def _first_line(file: str) -> str:
    with open(file, encoding="utf-8") as lines:
        return lines.readline().rstrip("\r\n")


def _check_caller(text: str | None) -> str | None:
    """Return the From value of a caller's URI, or of one with a display name before it."""
    if text is None:
        return None
    try:
        uri = NameAddr.parse(text).parsed_uri
    except RemoteError:
        uri = None
    if not isinstance(uri, SIPURI | TelURI):
        raise usage.UsageError(f"--from {text}: write a URI, such as sip:me@example.com")
    return text


def _seconds(option: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 86_400:
        raise usage.UsageError(f"{option} {text}: write a number of seconds, such as 10")
    return seconds


@implementer(ITrace)
class LadderTrace:
    """
    Writes a ladder while it grows: each message is one more line.

    :param write: takes the lines.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._steps: list[Step] = []
        #: The far end takes keys as RTP events.
        self._has_events = False
        self._began = 0.0

    def bytes_received(self, flow: Flow, data: bytes, now: float) -> None:
        """See :meth:`.ITrace.bytes_received`."""
        self._has_events |= b"telephone-event" in data
        self._add(now, flow.remote, flow.local, data)

    def bytes_sent(self, flow: Flow, wire: bytes, now: float) -> None:
        """See :meth:`.ITrace.bytes_sent`."""
        self._add(now, flow.local, flow.remote, wire)

    def _add(self, now: float, source: Address, target: Address, data: bytes) -> None:
        if not self._steps:
            self._began = now
        # The first step says who stands left; the last is the new line.
        first = self._steps[:1]
        step = Step(now - self._began, source, target, data)
        self._steps = [*first, step][:2] if first else [step]
        lines = format_ladder(self._steps).split("\n")
        for line in lines[-1:] if first else lines:
            self._write(line)

    def digits_sent(self, digits: str, began: float) -> None:
        """Add a line for keys that were pressed."""
        how = "RFC 4733" if self._has_events else "as tones"
        keys = " ".join(f'"{digit}"' for digit in digits)
        self._write(f"  {keys:<27} {'~' * 26}> {began - self._began:7.3f}   {how}")

    def message_refused(self, reason_code: str, flow: Flow, now: float) -> None:
        """See :meth:`.ITrace.message_refused`."""

    def plugin_verdict(
        self, plugin: str, callback: str, verdict: str, call_id: str, now: float
    ) -> None:
        """See :meth:`.ITrace.plugin_verdict`."""

    def session_begun(self, session: Session, now: float) -> None:
        """See :meth:`.ITrace.session_begun`."""

    def session_ended(self, session: Session, now: float) -> None:
        """See :meth:`.ITrace.session_ended`."""


class PhoneCall(Call):
    """
    A call that tells which keys the far end presses.

    :param session: that it stands for.
    :param hear: called with each key.
    """

    __slots__ = ("_hear",)

    def __init__(self, session: Session, hear: Callable[[str], object]) -> None:
        self._hear = hear
        super().__init__(session)

    def receive_digit(self, digit: str, seconds: float | None = None) -> None:
        """See :meth:`.Call.receive_digit`."""
        self._hear(digit)
        super().receive_digit(digit, seconds)


class Phone:
    """
    One call, from the dialling to the line that sums it up.

    :param reactor: that it runs on.
    :param options: what to do.
    :param write: takes lines for people.
    :param find_source: says what our address is towards a peer.
    :param resolver: answers DNS questions; the system's own when ``None``.
    """

    def __init__(
        self,
        reactor: Any,
        options: Options,
        write: Write,
        *,
        seconds: Callable[[], float] = time.monotonic,
        find_source: Callable[[str], str] | None = None,
        resolver: INameResolver | None = None,
    ) -> None:
        self._reactor = reactor
        self._options = options
        self._write = write
        self._seconds = seconds
        self._find_source = find_source or SourceAddresses(seconds)
        self._resolver = resolver or find_resolver(reactor, seconds)
        #: Where the call goes first.
        self._target: Target | None = None
        self._ladder = LadderTrace(write) if options["ladder"] else None
        self._heard = 0.0
        self._digits: list[str] = []
        #: What could not be done in the call.
        self._fault = ""
        #: The server underneath, once it runs.
        self.server: SIPServer | None = None

    async def run(self) -> int:
        """
        Place the call.

        :return: the exit status: 0 when the call was answered and ended cleanly, else 1.
        """
        try:
            self.server = await self._make_server()
            async with self.server:
                status, line = await self._talk(self.server)
        except SIPError as error:
            status, line = 1, str(error)
        self._write(line)
        return status

    def stop(self) -> Deferred[None] | None:
        """Hang up because the program shall end; fires when that is done."""
        server = self.server
        return server.stopService() if server is not None and server.running else None

    async def _make_server(self) -> SIPServer:
        """Return a server on the one address of ours that reaches the far end; TLS needs none."""
        locator = Locator(
            self._resolver, lambda: {"UDP"}, self._reactor, SystemRandom(), connectable=CONNECTABLE
        )
        targets = await locator.locate(self._options["uri"])
        sources = {target: self._find_source(target.host) for target in targets}
        ways = (item for item in targets if not is_cut_off(sources[item], item.host))
        target = self._target = next(ways, targets[0])
        spec = ListenSpec(target.transport, 0, sources[target])
        return SIPServer(
            self._reactor,
            [spec] if target.transport != "TLS" else [],
            resolver=self._resolver,
            trust=self._options["ca"],
            supplements=[Credentials()],
            handlers=[AudioHandler()],
            trace=self._ladder,
            seconds=self._seconds,
            make_call=lambda session: PhoneCall(session, self._digits.append),
        )

    async def _talk(self, server: SIPServer) -> tuple[int, str]:
        """Return the exit status, and one line that says how it went."""
        options = self._options
        try:
            call = await server.dial(
                options["uri"],
                from_=options["from"],
                timeout=options["timeout"],
                endpoint=options["endpoint"],
            )
        except (SIPError, Reject, NegotiationFailed) as error:
            is_silent = not server.core.counters.messages_received
            if is_silent and isinstance(error, SessionEnded) and self._target is not None:
                where = f"{self._target.name} port {self._target.port}"
                return 1, f"no answer: nothing at all came back from {where}"
            return 1, describe_failure(error)
        answered = self._seconds()
        reason = await self._converse(call)
        duration = self._seconds() - answered
        is_clean = reason.method == "BYE" and reason.by != NETWORK and not self._fault
        fault = self._fault or str(reason)
        how = f"ended by {_WHO[reason.by]}" if is_clean else f"not ended cleanly: {fault}"
        heard = f"heard {self._heard:.1f} s of audio"
        if self._digits:
            heard += f" and the keys {''.join(self._digits)}"
        return int(not is_clean), f"answered, {how} after {duration:.1f} s; {heard}"

    async def _converse(self, call: Call) -> EndReason:
        """Talk and listen until somebody hangs up."""
        options = self._options
        ended = call.ended
        if call.audio is not None:
            call.audio.on_packet = self._hear
        work = [self._speak(call)]
        if options["save"] is not None:
            work.append(self._record(call))
        running = [Deferred.fromCoroutine(item) for item in work]
        for deferred in running:
            deferred.addErrback(self._work_failed, call)
        end = options["duration"]
        if self._ladder is None:
            self._write(f"answered, hanging up after {end:g} s unless the far end does")
        limits = [
            self._reactor.callLater(end, call.session.terminate),
            self._reactor.callLater(end + HANG_UP_LIMIT, ended.cancel),
        ]
        try:
            return await ended
        except CancelledError:
            return EndReason(NETWORK, "BYE", text="our BYE was not answered")
        finally:
            for limit in limits:
                if limit.active():
                    limit.cancel()
            for deferred in running:
                deferred.cancel()

    def _work_failed(self, failure: Failure, call: Call) -> None:
        """Hang up when what was asked for cannot be done; the end of the call is no failure."""
        if not failure.check(SessionEnded, CancelledError):
            failure.trap(SIPError)
            self._fault = str(failure.value)
            call.session.terminate()

    async def _speak(self, call: Call) -> None:
        if not self._options["no-tone"]:
            await call.play_tone(TONE_FREQUENCIES, TONE_SECONDS)
        digits = self._options["dtmf"]
        if digits:
            began = self._seconds()
            await call.send_digits(digits)
            if self._ladder is not None:
                self._ladder.digits_sent(digits, began)

    async def _record(self, call: Call) -> None:
        path = Path(self._options["save"])
        await call.record(path, max_seconds=self._options["duration"] + 60.0, stop_on="")

    def _hear(self, codec: Codec, packet: RTPPacket, now: float) -> None:
        # Not by listening: what conceals losses and pauses has not been said by anybody.
        self._heard += codec.duration(packet.payload) / codec.clock_rate


def describe_failure(error: Exception) -> str:
    """Return in one line why nobody answered."""
    if not isinstance(error, SessionEnded):
        return f"not called: {error}"
    reason = error.reason
    if reason.by == REMOTE and reason.status is not None:
        return f"refused: {reason.status} {reason.text}".rstrip()
    if reason.by == NETWORK:
        return f"no answer: {reason.text or 'nothing came back'}"
    return f"no answer: {reason.text or 'cancelled'}"
