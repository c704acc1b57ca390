# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Challenges: what WWW-Authenticate and Proxy-Authenticate ask for (:rfc:`3261#section-20.44`).

::

    WWW-Authenticate: Digest realm="pbx.example", nonce="f84f1c", algorithm=SHA-256, qop="auth"
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sipsess.message._errors import MessageError
from sipsess.message._headers import Headers
from sipsess.message._lex import check_token, is_token, quote, split_list
from sipsess.message._params import Params
from sipsess.message.limits import MAX_PARAMS

#: Challenges of one response that are looked at; one per realm and algorithm is the rule.
MAX_CHALLENGES = 16

#: Where challenges stand, and where the answers go: by status (22.2, 22.3).
ANSWERED_BY = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}

#: The algorithm of a challenge that names none (:rfc:`7616#section-3.3`).
DEFAULT_ALGORITHM = "MD5"


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge."""

    #: ``"Digest"``, as it was written.
    scheme: str
    #: ``realm``, ``nonce``..., without quotation marks.
    params: Params

    @classmethod
    def parse(cls, text: str) -> Challenge:
        """
        Read a value.

        :raises MessageError: when it has no scheme, or a parameter that cannot be read.
        """
        scheme, *rest = text.split(None, 1)[:2] or [""]
        parts = split_list(rest[0]) if rest else []
        if not is_token(scheme) or not parts or len(parts) > MAX_PARAMS:
            raise MessageError("bad-challenge", f"{text[:80]!r} is no challenge")
        return cls(scheme, Params.parse(";".join(parts)))

    @property
    def is_digest(self) -> bool:
        """Whether the scheme is Digest; its case means nothing (:rfc:`3261#section-7.3.1`)."""
        return self.scheme.lower() == "digest"

    @property
    def realm(self) -> str:
        """Whose users are asked for; empty when it does not say."""
        return self.params.get("realm") or ""

    @property
    def nonce(self) -> str:
        """What the answer is made of; empty when it does not say."""
        return self.params.get("nonce") or ""

    @property
    def opaque(self) -> str | None:
        """What the answer repeats, or ``None``."""
        return self.params.get("opaque")

    @property
    def algorithm(self) -> str:
        """The algorithm in capitals; MD5 when it does not say."""
        return (self.params.get("algorithm") or DEFAULT_ALGORITHM).upper()

    @property
    def qop(self) -> tuple[str, ...] | None:
        """The qualities of protection that are offered, in lower case; ``None`` without any."""
        text = self.params.get("qop")
        if text is None:
            return None
        return tuple(word.strip().lower() for word in text.split(",") if word.strip())

    @property
    def is_stale(self) -> bool:
        """Whether only the nonce was too old, and the credentials were right."""
        return (self.params.get("stale") or "").lower() == "true"

    @property
    def wants_userhash(self) -> bool:
        """Whether the user's name shall come as a hash (:rfc:`7616#section-3.4.4`)."""
        return (self.params.get("userhash") or "").lower() == "true"


def get_challenges(headers: Headers, name: str) -> list[Challenge]:
    """
    Return the challenges of a response, in its order; those that cannot be read are left out.

    :param name: ``WWW-Authenticate`` or ``Proxy-Authenticate``.
    """
    found = []
    # 7.3.1: their grammar allows no list in one header, and a comma stands between parameters.
    for text in headers.get_all(name)[:MAX_CHALLENGES]:
        try:
            found.append(Challenge.parse(text))
        except MessageError:
            continue
    return found


def format_challenge(
    realm: str,
    nonce: str,
    *,
    algorithm: str,
    qop: Iterable[str] = ("auth",),
    is_stale: bool = False,
) -> str:
    """
    Return the value of a Digest challenge.

    :param qop: what the UAS takes; :rfc:`3261#section-22.4` wants at least one.
    :raises HeaderValueError: when something of it cannot be written.
    """
    return format_digest(
        {"realm": realm, "nonce": nonce, "qop": ",".join(qop)},
        {"algorithm": algorithm, **({"stale": "true"} if is_stale else {})},
    )


def format_digest(quoted: dict[str, str], bare: dict[str, str]) -> str:
    """
    Return a value of the scheme Digest.

    Which parameters are quoted is not free: many peers read only what the grammar says.

    :param quoted: parameters that are quoted strings.
    :param bare: parameters that are tokens.
    :raises HeaderValueError: when a value holds a line break or NUL, or is no token.
    """
    parts = [f"{name}={quote(value)}" for name, value in quoted.items()]
    parts += [f"{name}={check_token(value, name)}" for name, value in bare.items()]
    return "Digest " + ", ".join(parts)
