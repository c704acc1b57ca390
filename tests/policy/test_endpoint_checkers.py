# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Who has which password: checkers, stores, and the realm that gives an endpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernameHashedPassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface, implementer
from zope.interface.verify import verifyObject

from sipsess.endpoint import (
    Endpoint,
    EndpointRealm,
    HA1Checker,
    HtdigestFile,
    MemoryStore,
    common_algorithms,
)
from sipsess.endpoint.checkers import DigestProof, format_lines
from sipsess.errors import LocalError
from sipsess.interfaces import IDigestProof, IEndpoint, IHA1Store
from sipsess.message.digest import ALGORITHMS, Authorization, make_ha1

REALM = "pbx.example"
BODY = b"v=0"


def prove(
    user: str = "bob", password: str = "zanzibar", algorithm: str = "SHA-256", realm: str = REALM
) -> DigestProof:
    """Return what who knows that password sends."""
    asked = Authorization(
        user, realm, "n", "sip:x", "", algorithm, "auth-int", cnonce="c", nc="00000001"
    )
    ha1 = make_ha1(algorithm, user, realm, password)
    return DigestProof(
        replace(asked, response=asked.compute_response(ha1, "INVITE", BODY)), "INVITE", BODY
    )


@implementer(IHA1Store)
class SlowStore:
    """A store that takes its time."""

    name = "slow"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Deferred[str | None] = Deferred()

    def find_ha1(self, username: str, realm: str, algorithm: str) -> Deferred[str | None]:
        """Note it."""
        self.asked.append(username)
        return self.answer


class ProofTests(SynchronousTestCase):
    """What a peer has sent."""

    def test_interfaces(self) -> None:
        """It is what our checkers want, and what Twisted's own do that keep passwords."""
        verifyObject(IDigestProof, prove())
        verifyObject(IUsernameHashedPassword, prove())

    def test_check(self) -> None:
        """The right hash or password proves it, in each algorithm, and nothing else does."""
        for algorithm in ALGORITHMS:
            proof = prove(algorithm=algorithm)
            self.assertTrue(proof.check_ha1(make_ha1(algorithm, "bob", REALM, "zanzibar")))
            self.assertFalse(proof.check_ha1(make_ha1(algorithm, "bob", "other", "zanzibar")))
            self.assertTrue(proof.checkPassword("zanzibar"))
            self.assertTrue(proof.checkPassword(b"zanzibar"))
            self.assertFalse(proof.checkPassword("Zanzibar"))

    def test_any_response(self) -> None:
        """A response of letters beyond ASCII, of none, or of thousands is wrong, and no error."""
        for response in ("", "\xe4" * 64, "\udcff", "0" * 8000):
            asked = Authorization("bob", REALM, "n", "sip:x", response)
            self.assertFalse(DigestProof(asked, "INVITE", b"").check_ha1("0" * 32))

    def test_spend(self) -> None:
        """The work is done once, whether or not the checker has done it."""
        for is_checked in (True, False):
            proof = prove()
            if is_checked:
                proof.check_ha1("0" * 64)
            with patch.object(Authorization, "compute_response", return_value="0") as compute:
                proof.spend()
                proof.spend()
            self.assertEqual(compute.call_count, 0 if is_checked else 1)


