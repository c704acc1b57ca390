# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The SDP handler for audio: the codecs of the endpoint and telephone-event over RTP, plain or
encrypted.

What it opens for a stream is one :class:`Audio`: an RTP port of the manager's pool and an
:class:`~sipsess.media.AudioStream`. It lives as long as the stream, so a re-negotiation keeps port,
SSRC and timestamps. Others find the :class:`~sipsess.media.AudioStream` with :func:`find_audio`,
which looks for the cookie :data:`AUDIO_COOKIE`; an audio handler of somebody else that leaves its
own there gives calls everything they need.
"""

from __future__ import annotations

from functools import lru_cache, partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

from sipsess.dialog.usage import CONFIRMED
from sipsess.errors import LocalError, NoPortsError
from sipsess.flow import Address
from sipsess.interfaces import IMediaClock, IMediaPort
from sipsess.media import AudioStream
from sipsess.sdp import MediaDescription, SessionDescription, answer_direction
from sipsess.sdphandler import NegotiationFailed, SDPHandler, StreamVerdict

from ._ending import end_unprotected
from ._formats import (
    Choice,
    Format,
    Spoken,
    accepted,
    answered,
    choose,
    common_formats,
    describe,
    has_codec,
    no_common_codec,
    spoken,
)
from ._inactivity import Inactivity
from ._profiles import (
    PLAIN_PROFILE,
    PROFILES,
    PROTECTIONS,
    WARN_TRANSPORT,
    Protection,
    has_alternative,
)
from ._rtcp import MUX, Reports, has_mux

if TYPE_CHECKING:
    from sipsess.session import LocalDescription, Session, SessionStream

__all__ = [
    "AUDIO_COOKIE",
    "MAX_STREAMS_PER_CALL",
    "Audio",
    "AudioHandler",
    "count_packets",
    "find_audio",
]

#: The name of the stream's cookie that holds its :class:`~sipsess.media.AudioStream`.
AUDIO_COOKIE = "audio"

#: The cookie that holds our :class:`Audio`.
_OWN_COOKIE = "sipsess.audio"

#: The direction that a peer means who says ``c=0.0.0.0`` besides (:rfc:`3264#section-8.4`).
_NOT_LISTENING = {"sendrecv": "sendonly", "recvonly": "inactive"}

#: How hold was signalled once (:rfc:`3264#section-8.4`), and the address of everybody here.
_HOLD = "0.0.0.0"
_BROADCAST = "255.255.255.255"
#: Characters of the longest IP address, its scope included, and how many addresses are remembered.
_MAX_ADDRESS = 64
#: Characters of an unknown profile that a refusal names.
_MAX_PROFILE = 24
_MAX_ADDRESSES = 1024

#: Streams of one call that are claimed; the others are declined. A call is played into and heard
#: through one, and each is a socket, so that a single INVITE could ask for many.
MAX_STREAMS_PER_CALL = 1

#: What the Warning header of a refusal says (:rfc:`3261#section-20.43`).
_WARN_ADDRESS_FORMAT = 301
_WARN_OTHER = 399


class Audio:
    """
    What one stream needs: a port, and who speaks through it.

    :param session: that it belongs to.
    :param clock: lets the stream speak.
    :param port: where its packets come and go.
    :param stream: who speaks and listens.
    :param profile: that it is spoken over.
    :param reports: its RTCP.
    """

    __slots__ = ("_clock", "_counters", "port", "profile", "reports", "stream")

    def __init__(
        self,
        session: Session,
        clock: IMediaClock,
        port: IMediaPort,
        stream: AudioStream,
        profile: str,
        reports: Reports,
    ) -> None:
        self._clock = clock
        self._counters = session.core.counters
        self.port = port
        self.stream = stream
        self.profile = profile
        self.reports = reports

    @property
    def protection(self) -> Protection:
        """How its packets are protected."""
        return PROFILES[self.profile.upper()]

    def start(self) -> None:
        """Let the stream speak."""
        self._clock.add(self.stream, self.port)

    def stop(self) -> None:
        """Speak and listen no more. Idempotent."""
        self.reports.stop()
        self._clock.remove(self.stream)
        self.stream.close()

    def close(self) -> None:
        """Close the port, after :meth:`stop`."""
        self.stop()
        self.port.close()
        self._counters.rtp_received += self.stream.packets_received
        self._counters.rtp_sent += self.stream.packets_sent


class AudioHandler(SDPHandler):
    """
    Claims audio with a codec of the endpoint, over RTP/AVP or a profile with encryption that is
    known.

    It is asked last, so that a handler of yours with the usual priority comes first. It declines
    what it does not understand, more than :data:`MAX_STREAMS_PER_CALL` streams of a call, and
    everything when the server has no RTP ports.
    """

    name = "audio"
    media_type = "audio"
    priority = 900

    def handle_incoming_sdp_stream_offer(
        self, session: Session, stream: SessionStream, sdp: SessionDescription
    ) -> StreamVerdict:
        """
        Claim what we can speak.

        :raises NegotiationFailed: when audio is encrypted as we cannot, or not at all where it must
            be, or its address is of the other IP version.
        """
        remote = stream.remote
        manager = session.manager
        if remote is None or manager.media_ports is None or manager.media_clock is None:
            return StreamVerdict.NOT_HANDLED
        protection = PROFILES.get(remote.proto.upper())
        is_spoken = protection is not None and has_codec(_answer_to(session, remote))
        if protection is None or not is_spoken:
            stream.refusal = _not_spoken(session, remote, protection)
            return StreamVerdict.NOT_HANDLED
        if not protection.finds_peer and _can_send_to(remote.address) is False:
            return StreamVerdict.NOT_HANDLED
        claimed = [other for other in session.media.rivals(stream) if other.handler is self]
        if len(claimed) >= MAX_STREAMS_PER_CALL:
            return StreamVerdict.NOT_HANDLED
        if not protection.finds_peer:
            self._check_family(session, remote)
        return self._check_protection(session, stream, protection, sdp)

    def _check_protection(
        self,
        session: Session,
        stream: SessionStream,
        protection: Protection,
        sdp: SessionDescription,
    ) -> StreamVerdict:
        """Claim what can be encrypted as it is offered, or need not be."""
        audio, remote = _find(stream), stream.remote
        assert remote is not None
        if audio is not None and audio.protection is not protection:
            raise NegotiationFailed(
                f"audio stays protected as it is: offer {audio.profile}", WARN_TRANSPORT
            )
        try:
            protection.check(session, remote)
        except NegotiationFailed:
            if has_alternative(remote, sdp.media):
                # Another stream of the offer is protected otherwise, and may do.
                return StreamVerdict.NOT_HANDLED
            raise
        return StreamVerdict.HANDLED

    def _check_family(self, session: Session, remote: MediaDescription) -> None:
        local, address = session.flow.local[0], remote.address or ""
        if (":" in address) != (":" in local) and _can_send_to(address) is not None:
            version = 6 if ":" in local else 4
            raise NegotiationFailed(
                f"audio at {address} cannot be reached from this side of the call: "
                f"offer an IPv{version} address",
                _WARN_ADDRESS_FORMAT,
            )

    def create_outgoing_sdp_stream(
        self, session: Session, stream: SessionStream, sdp: LocalDescription
    ) -> MediaDescription | StreamVerdict:
        """
        Describe our side; open the port the first time.

        :raises NegotiationFailed: when no port is free.
        """
        remote = stream.remote
        if remote is not None:
            formats = _answer_to(session, remote)
        elif stream.active_local is not None:
            # RFC 3264 8.3.2: a payload type keeps its meaning for the whole session.
            formats = tuple(common_formats(stream.active_local, speaks_to(session)))
        else:
            formats = speaks_to(session).offer()
        audio = _find(stream) or self._open(session, stream, formats)
        if audio is None:
            return StreamVerdict.NOT_HANDLED
        direction = stream.wanted_direction
        if remote is not None:
            direction = answer_direction(peer_direction(remote), direction)
        media = sdp.media(
            "audio",
            audio.port.port,
            audio.profile,
            [item.number for item in formats],
            attributes=describe(formats, direction, *_mux(stream)),
        )
        if stream.mid is not None:
            # RFC 5888 9.1.
            media.attributes.add("mid", stream.mid)
        for name, value in audio.protection.describe(session, stream, sdp, audio.port):
            media.attributes.add(name, value)
        return media

    def _open(
        self, session: Session, stream: SessionStream, formats: tuple[Format, ...]
    ) -> Audio | None:
        """
        Open a port and make the audio stream; ``None`` when the server has no RTP at all.

        :raises NegotiationFailed: when no port is free.
        """
        manager = session.manager
        if manager.media_ports is None or manager.media_clock is None:
            return None
        remote = stream.remote
        profile = PROTECTIONS[session.endpoint.media_encryption].offered
        if remote is not None:
            profile = remote.proto
        protection = PROFILES[profile.upper()]
        choice = choose(formats, formats)
        audio_stream = AudioStream(
            choice.codec,
            choice.number,
            choice.event,
            session.core.ids,
            # Nothing is sent before both sides have agreed; but who has seen our offer may speak
            # before his answer is here (RFC 3264 5.1).
            direction="recvonly",
            accepts=accepted(formats),
        )
        try:
            host = session.flow.local[0]
            port = protection.open(session, audio_stream, manager.media_ports, host)
        except NoPortsError as error:
            # 503, not 488: nothing is wrong with the offer, and a proxy may try another server.
            raise NegotiationFailed("no port is free for audio now", _WARN_OTHER, 503) from error
        if not protection.finds_peer and not _hears_us(session):
            # Nobody shall get our audio because somebody else has named his address.
            audio_stream.holds_back = not session.early.is_wanted
            session.when_confirmed().addCallbacks(
                lambda _: _confirm(session, audio_stream), lambda failure: None
            )
        limit = session.endpoint.audio_timeout
        if limit:
            session.when_confirmed().addCallbacks(
                lambda _: Inactivity(session, audio_stream, limit), lambda failure: None
            )
        audio_stream.on_digit = partial(_pass_digit, session, audio_stream)
        reports = Reports(session, stream, port, audio_stream)
        audio = Audio(session, manager.media_clock, port, audio_stream, profile, reports)
        stream.cookies.add(_OWN_COOKIE, audio)
        stream.cookies.add(AUDIO_COOKIE, audio_stream)
        return audio

    def apply_negotiated_sdp_stream(self, session: Session, stream: SessionStream) -> None:
        """Send where, what and as the peer wants."""
        audio, local, remote = _find(stream), stream.local, stream.remote
        if audio is None or local is None or remote is None:
            return
        speaks = speaks_to(session)
        own = tuple(common_formats(local, speaks))
        choice = choose(tuple(common_formats(remote, speaks)), own)
        try:
            protecting = audio.protection.apply(session, audio.port, local, remote)
        except NegotiationFailed as failure:
            end_unprotected(session, failure.text)
            raise
        audio_stream = audio.stream
        _set_format(audio_stream, choice, own, remote)
        if not audio.protection.finds_peer:
            if _hears_us(session):
                audio_stream.proven_host = session.flow.remote[0]
            audio_stream.set_remote(_address(remote))
        audio_stream.direction = answer_direction(peer_direction(remote), local.direction)
        audio.reports.apply()
        audio.start()
        session.note(
            "audio",
            f"{choice.codec.encoding} from port {audio.port.port} "
            f"to {remote.address} {remote.port}, {audio_stream.direction}"
            f"{protecting and ', '}{protecting}",
        )
        if session.channel is not None:
            session.channel.media_changed()

    def stop_stream(self, session: Session, stream: SessionStream) -> None:
        """Speak and listen no more; the session's record gets what is to be said of it."""
        audio = _find(stream)
        if audio is not None:
            if not audio.stream.is_closed:
                session.note("audio", str(audio.stream.statistics()))
            audio.stop()

    def destroy_stream(self, session: Session, stream: SessionStream) -> None:
        """Close the port."""
        audio = _find(stream)
        if audio is not None:
            audio.close()


