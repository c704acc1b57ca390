# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The control socket: how ``sipsess calls`` and its like ask a running server.

A Unix socket that only its user may open (0600). A request is one line of JSON, ``{"command":
"calls"}``; so is its answer, ``{"result": ...}`` or ``{"error": "one sentence"}``. Any number of
requests may follow each other on a connection.

Where it is
    ``$XDG_RUNTIME_DIR/sipsess.sock``; without that variable ``/tmp/sipsess-UID/control.sock``, in
    a directory that is refused unless it is the user's own and closed to all others. A socket that
    nobody answers on was left behind, and is replaced. One that a server answers on is left alone:
    the second server of a user gets a name of its own beside it, with its process number
    (``sipsess-1234.sock``), and says so in its log. A path that was given with ``--control`` is
    taken as it is: a live server there stops the start.

    ``sipsess calls`` asks at the usual path; when nobody answers there and exactly one other server
    of the user is found beside it, it asks that one.
"""

from __future__ import annotations

import glob
import json
import os
import socket
import stat
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from sipsess.errors import LocalError
from sipsess.flow import format_address
from sipsess.manager import DialogManager
from sipsess.registrar import Source
from sipsess.registration import RegistrationClient
from sipsess.sdphandlers.audio import count_packets
from sipsess.session import Session
from sipsess.transport.address import normal_host

#: The longest request, in bytes.
MAX_REQUEST = 16_384
#: Connections at a time.
MAX_CONNECTIONS = 16
#: Seconds after which a connection that asks nothing is closed.
IDLE_LIMIT = 60.0
#: Seconds that a client waits for an answer.
ASK_LIMIT = 5.0
#: Calls that one answer lists.
MAX_LISTED_CALLS = 10_000
#: Bindings that one answer lists.
MAX_LISTED_BINDINGS = 10_000

#: Answers one command, from what was asked.
Command: TypeAlias = Callable[[DialogManager, Mapping[str, Any]], Any]

_log = Logger()


class ControlError(LocalError):
    """The control socket cannot be opened or asked; the text says what to do."""


# -- where it is


def default_path(
    environment: Mapping[str, str] | None = None, uid: int | None = None, temporary: str = "/tmp"
) -> str:
    """Return the usual path of the user's control socket; nothing is made or checked."""
    environment = os.environ if environment is None else environment
    runtime = environment.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime):
        return os.path.join(runtime, "sipsess.sock")
    uid = os.getuid() if uid is None else uid
    return os.path.join(temporary, f"sipsess-{uid}", "control.sock")


