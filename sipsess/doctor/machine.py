# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The machine that the server shall run on, and the media engines beside it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from sipsess.control import ask
from sipsess.engine.bencode import MAX_BYTES, encode
from sipsess.transport.address import ip_version, probe_source_address

try:
    import resource as _resource
except ImportError:  # pragma: no cover  a system without such limits
    _resource = None  # type: ignore[assignment]

#: Somebody far away, whom no one has: the addresses of RFC 5737 and RFC 3849.
FAR_AWAY = {4: "192.0.2.1", 6: "2001:db8::1"}

#: Where Linux says which ports it gives out by itself.
LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")

#: Seconds that an engine has to answer; one on the same network needs a millisecond.
ENGINE_TIMEOUT = 1.0


class Machine:
    """
    This machine.

    :param local_ports: the file with the ports that the system gives out.
    """

    def __init__(self, local_ports: Path = LOCAL_PORTS) -> None:
        self._local_ports = local_ports

    def bind(self, transport: str, host: str, port: int) -> OSError | None:
        """
        Bind a port and give it back at once.

        :param transport: ``"UDP"``; all others are streams.
        :return: what the system has against it, or ``None``.
        """
        is_ipv6 = ip_version(host) == 6
        family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
        is_stream = transport != "UDP"
        try:
            with socket.socket(
                family, socket.SOCK_STREAM if is_stream else socket.SOCK_DGRAM
            ) as sock:
                if is_ipv6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if is_stream:
                    # As a server does: connections of the last one may still be closing.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((host, port))
                if is_stream:
                    sock.listen(1)
        except OSError as error:
            return error
        return None

    def has_address(self, host: str) -> bool:
        """Tell whether an address is one of this machine."""
        return self.bind("UDP", host, 0) is None

    def source_address(self, version: int) -> str | None:
        """Return our address towards the world, by the default route; ``None`` without one."""
        try:
            return probe_source_address(FAR_AWAY[version])
        except OSError:
            return None

    def file_limit(self) -> int | None:
        """Return how many files the server can have open at the most; ``None`` for any number."""
        if _resource is None:
            return None
        _, hard = _resource.getrlimit(_resource.RLIMIT_NOFILE)
        return None if hard == _resource.RLIM_INFINITY else hard

    def local_ports(self) -> tuple[int, int] | None:
        """Return the first and the last port that the system gives out, or ``None``."""
        try:
            low, high = map(int, self._local_ports.read_text(encoding="ascii").split())
        except (OSError, ValueError):
            return None
        return low, high

    def ping_engine(self, host: str, port: int) -> str:
        """
        Ask an rtpengine on its ng socket whether it is there.

        :return: what is wrong, or nothing.
        """
        try:
            with socket.socket(
                socket.AF_INET6 if ip_version(host) == 6 else socket.AF_INET, socket.SOCK_DGRAM
            ) as sock:
                sock.settimeout(ENGINE_TIMEOUT)
                sock.connect((host, port))
                sock.send(b"doctor " + encode({"command": "ping"}))
                answer = sock.recv(MAX_BYTES)
        except TimeoutError:
            return "does not answer"
        except OSError as error:
            return os.strerror(error.errno or 0)
        pong = b"doctor " + encode({"result": "pong"})
        return "" if answer == pong else "answers, but is no rtpengine"

    def ask(self, command: str, path: str | None) -> Any:
        """
        Ask the running server.

        :raises ControlError: when there is none, or it does not answer.
        """
        return ask(command, path)