def speaks_to(session: Session) -> Spoken:
    """Return what the endpoint of a session speaks with us."""
    endpoint = session.endpoint
    return spoken(session.manager.codecs, endpoint.codecs, endpoint.dtmf == "rfc4733")


def _answer_to(session: Session, media: MediaDescription) -> tuple[Format, ...]:
    """Return what we answer to an m-line."""
    return answered(tuple(common_formats(media, speaks_to(session))))


def _not_spoken(session: Session, media: MediaDescription, protection: Protection | None) -> str:
    """Say why an m-line is not for us: the profile is unknown, or no codec is common."""
    if protection is None:
        return f"audio over {media.proto[:_MAX_PROFILE]} is not spoken: offer {PLAIN_PROFILE}"
    return no_common_codec(media, speaks_to(session))


def _set_format(
    audio: AudioStream, choice: Choice, own: tuple[Format, ...], remote: MediaDescription
) -> None:
    """Send what was chosen, in packets as the peer wants them."""
    audio.set_format(
        *(choice.codec, choice.number, choice.event),
        accepts=accepted(own),
        fmtp=choice.fmtp,
        packet_time=choice.codec.packet_time(remote.ptime, remote.maxptime),
        event_clock=choice.event_clock,
    )


def _mux(stream: SessionStream) -> tuple[tuple[str, str | None], ...]:
    """Return what our m-line says of RTCP: an answer follows its offer, an offer the one before."""
    known = stream.remote or stream.active_local
    return () if known is not None and not has_mux(known) else ((MUX, None),)