def check_directory(directory: str) -> None:
    """
    Make the directory of the socket, and check that no one else can put anything there.

    :raises ControlError: when it is another user's, open to others, or no directory.
    """
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        pass  # it is checked below, like a new one
    except OSError as error:
        raise ControlError(f"cannot make {directory}: {error.strerror}; see --control") from error
    found = os.lstat(directory)
    is_safe = stat.S_ISDIR(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
    if not is_safe or found.st_uid != os.getuid():
        raise ControlError(
            f"{directory} is not a directory of yours with mode 0700; remove it, or see --control"
        )


def is_alive(path: str) -> bool:
    """Tell whether a process listens on the socket at ``path``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except TimeoutError:
            return True
        except OSError:
            return False
        return True


# -- the server's side


class ControlService(Service):
    """
    Listens on the control socket.

    :param reactor: provides ``IReactorUNIX``.
    :param manager: that is asked.
    :param path: where; the usual place when ``None``, and then a failure is only a warning.
    :param commands: what can be asked besides :data:`COMMANDS`.
    """

    def __init__(
        self,
        reactor: Any,
        manager: DialogManager,
        path: str | None = None,
        commands: Mapping[str, Command] | None = None,
    ) -> None:
        self._reactor = reactor
        self._is_chosen = path is not None
        self._port: IListeningPort | None = None
        self._factory = ControlFactory(manager, {**COMMANDS, **(commands or {})})
        #: Where it listens, or will.
        self.path = os.path.abspath(path or default_path())

    def startService(self) -> None:
        """
        Listen.

        :raises ControlError: when the path that was asked for cannot be used.
        """
        Service.startService(self)
        try:
            self._listen()
        except ControlError as error:
            if self._is_chosen:
                raise
            _log.warn("no control socket: {error}", error=error)

    def _listen(self) -> None:
        if not self._is_chosen and os.path.basename(self.path) == "control.sock":
            check_directory(os.path.dirname(self.path))
        if os.path.lexists(self.path):
            self._make_room()
        try:
            self._port = self._reactor.listenUNIX(self.path, self._factory, mode=0o600)
        except (CannotListenError, OSError) as error:
            cause = getattr(error, "socketError", error)
            text = getattr(cause, "strerror", None) or cause
            raise ControlError(f"cannot listen on {self.path}: {text}; see --control") from error

    def _make_room(self) -> None:
        """Remove a socket that was left behind; keep away from one that is in use."""
        if not stat.S_ISSOCK(os.lstat(self.path).st_mode):
            raise ControlError(f"{self.path} is no socket; choose another path with --control")
        if not is_alive(self.path):
            os.unlink(self.path)
            return
        if self._is_chosen:
            raise ControlError(
                f"another server answers on {self.path}; choose another path with --control"
            )
        stem, extension = os.path.splitext(self.path)
        taken, self.path = self.path, f"{stem}-{os.getpid()}{extension}"
        if os.path.lexists(self.path):
            os.unlink(self.path)
        _log.info(
            "{taken} is another server's control socket; this one's is {path}",
            taken=taken,
            path=self.path,
        )

    def stopService(self) -> Deferred[Any]:
        """Close the socket and all connections."""
        Service.stopService(self)
        port, self._port = self._port, None
        self._factory.close()
        return maybeDeferred(lambda: None if port is None else port.stopListening())


class ControlFactory(Factory):
    """Makes the connections."""

    noisy = False

    def __init__(
        self, manager: DialogManager, commands: Mapping[str, Command] | None = None
    ) -> None:
        self._manager = manager
        self.commands = COMMANDS if commands is None else commands
        self.connections: set[ControlProtocol] = set()

    def buildProtocol(self, addr: object) -> ControlProtocol | None:
        """Return the protocol of one more connection, unless there are too many."""
        if len(self.connections) >= MAX_CONNECTIONS:
            return None
        return ControlProtocol(self, self._manager)

    def close(self) -> None:
        """Close all connections."""
        for connection in tuple(self.connections):
            connection.close()


class ControlProtocol(LineOnlyReceiver, TimeoutMixin):
    """One connection."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_REQUEST

    def __init__(self, factory: ControlFactory, manager: DialogManager) -> None:
        self._factory: ControlFactory = factory
        self._manager = manager
        self._answers: Deferred[Any] = succeed(None)

    def connectionMade(self) -> None:
        """Begin."""
        self._factory.connections.add(self)
        TimeoutMixin.setTimeout(self, IDLE_LIMIT)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End."""
        self._factory.connections.discard(self)
        TimeoutMixin.setTimeout(self, None)

    def lineReceived(self, line: bytes) -> None:
        """Answer one request."""
        TimeoutMixin.resetTimeout(self)
        found = answer(self._manager, line, self._factory.commands)
        # What takes time keeps its place among the answers.
        self._answers.addCallback(lambda _: found).addCallback(self._send)

    def _send(self, found: dict[str, Any]) -> None:
        LineOnlyReceiver.sendLine(self, json.dumps(found).encode("ascii"))

    def close(self) -> None:
        """Close the connection when what was written has left."""
        transport: Any = self.transport
        transport.loseConnection()


def answer(
    manager: DialogManager, line: bytes, commands: Mapping[str, Command] | None = None
) -> dict[str, Any] | Deferred[dict[str, Any]]:
    """
    Return the answer to one request; never raises, or fails, because of what is in it.

    :param line: JSON.
    :param commands: what can be asked; :data:`COMMANDS` when ``None``.
    :return: a Deferred when the command takes time.
    """
    commands = COMMANDS if commands is None else commands
    try:
        request = json.loads(line)
    except ValueError:
        return {"error": "a request is one line of JSON"}
    command = request.get("command") if isinstance(request, dict) else None
    function = commands.get(command) if isinstance(command, str) else None
    if function is None:
        return {"error": f"there is no command {command!r}; there are: {', '.join(commands)}"}
    try:
        found = function(manager, request)
    except Exception:
        return _failed(Failure(), command)
    if isinstance(found, Deferred):
        return found.addCallbacks(
            lambda result: {"result": result}, _failed, errbackArgs=(command,)
        )
    return {"result": found}


def _failed(failure: Failure, command: object) -> dict[str, str]:
    """Return the answer to a command that failed; a bug is logged."""
    if failure.check(ControlError):
        return {"error": str(failure.value)}
    _log.failure("the control command {command} failed", failure, command=command)
    return {"error": "the server failed to answer; its log says why"}


def _calls(manager: DialogManager, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    with manager.core.turn:
        now = manager.core.turn.now
    sessions = list(manager.sessions)[:MAX_LISTED_CALLS]
    return [describe_call(session, now) for session in sessions]


def describe_call(session: Session, now: float) -> dict[str, Any]:
    """Return what ``sipsess calls`` shows of a call."""
    application = session.application
    return {
        "call_id": session.call_id,
        "title": session.record.title,
        "state": session.usage.state.lower(),
        "seconds": round(max(0.0, now - session.record.began), 1),
        "application": None if application is None else application.name,
        "remote": f"{session.flow.remote[0]} {session.flow.remote[1]}",
    }


#: Where to look for what never became a call.
_ELSEWHERE = "what is refused before a call begins, such as by a gate, is in `sipsess counters`"


def _explain(manager: DialogManager, request: Mapping[str, Any]) -> list[str]:
    call_id = request.get("call_id")
    if call_id is None:
        last = manager.records.last()
        if last is None:
            raise ControlError(f"there was no call yet; {_ELSEWHERE}")
        return list(last.lines())
    if not isinstance(call_id, str):
        raise ControlError("a call_id is a string")
    records = manager.records.find(call_id)
    if not records:
        raise ControlError(f"there is no record of a call with the Call-ID {call_id}; {_ELSEWHERE}")
    return [line for record in records for line in record.lines()]


def _counters(manager: DialogManager, request: Mapping[str, Any]) -> dict[str, Any]:
    counters = {"sessions": len(manager.sessions), **manager.core.counters.as_dict()}
    core = manager.core.counters
    # Those of a call are counted when it ends; what the live ones have is added here.
    live = [count_packets(session) for session in manager.sessions]
    counters["rtp_received"] = core.rtp_received + sum(received for received, _ in live)
    counters["rtp_sent"] = core.rtp_sent + sum(sent for _, sent in live)
    return counters


def _status(manager: DialogManager, request: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
    return Deferred.fromCoroutine(_describe_status(manager))


async def _describe_status(manager: DialogManager) -> dict[str, Any]:
    registrar = manager.registrar
    bindings = None
    if registrar is not None:
        found = await registrar.list_bindings(MAX_LISTED_BINDINGS)
        bindings = [
            {
                "user": binding.user,
                "uri": binding.uri,
                "seconds": registrar.seconds_left(binding),
                "q": binding.q / 1000,
                "path": list(binding.path),
                "source": None if binding.source is None else _format_source(binding.source),
                "user_agent": binding.user_agent,
                "endpoint": binding.endpoint,
            }
            for binding in found
        ]
    with manager.core.turn:
        now = manager.core.turn.now
    clients = [] if manager.registrations is None else manager.registrations.clients
    return {
        "registrations": [describe_registration(client, now) for client in clients],
        "bindings": bindings,
    }


def _format_source(source: Source) -> str:
    return f"{source.transport} {format_address(source.remote)}"


def describe_registration(client: RegistrationClient, now: float) -> dict[str, Any]:
    """Return what ``sipsess status`` shows of a registration of ours."""
    return {
        "aor": client.account.aor,
        "registrar": client.account.registrar_uri,
        "state": client.state.lower(),
        "seconds": client.seconds_left(now),
        "next": client.next_in(now),
        "failures": client.failures,
        "error": client.error,
    }


def _bans(manager: DialogManager, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    perimeter = manager.core.perimeter
    if perimeter is None:
        raise ControlError("this server bans nobody")
    host = request.get("lift")
    if host is not None:
        try:
            is_lifted = perimeter.lift(normal_host(str(host)))
        except ValueError:
            raise ControlError(f"{host!r} is no IP address") from None
        if not is_lifted:
            raise ControlError(f"{host} is not banned")
    with manager.core.turn:
        now = manager.core.turn.now
    return [
        {"address": ban.address, "seconds": round(ban.until - now, 1), "count": ban.count}
        for ban in perimeter.bans.active(now)
    ]


#: What can be asked.
COMMANDS: dict[str, Command] = {
    "calls": _calls,
    "explain": _explain,
    "counters": _counters,
    "status": _status,
    "bans": _bans,
}


# -- the client's side


def find_server(path: str | None = None) -> str:
    """
    Return the path of a live server's socket.

    :param path: what was asked for; the usual place when ``None``.
    :raises ControlError: when nobody answers, or more than one that could be meant.
    """
    if path is not None:
        if not is_alive(path):
            raise ControlError(f"no server answers on {path}")
        return path
    usual = default_path()
    if is_alive(usual):
        return usual
    stem, extension = os.path.splitext(usual)
    others = [other for other in sorted(glob.glob(f"{glob.escape(stem)}-*{extension}"))]
    others = [other for other in others if is_alive(other)]
    if len(others) == 1:
        return others[0]
    if others:
        raise ControlError(f"several servers run; choose with --control: {', '.join(others)}")
    raise ControlError(
        f"no server answers on {usual}; is it running, and yours? else see --control"
    )


def ask(command: str, path: str | None = None, **arguments: str) -> Any:
    """
    Ask a running server.

    :param path: see :func:`find_server`.
    :return: the result, as JSON says it.
    :raises ControlError: with what the server said, or why it cannot be asked.
    """
    path = find_server(path)
    request = json.dumps({"command": command, **arguments}).encode("ascii") + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ASK_LIMIT)
            connection.connect(path)
            connection.sendall(request)
            with connection.makefile("rb") as stream:
                reply = json.loads(stream.readline())
    except (OSError, ValueError) as error:
        raise ControlError(f"the server on {path} does not answer: {error}") from error
    if "error" in reply:
        raise ControlError(reply["error"])
    return reply["result"]
