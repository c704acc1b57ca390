# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The server that runs, if one does: what its counters tell, and where it listens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sipsess.control import ControlError
from sipsess.transport.listen import ListenSpec

from .findings import NOTE, OK, WRONG, Finding
from .machine import Machine

SUBJECT = "the running server"


@dataclass(frozen=True, slots=True)
class Running:
    """What the running server says of itself."""

    #: Its counters, by name.
    counters: Mapping[str, Any] = field(default_factory=dict)
    #: What it listens on: transport, address and port.
    listeners: frozenset[tuple[str, str, int]] = frozenset()

    def has(self, transport: str, host: str, port: int) -> bool:
        """Tell whether it listens there."""
        return (transport, host, port) in self.listeners


def ask_server(machine: Machine, path: str | None) -> Running | str:
    """
    Ask the running server.

    :param path: of its control socket; the usual place when ``None``.
    :return: what it says, or why nothing is known.
    """
    try:
        counters = machine.ask("counters", path)
        listeners = machine.ask("listeners", path)
    except ControlError as error:
        return str(error)
    return Running(
        counters,
        frozenset((item["transport"], item["host"], item["port"]) for item in listeners),
    )


def examine_server(
    running: Running | str, specs: tuple[ListenSpec, ...], rtp_ports: str
) -> Iterator[Finding]:
    """
    Yield what a running server has seen, and how it differs from the file.

    :param specs: where it shall listen.
    """
    if isinstance(running, str):
        yield Finding(OK, SUBJECT, f"there is none to ask: {running}")
        return
    yield Finding(OK, SUBJECT, "answers on its control socket")
    yield from _compare(running, specs)
    yield from _judge_counters(running.counters, rtp_ports)


def _compare(running: Running, specs: tuple[ListenSpec, ...]) -> Iterator[Finding]:
    """Yield what the file says and the server does not do."""
    ports = {(transport, port) for transport, _, port in running.listeners}
    for spec in specs:
        if spec.port and (spec.transport, spec.port) not in ports:
            text = f"it does not listen on {spec.name}"
            yield Finding(NOTE, SUBJECT, text, "a listener takes a restart, not a reload")


def _judge_counters(counters: Mapping[str, Any], rtp_ports: str) -> Iterator[Finding]:
    """Yield what the counters are symptoms of."""
    refused: Mapping[str, int] = counters.get("refused", {})
    lost = refused.get("ack-missing", 0)
    if lost:
        yield Finding(
            WRONG,
            SUBJECT,
            f"{lost} of its calls ended after 32 seconds, as no ACK came for our 200",
            "the ACK goes to our Contact: see below whether far ends can reach it; a proxy between "
            "us must add Record-Route when they cannot",
        )
    sent, received = counters.get("rtp_sent", 0), counters.get("rtp_received", 0)
    if sent and not received:
        yield Finding(
            WRONG,
            SUBJECT,
            f"it has sent {sent} RTP packets, and none has come: nobody is heard",
            f"let UDP {rtp_ports} in at every firewall and NAT; see below which address SDP has",
        )
    if refused.get("no-media-port"):
        yield Finding(
            WRONG,
            SUBJECT,
            f"{refused['no-media-port']} calls were refused for want of an RTP port",
            "widen rtp.ports, and see the limit of open files below",
        )
    if counters.get("send_errors"):
        text = f"{counters['send_errors']} messages could not be sent"
        yield Finding(NOTE, SUBJECT, text, "its log says why; routes and firewalls may forbid it")
