# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The options of the application ``b2bua``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sipsess.call.passing import USUAL


@dataclass(frozen=True, slots=True)
class BridgeOptions:
    """The options of a route to ``b2bua``."""

    #: Whom to call, in this order until one answers; each as ``target`` of ``dial``. Needed.
    targets: tuple[str, ...] = ()
    #: Seconds that each may ring.
    timeout: float = 30.0
    #: The statuses after which the next one is called; 408 is no answer in time, too.
    failover: tuple[int, ...] = (408, 500, 502, 503, 504)
    #: Whether the caller hears what comes before the answer.
    early_media: bool = True
    #: Where media go, as for ``dial``.
    media: Literal["usual", "relay", "passthrough", "engine"] = "usual"
    #: The endpoint that whoever is called is treated as; a registered user has his own.
    endpoint: str = "anonymous"
    #: From of our calls. [default: the caller's]
    caller: str = ""
    #: Who calls and who has answered: told as far as the endpoints may know, or kept from the other
    #: side; ``no`` tells nothing beyond From.
    identity: Literal["no", "pass", "hide"] = "pass"
    #: Headers that go along, either way; ``*`` at the end stands for any rest.
    pass_headers: tuple[str, ...] = USUAL
    #: Those of them that do not.
    drop_headers: tuple[str, ...] = ()
    #: Headers of each INVITE of ours.
    set_headers: Mapping[str, str] = field(default_factory=dict)
