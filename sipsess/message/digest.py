# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Digest: what Authorization and Proxy-Authorization say, and how it is computed (:rfc:`7616`).

::

    Authorization: Digest username="bob", realm="pbx.example", nonce="f84f1c", uri="sip:x.example",
      response="6629fae4...", cnonce="0a4f113b", algorithm=SHA-256, qop=auth, nc=00000001

Both sides hash the same text, and neither sends the password::

    HA1      = H(username ":" realm ":" password)
    HA2      = H(method ":" uri)                      qop=auth, or none
             = H(method ":" uri ":" H(body))          qop=auth-int
    response = H(HA1 ":" nonce ":" nc ":" cnonce ":" qop ":" HA2)
             = H(HA1 ":" nonce ":" HA2)               without qop (RFC 2069)

A HA1 is as good as the password for its realm, but for no other: that is what a server keeps. The
``-sess`` algorithms, which no RFC demands, are not spoken.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from sipsess.message._errors import MessageError
from sipsess.message._headers import Headers
from sipsess.message.challenge import (
    DEFAULT_ALGORITHM,
    MAX_CHALLENGES,
    Challenge,
    format_digest,
)

#: The algorithms by their names in SIP, the strongest first (:rfc:`8760#section-2.1`), each with
#: its name in :mod:`hashlib`. SHA-512-256 is a function of its own, no SHA-512 that was cut.
ALGORITHMS = {
    name: function
    for name, function in (("SHA-512-256", "sha512_256"), ("SHA-256", "sha256"), ("MD5", "md5"))
    if function in hashlib.algorithms_available
}

#: What a UAS offers, and a UAC answers, when nobody says otherwise.
QOPS = ("auth", "auth-int")

_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_NC_LENGTH = 8


def hash_text(algorithm: str, data: str | bytes) -> str:
    """
    Return the hash of a text, or of bytes, in lower-case hexadecimal digits.

    :param algorithm: one of :data:`ALGORITHMS`.
    :raises LookupError: when it is none of these.
    """
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    return hashlib.new(ALGORITHMS[algorithm], data, usedforsecurity=False).hexdigest()


def make_ha1(algorithm: str, username: str, realm: str, password: str) -> str:
    """Return the hash that stands for a password in one realm."""
    return hash_text(algorithm, f"{username}:{realm}:{password}")


@dataclass(frozen=True, slots=True)
class Authorization:
    """
    The credentials of a request: the value of Authorization or Proxy-Authorization.

    ``str()`` is the wire form.
    """

    username: str
    realm: str
    nonce: str
    #: The Request-URI as the sender knew it; a proxy may have changed it since.
    uri: str
    response: str = ""
    #: In capitals.
    algorithm: str = DEFAULT_ALGORITHM
    #: ``"auth"``, ``"auth-int"``, or ``None``: then there is neither cnonce nor nc.
    qop: str | None = None
    cnonce: str = ""
    #: Eight hexadecimal digits, as written.
    nc: str = ""
    opaque: str | None = None
    #: Whether :attr:`username` is a hash.
    has_userhash: bool = False

    @classmethod
    def parse(cls, text: str) -> Authorization:
        """
        Read a value.

        :raises MessageError: when it is of another scheme, a parameter stands twice or cannot be
            read, or one that must be there is not.
        """
        challenge = Challenge.parse(text)
        params = challenge.params
        values = [params.get(name) for name in ("username", "realm", "nonce", "uri", "response")]
        username, realm, nonce, uri, response = (value or "" for value in values)
        if not challenge.is_digest or None in values or not username or not uri:
            raise MessageError("bad-authorization", f"{text[:80]!r} is no answer to a challenge")
        qop, cnonce, nc = _read_quality(params.get("qop"), params.get("cnonce"), params.get("nc"))
        return cls(
            username,
            realm,
            nonce,
            uri,
            response,
            challenge.algorithm,
            qop,
            cnonce,
            nc,
            challenge.opaque,
            challenge.wants_userhash,
        )

    @property
    def count(self) -> int:
        """How often the sender has used the nonce, this time included; 0 without a qop."""
        return int(self.nc, 16) if self.nc else 0

    def compute_response(self, ha1: str, method: str, body: bytes) -> str:
        """
        Return what ``response`` is when the sender knows the password.

        :param ha1: of the user, the realm and :attr:`algorithm`.
        :param body: of the request; it counts for ``auth-int`` only.
        :raises LookupError: when the algorithm is none of :data:`ALGORITHMS`.
        """
        algorithm = self.algorithm
        text = f"{method}:{self.uri}"
        if self.qop == "auth-int":
            text = f"{text}:{hash_text(algorithm, body)}"
        ha2 = hash_text(algorithm, text)
        if self.qop is None:
            return hash_text(algorithm, f"{ha1}:{self.nonce}:{ha2}")
        words = (ha1, self.nonce, self.nc, self.cnonce, self.qop, ha2)
        return hash_text(algorithm, ":".join(words))

    def __str__(self) -> str:
        """
        The wire form.

        :raises HeaderValueError: something of it cannot be written.
        """
        quoted = {
            "username": self.username,
            "realm": self.realm,
            "nonce": self.nonce,
            "uri": self.uri,
            "response": self.response,
        }
        bare = {"algorithm": self.algorithm}
        if self.qop is not None:
            quoted["cnonce"] = self.cnonce
            bare |= {"qop": self.qop, "nc": self.nc}
        if self.opaque is not None:
            quoted["opaque"] = self.opaque
        if self.has_userhash:
            bare["userhash"] = "true"
        return format_digest(quoted, bare)


