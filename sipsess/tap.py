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
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import ILogObserver, Logger, LogLevel, globalLogPublisher
from twisted.python import usage
from twisted.python.components import Componentized

from sipsess import __version__
from sipsess.collector import Collector
from sipsess.config import ConfigError, Loaded, load, no_file
from sipsess.config.deployment import Deployment
from sipsess.config.overrides import override
from sipsess.config.plan import find_configured_plugins, make_plan
from sipsess.config.registering import add_registering
from sipsess.config.values import read_ports
from sipsess.control import Command, ControlError, ControlService
from sipsess.errors import LocalError
from sipsess.flow import parse_networks
from sipsess.keepalive import INTERVAL, check_keep_alive
from sipsess.server import SIPServer
from sipsess.transport.address import normal_host
from sipsess.transport.filelimit import SPARE_FILES, raise_file_limit
from sipsess.transport.listen import ListenError, parse_listen

_log = Logger()

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
  twistd -n sipsess --advertise 203.0.113.5 --local-network 10.0.0.0/8
      the same, with phones on this side of the NAT
  twistd -n sipsess --plugin-dir ./plugins --require-plugin doorman
      with your own plugins, and never without "doorman"
  twistd -n sipsess --registrar --plugin-dir ./plugins --application registered
      phones register, if a gate of yours says who they are; callers are sent to them
  twistd -n sipsess --config sipsess.toml
      as the file says (see sipsess check, and docs/how-to/configure.rst)

