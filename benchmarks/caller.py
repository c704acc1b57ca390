# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A caller of our own, on a plain socket: one call at a time, or datagrams at a steady rate.

It waits for each answer, so that it never asks for more than a server can do; that makes it the
better measure where not the rate matters but what a server holds, or what one datagram costs.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable

from benchmarks.messages import Writer, tag_of
from sipsess.flow import Address

#: Seconds to wait for an answer.
PATIENCE = 10.0

#: Seconds until a request is sent again (:rfc:`3261#section-17.1.1.1`).
T1 = 0.5

#: Bytes that the system shall keep for us while we send.
_BUFFER = 4 * 1024 * 1024


class Caller:
    """
    Calls one server on 127.0.0.1.

    :param port: of the server.
    :param host: where the calls come from, one of 127.0.0.0/8.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._there = ("127.0.0.1", port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((host, 0))
        self._socket.setblocking(False)
        self.writer = Writer(self._socket.getsockname(), self._there)
        self._number = 0

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def next_number(self) -> int:
        """Return the number of a call that was not placed yet."""
        self._number += 1
        return self._number

    def send(self, data: bytes) -> None:
        """Send one datagram."""
        self._socket.sendto(data, self._there)

    def receive(self, limit: float) -> bytes | None:
        """Return the next datagram, or ``None`` when none comes in so many seconds."""
        ready, _, _ = select.select([self._socket], [], [], max(0.0, limit))
        return self._socket.recv(65535) if ready else None

    def expect(self, number: int, start: bytes, limit: float = PATIENCE) -> bytes:
        """
        Wait for a response of one call; others are dropped.

        :raises AssertionError: when it does not come in time.
        """
        came = self._receive_until(number, start, limit)
        if came is None:
            raise AssertionError(f"call {number} got no {start.decode()} in {limit} s")
        return came[-1]

    def ask(self, number: int, request: bytes, limit: float = PATIENCE) -> bytes:
        """
        Send a request until its 200 comes, as a client does: after half a second, one, two...

        :raises AssertionError: when it does not come in time.
        """
        end = time.monotonic() + limit
        interval = T1
        while (left := end - time.monotonic()) > 0:
            self.send(request)
            came = self._receive_until(number, b"SIP/2.0 200", min(left, interval))
            if came is not None:
                return came[-1]
            interval *= 2
        raise AssertionError(f"call {number} got no 200 in {limit} s")

    def _receive_until(self, number: int, start: bytes, limit: float) -> list[bytes] | None:
        """Return what comes until the response of a call, which is the last, or ``None``."""
        mark = b"\r\nCall-ID: %d-" % number
        came = []
        end = time.monotonic() + limit
        while (left := end - time.monotonic()) > 0:
            data = self.receive(left)
            if data is not None:
                came.append(data)
                if data.startswith(start) and mark in data:
                    return came
        return None

    def call(self, *, audio: Address | None = None, limit: float = PATIENCE) -> tuple[int, str]:
        """
        Place a call.

        :param audio: where audio is wanted.
        :return: its number, and the To tag.
        :raises AssertionError: when it is not answered in time.
        """
        number = self.next_number()
        tag = tag_of(self.ask(number, self.writer.invite(number, audio=audio), limit))
        self.send(self.writer.ack(number, tag))
        return number, tag

    def hang_up(self, number: int, tag: str) -> None:
        """
        End a call.

        :raises AssertionError: when the BYE is not answered in time.
        """
        self.ask(number, self.writer.bye(number, tag))

    def settle(self) -> list[bytes]:
        """
        Wait until the server has dealt with all that was sent: it reads in order.

        :return: what came meanwhile.
        :raises AssertionError: when it does not answer an OPTIONS in time.
        """
        number = self.next_number()
        self.send(self.writer.request(number, "OPTIONS"))
        came = self._receive_until(number, b"SIP/2.0 ", PATIENCE)
        if came is None:
            raise AssertionError(f"the server does not come to an end in {PATIENCE} s")
        return came[:-1]

    def pour(self, datagrams: Iterable[bytes], rate: float) -> list[bytes]:
        """
        Send datagrams at a steady rate, and wait until the server has dealt with them.

        :param rate: datagrams a second.
        :return: what came meanwhile.
        :raises AssertionError: when the server does not come to an end of them.
        """
        came = []
        due = time.monotonic()
        for data in datagrams:
            while (left := due - time.monotonic()) > 0:
                answer = self.receive(left)
                if answer is not None:
                    came.append(answer)
            self.send(data)
            due += 1 / rate
        return came + self.settle()
