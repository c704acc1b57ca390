# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Real peers for tests: each is started and ended by the test that needs it.

A test derives from :class:`PeerTestCase`. A peer that is not installed skips the test with a line
that says what to install, and fails it where ``CI`` is set in the environment. What is waited for
is output, a bound port or an answer, never mere time; when it does not come in time, the failure
shows what the peer printed.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import tempfile
from array import array
from collections.abc import Callable, Iterable
from struct import unpack_from
from typing import Any

from twisted.internet import reactor as the_reactor  # noqa: TID251  trial's own, real processes
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import DatagramProtocol, ProcessProtocol, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.basic import NetstringReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, TestCase

from sipsess.control import ask
from sipsess.interfaces import IApplication
from sipsess.media import Clip
from sipsess.media.codecs import SAMPLE_RATE
from sipsess.registry import find_plugins
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.server import SIPServer

from .tools import LISTENING, ROOT, free_port, server_command, udp_ports

reactor: Any = the_reactor

#: Seconds that a peer may take to do what is waited for, on a busy machine.
PATIENCE = 20.0
#: Seconds between two looks at what cannot be waited for otherwise.
LOOK = 0.02

#: What baresip tells ten times a second during a call.
_STATUS = re.compile(r"\s*\[\d+:\d\d:\d\d\] audio=\d+/\d+ \(bit/s\)\s*")

#: Which package has a program.
PACKAGES = {
    "sipp": "sip-tester",
    "baresip": "baresip-core",
    "kamailio": "kamailio",
    "svmap": "sipvicious",
    "svwar": "sipvicious",
    "svcrack": "sipvicious",
    "tshark": "tshark",
    "lp-auto-answer": "linphone-cli",
    "linphone-daemon": "linphone-cli",
    "openssl": "openssl",
    "chromium": "chromium",
    "npm": "npm",
    "rtpengine": "rtpengine-daemon",
}


