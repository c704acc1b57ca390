# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What a configuration file can say, and what holds when it says nothing.

Each class is a table, each field a key of it; the comment above a field is what the page
``docs/configuration.rst`` says of the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

from sipsess.defence import DefenceSettings
from sipsess.endpoint import Endpoint
from sipsess.endpoint.digest_gate import LIFETIME
from sipsess.keepalive import INTERVAL
from sipsess.manager import DIAL_LIMIT, MAX_SESSIONS
from sipsess.registrar import Limits
from sipsess.registration.account import DEFAULT_EXPIRES
from sipsess.secret import Secret
from sipsess.server import DEFAULT_LISTEN, DEFAULT_RTP_PORTS, DRAIN_LIMIT
from sipsess.transaction.timing import MAX_TRANSACTION_BYTES, MAX_TRANSACTIONS
from sipsess.transport.listen import ListenSpec, parse_listen

from .values import Count, PortRange, Seconds, Size, SocketAddress

#: The identifiers that are there without plugins, in the order in which they are asked.
IDENTIFIERS = ("network", "user", "header", "digest")

#: What calls get without a file, and without routes in one.
DEFAULT_APPLICATION = "hello"

Level = Literal["debug", "info", "warn", "error", "critical"]


@frozen(kw_only=True)
class RouteTable:
    """One way from a Request-URI's user to an application."""

    #: The user that calls are for, exactly. A route has a ``user`` or a ``pattern``.
    user: str | None = None
    #: A regular expression that the whole user must match, such as ``"1(?P<room>[0-9]{3})"``. What
    #: named groups match is told to the application: ``call.groups``.
    pattern: str | None = None
    #: The name of the application.
    application: str
    #: Options of the application, if it has any.
    options: Mapping[str, Any] = field(factory=dict)
    #: The names of the endpoints that may use the route. [default: every endpoint]
    endpoints: tuple[str, ...] = ()


@frozen(kw_only=True)
class UserTable:
    """One user, who proves by digest to be it."""

    #: What it is called.
    name: str
    #: Its password.
    password: Secret


@frozen(kw_only=True)
class DigestTable:
    """How peers prove who they are."""

    #: What the users know this server as; their passwords are bound to it.
    realm: str
    #: Users with passwords.
    users: tuple[UserTable, ...] = ()
    #: Files with users, as ``htdigest`` of Apache writes them.
    files: tuple[Path, ...] = ()
    #: What is offered, the one that is preferred first. [default: ``["SHA-256", "MD5"]``, as far as
    #: all users of all files have such a line]
    algorithms: tuple[Literal["SHA-512-256", "SHA-256", "MD5"], ...] = ()
    #: What is protected: requests alone, or their bodies as well, which few peers know.
    qop: tuple[Literal["auth", "auth-int"], ...] = ("auth",)
    #: How long a challenge is good for.
    lifetime: Seconds = Seconds(LIFETIME)
    #: Whether a challenge is good for the host only that got it.
    binds_source: bool = False
    #: Whether requests of a call come in without a proof from the host that the call is with.
    in_dialog: Literal["host", "always"] = "host"
    #: The hosts that the ``uri`` of a proof may name. [default: any, as proxies rewrite it]
    domains: tuple[str, ...] = ()


@frozen(kw_only=True)
class RegistrarTable:
    """Who may register here, and what becomes of it."""

    #: The domains that are served, the first one their name. [default: whatever phones call it]
    domains: tuple[str, ...] = ()
    #: The file where bindings are kept. [default: ``bindings.sqlite`` in the data directory]
    bindings: Path | None = None
    #: Keep the bindings in memory instead; a restart forgets them.
    in_memory: bool = False
    #: Let those register whom nobody has identified, any user. Not outdoors.
    admits_anybody: bool = False
    #: What is granted.
    limits: Limits = Limits()


@frozen(kw_only=True)
class RegistrationTable:
    """A registration of ours, with a trunk or a PBX."""

    #: The address of record: ``"sip:alice@example.com"``.
    aor: str
    #: The Request-URI of the REGISTER, and where it goes. [default: the domain of the address of
    #: record]
    registrar: str = ""
    #: An outbound proxy, ``"sip:HOST"``, where it goes instead. [default: none]
    proxy: str = ""
    #: The user of our Contact, and so of the calls that come. [default: that of the address]
    user: str = ""
    #: In seconds.
    expires: int = DEFAULT_EXPIRES
    #: The name of an endpoint, which holds the credentials. [default: none is needed]
    endpoint: str | None = None


@frozen(kw_only=True)
class CallRecordTable:
    """A record of each call, when it is over."""

    #: The file, to which a line of JSON is added for each call. A reload opens it anew, so that it
    #: can be moved away before.
    path: Path


@frozen(kw_only=True)
class MediaTable:
    """Programs beside this one that carry the media of bridged calls."""

    #: Which kind of program.
    engine: Literal["rtpengine"]
    #: Where their ng sockets are, IP address and port; they share the calls.
    addresses: tuple[SocketAddress, ...] = (SocketAddress("127.0.0.1", 2223),)
    #: Whether they record all calls, into the directory that they are told at their start.
    record: bool = False
    #: Encodings that each offer has besides its own, such as ``"PCMA"``; what is chosen is
    #: transcoded.
    transcode: tuple[str, ...] = ()


