# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The stores of bindings: memory and SQLite keep the same promises."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from typing import Any

from twisted.enterprise import adbapi
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.interfaces import IBindingStore
from sipsess.registrar import Binding, MemoryStore, Source, StoreError, StoreFullError
from sipsess.registrar import sqlite as module
from sipsess.registrar.sqlite import SQLiteStore


def binding(user: str = "alice", port: int = 5060, expires: float = 100.0) -> Binding:
    """Return a binding."""
    return Binding(user, f"<sip:{user}@192.0.2.7:{port}>;q=0.5", expires, "call", 3)


FULL = Binding(
    user="jörg",
    contact='<sip:j@10.0.0.7>;+sip.instance="<urn:uuid:1>";reg-id=1',
    expires=99.5,
    call_id="id",
    cseq=2**31 - 1,
    path=("<sip:p1.example;lr>", "<sip:p2.example;lr>"),
    source=Source("TLS", "tls:5061", ("::1", 4711), 7),
    is_pinned=True,
    is_outbound=True,
    user_agent="Phone 1",
    endpoint="phones",
)


class DirectPool:
    """What the store needs of a ConnectionPool, in the thread of the test."""

    def __init__(self, driver: str, path: str, **options: Any) -> None:
        self.options = {name: options.pop(name) for name in list(options) if name[:3] == "cp_"}
        self._connection = sqlite3.connect(path, **options)
        self.options["cp_openfun"](self._connection)

    def runInteraction(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Do it now, in one transaction."""

        def run() -> Any:
            with self._connection:
                return function(self._connection.cursor(), *args)

        return maybeDeferred(run)

    def close(self) -> None:
        """Close."""
        self._connection.close()


class Promises:
    """What each store keeps; the base of the cases below."""

    store: Any
    successResultOf: Any
    failureResultOf: Any
    assertEqual: Any

    def put(self, user: str, *bindings: Binding, limit: int = 100) -> None:
        """Store the bindings of a user."""
        self.assertEqual(self.successResultOf(self.store.replace(user, bindings, limit)), None)

    def found(self, user: str = "alice", now: float = 0.0) -> list[Binding]:
        """Return what is found of a user."""
        return list(self.successResultOf(self.store.find(user, now)))

    def test_the_interface(self) -> None:
        """It is what the interface says."""
        verifyObject(IBindingStore, self.store)

    def test_kept(self) -> None:
        """What was stored is found, in its order, with all that was said."""
        self.put("jörg", FULL, binding("jörg", 1), binding("jörg", 2))
        self.assertEqual(self.found("jörg"), [FULL, binding("jörg", 1), binding("jörg", 2)])
        self.assertEqual(self.found("bob"), [])

    def test_replaced(self) -> None:
        """A change stands for all bindings of the user, and of nobody else."""
        self.put("alice", binding(), binding(port=2))
        self.put("bob", binding("bob"))
        self.put("alice", binding(port=3))
        self.assertEqual(self.found(), [binding(port=3)])
        self.put("alice")
        self.assertEqual((self.found(), self.found("bob")), ([], [binding("bob")]))

    def test_expired(self) -> None:
        """What has expired is neither found nor listed, and is thrown away when asked to."""
        self.put("alice", binding(expires=10.0), binding(port=2, expires=20.0))
        self.put("bob", binding("bob", expires=5.0))
        self.assertEqual(self.found(now=10.0), [binding(port=2, expires=20.0)])
        listed = self.successResultOf(self.store.list_bindings(9, 10.0))
        self.assertEqual(list(listed), [binding(port=2, expires=20.0)])
        self.assertEqual(self.successResultOf(self.store.purge(10.0)), 2)
        self.assertEqual(self.successResultOf(self.store.purge(10.0)), 0)
        self.assertEqual(self.found(), [binding(port=2, expires=20.0)])
        self.assertEqual(self.found("bob"), [])

    def test_limit(self) -> None:
        """There are no more than a number in all; those who get fewer are never refused."""
        self.put("alice", binding(), binding(port=2), limit=2)
        refused = self.store.replace("bob", [binding("bob")], 2)
        self.failureResultOf(refused, StoreFullError)
        self.failureResultOf(self.store.replace("alice", [binding()] * 3, 2), StoreFullError)
        self.assertEqual(len(self.found()), 2)
        self.put("alice", binding(), binding(port=3), limit=1)
        self.put("alice", binding(), limit=0)
        self.put("bob", binding("bob"), limit=2)

    def test_listed(self) -> None:
        """All are listed by user, as many as were asked for."""
        self.put("bob", binding("bob"))
        self.put("alice", binding(), binding(port=2))
        listed = self.successResultOf(self.store.list_bindings(2, 0.0))
        self.assertEqual(list(listed), [binding(), binding(port=2)])
        self.assertEqual(len(self.successResultOf(self.store.list_bindings(9, 0.0))), 3)


class MemoryTests(Promises, SynchronousTestCase):
    """The store in memory."""

    def setUp(self) -> None:
        """Make one."""
        self.store = MemoryStore()
        self.store.open()
        self.addCleanup(self.store.close)


class SQLiteTests(Promises, SynchronousTestCase):
    """The store in a file."""

    def setUp(self) -> None:
        """Make one."""
        self.patch(module, "ConnectionPool", DirectPool)
        self.path = os.path.join(self.mktemp(), "bindings.sqlite")
        os.makedirs(os.path.dirname(self.path))
        self.store = self.opened()

    def opened(self) -> SQLiteStore:
        """Return the store of the file, ready for work."""
        store = SQLiteStore(self.path, reactor=None)
        store.open()
        self.addCleanup(store.close)
        return store

    def broken(self, pattern: str, path: str | None = None) -> None:
        """Check that a file is refused, in words that help."""
        with self.assertRaisesRegex(StoreError, pattern):
            SQLiteStore(path or self.path, None).open()

    def test_the_pool_is_the_real_one(self) -> None:
        """The class that the tests replace takes the arguments that the store gives."""
        pool = adbapi.ConnectionPool
        self.assertTrue(callable(pool.runInteraction) and callable(pool.close))

    def test_restart(self) -> None:
        """Another process finds what the first one stored."""
        self.put("jörg", FULL)
        self.store.close()
        self.store = self.opened()
        self.assertEqual(self.found("jörg"), [FULL])

    def test_private(self) -> None:
        """The file is its user's alone, and others may read while one writes."""
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        with closing(sqlite3.connect(self.path)) as connection:
            mode = connection.execute("PRAGMA journal_mode").fetchone()
        self.assertEqual(mode, ("wal",))

    def test_no_database(self) -> None:
        """A file of something else stops the start, and is left alone."""
        self.store.close()
        os.unlink(self.path)
        with open(self.path, "w", encoding="ascii") as file:
            file.write("these are no bindings, but something that somebody needs" * 20)
        self.broken("cannot be used for bindings.*move it away")
        with open(self.path, encoding="ascii") as file:
            self.assertTrue(file.read().startswith("these are no bindings"))

    def test_other_tables(self) -> None:
        """So does a database whose table is another one."""
        self.store.close()
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript("DROP TABLE bindings; CREATE TABLE bindings (expires REAL)")
        self.broken("cannot be used for bindings.*no such column")

    def test_other_version(self) -> None:
        """So does one of a later sipsess."""
        self.store.close()
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA user_version = 7")
        self.broken("another version of sipsess")

    def test_no_directory(self) -> None:
        """So does a directory that is not there."""
        self.broken("cannot open /nowhere/at/all: No such file", "/nowhere/at/all")

    def test_closed(self) -> None:
        """A store that is closed says so; closing twice is harmless."""
        self.store.close()
        with self.assertRaisesRegex(StoreError, "is closed"):
            self.store.find("alice", 0.0)
        self.assertIsNone(self.successResultOf(self.store.close()))