class CheckerTests(SynchronousTestCase):
    """The checker, and the stores behind it."""

    def setUp(self) -> None:
        """Make a store that knows Bob."""
        self.store = MemoryStore()
        self.store.add("bob", REALM, "zanzibar")
        self.checker = HA1Checker([self.store])

    def test_interfaces(self) -> None:
        """Portals and checkers find what they need."""
        verifyObject(ICredentialsChecker, self.checker)
        verifyObject(IHA1Store, self.store)
        verifyObject(IRealm, EndpointRealm([]))

    def test_right_and_wrong(self) -> None:
        """Bob is Bob; a wrong password, another realm and an unknown user are all the same."""
        self.assertEqual(self.successResultOf(self.checker.requestAvatarId(prove())), b"bob")
        for proof in (prove(password="x"), prove(realm="x"), prove("eve"), prove("eve", "")):
            failure = self.failureResultOf(self.checker.requestAvatarId(proof), UnauthorizedLogin)
            self.assertEqual(str(failure.value), "")

    def test_same_work_for_unknown_users(self) -> None:
        """All stores are asked, and one response is computed, whoever it is."""
        other = MemoryStore("other")
        checker = HA1Checker([self.store, other])
        work: list[tuple[str, int]] = []

        class Watched(DigestProof):
            """Notes how often it is asked, and with how much."""

            def check_ha1(self, ha1: str) -> bool:
                """Note it."""
                work.append((self.user, len(ha1)))
                return super().check_ha1(ha1)

        for user in ("bob", "eve"):
            asked = Authorization(user, REALM, "n", "sip:x", "0" * 64, "SHA-256")
            self.failureResultOf(checker.requestAvatarId(Watched(asked, "INVITE", b"")))
        self.assertEqual(work, [("bob", 64), ("eve", 64)])

    def test_nobodys_hash_opens_nothing(self) -> None:
        """Who computes his answer from what is compared for an unknown user is not let in."""
        from sipsess.endpoint.checkers import _NOBODYS

        for algorithm, ha1 in _NOBODYS.items():
            asked = Authorization("eve", REALM, "n", "sip:x", "", algorithm)
            answer = replace(asked, response=asked.compute_response(ha1, "INVITE", b""))
            proof = DigestProof(answer, "INVITE", b"")
            self.assertTrue(proof.check_ha1(ha1))
            self.failureResultOf(self.checker.requestAvatarId(proof), UnauthorizedLogin)

    def test_slow_store(self) -> None:
        """A store may take its time; the first store that knows a user counts."""
        slow = SlowStore()
        verifyObject(IHA1Store, slow)
        checker = HA1Checker([self.store, slow])
        waiting = checker.requestAvatarId(prove())
        self.assertNoResult(waiting)
        slow.answer.callback("0" * 64)
        self.assertEqual(self.successResultOf(waiting), b"bob")
        self.assertEqual(slow.asked, ["bob"])

    def test_twisted_checker(self) -> None:
        """A checker of Twisted that keeps passwords does as well."""
        bob = Endpoint("bob", digest_users=frozenset({"bob"}))
        checker = InMemoryUsernamePasswordDatabaseDontUse(bob=b"zanzibar")
        portal = Portal(EndpointRealm([bob]), [checker])
        for proof, is_right in ((prove(), True), (prove(password="x"), False)):
            login = portal.login(proof, None, IEndpoint)
            if is_right:
                self.assertIs(self.successResultOf(login)[1], bob)
            else:
                self.failureResultOf(login, UnauthorizedLogin)


class RealmTests(SynchronousTestCase):
    """Which endpoint a user is."""

    def test_endpoints(self) -> None:
        """The first endpoint that names the user; a user of none is refused."""
        first = Endpoint("first", digest_users=frozenset({"bob"}))
        second = Endpoint("second", digest_users=frozenset({"bob", "carol"}))
        realm = EndpointRealm([first, second])
        for user, expected in ((b"bob", first), (b"carol", second)):
            interface, endpoint, log_out = realm.requestAvatar(user, None, IEndpoint)
            self.assertEqual((interface, endpoint), (IEndpoint, expected))
            verifyObject(IEndpoint, endpoint)
            log_out()
        self.assertRaises(UnauthorizedLogin, realm.requestAvatar, b"eve", None, IEndpoint)
        self.assertRaises(UnauthorizedLogin, realm.requestAvatar, (), None, IEndpoint)
        self.assertRaises(NotImplementedError, realm.requestAvatar, b"bob", None, Interface)


