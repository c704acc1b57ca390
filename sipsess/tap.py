# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
``twistd sipsess``: the options, and the service that they describe.

Importing this module never imports the reactor: ``twistd --reactor`` chooses it later. A mistake of
the one who starts the server is one line and an exit status that is not 0, never a traceback.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, NoReturn

from twisted.application.service import MultiService, Service
from twisted.logger import Logger
from twisted.python import usage

from sipsess import __version__
from sipsess.collector import Collector
from sipsess.control import ControlService
from sipsess.datadir import data_directory
from sipsess.errors import LocalError
from sipsess.interfaces import IBindingStore
from sipsess.registrar import MemoryStore, RegistrarOptions
from sipsess.registry import PluginDirectoryError, Plugins, find_plugins
from sipsess.server import DEFAULT_LISTEN, DEFAULT_RTP_PORTS, SIPServer
from sipsess.transport.address import normal_host
from sipsess.transport.filelimit import SPARE_FILES, raise_file_limit
from sipsess.transport.listen import ListenError, parse_listen

_log = Logger()

#: The file of bindings in the data directory.
BINDINGS = "bindings.sqlite"

EXAMPLES = r"""Examples:
  twistd -n sipsess
      answer each call on UDP port 5060 with the application "hello"
  twistd -n sipsess --listen udp:5070 --application echo
      another port, another application; sip:hello@HOST:5070 still calls "hello"
  twistd -n --pidfile= sipsess --listen udp:5080
      a second server in the same directory; twistd would take its pidfile for the first one's
  twistd -n sipsess --listen udp:5060:interface=127.0.0.1 --listen 'udp:5060:interface=\:\:1'
      this machine only, IPv4 and IPv6
  twistd -n sipsess --listen udp:5060 --listen tcp:5060 --listen tls:5061:cert=chain.pem:key=key.pem
      over UDP, TCP and TLS
  twistd -n sipsess --advertise 203.0.113.5 --rtp-ports 20000-20999
      behind a NAT that forwards UDP 5060 and 20000-20999
  twistd -n sipsess --plugin-dir ./plugins --require-plugin doorman
      with your own plugins, and never without "doorman"
  twistd -n sipsess --registrar --plugin-dir ./plugins --application registered
      phones register, if a gate of yours says who they are; callers are sent to them

While it runs:  sipsess status | sipsess calls | sipsess explain CALL-ID | sipsess counters
"""


