# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Users and their proofs, in the terms of ``twisted.cred``.

A :class:`DigestProof` is what a peer has sent. :class:`HA1Checker` compares it with what stores
know; :class:`EndpointRealm` says which endpoint a proven user is. Any other checker for
:class:`.IDigestProof` or ``IUsernameHashedPassword`` does as well::

    users = MemoryStore("users")
    users.add("bob", "pbx.example", "zanzibar")
    portal = Portal(EndpointRealm([Endpoint("bob", digest_users=frozenset({"bob"}))]))
    portal.registerChecker(HA1Checker([users]))

Passwords are not kept: a HA1 opens its realm, and nothing else that has the same password.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable
from os import PathLike
from pathlib import Path

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernameHashedPassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred
from zope.interface import Interface, implementer

from sipsess.errors import LocalError
from sipsess.interfaces import IDigestProof, IEndpoint, IHA1Store
from sipsess.message.digest import ALGORITHMS, Authorization, hash_text, make_ha1

from .endpoint import Endpoint

#: What is offered unless somebody says otherwise: the best that phones have, and what all have.
DEFAULT_ALGORITHMS = ("SHA-256", "MD5")
#: By algorithm: what stands for the HA1 of an unknown user.
_NOBODYS = {algorithm: hash_text(algorithm, "") for algorithm in ALGORITHMS}


@implementer(IDigestProof, IUsernameHashedPassword)
class DigestProof:
    """
    An answer to a challenge, which nobody has checked yet.

    :param authorization: of an algorithm that is known.
    :param method: of the request that it came with.
    :param body: likewise.
    """

    __slots__ = (
        "_authorization",
        "_body",
        "_is_spent",
        "_method",
        "algorithm",
        "realm",
        "user",
        "username",
    )

    def __init__(self, authorization: Authorization, method: str, body: bytes) -> None:
        self._authorization = authorization
        self._method = method
        self._body = body
        self._is_spent = False
        self.user = authorization.username
        #: The same, for checkers of Twisted.
        self.username = authorization.username.encode("utf-8", "surrogateescape")
        self.realm = authorization.realm
        self.algorithm = authorization.algorithm

    def check_ha1(self, ha1: str) -> bool:
        """See :meth:`.IDigestProof.check_ha1`."""
        self._is_spent = True
        authorization = self._authorization
        expected = authorization.compute_response(ha1, self._method, self._body)
        # Bytes, as the comparison takes no text beyond ASCII, and a peer may send any.
        given = authorization.response.encode("utf-8", "surrogateescape")
        return hmac.compare_digest(expected.encode(), given)

    def spend(self) -> None:
        """Do the work of a check if no checker has, as for a user that it does not know."""
        if not self._is_spent:
            self.checkPassword("")

    def checkPassword(self, password: str | bytes) -> bool:
        """Tell whether the peer knows ``password``, for checkers that keep passwords."""
        if isinstance(password, bytes):
            password = password.decode("utf-8", "surrogateescape")
        return self.check_ha1(make_ha1(self.algorithm, self.user, self.realm, password))


@implementer(ICredentialsChecker)
class HA1Checker:
    """
    Checks digests against stores; for an unknown user it does the same work.

    :param stores: asked one after the other, all of them each time; the first one that knows a
        user counts.
    """

    credentialInterfaces = (IDigestProof,)

    def __init__(self, stores: Iterable[IHA1Store]) -> None:
        self.stores = tuple(stores)

    def requestAvatarId(self, credentials: IDigestProof) -> Deferred[bytes | tuple[()]]:
        """
        Say who has sent a proof.

        :return: fires with the user's name in UTF-8; fails with ``UnauthorizedLogin``.
        """
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, proof: IDigestProof) -> bytes | tuple[()]:
        found: str | None = None
        for store in self.stores:
            ha1 = store.find_ha1(proof.user, proof.realm, proof.algorithm)
            if isinstance(ha1, Awaitable):
                ha1 = await ha1
            found = found or ha1
        # Of an unknown user, something of the same length is compared, and does not count.
        is_right = proof.check_ha1(found or _NOBODYS[proof.algorithm])
        if found is None or not is_right:
            raise UnauthorizedLogin
        return proof.user.encode("utf-8", "surrogateescape")