def find_audio(session: Session) -> AudioStream | None:
    """Return the audio stream of a session that is in force, or ``None``."""
    stream = find_audio_stream(session)
    audio: AudioStream | None = None if stream is None else stream.cookies.get(AUDIO_COOKIE)
    return audio


def find_audio_stream(session: Session) -> SessionStream | None:
    """Return the stream whose audio :func:`find_audio` returns, or ``None``."""
    for stream in session.media.streams:
        if stream is not None and AUDIO_COOKIE in stream.cookies:
            return stream
    return None


def count_packets(session: Session) -> tuple[int, int]:
    """Return the RTP packets of a live session that came and went and are not in the counters."""
    received = sent = 0
    for stream in session.media.streams:
        audio = None if stream is None else _find(stream)
        if audio is not None:
            received += audio.stream.packets_received
            sent += audio.stream.packets_sent
    return received, sent


def peer_direction(remote: MediaDescription) -> str:
    """Return the peer's direction; the old-style hold, c=0.0.0.0, means that he does not listen."""
    direction = remote.direction
    return _NOT_LISTENING.get(direction, direction) if remote.is_held else direction


def _address(remote: MediaDescription) -> Address | None:
    """Return where the peer listens; ``None`` for a name, until his first packet says it."""
    host = remote.address
    return (host, remote.port) if host and _can_send_to(host) else None


