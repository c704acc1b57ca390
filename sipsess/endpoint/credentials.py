# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What this side holds to answer challenges by digest (:rfc:`7616`, :rfc:`8760`).

A login is for one realm. A realm is what the challenger calls itself, so that an answer for any
other one would let whoever challenges learn something about a password that is none of its
business; :data:`ANY_REALM` says that this is meant.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from zope.interface import implementer

from sipsess.ids import IdSource
from sipsess.interfaces import ICredentials
from sipsess.message import Request
from sipsess.message.challenge import Challenge
from sipsess.message.digest import ALGORITHMS, answer_challenge

#: The realm of a login that answers whoever asks.
ANY_REALM = "*"
#: Nonces whose uses are counted, one for each realm; whoever is forgotten says ``stale``.
MAX_NONCES = 64


@dataclass(frozen=True, slots=True)
class Login:
    """One user and password, and who may ask for them."""

    #: The realm as its challenges spell it, or ``"*"`` for any.
    realm: str
    user: str
    #: Never printed.
    password: str = field(repr=False)


@implementer(ICredentials)
@dataclass(frozen=True, slots=True)
class DigestCredentials:
    """
    Answers Digest challenges.

    One object may serve any number of calls and endpoints: it counts how often a nonce is used
    (``nc``), so that a peer that gives the same one again is answered properly.
    """

    #: A login of the very realm goes before one of any realm; the first one counts.
    logins: tuple[Login, ...]
    #: The algorithms that are answered; leave MD5 out when the peer knows better.
    algorithms: frozenset[str] = frozenset(ALGORITHMS)
    _ids: IdSource = field(default_factory=IdSource, init=False, repr=False, compare=False)
    #: By realm: its last nonce, and how often it was used.
    _nonces: dict[str, tuple[str, int]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def answer_challenge(self, request: Request, challenge: Challenge) -> str | None:
        """See :meth:`.ICredentials.answer_challenge`."""
        login = self._find(challenge)
        if login is None or not challenge.is_digest or not challenge.nonce:
            return None
        if challenge.algorithm not in self.algorithms:
            return None
        try:
            answer = answer_challenge(
                challenge,
                username=login.user,
                password=login.password,
                method=request.method,
                uri=request.uri,
                body=request.body,
                cnonce=self._ids.token(24),
                count=self._count(challenge),
            )
        except LookupError:
            return None
        return str(answer)

    def _find(self, challenge: Challenge) -> Login | None:
        for realm in (challenge.realm, ANY_REALM):
            for login in self.logins:
                if login.realm == realm:
                    return login
        return None

    def _count(self, challenge: Challenge) -> int:
        """Return how often the nonce is used, this time included (:rfc:`7616#section-3.4`)."""
        nonce, count = self._nonces.pop(challenge.realm, ("", 0))
        if nonce != challenge.nonce:
            count = 0
        if len(self._nonces) >= MAX_NONCES:
            del self._nonces[next(iter(self._nonces))]
        self._nonces[challenge.realm] = (challenge.nonce, count + 1)
        return count + 1
