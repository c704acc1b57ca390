# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Connecting to WebSocket servers; what that needs is imported when somebody wants it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from sipsess.errors import ConnectFailed, LocalError
from sipsess.mediastream import Link, LinkTarget
from sipsess.transport.address import ip_version, normal_host


class WebSocketConnector:
    """
    Connects, see :class:`.Connector`.

    :param reactor: the one that is installed when ``None``.
    """

    def __init__(self, reactor: Any = None) -> None:
        self._reactor = reactor

    def check(self, target: LinkTarget) -> None:
        """See :meth:`.Connector.check`."""
        target.check()
        try:
            from sipsess.transport.websocket_client import WebSocketClient  # noqa: F401
        except ImportError as error:
            raise ValueError(_absent("WebSocket", error, "ws")) from error
        if target.is_secure:
            try:
                self._secure(target, Factory(), None)
            except LocalError as error:
                raise ValueError(str(error)) from error

    def connect(self, target: LinkTarget) -> Deferred[Link]:
        """See :meth:`.Connector.connect`."""
        connecting = Deferred.fromCoroutine(self._connect(target))

        def time_out(result: Link | Failure, seconds: float) -> Failure:
            return Failure(ConnectFailed(f"no answer in {seconds:g} s"))

        return connecting.addTimeout(target.timeout, self._clock, time_out)

    @property
    def _clock(self) -> Any:
        if self._reactor is None:
            from twisted.internet import reactor  # noqa: TID251  it runs by now

            self._reactor = reactor
        return self._reactor

    async def _connect(self, target: LinkTarget) -> Link:
        from sipsess.transport.websocket_client import WebSocketClient

        clock = self._clock
        socket = WebSocketClient(target, clock)
        factory: Any = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda address: socket
        try:
            if target.is_secure:
                factory = self._secure(target, factory, clock)
            await _make_endpoint(clock, target).connect(factory)
            return await socket.opened
        except (CancelledError, ConnectFailed):
            raise
        except ConnectingCancelledError:
            raise CancelledError from None
        except Exception as error:
            raise ConnectFailed(str(error) or type(error).__name__) from error

    def _secure(self, target: LinkTarget, factory: Any, clock: Any) -> Any:
        """Return the factory with TLS below it."""
        try:
            from sipsess.transport.tls import connect_to_web
        except ImportError as error:
            raise LocalError(_absent("TLS", error, "tls")) from error
        ca = "" if target.ca is None else str(target.ca)
        return connect_to_web(target.host, ca, factory, clock)


def _make_endpoint(reactor: Any, target: LinkTarget) -> Any:
    """Return the way to a server; the system's resolver knows the addresses of names."""
    try:
        host = normal_host(target.host)
    except ValueError:
        return HostnameEndpoint(reactor, target.host, target.port, target.timeout)
    kind = TCP6ClientEndpoint if ip_version(host) == 6 else TCP4ClientEndpoint
    return kind(reactor, host, target.port, target.timeout)


def _absent(what: str, error: ImportError, extra: str) -> str:
    return f"{what} needs more packages ({error.name} is missing): pip install 'sipsess[{extra}]'"