While it runs:  sipsess status | sipsess calls | sipsess explain CALL-ID | sipsess counters
"""


class Options(usage.Options):
    """The options of ``twistd sipsess``."""

    longdesc = (
        "A SIP server: answers calls with applications, and runs plugins around each message."
    )

    optParameters = [
        ["application", "a", None, "What calls get whose user names no application."],
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
            "config": usage.CompleteFiles("*.toml"),
            "control": usage.CompleteFiles(),
        }
    )

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["listen"] = []
        self["plugin-dir"] = []
        self["require-plugin"] = []
        self["rtp-ports"] = None
        self["advertise"] = None
        self["config"] = None
        self["local-network"] = []
        self["keep-alive"] = None
        self["control"] = None

    def opt_config(self, file: str) -> None:
        """A configuration file; the other options go before what it says."""
        # twistd changes the directory when it goes into the background.
        self["config"] = os.path.abspath(file)

    def opt_listen(self, where: str) -> None:
        """Where to listen, udp|tcp|tls|ws|wss:PORT[:interface=ADDRESS]. [default: udp:5060]"""
        try:
            parse_listen(where)
        except ListenError as error:
            raise usage.UsageError(str(error)) from error
        self["listen"].append(where)

    def opt_rtp_ports(self, ports: str) -> None:
        """LOW-HIGH, the ports for RTP, of which the even ones are used. [default: 10000-29999]"""
        try:
            self["rtp-ports"] = read_ports(ports)
        except ValueError:
            raise usage.UsageError(
                f"--rtp-ports {ports}: write LOW-HIGH with at least one even port between 1 and "
                f"65535, such as 10000-29999"
            ) from None

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

    def opt_local_network(self, network: str) -> None:
        """A network that sees our own address in spite of --advertise; repeatable."""
        try:
            parse_networks([network])
        except LocalError as error:
            raise usage.UsageError(f"--local-network {network}: {error}") from error
        self["local-network"].append(network)

    def opt_keep_alive(self, text: str) -> None:
        """What keeps a NAT open: crlf, options or off; crlf:20 is each 20 s. [default: crlf]"""
        kind, separator, seconds = text.partition(":")
        try:
            interval = float(seconds) if separator else INTERVAL
            check_keep_alive(kind, interval)
        except (LocalError, ValueError) as error:
            raise usage.UsageError(f"--keep-alive {text}: {error}") from error
        self["keep-alive"] = (kind, interval)

    def opt_plugin_dir(self, directory: str) -> None:
        """A directory with plugin files of yours; test_* and _* are not loaded; repeatable."""
        self["plugin-dir"].append(Path(directory).absolute())

    def opt_require_plugin(self, name: str) -> None:
        """Do not start without the plugin of this name; repeatable."""
        self["require-plugin"].append(name)

    def opt_control(self, path: str) -> None:
        """The socket that "sipsess calls" asks. [default: in XDG_RUNTIME_DIR or /tmp]"""
        self["control"] = Path(path).absolute()

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


def load_config(options: Options) -> Loaded:
    """Return what the file says, and over it the command line; mistakes are in what is returned."""
    loaded = no_file() if options["config"] is None else load(options["config"])
    return override(loaded, options, options.parent or {})


def makeService(options: Options, reactor: Any = None) -> ServerService:
    """
    Return the service that the file and the options describe.

    :param reactor: the one that ``twistd`` installed when ``None``.
    :raises SystemExit: with a line for each mistake.
    """
    loaded = load_config(options)
    plugins, mistakes = find_configured_plugins(loaded)
    advertise = options["advertise"]
    if advertise is None:
        advertise = loaded.config.advertise
    elif "" in advertise:
        if len(advertise) > 1:
            raise SystemExit("sipsess: --advertise ADDRESS and LISTENER=ADDRESS exclude each other")
        advertise = advertise[""]
    try:
        plan = make_plan(loaded, plugins, mistakes)
        if reactor is None:
            from twisted.internet import reactor as installed  # noqa: TID251  twistd chose it

            reactor = installed
        kept = (plan.config.keep_alive, plan.config.keep_alive_interval)
        kind, interval = options["keep-alive"] or kept
        server = SIPServer(
            reactor,
            plan.config.listeners,
            supplements=plugins.supplements,
            handlers=plugins.handlers,
            codecs=plugins.codecs,
            gates=(),
            hooks=plugins.hooks,
            rtp_ports=(plan.config.rtp.ports.low, plan.config.rtp.ports.high),
            advertise=advertise,
            defence=plan.config.defence,
            local_networks=options["local-network"] or plan.config.local_networks,
            keep_alive=kind,
            keep_alive_interval=interval,
            seconds=time.monotonic,
            engine=plan.engine,
        )
        add_registering(server, plan.config, plan.accounts)
        return ServerService(reactor, server, Deployment(server, plan), options)
    except (LocalError, OSError) as error:
        raise SystemExit(_complain(error)) from error


def _complain(error: Exception) -> str:
    """Return what is wrong, a line each."""
    return "\n".join(f"sipsess: {line}" for line in str(error).split("\n"))


class ServerService(MultiService):
    """
    What ``twistd`` starts and stops: the server, its control socket, and the signals.

    :param reactor: that the program runs on.
    :param deployment: the configuration that is in force.
    :param options: of the command line, which a reload heeds too.
    :raises OSError: when the log cannot be opened.
    """

    def __init__(
        self, reactor: Any, server: SIPServer, deployment: Deployment, options: Options
    ) -> None:
        MultiService.__init__(self)
        self.server = server
        self.deployment = deployment
        self.plugins = deployment.plan.plugins
        self._reactor = reactor
        self._options = options
        self._is_announced = False
        path = deployment.plan.config.control
        commands: dict[str, Command] = {
            "reload": lambda manager, request: self._reload_for_control(),
            "listeners": lambda manager, request: describe_listeners(server),
        }
        control = ControlService(
            reactor, server.manager, None if path is None else str(path), commands
        )
        Service.setServiceParent(server, self)
        Service.setServiceParent(control, self)
        collector = Collector(reactor, lambda: len(server.manager.sessions))
        Service.setServiceParent(collector, self)

    def setServiceParent(self, parent: Any) -> None:
        """Become a part of the application, whose log is ours when the file says so."""
        if self.deployment.log is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.deployment.log)
        MultiService.setServiceParent(self, parent)

    def stopService(self) -> Deferred[Any]:
        """Stop all parts."""
        if self.deployment.log is not None:
            globalLogPublisher.removeObserver(self.deployment.log)
        stopping: Deferred[Any] = maybeDeferred(super().stopService)
        return stopping.addCallback(lambda result: self.deployment.records.close())

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
        signals = Signals(
            self._reactor,
            lambda: len(self.server.manager.sessions),
            reload=None if self._options["config"] is None else self._hang_up,
        )
        self._reactor.callWhenRunning(signals.install)

    # -- reading the file again ------------------------------------------------------------

    def reload(self) -> list[str]:
        """
        Read the configuration file again, and let it hold for the calls to come.

        :return: what has changed, and what takes a restart.
        :raises ConfigError: with all that is wrong; nothing has changed then.
        :raises ControlError: when there is no file.
        """
        file = self._options["config"]
        if file is None:
            raise ControlError("there is nothing to read again: the server has no --config")
        try:
            plan = make_plan(load_config(self._options), self.plugins)
            done = self.deployment.reload(plan)
        except ConfigError as error:
            _log.error("{file} changes nothing:\n{error}", file=file, error=error)
            raise
        for line in done:
            level = LogLevel.warn if line.startswith("not changed") else LogLevel.info
            _log.emit(level, "{file} was read again: {line}", file=file, line=line)
        return done

    def _reload_for_control(self) -> list[str]:
        """Read the file again because somebody asks, who is told what is wrong."""
        try:
            return self.reload()
        except ConfigError as error:
            raise ControlError(str(error)) from error

    def _hang_up(self) -> None:
        """Read the file again because of a signal; who sent it looks into the log."""
        try:
            self.reload()
        except ConfigError:
            pass  # it is in the log

    def _announce(self) -> None:
        if self._is_announced:
            return
        self._is_announced = True
        if self.deployment.log is not None and not self.deployment.log.is_in_use:
            # "twist" asks no application for its log: ours is written besides its own.
            globalLogPublisher.addObserver(self.deployment.log)
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


def describe_listeners(server: SIPServer) -> list[dict[str, Any]]:
    """Return what ``sipsess doctor`` wants to know of each open port."""
    return [
        {
            "transport": listener.kind,
            "host": listener.address[0],
            "port": listener.address[1],
        }
        for listener in server.listeners
    ]


class Signals:
    """
    Ctrl-C and TERM: the first ends the calls and exits 0, the second exits at once with 1; and HUP.

    Twisted's own handlers would let the process die by the signal, after an orderly end too. HUP
    reads the configuration file again; without one it is what it is, the end of the process.

    :param reactor: to stop.
    :param count_calls: how many calls there are, for the log.
    :param leave: ends the process at once.
    :param reload: reads the file again, if there is one.
    """

    def __init__(
        self,
        reactor: Any,
        count_calls: Callable[[], int],
        leave: Callable[[int], object] = os._exit,
        reload: Callable[[], object] | None = None,
    ) -> None:
        self._reactor = reactor
        self._count_calls = count_calls
        self._leave = leave
        self._reload = reload
        self._is_stopping = False

    def install(self) -> None:
        """Take the signals over; Twisted has just set its own handlers."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle)
        if self._reload is not None:
            signal.signal(signal.SIGHUP, self.hang_up)

    def hang_up(self, number: int, frame: FrameType | None = None) -> None:
        """Read the configuration file again."""
        if self._reload is not None:
            self._reactor.callFromThread(self._reload)

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