class Options(usage.Options):
    """The options of ``twistd sipsess``."""

    longdesc = (
        "A SIP server: answers calls with applications, and runs plugins around each message."
    )

    optParameters = [
        ["application", "a", "hello", "What calls get whose user names no application."],
        ["bindings", None, None, "Where --registrar keeps them: a FILE, or memory."],
    ]
    optFlags = [
        ["registrar", None, "Let phones register, as the gates and their endpoints allow."],
        ["register-anybody", None, "Let those register whom no gate has identified; not outdoors."],
    ]

    compData = usage.Completions(
        optActions={
            "plugin-dir": usage.CompleteDirs(),
            "bindings": usage.CompleteFiles(),
            "control": usage.CompleteFiles(),
        }
    )

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["listen"] = []
        self["plugin-dir"] = []
        self["require-plugin"] = []
        self["rtp-ports"] = DEFAULT_RTP_PORTS
        self["advertise"] = None
        self["control"] = None

    def opt_listen(self, where: str) -> None:
        """Where to listen, udp|tcp|tls:PORT[:interface=ADDRESS]; repeatable. [default: udp:5060]"""
        try:
            parse_listen(where)
        except ListenError as error:
            raise usage.UsageError(str(error)) from error
        self["listen"].append(where)

    def opt_rtp_ports(self, ports: str) -> None:
        """LOW-HIGH, the ports for RTP, of which the even ones are used. [default: 10000-29999]"""
        low, separator, high = ports.partition("-")
        numbers = [int(part) for part in (low, high) if part.isascii() and part.isdecimal()]
        is_range = len(numbers) == 2 and 0 < numbers[0] <= numbers[-1] < 65536
        if not separator or not is_range or numbers[0] + numbers[0] % 2 > numbers[1]:
            raise usage.UsageError(
                f"--rtp-ports {ports}: write LOW-HIGH with at least one even port between 1 and "
                f"65535, such as 10000-29999"
            )
        self["rtp-ports"] = (numbers[0], numbers[1])

    def opt_advertise(self, address: str) -> None:
        """The address that peers shall see: ADDRESS, or LISTENER=ADDRESS (repeatable)."""
        listener, separator, host = address.rpartition("=")
        try:
            if separator:
                listener = parse_listen(listener).name
            host = normal_host(host)
        except ListenError as error:
            raise usage.UsageError(str(error)) from error
        except ValueError:
            raise usage.UsageError(
                f"--advertise {address}: {host!r} is no IP address; write 203.0.113.5, or "
                f"udp:5060=203.0.113.5"
            ) from None
        if self["advertise"] is None:
            self["advertise"] = {}
        self["advertise"][listener] = host

    def opt_plugin_dir(self, directory: str) -> None:
        """A directory with plugin files of yours; test_* and _* are not loaded; repeatable."""
        self["plugin-dir"].append(directory)

    def opt_require_plugin(self, name: str) -> None:
        """Do not start without the plugin of this name; repeatable."""
        self["require-plugin"].append(name)

    def opt_control(self, path: str) -> None:
        """The socket that "sipsess calls" asks. [default: in XDG_RUNTIME_DIR or /tmp]"""
        self["control"] = path

    def opt_version(self) -> NoReturn:
        """Print the version, and do nothing else."""
        sys.stdout.write(f"sipsess {__version__}\n")
        sys.exit(0)

    def getUsage(self, width: int | None = None) -> str:
        """Return the text of ``--help``."""
        text: str = super().getUsage(width)
        return f"{text.rstrip()}\n\n{EXAMPLES}"

    def parseOptions(self, options: Any = None) -> None:
        """
        Read the command line.

        :raises SystemExit: with one line that says what is wrong; ``twistd`` would print its whole
            help before it.
        """
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as error:
            raise SystemExit(f"sipsess: {error} (see twistd sipsess --help)") from error

    def parseArgs(self, *words: str) -> None:
        """
        Refuse words that are no options.

        :raises UsageError: when there are any.
        """
        if words:
            raise usage.UsageError(f"{words[0]!r} is no option")


def load_plugins(options: Options) -> Plugins:
    """
    Find the plugins.

    :raises SystemExit: with a line for each that is broken, duplicate or missing.
    """
    try:
        plugins = find_plugins(options["plugin-dir"])
    except PluginDirectoryError as error:
        raise SystemExit(f"sipsess: {error}; see --plugin-dir") from error
    if plugins.problems:
        lines = "\n".join(f"sipsess: {problem}" for problem in plugins.problems)
        raise SystemExit(lines)
    for name in options["require-plugin"]:
        if name not in plugins.names:
            known = ", ".join(sorted(plugins.names)) or "none"
            raise SystemExit(
                f"sipsess: the plugin {name!r} was not found; there are: {known} "
                f"(see --require-plugin and --plugin-dir)"
            )
    return plugins


def makeService(options: Options, reactor: Any = None) -> ServerService:
    """
    Return the service that the options describe.

    :param reactor: the one that ``twistd`` installed when ``None``.
    :raises SystemExit: with one line that says what is wrong.
    """
    plugins = load_plugins(options)
    if reactor is None:
        from twisted.internet import reactor as installed  # noqa: TID251  twistd chose it

        reactor = installed
    advertise = options["advertise"]
    if advertise is not None and "" in advertise:
        if len(advertise) > 1:
            raise SystemExit("sipsess: --advertise ADDRESS and LISTENER=ADDRESS exclude each other")
        advertise = advertise[""]
    try:
        server = SIPServer(
            reactor,
            options["listen"] or DEFAULT_LISTEN,
            supplements=plugins.supplements,
            handlers=plugins.handlers,
            applications=plugins.applications,
            application=options["application"],
            gates=plugins.gates or None,
            hooks=plugins.hooks,
            rtp_ports=options["rtp-ports"],
            advertise=advertise,
            seconds=time.monotonic,
        )
        add_registrar(server, options)
        control = ControlService(reactor, server.manager, options["control"])
    except LocalError as error:
        raise SystemExit(f"sipsess: {error}") from error
    return ServerService(reactor, server, control, plugins)