class Peer(ProcessProtocol):
    """
    One process; :meth:`PeerTestCase.start` makes it.

    :param name: for failures.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        #: What it printed, errors included; and without them.
        self.output = ""
        self.printed = ""
        #: The exit status, or minus the number of the signal that ended it; ``None`` while it runs.
        self.status: int | None = None
        #: Seconds after which it is killed when SIGTERM does not end it.
        self.kill_after = 10.0
        self._wakers: list[Deferred[None]] = []
        self._killer: Any = None

    @property
    def pid(self) -> int:
        """The process number."""
        transport: Any = self.transport
        number: int = transport.pid
        return number

    # -- what the reactor calls

    def outReceived(self, data: bytes) -> None:
        """Keep what it prints."""
        text = data.decode("utf-8", "replace")
        self.printed += text
        self._read(text)

    def errReceived(self, data: bytes) -> None:
        """Keep what it complains about."""
        self._read(data.decode("utf-8", "replace"))

    def processEnded(self, reason: Failure) -> None:
        """Keep how it ended."""
        value: Any = reason.value
        self.status = value.exitCode if value.signal is None else -value.signal
        if self._killer is not None:
            self._killer.cancel()
            self._killer = None
        self._wake()

    def _read(self, text: str) -> None:
        self.output += text
        self._wake()

    def _wake(self) -> None:
        wakers, self._wakers = self._wakers, []
        for waker in wakers:
            waker.callback(None)

    # -- what tests call

    def write(self, text: str) -> None:
        """Give it something to read, if :meth:`PeerTestCase.start` was told that it reads."""
        transport: Any = self.transport
        transport.write(text.encode("utf-8"))

    async def expect(self, pattern: str, begin: int = 0) -> re.Match[str]:
        """
        Wait for output.

        :param pattern: a regular expression, looked for in all the output since ``begin``.
        :raises AssertionError: when it does not come in time, or the process ends before.
        """
        expression = re.compile(pattern)
        while True:
            found = expression.search(self.output, begin)
            if found is not None:
                return found
            if self.status is not None:
                raise AssertionError(f"{self.name} ended before {pattern!r}:\n{self.tail()}")
            await self._wait(f"did not print {pattern!r}")

    async def bound(self, port: int) -> None:
        """
        Wait until the process listens on a UDP port.

        :raises AssertionError: when it does not in time.
        """
        await until(
            lambda: self.status is not None or port in udp_ports(self.pid),
            lambda: f"{self.name} never listened on {port}:\n{self.tail()}",
        )
        if self.status is not None:
            raise AssertionError(f"{self.name} ended at once:\n{self.tail()}")

    async def ended(self, limit: float | None = None) -> int:
        """
        Wait for its end.

        :return: see :attr:`status`.
        :raises AssertionError: when it runs on.
        """
        while self.status is None:
            await self._wait("did not end", limit)
        return self.status

    async def stop(self) -> int:
        """End it with SIGTERM, or with SIGKILL when that does not help; return :attr:`status`."""
        if self.status is None:
            self._signal(signal.SIGTERM)
            self._killer = reactor.callLater(self.kill_after, self._kill)
        return await self.ended()

    def tail(self) -> str:
        """Return the end of its output."""
        return _STATUS.sub("", self.output)[-6000:]

    def _kill(self) -> None:
        self._killer = None
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        transport: Any = self.transport
        try:
            transport.signalProcess(number)
        except ProcessExitedAlready:
            pass  # processEnded is about to be called

    async def _wait(self, failing: str, limit: float | None = None) -> None:
        waker: Deferred[None] = Deferred()
        waker.addTimeout(PATIENCE if limit is None else limit, reactor)
        self._wakers.append(waker)
        try:
            await waker
        except DeferredTimeout as error:
            raise AssertionError(f"{self.name} {failing}:\n{self.tail()}") from error
        finally:
            if waker in self._wakers:
                self._wakers.remove(waker)


async def until(
    is_true: Callable[[], bool], complaint: Callable[[], str], limit: float | None = None
) -> None:
    """
    Look again and again until something is true.

    :raises AssertionError: with the complaint, when it is not in time.
    """
    end = reactor.seconds() + (PATIENCE if limit is None else limit)
    while not is_true():
        if reactor.seconds() > end:
            raise AssertionError(complaint())
        await deferLater(reactor, LOOK)


class PeerTestCase(TestCase):
    """Starts peers and servers, and ends them whatever happens."""

    timeout = 90
    #: What servers of this process listen on, and calls go over.
    transport = "UDP"

    def setUp(self) -> None:
        """Make a folder for the files of this test, with a short path: sockets need one."""
        #: Where this test keeps its files.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sipsess-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def require(self, *programs: str) -> None:
        """
        Skip the test when one of the programs is not installed.

        :raises AssertionError: instead, where ``CI`` is set.
        """
        for program in programs:
            if shutil.which(program) is None:
                self.miss(f"{program} is not installed: apt-get install {PACKAGES[program]}")

    def miss(self, reason: str) -> None:
        """
        Skip the test because this machine cannot run it.

        :raises AssertionError: instead, where ``CI`` is set.
        """
        if os.environ.get("CI"):
            raise AssertionError(reason)
        raise SkipTest(reason)

    def start(
        self,
        name: str,
        command: Iterable[str],
        directory: pathlib.Path | None = None,
        *,
        home: pathlib.Path | None = None,
        reads: bool = False,
    ) -> Peer:
        """
        Start a process; it is ended with the test.

        :param directory: where it runs; the folder of the test when ``None``.
        :param home: where it keeps its user's files; in the home directory when ``None``.
        :param reads: whether it is told what to do by :meth:`Peer.write`.
        """
        words = list(command)
        program = shutil.which(words[0]) or words[0]
        peer = Peer(name)
        with open(os.devnull, "rb") as nothing:
            reactor.spawnProcess(
                peer,
                program,
                words,
                env=None if home is None else {**os.environ, "HOME": str(home)},
                path=str(directory or self.folder),
                childFDs={0: "w" if reads else nothing.fileno(), 1: "r", 2: "r"},
            )
        self.addCleanup(lambda: Deferred.fromCoroutine(peer.stop()))
        return peer

    async def start_server(self, *options: str, application: str = "echo") -> tuple[Peer, int]:
        """
        Start ``twistd -n sipsess`` on a free port.

        :return: the process, and the port it listens on.
        """
        server = self.start("sipsess", server_command(*options, application=application), ROOT)
        found = await server.expect(LISTENING)
        return server, int(found[1])

    def serve(self, *applications: IApplication, **options: Any) -> SIPServer:
        """
        Start a server within this process; it is stopped with the test.

        :param applications: the first one takes every call.
        """
        server = SIPServer(
            reactor,
            self.where(),
            handlers=[AudioHandler()],
            applications=applications,
            application=applications[0].name if applications else None,
            **options,
        )
        server.startService()
        self.addCleanup(self._stop, server)
        return server

    def where(self) -> list[str]:
        """Return where servers of this process listen."""
        return [f"{self.transport.lower()}:0:interface=127.0.0.1"]

    def serve_all(self, *applications: IApplication, **options: Any) -> SIPServer:
        """Start a server like :meth:`serve`, with the supplements that ``twistd sipsess`` has."""
        return self.serve(*applications, supplements=find_plugins().supplements, **options)

    async def _stop(self, server: SIPServer) -> None:
        await server.stopService()
        self.assertEqual(server.media_ports.leftovers(), [])

    async def check_nothing_left(self, server: Peer, port: int, control: str) -> None:
        """
        Check that a server process has no call and no RTP port any more.

        :param port: of its SIP.
        :param control: its control socket.
        """
        await until(
            lambda: ask("counters", control)["sessions"] == 0,
            lambda: f"calls are left: {ask('calls', control)}",
        )
        self.assertEqual(ask("calls", control), [])
        self.assertEqual(udp_ports(server.pid), {port})

    async def quiet(self, server: SIPServer) -> None:
        """Wait until a server within this process has no session and no RTP port any more."""
        await until(
            lambda: not server.manager.sessions and not server.media_ports.leftovers(),
            lambda: f"left: {server.leftovers()}",
        )


def sip_port(server: SIPServer) -> int:
    """Return the port on which a server within this process listens."""
    return server.listeners[0].address[1]


# -- baresip -------------------------------------------------------------------------------


class Control(NetstringReceiver):
    """A connection to baresip's ctrl_tcp: commands, their results, and events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._lost: Deferred[None] = Deferred()
        self._waiting: dict[str, Deferred[dict[str, Any]]] = {}
        self._number = 0

    def stringReceived(self, string: bytes) -> None:
        """Take one message."""
        message = json.loads(string)
        waiting = self._waiting.pop(message.get("token", ""), None)
        if waiting is not None:
            waiting.callback(message)
        elif message.get("event"):
            self.events.append(message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Remember it."""
        self._lost.callback(None)

    def disconnect(self) -> Deferred[None]:
        """Close the connection; the Deferred fires when it is closed."""
        transport: Any = self.transport
        transport.loseConnection()
        return self._lost

    async def command(self, name: str, params: str = "") -> str:
        """
        Let baresip do something.

        :return: what it says.
        :raises AssertionError: when it refuses.
        """
        self._number += 1
        token = str(self._number)
        request = {"command": name, "params": params, "token": token}
        self.sendString(json.dumps(request).encode("ascii"))
        deferred = self._waiting[token] = Deferred()
        result = await deferred.addTimeout(PATIENCE, reactor)
        if not result.get("ok"):
            raise AssertionError(f"baresip refused {name} {params}: {result}")
        return str(result.get("data", ""))

    async def expect(self, kind: str) -> dict[str, Any]:
        """Wait for an event, such as ``CALL_ESTABLISHED``."""
        await until(
            lambda: bool(self.told(kind)),
            lambda: f"baresip told no {kind}, but {[event['type'] for event in self.events]}",
        )
        return self.told(kind)[0]

    def told(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of one kind so far."""
        return [event for event in self.events if event["type"] == kind]


CONFIGURATION = """\
poll_method epoll
sip_listen 127.0.0.1:{port}
sip_transports {transports}
call_max_calls 20
audio_source aufile,{speaks}
audio_player aubridge,nobody
audio_alert aubridge,alert
{rates}ausrc_channels 1
auplay_channels 1
rtp_ports 30000-32766
rtcp_mux {mux}
net_interface 127.0.0.1
module_path {modules}
module g711.so
module srtp.so
module aubridge.so
module aufile.so
module sndfile.so
snd_path {folder}
module_app account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
"""

#: What a telephone needs besides to speak as browsers do.
WEB = """\
module stun.so
module ice.so
module dtls_srtp.so
"""
#: How its account says so.
WEB_ENCRYPTION = "dtls_srtp"

MODULES = ("/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules")


class Baresip:
    """
    A telephone: it answers every call, and dials when it is told to.

    What it hears it records (nothing reads the bridge that it plays to).

    :param folder: for its configuration and its recordings.
    :param speaks: a WAV file, 8 kHz, that it says into its call; a call ends with the file.
    :param registrar: the port of a server on which it registers as ``phone``; ``None`` for nowhere.
    :param password: with which it answers challenges.
    :param pem: a file with its certificate and key; then it speaks TLS, on the next port.
    :param encryption: of its audio, such as ``srtp-mand``; :data:`WEB_ENCRYPTION` brings ICE.
    :param has_mux: whether it wants RTCP on the port of RTP.
    :param codec: all that it speaks instead of G.711, at its own rate: module, rate and channels.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        speaks: pathlib.Path,
        registrar: int | None = None,
        password: str = "",
        pem: str = "",
        encryption: str = "",
        has_mux: bool = False,
        codec: str = "",
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.control_port = free_port()
        self.process: Peer
        self.control: Control
        found = [path for path in MODULES if os.path.isdir(path)]
        is_web = encryption == WEB_ENCRYPTION
        text = CONFIGURATION.format(
            port=self.port,
            control=self.control_port,
            modules=found[0] if found else MODULES[0],
            speaks=speaks,
            mux="yes" if has_mux or is_web else "no",
            folder=folder,
            transports="udp,tcp,tls" if pem else "udp,tcp",
            rates="" if codec else "ausrc_srate 8000\nauplay_srate 8000\n",
        )
        text += f"module {codec.split('/')[0]}.so\n" if codec else ""
        text += (f"sip_certificate {pem}\n" if pem else "") + (WEB if is_web else "")
        (folder / "config").write_text(text)
        home, seconds = (self.port, 0) if registrar is None else (registrar, 600)
        account = f"<sip:phone@127.0.0.1:{home}>;auth_pass={password};regint={seconds}"
        account += f";mediaenc={encryption}" if encryption else ""
        account += ";medianat=ice" if is_web else ""
        account += f";answermode=auto;audio_codecs={codec or 'pcmu,pcma'}"
        (folder / "accounts").write_text(f"{account}\n")
        (folder / "contacts").write_text("")

    @property
    def uri(self) -> str:
        """What to call."""
        return f"sip:phone@127.0.0.1:{self.port}"

    def heard(self) -> bytes:
        """Return what it has heard, as PCM; the newest call's."""
        recordings = sorted(self.folder.glob("dump-*-dec.wav"))
        # The lengths in the header are only right when the call is over; it has 44 bytes.
        return recordings[-1].read_bytes()[44:] if recordings else b""

    def heard_clip(self) -> Clip:
        """Return what it has heard, at the rate of its codec, and of several channels the first."""
        recordings = sorted(self.folder.glob("dump-*-dec.wav"))
        data = recordings[-1].read_bytes() if recordings else b""
        if len(data) < 44:
            return Clip(b"", SAMPLE_RATE)
        channels, rate = unpack_from("<HI", data, 22)
        whole = array("h", data[44:][: (len(data) - 44) // (2 * channels) * 2 * channels])
        return Clip(whole[::channels].tobytes(), rate)


async def start_baresip(
    test: PeerTestCase,
    speaks: pathlib.Path,
    registrar: int | None = None,
    password: str = "",
    pem: str = "",
    encryption: str = "",
    has_mux: bool = False,
    codec: str = "",
) -> Baresip:
    """Start a telephone, and connect to its control port; see :class:`Baresip`."""
    test.require("baresip")
    folder = test.folder / "baresip"
    folder.mkdir()
    phone = Baresip(folder, speaks, registrar, password, pem, encryption, has_mux, codec)
    phone.process = test.start("baresip", ["baresip", "-v", "-f", str(folder)])
    await phone.process.expect("baresip is ready")
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", phone.control_port)
    phone.control = await connectProtocol(endpoint, Control())
    test.addCleanup(phone.control.disconnect)
    return phone


# -- kamailio ------------------------------------------------------------------------------


class Kamailio:
    """
    A proxy and registrar; see ``kamailio.cfg``.

    :param folder: for its files.
    :param port: where it listens; a free one when ``None``.
    :param options: more values of the configuration.
    """

    password = "open sesame"

    def __init__(self, folder: pathlib.Path, port: int | None = None, **options: object) -> None:
        self.folder = folder
        self.port = port or free_port()
        values = {"algorithm": "", "min_expires": 60, **options}
        template = pathlib.Path(__file__).with_name("kamailio.cfg").read_text()
        text = template.format(port=self.port, password=self.password, **values)
        (folder / "kamailio.cfg").write_text(text)
        self.process: Peer

    @property
    def uri(self) -> str:
        """Where it listens."""
        return f"sip:127.0.0.1:{self.port}"


async def start_kamailio(
    test: PeerTestCase, port: int | None = None, **options: object
) -> Kamailio:
    """Start a registrar; see :class:`Kamailio`."""
    test.require("kamailio")
    folder = test.folder / f"kamailio-{free_port()}"
    folder.mkdir()
    kamailio = Kamailio(folder, port, **options)
    command = ["kamailio", "-f", str(folder / "kamailio.cfg"), "-DD", "-E", "-m", "64", "-M", "8"]
    command += ["-Y", str(folder), "-P", str(folder / "pid")]
    kamailio.process = test.start("kamailio", command)
    await kamailio.process.bound(kamailio.port)
    return kamailio


# -- tshark --------------------------------------------------------------------------------

#: Messages that tshark cannot read, or finds something wrong with (severity "warning" and above).
PROBLEMS = "(_ws.malformed || _ws.expert.severity >= 6291456)"


class Capture:
    """
    What crosses the loopback interface, as an independent reader sees it.

    :param test: that it belongs to.
    :param port: where SIP is spoken.
    :param condition: a capture filter for all that is wanted.
    """

    def __init__(self, test: PeerTestCase, port: int, condition: str) -> None:
        self._test = test
        self._port = port
        self._condition = condition
        self._path = test.folder / "capture.pcapng"
        self._marks = 0
        self._mark_port = free_port()
        self._process: Peer

    async def begin(self) -> None:
        """Capture from now on."""
        self._test.require("tshark")
        condition = f"({self._condition}) or udp port {self._mark_port}"
        command = ["tshark", "-i", "lo", "-n", "-q", "-f", condition, "-w", str(self._path)]
        self._process = self._test.start("tshark", command)
        await self._mark()

    async def end(self) -> None:
        """Capture no more; all that crossed before is in the file."""
        await self._mark()
        await self._process.stop()

    async def _mark(self) -> None:
        """Send a datagram that says nothing until it stands in the file."""
        self._marks += 1
        mark = f"mark {self._marks} of {self._mark_port}".encode("ascii")
        sender = reactor.listenUDP(0, DatagramProtocol(), "127.0.0.1")

        def is_captured() -> bool:
            if self._process.status is not None:
                self._test.miss(f"tshark cannot capture on lo:\n{self._process.tail()}")
            sender.write(mark, ("127.0.0.1", self._mark_port))
            return self._path.exists() and mark in self._path.read_bytes()

        try:
            await until(is_captured, lambda: f"no capture:\n{self._process.tail()}")
        finally:
            await sender.stopListening()

    async def read(self, condition: str, *fields: str) -> list[list[str]]:
        """
        Return fields of the packets that meet a display filter.

        :param fields: such as ``rtp.seq``; none for one line of text for each packet.
        """
        command = ["tshark", "-n", "-r", str(self._path), "-Y", condition]
        command += ["-d", f"udp.port=={self._port},sip", "-d", f"tcp.port=={self._port},sip"]
        if fields:
            command += ["-T", "fields", *(word for field in fields for word in ("-e", field))]
        reader = self._test.start("tshark -r", command)
        status = await reader.ended()
        if status:
            raise AssertionError(f"tshark -r ended with {status}:\n{reader.tail()}")
        return [line.split("\t") for line in reader.printed.splitlines()]

    async def problems(self, *ports: int) -> list[list[str]]:
        """Return what is wrong with the packets that left from some ports, one text for each."""
        ours = " || ".join(f"{kind}.srcport == {port}" for port in ports for kind in ("udp", "tcp"))
        fields = ("frame.number", "_ws.col.Info", "_ws.expert.message")
        return await self.read(f"{PROBLEMS} && ({ours})", *fields)
