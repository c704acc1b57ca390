# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What can be chosen of the defence, with its defaults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from sipsess.errors import LocalError

from .access import AccessList, NetworkSet

#: How the User-Agent of programs begins that look for servers to rob, in lower case.
SCANNER_AGENTS: tuple[str, ...] = (
    *("friendly-scanner", "friendly-request", "sipvicious", "sundayddr", "pplsip", "sipcli"),
    *("sip-scan", "sipscan", "siparmyknife", "iwar", "sivus", "smap", "sipv", "gulp"),
)


@dataclass(frozen=True, slots=True)
class DefenceSettings:
    """
    The settings of a :class:`.Perimeter`.

    The defaults suit a server on a public address: they stop scanners and those who guess, and
    never limit how much a peer calls.

    :raises LocalError: with all that makes no sense.
    """

    #: Networks or addresses that are never banned, limited or asked for a proof of their address:
    #: this machine, and whoever you know (your trunks, your proxy). Nobody else may be able to
    #: send from there.
    trusted: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    #: Who may speak to us: ``"allow NETWORK"`` and ``"deny NETWORK"`` in order; the first that
    #: matches decides, and who matches none is let in. ``"deny all"`` may be the last.
    access: tuple[str, ...] = ()
    #: Beginnings of User-Agent values, in any case, whose requests are dropped and count for a ban.
    scanner_agents: tuple[str, ...] = SCANNER_AGENTS
    #: Requests outside dialogs that one source may send per second; 0 for any number.
    requests_per_second: float = 0.0
    #: Of these, new calls.
    calls_per_second: float = 0.0
    #: Of these, REGISTERs.
    registers_per_second: float = 0.0
    #: For how many seconds' worth of each of these rates a source may be ahead of it.
    burst_seconds: float = 5.0
    #: Failures of one source that are borne per minute, and at once; more is a ban. A request for
    #: nobody (404), one that is forbidden (403), and wrong credentials (401, 407) are one each, a
    #: challenge that is not answered is a tenth, a request of a scanner is five. Wrong numbers of a
    #: known endpoint are none. 0 bans nobody.
    failures_per_minute: float = 30.0
    #: Seconds of a first ban; each further one within a day lasts twice as long.
    ban_seconds: float = 60.0
    #: How long a ban lasts at most when its failures came by UDP, where anybody can send in the
    #: name of anybody.
    udp_ban_seconds: float = 600.0
    #: How long any other lasts at most.
    max_ban_seconds: float = 3600.0
    #: Bytes that are sent by UDP to a source that has not proven its address, beyond as many as it
    #: has sent itself: what the answers to one call need when they are lost. Negative for no limit.
    unproven_bytes: int = 16384
    #: How many of these come back per second.
    unproven_bytes_per_second: float = 512.0

    def __post_init__(self) -> None:
        """
        Check the fields.

        :raises LocalError: when some make no sense.
        """
        faults = [f"{name}: {fault}" for name, fault in self._faults()]
        if faults:
            raise LocalError(", and ".join(faults))

    def _faults(self) -> Iterator[tuple[str, object]]:
        """Yield which field is wrong, and how."""
        for network in self.trusted:
            try:
                NetworkSet((network,))
            except LocalError as error:
                yield "trusted", error
        for rule in self.access:
            try:
                AccessList((rule,))
            except LocalError as error:
                yield "access", error
        if not all(self.scanner_agents):
            yield "scanner_agents", "every User-Agent begins with nothing"
        for item in fields(self):
            value = getattr(self, item.name)
            # Fewer bytes than none mean that there is no limit.
            if isinstance(value, int | float) and value < 0 and item.name != "unproven_bytes":
                yield item.name, f"{value:g} is less than nothing"
