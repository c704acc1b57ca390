# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Bindings in an SQLite file, which survive a restart.

The file is checked, and made if need be, when the server starts; all later work is done in one
thread of :class:`twisted.enterprise.adbapi.ConnectionPool`, so that the reactor never waits for a
disk. The write-ahead log lets others read the file meanwhile.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from sipsess.interfaces import IBindingStore

from .binding import Binding, Source
from .store import StoreError, StoreFullError

#: What a file of ours says in ``PRAGMA user_version``; another number is of another sipsess.
SCHEMA_VERSION = 1
#: Seconds that a statement waits for somebody else who writes.
BUSY_LIMIT = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS bindings (
    user TEXT NOT NULL,
    position INTEGER NOT NULL,
    contact TEXT NOT NULL,
    expires REAL NOT NULL,
    call_id TEXT NOT NULL,
    cseq INTEGER NOT NULL,
    path TEXT NOT NULL,
    transport TEXT,
    listener TEXT,
    host TEXT,
    port INTEGER,
    serial INTEGER,
    is_pinned INTEGER NOT NULL,
    is_outbound INTEGER NOT NULL,
    user_agent TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    PRIMARY KEY (user, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS bindings_expires ON bindings (expires);
"""
_COLUMNS = (
    "user, contact, expires, call_id, cseq, path, transport, listener, host, port, serial, "
    "is_pinned, is_outbound, user_agent, endpoint"
)
_INSERT = f"INSERT INTO bindings ({_COLUMNS}, position) VALUES ({', '.join('?' * 16)})"


@implementer(IBindingStore)
class SQLiteStore:
    """
    Keeps bindings in a file.

    :param path: of the file; its directory must exist.
    :param reactor: whose threads do the work; provides ``IReactorThreads``.
    """

    def __init__(self, path: str, reactor: Any) -> None:
        self.path = os.path.abspath(path)
        self._reactor = reactor
        self._pool: ConnectionPool | None = None

    def open(self) -> None:
        """See :meth:`.IBindingStore.open`."""
        try:
            # What phones tell about themselves is nobody else's business.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            with closing(sqlite3.connect(self.path, timeout=BUSY_LIMIT)) as connection:
                self._prepare(connection)
        except OSError as error:
            raise StoreError(f"cannot open {self.path}: {error.strerror}") from error
        except sqlite3.Error as error:
            raise StoreError(
                f"{self.path} cannot be used for bindings ({error}); move it away, and phones "
                f"register again"
            ) from error
        self._pool = ConnectionPool(
            "sqlite3",
            self.path,
            timeout=BUSY_LIMIT,
            check_same_thread=False,
            cp_min=1,
            cp_max=1,
            cp_openfun=_set_up,
            cp_reactor=self._reactor,
        )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA_VERSION):
            raise StoreError(f"{self.path} was written by another version of sipsess ({version})")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute(f"SELECT {_COLUMNS}, position FROM bindings LIMIT 1").fetchone()
        connection.commit()

    def close(self) -> Deferred[None]:
        """See :meth:`.IBindingStore.close`."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
        return succeed(None)

    def _run(self, function: Any, *args: Any) -> Deferred[Any]:
        if self._pool is None:
            raise StoreError(f"{self.path} is closed")
        result: Deferred[Any] = self._pool.runInteraction(function, *args)
        return result

    def find(self, user: str, now: float) -> Deferred[Sequence[Binding]]:
        """See :meth:`.IBindingStore.find`."""
        return self._run(_find, user, now)

    def replace(self, user: str, bindings: Sequence[Binding], limit: int) -> Deferred[None]:
        """See :meth:`.IBindingStore.replace`."""
        return self._run(_replace, user, tuple(bindings), limit)

    def purge(self, now: float) -> Deferred[int]:
        """See :meth:`.IBindingStore.purge`."""
        return self._run(_purge, now)

    def list_bindings(self, limit: int, now: float) -> Deferred[Sequence[Binding]]:
        """See :meth:`.IBindingStore.list_bindings`."""
        return self._run(_list, limit, now)


def _set_up(connection: sqlite3.Connection) -> None:
    """Let a crash of the machine lose the last moments, but never the file."""
    connection.execute("PRAGMA synchronous=NORMAL")


def _find(cursor: sqlite3.Cursor, user: str, now: float) -> list[Binding]:
    cursor.execute(
        f"SELECT {_COLUMNS} FROM bindings WHERE user = ? AND expires > ? ORDER BY position",
        (user, now),
    )
    return _read(cursor.fetchall())


def _list(cursor: sqlite3.Cursor, limit: int, now: float) -> list[Binding]:
    cursor.execute(
        f"SELECT {_COLUMNS} FROM bindings WHERE expires > ? ORDER BY user, position LIMIT ?",
        (now, limit),
    )
    return _read(cursor.fetchall())


def _replace(cursor: sqlite3.Cursor, user: str, bindings: Sequence[Binding], limit: int) -> None:
    cursor.execute("DELETE FROM bindings WHERE user = ?", (user,))
    if len(bindings) > cursor.rowcount:
        (others,) = cursor.execute("SELECT count(*) FROM bindings").fetchone()
        if others + len(bindings) > limit:
            # The transaction is rolled back, so that what was deleted stays.
            raise StoreFullError(f"there are {others} bindings of others")
    cursor.executemany(
        _INSERT, [(*_write(binding), number) for number, binding in enumerate(bindings)]
    )


def _purge(cursor: sqlite3.Cursor, now: float) -> int:
    cursor.execute("DELETE FROM bindings WHERE expires <= ?", (now,))
    return cursor.rowcount


def _write(binding: Binding) -> tuple[Any, ...]:
    source = binding.source
    way: tuple[Any, ...] = (None,) * 5
    if source is not None:
        way = (source.transport, source.listener, *source.remote, source.serial)
    return (
        *(binding.user, binding.contact, binding.expires),
        *(binding.call_id, binding.cseq, json.dumps(binding.path), *way),
        *(binding.is_pinned, binding.is_outbound, binding.user_agent, binding.endpoint),
    )


def _read(rows: Iterable[Sequence[Any]]) -> list[Binding]:
    found = []
    for user, contact, expires, call_id, cseq, path, *way, pinned, outbound, agent, name in rows:
        transport, listener, host, port, serial = way
        source = None if transport is None else Source(transport, listener, (host, port), serial)
        found.append(
            Binding(
                *(user, contact, expires, call_id, cseq, tuple(json.loads(path)), source),
                *(bool(pinned), bool(outbound), agent, name),
            )
        )
    return found
