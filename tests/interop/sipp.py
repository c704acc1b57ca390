# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
SIPp with scenarios of our own, which stand in ``scenarios``.

A file whose name begins with ``uac_`` calls a server of ours, one with ``uas_`` is called by it,
and those with ``b2b_`` are on the two sides of a bridge. Each checks what it receives: SIPp's exit
status is 0 only when every call went as it is written. They can be played by hand, too, those with
``-key`` in their comment with these keys::

    sipp -sf tests/interop/scenarios/uac_timer.xml -i 127.0.0.1 127.0.0.1 -m 1

A check belongs into the actions of a ``recv``: one that fails in a ``nop`` fails no call.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort

from sipsess.server import SIPServer

from .peers import PATIENCE, Peer, PeerTestCase, reactor, sip_port, until
from .tools import free_port, read_statistics, tcp_ports

#: Where the scenarios are.
SCENARIOS = pathlib.Path(__file__).resolve().parent / "scenarios"

#: Milliseconds that a scenario waits for a message: longer than the 4 s of glare.
RECEIVE_LIMIT = 6000
#: Seconds after which a scenario that goes on has failed.
LIMIT = 20
#: Lets a scenario pass over what it did not expect.
TOLERANT = ("-default_behaviors", "all,-abortunexp")
#: Lets it wait as long as it can for what is lost several times, and count how often it repeats.
LOSSY = ("-recv_timeout", f"{LIMIT - 1}000", "-trace_stat", "-stf", "statistics.csv", "-fd", "1")


class ScenarioTestCase(PeerTestCase):
    """Plays scenarios against servers that have all the plugins that are shipped."""

    #: SIPp's option: u1 for UDP, t1 for one connection of TCP, tn for one for each call.
    sipp_transport = "u1"

    @property
    def suffix(self) -> str:
        """What a URI says of the transport; nothing of UDP."""
        return "" if self.transport == "UDP" else f";transport={self.transport.lower()}"

    def target_of(self, server: SIPServer) -> str:
        """Return what stands behind the user in a URI that leads one server of ours to another."""
        return f"127.0.0.1:{sip_port(server)}{self.suffix}"

    def entrance(self, port: int) -> int:
        """Return the port that SIPp calls, to reach one of ours."""
        return port

    def exit(self, port: int) -> int:
        """Return the port that we call, to reach one of SIPp."""
        return port

    def dug(self, listening: IListeningPort, port: int) -> int:
        """Return the port of a tunnel, which is closed with the test."""
        self.addCleanup(listening.stopListening)
        return port

    async def calls(
        self,
        server: SIPServer,
        scenario: str,
        story: Callable[[], Coroutine[Any, Any, None]] | None = None,
        *,
        options: tuple[str, ...] = (),
        **keys: str,
    ) -> None:
        """
        Let a scenario call a server of this process; nothing of it may be left there.

        :param scenario: the name of its file.
        :param story: what we do meanwhile.
        :param options: more of SIPp's; without ``-m`` there is one call.
        :param keys: of the scenario.
        :raises AssertionError: when something did not go as the scenario says.
        """
        await self.calls_port(sip_port(server), scenario, story, options=options, **keys)
        await self.quiet(server)

    async def calls_port(
        self,
        port: int,
        scenario: str,
        story: Callable[[], Coroutine[Any, Any, None]] | None = None,
        *,
        options: tuple[str, ...] = (),
        **keys: str,
    ) -> None:
        """Let a scenario call whoever listens there; see :meth:`calls`."""
        target = f"127.0.0.1:{self.entrance(port)}"
        sipp = self._play(scenario, free_port(), (target, *options), keys)
        await self._finish(sipp, None if story is None else story())

    async def called(
        self,
        server: SIPServer,
        scenario: str,
        story: Callable[[str], Coroutine[Any, Any, None]],
        *,
        port: int | None = None,
        options: tuple[str, ...] = (),
        **keys: str,
    ) -> None:
        """
        Let a scenario be called; see :meth:`calls`.

        :param story: calls the URI that it is given.
        :param port: where SIPp listens; a free one when ``None``.
        """
        port = port or free_port()
        sipp = self._play(scenario, port, options, keys)
        if self.transport == "UDP":
            await sipp.bound(port)
        else:
            await until(lambda: port in tcp_ports(sipp.pid), lambda: f"{sipp.name}: {sipp.tail()}")
        await self._finish(sipp, story(f"sip:sipp@127.0.0.1:{self.exit(port)}{self.suffix}"))
        await self.quiet(server)

    def count_repeated(self, server: SIPServer) -> int:
        """Return how many messages a server of ours and SIPp, played :data:`LOSSY`, repeated."""
        found = read_statistics(self.folder / "statistics.csv")
        return found.retransmissions + server.core.counters.retransmissions_sent

    def _play(
        self, scenario: str, port: int, options: tuple[str, ...], keys: dict[str, str]
    ) -> Peer:
        """Start SIPp."""
        self.require("sipp")
        command = ["sipp", "-sf", str(SCENARIOS / scenario), "-i", "127.0.0.1", "-p", str(port)]
        command += [
            "-t",
            self.sipp_transport,
            "-max_socket",
            "100",
            "-mp",
            str(free_port()),
            "-m",
            "1",
        ]
        command += ["-recv_timeout", str(RECEIVE_LIMIT)]
        command += ["-timeout", f"{LIMIT}s", "-timeout_error", "-nostdin", "-trace_err"]
        command += ["-trace_msg", "-error_file", f"{scenario}.errors"]
        command += ["-message_file", f"{scenario}.messages", *options]
        for key, value in keys.items():
            command += ["-key", key, value]
        return self.start(scenario, command)

    async def _finish(self, sipp: Peer, story: Coroutine[Any, Any, None] | None) -> None:
        """Wait for the end of a scenario, which has a limit of its own, then of our story."""
        told: list[str] = []
        telling: Deferred[None] = succeed(None) if story is None else Deferred.fromCoroutine(story)
        telling.addErrback(lambda failure: told.append(failure.getTraceback()))
        status = await sipp.ended(LIMIT + PATIENCE)
        if status:
            told += self._what_sipp_says(sipp)
            telling.cancel()
        await telling.addTimeout(PATIENCE, reactor)
        if told:
            raise AssertionError("\n".join([f"{sipp.name} ended with {status}", *told]))

    def _what_sipp_says(self, sipp: Peer) -> list[str]:
        """Return its messages and what went wrong; the end of its screen when it has no more."""
        files = [self.folder / f"{sipp.name}.{kind}" for kind in ("messages", "errors")]
        found = [path.read_text(errors="replace") for path in files if path.exists()]
        return found or [sipp.tail()]
