# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Which transport protocols of SDP (RTP profiles) audio is spoken over, and how each is protected.

A stream keeps the protection that it began with: what was encrypted is never answered in plain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

from sipsess.interfaces import IMediaPort, IMediaPorts
from sipsess.media import AudioStream
from sipsess.sdp import MediaDescription
from sipsess.sdphandler import NegotiationFailed

from ._dtls import DTLS
from ._sdes import SDES

if TYPE_CHECKING:
    from sipsess.session import LocalDescription, Session, SessionStream

#: The profile without encryption.
PLAIN_PROFILE = "RTP/AVP"

#: What the Warning header of a refusal says (:rfc:`3261#section-20.43`): incompatible transport.
WARN_TRANSPORT = 302

Attribute: TypeAlias = tuple[str, str | None]


class Protection(Protocol):
    """How the packets of a stream are protected; it keeps no state, the port does."""

    @property
    def offered(self) -> str:
        """The profile of our own offers."""

    @property
    def finds_peer(self) -> bool:
        """Whether its port finds out where the peer is, and sends to nobody else (ICE)."""

    def check(self, session: Session, remote: MediaDescription) -> None:
        """
        Say whether an offer can be answered.

        :raises NegotiationFailed: when not, with what to do about it.
        """

    def open(
        self, session: Session, audio: AudioStream, ports: IMediaPorts, host: str
    ) -> IMediaPort:
        """
        Open a port that protects.

        :raises NoPortsError: when none is free.
        """

    def describe(
        self, session: Session, stream: SessionStream, sdp: LocalDescription, port: IMediaPort
    ) -> list[Attribute]:
        """
        Return what our m-line says besides its formats.

        :raises NegotiationFailed: when the protection cannot be had.
        """

    def apply(
        self,
        session: Session,
        port: IMediaPort,
        local: MediaDescription,
        remote: MediaDescription,
    ) -> str:
        """
        Take what both sides have agreed on.

        :return: what protects the stream, for people.
        :raises NegotiationFailed: when they have not.
        """


class Plain:
    """No protection at all."""

    offered = PLAIN_PROFILE
    finds_peer = False

    def check(self, session: Session, remote: MediaDescription) -> None:
        """Refuse what an endpoint wants encrypted."""
        wanted = session.endpoint.media_encryption
        if wanted != "no":
            profile = PROTECTIONS[wanted].offered
            raise NegotiationFailed(
                f"audio must be encrypted here: offer {profile}", WARN_TRANSPORT
            )

    def open(
        self, session: Session, audio: AudioStream, ports: IMediaPorts, host: str
    ) -> IMediaPort:
        """Open a port."""
        port: IMediaPort = ports.open(host, audio.receive)
        return port

    def describe(
        self, session: Session, stream: SessionStream, sdp: LocalDescription, port: IMediaPort
    ) -> list[Attribute]:
        """Nothing."""
        return []

    def apply(
        self,
        session: Session,
        port: IMediaPort,
        local: MediaDescription,
        remote: MediaDescription,
    ) -> str:
        """Nothing is to be agreed on."""
        return ""


#: By the endpoint's setting ``media_encryption``.
PROTECTIONS: Mapping[str, Protection] = {"no": Plain(), "sdes": SDES(), "dtls": DTLS()}

#: By profile, in capitals.
PROFILES: Mapping[str, Protection] = {
    PLAIN_PROFILE: PROTECTIONS["no"],
    "RTP/SAVP": PROTECTIONS["sdes"],
    "RTP/SAVPF": PROTECTIONS["sdes"],
    "UDP/TLS/RTP/SAVP": PROTECTIONS["dtls"],
    "UDP/TLS/RTP/SAVPF": PROTECTIONS["dtls"],
}


def has_alternative(remote: MediaDescription, media: Iterable[MediaDescription]) -> bool:
    """Tell whether audio is offered with another protection, too."""
    others = {
        PROFILES.get(item.proto.upper())
        for item in media
        if item.media == "audio" and not item.is_declined
    }
    return bool(others - {None, PROFILES[remote.proto.upper()]})
