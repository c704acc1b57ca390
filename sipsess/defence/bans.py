# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Temporary bans: how long each lasts, and the one line that is logged of it.

The line is made for programs such as fail2ban, and stays as it is::

    ban address=192.0.2.66 seconds=60 reason=failures transport=UDP count=1

``address`` is where the last failure came from, ``reason`` is ``failures`` or ``scanner``, and
``count`` says how many bans it has had within a day. The namespace is ``sipsess.defence.bans``,
the level ``warn``; nothing that a peer has written stands in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.logger import Logger

from .settings import DefenceSettings
from .sources import NEVER

#: Bans that are remembered; when there are more, the one that would end first goes.
MAX_BANS = 4096
#: Seconds for which a ban that is over makes the next one longer.
MEMORY = 86400.0
#: Lines a minute; further bans are only counted.
MAX_LINES = 60
#: The longest that a ban is doubled.
_MAX_DOUBLINGS = 20

_log = Logger()


@dataclass(slots=True)
class Ban:
    """One source that was banned."""

    #: Where its last failure came from.
    address: str
    until: float
    #: How often it was banned.
    count: int


class Bans:
    """
    The bans of one server.

    :param settings: say how long they last.
    """

    __slots__ = ("_bans", "_lines", "_minute", "_settings")

    def __init__(self, settings: DefenceSettings) -> None:
        self._settings = settings
        self._bans: dict[str, Ban] = {}
        self._minute = NEVER
        self._lines = 0

    def until(self, key: str) -> float:
        """Return until when a source is banned; a time before all others when it is not."""
        ban = self._bans.get(key)
        return NEVER if ban is None else ban.until

    def active(self, now: float) -> list[Ban]:
        """Return the bans that are in force, in the order in which they end."""
        active = [ban for ban in self._bans.values() if ban.until > now]
        return sorted(active, key=lambda ban: ban.until)

    def ban(self, key: str, address: str, reason: str, transport: str, now: float) -> float:
        """
        Ban a source, and log it.

        :param key: the source.
        :param address: where its last failure came from.
        :param reason: ``"failures"`` or ``"scanner"``.
        :param transport: that the failures came by.
        :return: until when.
        """
        old = self._bans.pop(key, None)
        count = old.count + 1 if old is not None and now - old.until <= MEMORY else 1
        settings = self._settings
        limit = settings.udp_ban_seconds if transport == "UDP" else settings.max_ban_seconds
        doublings = min(count - 1, _MAX_DOUBLINGS)
        seconds = min(settings.ban_seconds * (1 << doublings), limit)
        self._make_room(now)
        self._bans[key] = Ban(address, now + seconds, count)
        if self._may_log(now):
            _log.warn(
                "ban address={address} seconds={seconds:.0f} reason={reason} "
                "transport={transport} count={count}",
                address=address,
                seconds=seconds,
                reason=reason,
                transport=transport,
                count=count,
            )
        return now + seconds

    def lift(self, key: str) -> bool:
        """Forget the bans of a source; ``False`` when there are none."""
        return self._bans.pop(key, None) is not None

    def _make_room(self, now: float) -> None:
        bans = self._bans
        if len(bans) >= MAX_BANS:
            self._bans = bans = {key: ban for key, ban in bans.items() if now - ban.until <= MEMORY}
        if len(bans) >= MAX_BANS:
            del bans[min(bans, key=lambda key: bans[key].until)]

    def _may_log(self, now: float) -> bool:
        if now - self._minute >= 60.0:
            self._minute, self._lines = now, 0
        self._lines += 1
        return self._lines <= MAX_LINES
