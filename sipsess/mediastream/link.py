# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What a media stream needs of a connection to a WebSocket server, and of what opens it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from twisted.internet.defer import Deferred

from sipsess.errors import TransportError
from sipsess.secret import Secret

#: The code of an end that both sides wanted (:rfc:`6455#section-7.4.1`).
NORMAL = 1000
#: What stands for a code when a connection ended without one.
ABNORMAL = 1006

_PORTS = {"ws": 80, "wss": 443}


class LinkClosed(TransportError):
    """
    The connection to the server is over.

    :param code: of the server's closing frame, or :data:`ABNORMAL`.
    :param text: why, for people.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """Where a server is, and how it is greeted."""

    #: ``ws://`` or ``wss://``.
    url: str
    #: Headers of the hand-shake.
    headers: tuple[tuple[str, str | Secret], ...] = ()
    #: Seconds that connection and hand-shakes may take together.
    timeout: float = 5.0
    #: The authorities that certify the server; left out, those of the system.
    ca: Path | None = None

    @property
    def parts(self) -> SplitResult:
        """The URL in its parts."""
        return urlsplit(self.url)

    @property
    def host(self) -> str:
        """The name or address of the server, without brackets."""
        return self.parts.hostname or ""

    @property
    def port(self) -> int:
        """The port of the server."""
        return self.parts.port or _PORTS[self.parts.scheme]

    @property
    def is_secure(self) -> bool:
        """Whether there is TLS below."""
        return self.parts.scheme == "wss"

    @property
    def resource(self) -> str:
        """What the hand-shake asks for (:rfc:`6455#section-3`)."""
        path = self.parts.path or "/"
        return f"{path}?{self.parts.query}" if self.parts.query else path

    @property
    def authority(self) -> str:
        """What stands in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.parts.scheme] else f"{host}:{self.port}"

    def check(self) -> None:
        """
        Check that it can be one.

        :raises ValueError: with what is wrong.
        """
        if not self.url.isascii() or not self.url.isprintable() or " " in self.url:
            raise ValueError("url is of printable ASCII, without spaces")
        parts = self.parts
        if parts.scheme not in _PORTS or not self.host:
            raise ValueError("url begins with ws://HOST or wss://HOST")
        if parts.port == 0:
            raise ValueError("url has no port 0")
        if "@" in parts.netloc:
            raise ValueError("url holds no password: use authorization")
        if "#" in self.url:
            # RFC 6455 3: fragment identifiers are meaningless here.
            raise ValueError("url has no fragment")
        for name, value in self.headers:
            text = value.reveal() if isinstance(value, Secret) else value
            if not _is_token(name) or not (text.isascii() and text.isprintable()):
                raise ValueError(f"headers: {name!r} cannot be a header of a hand-shake")


class Link(Protocol):
    """A connection to a server, after the hand-shake."""

    @property
    def is_congested(self) -> bool:
        """Whether the server does not read as fast as it is written to."""

    def send(self, text: str) -> None:
        """Send a message; once the connection is over it is lost."""

    def receive(self) -> Deferred[str]:
        """
        Wait for the next message; one at a time.

        :return: fails with :class:`LinkClosed` when there will be none.
        """

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """End it, politely; what was sent leaves first."""


class Connector(Protocol):
    """Opens connections."""

    def check(self, target: LinkTarget) -> None:
        """
        Check that a target can be connected to.

        :raises ValueError: with what is missing here.
        """

    def connect(self, target: LinkTarget) -> Deferred[Link]:
        """
        Connect.

        :return: fails with :class:`.ConnectFailed`; cancelling it gives up.
        """


def _is_token(text: str) -> bool:
    """Tell whether something can be the name of a header (:rfc:`9110#section-5.1`)."""
    return bool(text) and all(
        letter.isascii() and (letter.isalnum() or letter in "!#$%&'*+-.^_`|~") for letter in text
    )
