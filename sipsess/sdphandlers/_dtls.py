# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
SRTP with keys by DTLS (:rfc:`5763`), with ICE and BUNDLE: what browsers speak.

Theory of operation
    Which credentials, certificate and role are in force stands in the descriptions, and the port
    has the rest; so an offer that comes to nothing changes nothing. The credentials of ICE stay
    until the peer has new ones (:rfc:`8839#section-4.4.1.1`). The certificate is that of the
    process. An offer that leaves it to us who begins the handshake is answered passive, since the
    first packet of the peer then shows that he has our answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from sipsess.dtls import (
    HINT,
    DTLSPort,
    Fingerprint,
    is_available,
    our_fingerprint,
    read_fingerprints,
)
from sipsess.dtls.port import Association
from sipsess.errors import RemoteError
from sipsess.flow import Address
from sipsess.ice import Credentials, ICEError, candidate, read_peer
from sipsess.interfaces import IMediaPort, IMediaPorts
from sipsess.media import AudioStream
from sipsess.sdp import MediaDescription, SessionDescription
from sipsess.sdphandler import NegotiationFailed
from sipsess.srtp import Suite
from sipsess.timers import Timer

from ._ending import end_unprotected

if TYPE_CHECKING:
    from sipsess.session import LocalDescription, Session, SessionStream

_WARN_TRANSPORT = 302
_WARN_ATTRIBUTE = 306

#: What an offer may say, and what is answered (:rfc:`5763#section-5`); what says nothing means
#: ``active`` (:rfc:`4145#section-4.1`).
_ANSWERS = {"actpass": "passive", "active": "passive", "passive": "active"}
_UNSAID = "active"

_BUNDLE = "BUNDLE"


class DTLS:
    """See :class:`~sipsess.sdphandlers._profiles.Protection`."""

    offered = "UDP/TLS/RTP/SAVPF"
    finds_peer = True

    def check(self, session: Session, remote: MediaDescription) -> None:
        """Refuse who does not speak as browsers do."""
        _check_possible()
        _read(remote)
        if _setup(remote) not in _ANSWERS:
            raise NegotiationFailed("a=setup cannot be answered: offer actpass", _WARN_ATTRIBUTE)

    def open(
        self, session: Session, audio: AudioStream, ports: IMediaPorts, host: str
    ) -> IMediaPort:
        """Open a port that waits for the peer."""
        return DTLSPort(_Owner(session, audio), ports, host, audio.receive)

    def describe(
        self, session: Session, stream: SessionStream, sdp: LocalDescription, port: IMediaPort
    ) -> list[tuple[str, str | None]]:
        """Return what ICE and DTLS need to know of us."""
        remote = stream.remote
        if remote is None and stream.active_local is None:
            _check_possible()
        own = _credentials(session, stream)
        sdp.attributes.append(("ice-lite", None))
        group = _bundle(session, stream, sdp)
        if group is not None:
            sdp.attributes.append(("group", group))
        setup = "actpass" if remote is None else _answer(stream, remote)
        return [
            ("ice-ufrag", own.ufrag),
            ("ice-pwd", own.password),
            ("candidate", candidate(sdp.host, port.port)),
            ("fingerprint", str(our_fingerprint())),
            ("setup", setup),
        ]

    def apply(
        self,
        session: Session,
        port: IMediaPort,
        local: MediaDescription,
        remote: MediaDescription,
    ) -> str:
        """Let the port find the peer and agree on keys."""
        peer, fingerprints = _read(remote)
        tls_id = next(iter(remote.inherited("tls-id")), None)
        association = Association(fingerprints, _begins(local, remote), tls_id)
        cast("DTLSPort", port).agree(Credentials.read(local), peer, association)
        return "keys by DTLS"


def _check_possible() -> None:
    if not is_available():
        raise NegotiationFailed(f"this server has no DTLS-SRTP ({HINT})", _WARN_TRANSPORT)