def _can_send_to(host: str | None) -> bool | None:
    """
    Tell whether audio can be sent to what a peer says: one host's address, or a hold.

    :return: ``None`` when it is no IP address.
    """
    return _judge(host) if host and len(host) <= _MAX_ADDRESS else None


@lru_cache(maxsize=_MAX_ADDRESSES)
def _judge(host: str) -> bool | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    address = getattr(address, "ipv4_mapped", None) or address
    is_one = not address.is_multicast and not address.is_unspecified
    return host == _HOLD or (is_one and str(address) != _BROADCAST)


def _hears_us(session: Session) -> bool:
    """
    Tell whether the peer is known to be where its messages come from.

    Whoever answers our call is; a caller has shown it with an ACK or PRACK.
    """
    is_standing = not session.is_callee or session.usage.state == CONFIRMED
    return is_standing or session.early.is_acknowledged


def _confirm(session: Session, audio: AudioStream) -> None:
    """Let media flow: the caller's ACK has come."""
    audio.proven_host = session.flow.remote[0]
    audio.holds_back = False


def _find(stream: SessionStream) -> Audio | None:
    audio: Audio | None = stream.cookies.get(_OWN_COOKIE)
    return audio


def _pass_digit(session: Session, audio: AudioStream, digit: str) -> None:
    if session.channel is None:
        return
    try:
        session.channel.receive_digit(digit, audio.pressed)
    except LocalError as error:
        # An echo whose queue is full, say: the peer presses faster than tones can be.
        with session.core.turn:
            session.note("audio", f"digit dropped: {error}")