@frozen(kw_only=True)
class RTPTable:
    """The ports for RTP."""

    #: The first and the last port; the even ones are used.
    ports: PortRange = PortRange(*DEFAULT_RTP_PORTS)


@frozen(kw_only=True)
class LimitsTable:
    """How much of everything there may be."""

    #: Calls at a time; others get 503.
    sessions: Count = Count(MAX_SESSIONS)
    #: Of these, calls that one peer, a host, may begin. [default: three quarters of ``sessions``]
    sessions_per_peer: Count | None = None
    #: Server transactions at a time; one lives for 32 seconds after its answer.
    transactions: Count = Count(MAX_TRANSACTIONS)
    #: Of these, those of one peer. [default: three quarters of ``transactions``]
    transactions_per_peer: Count | None = None
    #: Bytes of the requests of all of them.
    transaction_bytes: Size = Size(MAX_TRANSACTION_BYTES)
    #: How long a call of ours may ring.
    dial: Seconds = Seconds(DIAL_LIMIT)
    #: How long the ends of calls are waited for when the server stops.
    drain: Seconds = Seconds(DRAIN_LIMIT)


@frozen(kw_only=True)
class LoggingTable:
    """A log of sipsess's own, in the place of that of ``twistd``."""

    #: Where it goes. A reload opens the file anew, so that it can be moved away before. [default:
    #: standard output]
    file: Path | None = None
    #: Lines for people, or in each line an object of JSON: ``time``, ``level``, ``namespace``,
    #: ``text``, and ``failure`` when there is a traceback.
    format: Literal["text", "json"] = "text"
    #: What is less important than this is left out.
    level: Level = "info"
    #: The same for single parts of the program, such as ``"sipsess.transport" = "debug"``.
    levels: Mapping[str, Level] = field(factory=dict)


@frozen(kw_only=True)
class Config:
    """The whole file."""

    #: Where to listen: strings as for ``--listen``, such as ``"udp:5060"``, or tables.
    listeners: tuple[ListenSpec, ...] = tuple(map(parse_listen, DEFAULT_LISTEN))
    #: The address that peers shall see instead of our own, at listeners that do not say their own.
    advertise: str | None = None
    #: The hosts of these networks, such as ``"10.0.0.0/8"``, see our own address all the same.
    local_networks: tuple[str, ...] = ()
    #: What keeps the way through a NAT open, over UDP: empty lines, OPTIONS or nothing.
    keep_alive: Literal["crlf", "options", "off"] = "crlf"
    #: How often, from a second to an hour.
    keep_alive_interval: Seconds = Seconds(INTERVAL)
    #: What calls get that no route is for. [default: ``"hello"`` without routes; with routes nobody
    #: else is taken: 404]
    application: str | None = None
    #: Which application a call gets. Without routes each application is the user of its name.
    routes: tuple[RouteTable, ...] = ()
    #: Who is at the other end, and how he is treated.
    endpoints: tuple[Endpoint, ...] = ()
    #: In which order it is found out who somebody is; plugins may add identifiers of their own.
    identifiers: tuple[str, ...] = IDENTIFIERS
    #: What becomes of who is no endpoint: he is refused (403), asked for a proof (401), or let in
    #: as the endpoint ``anonymous``. [default: ``"challenge"`` with a table ``[digest]``; else
    #: ``"refuse"`` when something tells endpoints apart; else ``"allow"``]
    anonymous: Literal["refuse", "challenge", "allow"] | None = None
    #: How peers prove who they are.
    digest: DigestTable | None = None
    #: What is done about scanners, floods and invented addresses.
    defence: DefenceSettings = DefenceSettings()
    #: Lets phones register.
    registrar: RegistrarTable | None = None
    #: Where this server registers.
    registrations: tuple[RegistrationTable, ...] = ()
    #: Directories with plugin files of yours.
    plugin_directories: tuple[Path, ...] = ()
    #: Plugins without which the server does not start.
    required_plugins: tuple[str, ...] = ()
    #: The tables of plugins: ``[plugins.NAME]``; each says itself what may stand there.
    plugins: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    #: The ports for RTP.
    rtp: RTPTable = RTPTable()
    #: Programs that carry the media of bridged calls. [default: this one does]
    media: MediaTable | None = None
    #: A record of each call. [default: none is kept]
    cdr: CallRecordTable | None = None
    #: How much of everything there may be.
    limits: LimitsTable = LimitsTable()
    #: The log. [default: that of ``twistd``]
    logging: LoggingTable | None = None
    #: The socket that ``sipsess calls`` and its like ask. [default: in ``XDG_RUNTIME_DIR``, or in a
    #: directory in ``/tmp``]
    control: Path | None = None

    @property
    def default_application(self) -> str | None:
        """The name of the application for calls that no route is for, or ``None``."""
        if self.application is None and not self.routes:
            return DEFAULT_APPLICATION
        return self.application