@implementer(IRealm)
class EndpointRealm:
    """
    Says which endpoint a proven user is: the first one that names it.

    :param endpoints: in this order.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._endpoints: dict[str, Endpoint] = {}
        for endpoint in endpoints:
            for user in endpoint.digest_users:
                self._endpoints.setdefault(user, endpoint)

    def requestAvatar(
        self, avatarId: bytes | tuple[()], mind: object, *interfaces: type[Interface]
    ) -> tuple[type[Interface], Endpoint, Callable[[], None]]:
        """
        Return the endpoint of a user.

        :raises UnauthorizedLogin: when no endpoint names it.
        :raises NotImplementedError: when no :class:`.IEndpoint` is wanted.
        """
        if IEndpoint not in interfaces:
            raise NotImplementedError("a user of SIP is an endpoint, and nothing else")
        name = bytes(avatarId).decode("utf-8", "surrogateescape")
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            raise UnauthorizedLogin
        return IEndpoint, endpoint, _log_out


def _log_out() -> None:
    """End what a proof has begun: nothing, as each request brings its own."""


@implementer(IHA1Store)
class MemoryStore:
    """
    Users in memory.

    :param name: for people.
    """

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        #: By user, realm and algorithm.
        self._ha1s: dict[tuple[str, str, str], str] = {}

    def __len__(self) -> int:
        """Return how many hashes there are."""
        return len(self._ha1s)

    def add(self, username: str, realm: str, password: str) -> None:
        """Add a user for every algorithm; the password itself is forgotten."""
        for algorithm in ALGORITHMS:
            self.add_ha1(username, realm, algorithm, make_ha1(algorithm, username, realm, password))

    def add_ha1(self, username: str, realm: str, algorithm: str, ha1: str) -> None:
        """
        Add a user for one algorithm.

        :raises LocalError: when ``ha1`` is no hash of that algorithm.
        """
        check_ha1(algorithm, ha1)
        self._ha1s[username, realm, algorithm] = ha1.lower()

    def find_ha1(self, username: str, realm: str, algorithm: str) -> str | None:
        """See :meth:`.IHA1Store.find_ha1`."""
        return self._ha1s.get((username, realm, algorithm))

    def algorithms(self, realm: str) -> tuple[str, ...]:
        """Return the algorithms that all users of a realm can prove themselves with."""
        users = {user for user, where, _ in self._ha1s if where == realm}
        return tuple(
            algorithm
            for algorithm in ALGORITHMS
            if all((user, realm, algorithm) in self._ha1s for user in users)
        )


def common_algorithms(
    stores: Iterable[MemoryStore], realm: str, wanted: Iterable[str] = DEFAULT_ALGORITHMS
) -> tuple[str, ...]:
    """
    Return what a gate can offer: of ``wanted``, what all users of all stores can answer.

    A peer takes the best that is offered, whatever is known of its user; so one user of whom only
    an MD5 hash is known leaves MD5 for everybody.
    """
    known = [store.algorithms(realm) for store in stores]
    return tuple(name for name in wanted if all(name in names for names in known))


def check_ha1(algorithm: str, ha1: str) -> None:
    """
    Refuse what is no HA1; what it is instead, which may be a password, is not repeated.

    :raises LocalError: when it is none, or the algorithm is unknown.
    """
    if algorithm not in ALGORITHMS:
        raise LocalError(f"{algorithm!r} is no algorithm; there are: {', '.join(ALGORITHMS)}")
    length = len(_NOBODYS[algorithm])
    if len(ha1) != length or not frozenset("0123456789abcdefABCDEF").issuperset(ha1):
        raise LocalError(f"a HA1 of {algorithm} is {length} hexadecimal digits")


class HtdigestFile(MemoryStore):
    """
    Users in a file, as ``htdigest`` of Apache writes it.

    A line is ``user:realm:HA1`` for MD5, and ``user:realm:HA1:algorithm`` for all others; empty
    ones, and those that begin with ``#``, say nothing. :func:`format_lines` makes them.

    :param path: read at once, and again by :meth:`reload`.
    :raises LocalError: when it cannot be read, with the number of the line.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(str(path))
        self._path = Path(path)
        self.reload()

    def reload(self) -> None:
        """
        Read the file again; when it cannot be read, what is known stays.

        :raises LocalError: when it cannot be read, with the number of the line.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise LocalError(f"{self._path} cannot be read: {error}") from error
        fresh = MemoryStore()
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                try:
                    _add_line(fresh, line)
                except LocalError as error:
                    raise LocalError(f"{self._path}, line {number}: {error}") from error
        self._ha1s = fresh._ha1s


def _add_line(store: MemoryStore, line: str) -> None:
    """
    Add one line of a file.

    :raises LocalError: when it is none.
    """
    parts = line.strip().split(":")
    if len(parts) not in (3, 4) or not all(parts):
        raise LocalError("a line is user:realm:HA1 or user:realm:HA1:algorithm")
    username, realm, ha1, algorithm = (*parts, "MD5")[:4]
    store.add_ha1(username, realm, algorithm.upper(), ha1)


def format_lines(username: str, realm: str, password: str) -> list[str]:
    """
    Return the lines of a user for :class:`HtdigestFile`, one for each algorithm.

    :raises LocalError: when the name or the realm cannot stand in a file.
    """
    for text in (username, realm):
        if not text.isprintable() or not text or ":" in text or text.startswith("#"):
            raise LocalError(f"{text!r} cannot stand in a file: no colon, no line break")
    return [
        ":".join((username, realm, make_ha1(algorithm, username, realm, password), algorithm))
        for algorithm in ALGORITHMS
    ]