def _read_quality(
    qop: str | None, cnonce: str | None, nc: str | None
) -> tuple[str | None, str, str]:
    """
    Return qop, cnonce and nc.

    :raises MessageError: when there is a qop, but not all that it needs (:rfc:`7616#section-3.4`).
    """
    if qop is None:
        return None, "", ""
    qop, nc = qop.lower(), nc or ""
    if qop not in QOPS or not cnonce or len(nc) != _NC_LENGTH or not _HEXADECIMAL.issuperset(nc):
        raise MessageError("bad-authorization", f"qop={qop[:20]!r} comes with no proper cnonce, nc")
    return qop, cnonce, nc


def get_authorizations(headers: Headers, name: str, realm: str) -> list[Authorization]:
    """
    Return the credentials of a request for a realm; what cannot be read is left out.

    :param name: ``Authorization`` or ``Proxy-Authorization``.
    """
    found = []
    # 7.3.1: one per header, as with challenges.
    for text in headers.get_all(name)[:MAX_CHALLENGES]:
        try:
            authorization = Authorization.parse(text)
        except MessageError:
            continue
        if authorization.realm == realm:
            found.append(authorization)
    return found


def choose_qop(challenge: Challenge) -> str | None:
    """
    Return the quality of protection of an answer: ``auth`` before ``auth-int``.

    A body that is protected is one that no proxy between can repair (an SDP behind a NAT, say), so
    that it is chosen only when nothing else is offered.

    :return: ``None`` when the challenge has no qop (RFC 2069).
    :raises LookupError: when it offers none that is known.
    """
    offered = challenge.qop
    if offered is None:
        return None
    for qop in QOPS:
        if qop in offered:
            return qop
    raise LookupError(f"none of {offered!r} is known")


def answer_challenge(
    challenge: Challenge,
    *,
    username: str,
    password: str,
    method: str,
    uri: str,
    body: bytes = b"",
    cnonce: str,
    count: int = 1,
) -> Authorization:
    """
    Return the answer to a challenge.

    :param uri: the Request-URI.
    :param cnonce: unpredictable; a new one each time is fine.
    :param count: how often its nonce is used, this time included.
    :raises LookupError: when its algorithm or its qop is unknown.
    """
    algorithm, qop = challenge.algorithm, choose_qop(challenge)
    name = username
    if challenge.wants_userhash:
        name = hash_text(algorithm, f"{username}:{challenge.realm}")
    ha1 = make_ha1(algorithm, username, challenge.realm, password)
    nc = "" if qop is None else f"{count:08x}"
    asked = Authorization(
        name,
        challenge.realm,
        challenge.nonce,
        uri,
        "",
        algorithm,
        qop,
        "" if qop is None else cnonce,
        nc,
        challenge.opaque,
        challenge.wants_userhash,
    )
    return replace(asked, response=asked.compute_response(ha1, method, body))
