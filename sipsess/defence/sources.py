# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Who has sent something: one record for each source, in tables that have a limit.

Theory of operation
    A source is an IPv4 address, or the /64 of an IPv6 address, of which anybody who has one has
    them all. Strangers, whose addresses may be invented, and those who have proven theirs stand in
    two tables, so that no flood of inventions can push out what is known of a real one.
"""

from __future__ import annotations

from collections.abc import Callable

from sipsess.flow import source_key
from sipsess.recent import RecentDict

from .bucket import Bucket

#: Strangers that are remembered (twice as many at most); each record is some 300 bytes.
MAX_STRANGERS = 16384
#: Sources with a proven address that are remembered, likewise.
MAX_PROVEN = 16384
#: Before any time.
NEVER = float("-inf")


class Source:
    """What is known of one source; the :class:`.Perimeter` reads and writes it."""

    __slots__ = (
        *("banned_until", "calls", "failures", "is_denied", "is_trusted", "key", "overdraft"),
        *("proof", "proven_until", "registers", "requests", "suspect_until"),
    )

    def __init__(self, key: str, now: float) -> None:
        self.key = key
        #: Nothing is asked of it, and nothing noted.
        self.is_trusted = False
        #: The access list does not let it in.
        self.is_denied = False
        self.banned_until = NEVER
        #: Until when its address counts as proven.
        self.proven_until = NEVER
        #: Until when one more excess of failures is a ban, proven or not.
        self.suspect_until = NEVER
        #: What only those have seen who receive what is sent to its address.
        self.proof = b""
        self.failures = Bucket(now)
        #: Bytes that were sent to it beyond those that it has sent.
        self.overdraft = Bucket(now)
        #: Requests, new calls and REGISTERs; made when there is a limit.
        self.requests: Bucket | None = None
        self.calls: Bucket | None = None
        self.registers: Bucket | None = None


class Sources:
    """
    All sources that are remembered.

    :param make: makes the record of a new one: ``make(key, host)``.
    :param is_special: whether a host is trusted or denied; it then is a source of its own, even
        where others of its network are not.
    """

    __slots__ = ("_is_special", "_keys", "_make", "_proven", "_strangers", "_trusted")

    def __init__(
        self, make: Callable[[str, str], Source], is_special: Callable[[str], bool]
    ) -> None:
        self._make = make
        self._is_special = is_special
        #: The keys of IPv6 addresses.
        self._keys: RecentDict[str, str] = RecentDict(MAX_STRANGERS)
        #: By host, to be found at once.
        self._trusted: dict[str, Source] = {}
        self._proven: RecentDict[str, Source] = RecentDict(MAX_PROVEN)
        self._strangers: RecentDict[str, Source] = RecentDict(MAX_STRANGERS)

    def __len__(self) -> int:
        return len(self._trusted) + len(self._proven) + len(self._strangers)

    def find(self, host: str) -> Source:
        """Return the record of a host, made anew when there is none."""
        source = self._trusted.get(host)
        if source is not None:
            return source
        key = host if ":" not in host else self._key_of(host)
        source = self._proven.get(key) or self._strangers.get(key)
        if source is None:
            source = self._make(key, host)
            if not source.is_trusted:
                self._strangers.put(key, source)
            else:
                if len(self._trusted) >= MAX_PROVEN:
                    self._trusted.clear()
                self._trusted[host] = source
        return source

    def _key_of(self, host: str) -> str:
        key = self._keys.get(host)
        if key is None:
            key = host if self._is_special(host) else source_key(host)
            self._keys.put(host, key)
        return key

    def keep(self, source: Source) -> None:
        """Remember a source whose address is proven where strangers cannot push it out."""
        self._proven.put(source.key, source)