def _read(remote: MediaDescription) -> tuple[Credentials, Sequence[Fingerprint]]:
    """
    Return what a description says of ICE and of the certificate.

    :raises NegotiationFailed: when it is not what browsers say.
    """
    try:
        found = read_peer(remote), read_fingerprints(remote.inherited("fingerprint"))
    except ICEError as error:
        raise NegotiationFailed(f"audio by DTLS needs ICE: {error}", _WARN_ATTRIBUTE) from error
    except RemoteError as error:
        text = f"audio by DTLS needs a fingerprint of sha-256: {error}"
        raise NegotiationFailed(text, _WARN_ATTRIBUTE) from error
    if "rtcp-mux" not in remote.attributes:
        raise NegotiationFailed("audio by DTLS needs a=rtcp-mux", _WARN_ATTRIBUTE)
    return found


def _setup(media: MediaDescription) -> str:
    """Return who begins, as one side says it."""
    return next(iter(media.inherited("setup")), _UNSAID).lower()


def _answer(stream: SessionStream, remote: MediaDescription) -> str:
    """Return who begins, in our answer; RFC 8842 5.3: roles that are in force stay."""
    known, before = stream.active_local, stream.active_remote
    setup = _setup(remote)
    if setup == "actpass" and known is not None and before is not None:
        return "active" if _begins(known, before) else "passive"
    return _ANSWERS[setup]


def _begins(local: MediaDescription, remote: MediaDescription) -> bool:
    """
    Tell whether this side begins the handshake.

    :raises NegotiationFailed: when an answer leaves it open.
    """
    ours, theirs = _setup(local), _setup(remote)
    if ours != "actpass":
        return ours == "active"
    if theirs not in ("active", "passive"):
        raise NegotiationFailed("the answer does not say who begins (a=setup)", _WARN_ATTRIBUTE)
    return theirs == "passive"


def _credentials(session: Session, stream: SessionStream) -> Credentials:
    """Return those that are in force, or new ones for a first time and for a restart."""
    remote, before = stream.remote, stream.active_remote
    known = stream.active_local
    is_kept = before is not None and (
        remote is None or Credentials.read(remote) == Credentials.read(before)
    )
    if is_kept and known is not None:
        return Credentials.read(known)
    return Credentials.make(session.core.ids)


def _bundle(session: Session, stream: SessionStream, sdp: LocalDescription) -> str | None:
    """
    Return the group of our only stream (:rfc:`9143#section-7.3`), if the peer wants one.

    Whatever else the peer has put into it is declined, and no longer in it.
    """
    asked: SessionDescription | None = sdp.offer or session.media.machine.local
    mid = stream.mid
    if asked is None or mid is None:
        return None
    for group in asked.attributes.get_all("group"):
        kind, *members = group.split()
        if kind == _BUNDLE and mid in members:
            return f"{_BUNDLE} {mid}"
    return None


class _Owner:
    """What happens at the port of a session; see :class:`sipsess.dtls.port.Owner`."""

    __slots__ = ("_address", "_audio", "_is_secured", "_session")

    def __init__(self, session: Session, audio: AudioStream) -> None:
        self._session = session
        self._audio = audio
        self._address: Address | None = None
        self._is_secured = False

    def start_timer(
        self, delay: float, callback: Callable[..., object], *args: Any
    ) -> Timer | None:
        """Call something later; not any more when the call is over."""
        session = self._session
        return None if session.is_over else session.start_timer(delay, callback, *args)

    def cancel_timer(self, timer: Timer | None) -> None:
        """Stop a timer."""
        self._session.cancel_timer(timer)

    def selected(self, address: Address) -> None:
        """Speak to where the peer has chosen to be."""
        self._address = address
        self._note(f"the peer is at {address[0]} {address[1]}, says ICE")
        self._point()

    def secured(self, suite: Suite) -> None:
        """Let what waits be said."""
        self._is_secured = True
        self._note(f"SRTP with {suite.name}")
        self._point()

    def _point(self) -> None:
        """Speak, unless there are no keys yet: what is said without would be lost."""
        if self._is_secured and self._address is not None:
            self._audio.proven_host = self._address[0]
            self._audio.set_remote(self._address)

    def failed(self, text: str) -> None:
        """End the call."""
        self._note(text)
        reason = f"audio could not be encrypted: {text}"
        self.start_timer(0, end_unprotected, self._session, reason)

    def _note(self, text: str) -> None:
        # Packets come outside of turns, and the record has the time of a turn.
        self.start_timer(0, self._session.note, "audio", text)