class StoreTests(SynchronousTestCase):
    """What is kept of passwords."""

    def test_no_password(self) -> None:
        """Only hashes are kept."""
        store = MemoryStore()
        store.add("bob", REALM, "zanzibar")
        self.assertEqual(len(store), len(ALGORITHMS))
        self.assertNotIn("zanzibar", str(vars(store)))

    def test_algorithms(self) -> None:
        """A gate can offer what all users can answer."""
        store = MemoryStore()
        self.assertEqual(store.algorithms(REALM), tuple(ALGORITHMS))
        store.add("bob", REALM, "zanzibar")
        store.add_ha1("old", "other", "MD5", "A" * 32)
        self.assertEqual(store.algorithms("other"), ("MD5",))
        self.assertEqual(store.find_ha1("old", "other", "MD5"), "a" * 32)
        self.assertEqual(common_algorithms([store, MemoryStore()], REALM), ("SHA-256", "MD5"))
        self.assertEqual(common_algorithms([store], REALM, ["SHA-512-256"]), ("SHA-512-256",))
        self.assertEqual(common_algorithms([store], "other"), ("MD5",))

    def test_no_hash(self) -> None:
        """What is no HA1 is refused, and not repeated: it may be a password."""
        for algorithm, ha1 in (("MD5", "zanzibar"), ("MD5", "g" * 32), ("SHA-256", "0" * 32)):
            error = self.assertRaises(LocalError, MemoryStore().add_ha1, "b", "r", algorithm, ha1)
            self.assertNotIn(ha1, str(error))
        self.assertRaises(LocalError, MemoryStore().add_ha1, "b", "r", "SHA-1", "0" * 40)


class FileTests(SynchronousTestCase):
    """The format of htdigest."""

    def write(self, *lines: str) -> Path:
        """Write a file."""
        path = Path(self.mktemp())
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    def test_file(self) -> None:
        """Lines of htdigest, and those of other algorithms."""
        md5 = make_ha1("MD5", "carol", REALM, "x")
        path = self.write("# users", "", f"carol:{REALM}:{md5}", *format_lines("bob", REALM, "y"))
        store = HtdigestFile(path)
        verifyObject(IHA1Store, store)
        self.assertEqual(store.find_ha1("carol", REALM, "MD5"), md5)
        self.assertIsNone(store.find_ha1("carol", REALM, "SHA-256"))
        for algorithm in ALGORITHMS:
            expected = make_ha1(algorithm, "bob", REALM, "y")
            self.assertEqual(store.find_ha1("bob", REALM, algorithm), expected)

    def test_reload(self) -> None:
        """It is read again when told to; when it is broken then, what was known stays."""
        path = self.write(*format_lines("bob", REALM, "y"))
        store = HtdigestFile(path)
        path.write_text("\n".join(format_lines("carol", REALM, "y")), encoding="utf-8")
        store.reload()
        self.assertIsNone(store.find_ha1("bob", REALM, "MD5"))
        path.write_text("nonsense", encoding="utf-8")
        self.assertRaises(LocalError, store.reload)
        self.assertIsNotNone(store.find_ha1("carol", REALM, "MD5"))

    def test_bad_file(self) -> None:
        """The error names file and line, and says nothing of what stands there."""
        for line in (
            "bob:zanzibar",
            "bob:r:zanzibar",
            "bob::zanzibar",
            "b:r:zanzibar:SHA-1",
            "a:b:c:d:zanzibar",
        ):
            path = self.write("# a comment", line)
            error = self.assertRaises(LocalError, HtdigestFile, path)
            self.assertIn(f"{path}, line 2: ", str(error))
            self.assertNotIn("zanzibar", str(error))
        self.assertRaises(LocalError, HtdigestFile, Path(self.mktemp()))
        path = self.write()
        path.write_bytes(b"\xff")
        self.assertRaises(LocalError, HtdigestFile, path)

    def test_names_that_cannot_stand_there(self) -> None:
        """A colon or a line break would be another user, or another line."""
        for user in ("b:c", "b\nc", "", "#b"):
            self.assertRaises(LocalError, format_lines, user, REALM, "x")
        self.assertRaises(LocalError, format_lines, "b", "a:b", "x")
