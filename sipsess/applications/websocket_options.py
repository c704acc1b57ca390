# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The options of the application ``websocket``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sipsess.call import Call
from sipsess.mediastream import Agent, Connector, LinkTarget, fill_parameters, l16, mulaw
from sipsess.secret import Secret

#: Samples per second that models speak and hear; the first is that of mu-law.
RATES = (8000, 16000, 24000, 48000)


@dataclass(frozen=True, slots=True)
class WebSocketOptions:
    """The options of a route to ``websocket``."""

    #: The server: ``ws://HOST/PATH`` or ``wss://HOST/PATH``. It is needed.
    url: str = ""
    #: The Authorization header of the hand-shake, such as ``Bearer ...``. [default: none]
    authorization: Secret | None = None
    #: More headers of the hand-shake.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: PEM file of the authorities that certify the server. [default: those of the system]
    ca: Path | None = None
    #: How audio is written: ``mulaw``, or ``l16`` for little-endian PCM.
    encoding: Literal["mulaw", "l16"] = "mulaw"
    #: Samples per second: 8000, and for ``l16`` also 16000, 24000 and 48000.
    rate: int = 8000
    #: What the server is told at the start; ``{caller}``, ``{number}``, ``{callee}``,
    #: ``{dialled}`` and the groups of the route's pattern are filled in. [default: ``{ from =
    #: "{number}", to = "{dialled}" }``]
    parameters: Mapping[str, str] = field(
        default_factory=lambda: {"from": "{number}", "to": "{dialled}"}
    )
    #: Headers of the INVITE that the server is told, too, by their names.
    pass_headers: tuple[str, ...] = ()
    #: Seconds that connecting may take.
    connect_timeout: float = 5.0
    #: How often in a row a connection that is lost is opened again.
    reconnect: int = 3

    def check(self, connector: Connector) -> None:
        """
        Check them.

        :raises ValueError: with what is wrong with them.
        """
        if not 0 < self.connect_timeout <= 60:
            raise ValueError("connect_timeout is more than 0, and at most 60 seconds")
        if not 0 <= self.reconnect <= 100:
            raise ValueError(f"reconnect is 0 to 100, not {self.reconnect}")
        rates = RATES if self.encoding == "l16" else RATES[:1]
        if self.rate not in rates:
            raise ValueError(f"{self.encoding} has a rate of {' or '.join(map(str, rates))}")
        connector.check(self.target)

    @property
    def target(self) -> LinkTarget:
        """Where the server is."""
        headers: list[tuple[str, str | Secret]] = list(self.headers.items())
        if self.authorization is not None:
            headers.append(("Authorization", self.authorization))
        return LinkTarget(self.url, tuple(headers), self.connect_timeout, self.ca)

    def agent_for(self, call: Call) -> Agent:
        """Return whom a call is to speak with."""
        audio = mulaw() if self.encoding == "mulaw" else l16(self.rate)
        parameters = fill_parameters(call, self.parameters, self.pass_headers)
        return Agent(self.target, audio, parameters, self.reconnect)
