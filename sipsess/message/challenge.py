# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Challenges: what WWW-Authenticate and Proxy-Authenticate ask for (:rfc:`3261#section-20.44`).

::

    WWW-Authenticate: Digest realm="pbx.example", nonce="f84f1c", algorithm=SHA-256, qop="auth"
"""

from __future__ import annotations

from dataclasses import dataclass

from sipsess.message._errors import MessageError
from sipsess.message._headers import Headers
from sipsess.message._lex import is_token, split_list
from sipsess.message._params import Params
from sipsess.message.limits import MAX_PARAMS

#: Challenges of one response that are looked at; one per realm and algorithm is the rule.
MAX_CHALLENGES = 16


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
        scheme, _, rest = text.strip().partition(" ")
        parts = split_list(rest)
        if not is_token(scheme) or not parts or len(parts) > MAX_PARAMS:
            raise MessageError("bad-challenge", f"{text[:80]!r} is no challenge")
        return cls(scheme, Params.parse(";".join(parts)))

    @property
    def realm(self) -> str:
        """Whose users are asked for; empty when it does not say."""
        return self.params.get("realm") or ""

    @property
    def is_stale(self) -> bool:
        """Whether only the nonce was too old, and the credentials were right."""
        return (self.params.get("stale") or "").lower() == "true"


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