def add_registrar(server: SIPServer, options: Options) -> None:
    """
    Let phones register if the options say so.

    :raises LocalError: when there is no directory for the file of bindings.
    """
    if not options["registrar"]:
        if options["bindings"] or options["register-anybody"]:
            raise LocalError("--bindings and --register-anybody need --registrar")
        return
    path = options["bindings"]
    store: IBindingStore = MemoryStore()
    if path != "memory":
        # Here, as only this way of starting needs a database.
        from sipsess.registrar.sqlite import SQLiteStore

        store = SQLiteStore(path or os.path.join(data_directory(), BINDINGS), server.reactor)
    admits_anybody = bool(options["register-anybody"])
    server.users.add_registrar(RegistrarOptions(store=store, admits_anybody=admits_anybody))


class ServerService(MultiService):
    """
    What ``twistd`` starts and stops: the server, its control socket, and the signals.

    :param reactor: that the program runs on.
    :param plugins: what was found, to be told at the start.
    """

    def __init__(
        self, reactor: Any, server: SIPServer, control: ControlService, plugins: Plugins
    ) -> None:
        MultiService.__init__(self)
        self.server = server
        self.plugins = plugins
        self._reactor = reactor
        self._is_announced = False
        Service.setServiceParent(server, self)
        Service.setServiceParent(control, self)
        collector = Collector(reactor, lambda: len(server.manager.sessions))
        Service.setServiceParent(collector, self)

    def privilegedStartService(self) -> None:
        """
        Open the ports.

        :raises LocalError: after one line in the log; the interpreter ends without a traceback.
        """
        self._announce()
        self._quietly(super().privilegedStartService)

    def startService(self) -> None:
        """
        Start.

        :raises LocalError: after one line in the log; the interpreter ends without a traceback.
        """
        self._announce()
        self._quietly(super().startService)
        signals = Signals(self._reactor, lambda: len(self.server.manager.sessions))
        self._reactor.callWhenRunning(signals.install)

    def _announce(self) -> None:
        if self._is_announced:
            return
        self._is_announced = True
        plugins = self.plugins
        counts = [
            _count(len(plugins.supplements), "supplement"),
            _count(len(plugins.handlers), "SDP handler"),
            _count(len(plugins.applications), "application"),
        ]
        _log.info(
            "sipsess {version}: {counts} (see `sipsess plugins`)",
            version=__version__,
            counts=", ".join(counts),
        )
        for warning in plugins.warnings:
            _log.warn("{problem}", problem=warning)
        self._raise_file_limit()

    def _raise_file_limit(self) -> None:
        """Let as many files be open as there are RTP ports; say so when that cannot be."""
        ports = self.server.media_ports.capacity
        has_streams = any(spec.transport != "UDP" for spec in self.server.specs)
        connections = self.server.connections.max_connections if has_streams else 0
        limit = raise_file_limit(ports + connections + SPARE_FILES)
        if limit is not None:
            _log.warn(
                "only {limit} files can be open, too few for {ports} RTP ports: raise the hard "
                "limit (ulimit -Hn, or LimitNOFILE= in systemd), or narrow --rtp-ports",
                limit=limit,
                ports=ports,
            )

    def _quietly(self, start: Callable[[], None]) -> None:
        try:
            start()
        except LocalError as error:
            _log.critical("{error}", error=error)
            sys.excepthook = _without_traceback
            raise


def _without_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Stand in for ``sys.excepthook``: what is a :class:`LocalError` was told already."""
    if not isinstance(error, LocalError):
        sys.__excepthook__(kind, error, trace)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


class Signals:
    """
    Ctrl-C and TERM: the first ends the calls and exits 0, the second exits at once with 1.

    Twisted's own handlers would let the process die by the signal, after an orderly end too.

    :param reactor: to stop.
    :param count_calls: how many calls there are, for the log.
    :param leave: ends the process at once.
    """

    def __init__(
        self,
        reactor: Any,
        count_calls: Callable[[], int],
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self._reactor = reactor
        self._count_calls = count_calls
        self._leave = leave
        self._is_stopping = False

    def install(self) -> None:
        """Take the two signals over; Twisted has just set its own handlers."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle)

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """Take one signal."""
        if self._is_stopping:
            sys.stdout.flush()
            self._leave(1)
            return
        self._is_stopping = True
        self._reactor.callFromThread(self._stop, signal.Signals(number).name)

    def _stop(self, name: str) -> None:
        calls = _count(self._count_calls(), "call")
        _log.info("{name}: ending {calls}; once more to leave at once", name=name, calls=calls)
        self._reactor.stop()
