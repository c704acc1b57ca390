# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
SRTP with keys in the session description (SDES, :rfc:`4568`).

Keys are as secret as the signalling that carries them (:rfc:`4568#section-8.1`). Without TLS they
are neither offered nor taken, unless the endpoint says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sipsess.interfaces import IMediaPort, IMediaPorts
from sipsess.media import AudioStream
from sipsess.sdp import MediaDescription
from sipsess.sdphandler import NegotiationFailed
from sipsess.srtp import Crypto, SRTPPort, Suite, is_available, read_cryptos
from sipsess.srtp.context import HINT
from sipsess.srtp.crypto import OFFERED

if TYPE_CHECKING:
    from sipsess.session import LocalDescription, Session, SessionStream

_SECURE_TRANSPORTS = frozenset({"TLS", "WSS"})

_WARN_TRANSPORT = 302
_WARN_ATTRIBUTE = 306
_WARN_OTHER = 399


class SDES:
    """See :class:`~sipsess.sdphandlers._profiles.Protection`."""

    offered = "RTP/SAVP"
    finds_peer = False

    def check(self, session: Session, remote: MediaDescription) -> None:
        """Refuse what has no key for us."""
        self._check_possible(session)
        if not read_cryptos(remote.attributes.get_all("crypto")):
            raise NegotiationFailed(
                "no a=crypto line of the offer can be taken: offer AES_CM_128_HMAC_SHA1_80",
                _WARN_ATTRIBUTE,
            )

    def _check_possible(self, session: Session) -> None:
        if not is_available():
            raise NegotiationFailed(f"this server has no SRTP ({HINT})", _WARN_TRANSPORT)
        if session.flow.transport in _SECURE_TRANSPORTS:
            return
        if not session.endpoint.accepts_clear_keys:
            raise NegotiationFailed("keys for SRTP are taken over TLS only", _WARN_OTHER)
        session.note("audio", "keys for SRTP travel in the clear: signalling without TLS")

    def open(
        self, session: Session, audio: AudioStream, ports: IMediaPorts, host: str
    ) -> IMediaPort:
        """Open a port that encrypts once there are keys."""
        return SRTPPort(ports, host, audio.receive)

    def describe(
        self, session: Session, stream: SessionStream, sdp: LocalDescription, port: IMediaPort
    ) -> list[tuple[str, str | None]]:
        """Return our keys: one for each suite that we offer, or the one of our answer."""
        remote, active = stream.remote, stream.active_local
        if remote is None and active is None:
            self._check_possible(session)
        known = [] if active is None else read_cryptos(active.attributes.get_all("crypto"))
        if remote is not None:
            theirs = read_cryptos(remote.attributes.get_all("crypto"))[0]
            lines = [self._renew(session, theirs.tag, theirs.suite, known)]
        elif known and stream.active_remote is not None:
            # RFC 4568 7.1.4: what is in force stays in force.
            lines = [pair[0] for pair in _pairs(active, stream.active_remote)]
        else:
            lines = [
                self._renew(session, str(number), suite, [])
                for number, suite in enumerate(OFFERED, 1)
            ]
        return [("crypto", str(line)) for line in lines]

    def _renew(self, session: Session, tag: str, suite: Suite, known: list[Crypto]) -> Crypto:
        """Return a line with the key that is in force, or with a new one."""
        for line in known:
            if line.suite is suite:
                return Crypto(tag, suite, line.key)
        return Crypto(tag, suite, session.core.ids.secret(suite.length))

    def apply(
        self,
        session: Session,
        port: IMediaPort,
        local: MediaDescription,
        remote: MediaDescription,
    ) -> str:
        """Take the two keys."""
        pairs = _pairs(local, remote)
        if not pairs:
            raise NegotiationFailed("the answer has no key for what was offered", _WARN_ATTRIBUTE)
        ours, theirs = pairs[0]
        cast("SRTPPort", port).set_keys(ours.suite, ours.key, theirs.key)
        return f"SRTP with {ours.suite.name}"


def _pairs(local: MediaDescription | None, remote: MediaDescription) -> list[tuple[Crypto, Crypto]]:
    """Return the lines of both sides that belong together (:rfc:`4568#section-5.1.3`)."""
    ours = [] if local is None else read_cryptos(local.attributes.get_all("crypto"))
    theirs = {line.tag: line for line in read_cryptos(remote.attributes.get_all("crypto"))}
    return [
        (line, theirs[line.tag])
        for line in ours
        if line.tag in theirs and theirs[line.tag].suite is line.suite
    ]
