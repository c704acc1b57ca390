# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A browser for tests: a telephone that speaks ICE, DTLS and SRTP on its RTP port."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from aioice import stun
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.protocol import DatagramProtocol

from sipsess.dtls import Fingerprint, records
from sipsess.flow import Address
from sipsess.media import RTPPacket
from sipsess.media.rtp import is_rtcp
from sipsess.message import Request, Response
from sipsess.sdp import MediaDescription
from sipsess.srtp import SUITES, Context
from sipsess.testing import VirtualNetwork

from .phone import Phone, sdp_of

UFRAG, PASSWORD = "bwsr", "the+browsers/own+password"

#: The names of OpenSSL.
PROFILES = {
    b"SRTP_AES128_CM_SHA1_80": "AES_CM_128_HMAC_SHA1_80",
    b"SRTP_AEAD_AES_128_GCM": "AEAD_AES_128_GCM",
    b"SRTP_AEAD_AES_256_GCM": "AEAD_AES_256_GCM",
}


class DTLSPeer:
    """
    One side of DTLS that is not sipsess.

    :param is_client: whether it begins.
    :param profiles: of SRTP, as OpenSSL names them; ``b""`` for none.
    """

    def __init__(self, *, is_client: bool = True, profiles: bytes = b":".join(PROFILES)) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "browser")])
        builder = x509.CertificateBuilder(
            name, name, key.public_key(), 1, datetime(2020, 1, 1), datetime(2040, 1, 1)
        )
        self.certificate = builder.sign(key, SHA256())
        self.context = SSL.Context(SSL.DTLS_METHOD)
        self.context.use_certificate(self.certificate)
        self.context.use_privatekey(key)
        self.context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        self.context.set_options(SSL.OP_NO_QUERY_MTU)
        if profiles:
            self.context.set_tlsext_use_srtp(profiles)
        self.is_client = is_client
        self.begin()

    def begin(self) -> None:
        """Begin anew."""
        self.connection = SSL.Connection(self.context, None)
        self.connection.set_ciphertext_mtu(1200)
        self.is_done = False
        if self.is_client:
            self.connection.set_connect_state()
        else:
            self.connection.set_accept_state()

    @property
    def fingerprint(self) -> Fingerprint:
        """Of its certificate."""
        return Fingerprint.of(self.certificate.public_bytes(Encoding.DER))

    def go(self, data: bytes = b"") -> list[bytes]:
        """Take a datagram; return what it sends."""
        if data:
            self.connection.bio_write(data)
        try:
            self.connection.do_handshake()
            self.is_done = True
        except SSL.WantReadError:
            pass
        pieces = []
        while True:
            try:
                pieces.append(self.connection.bio_read(65536))
            except SSL.WantReadError:
                return records.pack(b"".join(pieces))

    def contexts(self) -> tuple[Context, Context]:
        """Return what it speaks and hears with."""
        suite = SUITES[PROFILES[self.connection.get_selected_srtp_profile()]]
        data = self.connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * suite.length)
        salts = data[2 * suite.key :]
        client = data[: suite.key] + salts[: suite.salt]
        server = data[suite.key : 2 * suite.key] + salts[suite.salt :]
        ours, theirs = (client, server) if self.is_client else (server, client)
        return Context(suite, ours, is_sender=True), Context(suite, theirs, is_sender=False)


class _Socket(DatagramProtocol):
    """One of its sockets."""

    noisy = False

    def __init__(self, receive: Callable[[bytes, _Socket], None]) -> None:
        self.receive = receive

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """See ``DatagramProtocol``."""
        self.receive(datagram, self)

    def send(self, data: bytes, to: Address) -> None:
        """Send a datagram."""
        assert self.transport is not None
        self.transport.write(data, to)


class Browser(Phone):
    """
    A telephone at 192.0.2.9 that speaks as browsers do.

    :param net: its network.
    """

    def __init__(self, net: VirtualNetwork, **options: Any) -> None:
        super().__init__(net)
        self.ufrag, self.password = UFRAG, PASSWORD
        self.dtls = DTLSPeer(**options)
        #: The answers to checks, the datagrams of DTLS, and RTP and RTCP packets, in plain.
        self.answers: list[stun.Message] = []
        self.flights: list[bytes] = []
        self.heard: list[RTPPacket] = []
        self.reports: list[bytes] = []
        #: What its DTLS should hear is lost while this is set.
        self.is_deaf = False
        self.socket = self.open(50000)
        self.server: MediaDescription | None = None
        self._speaker: Context | None = None
        self._listener: Context | None = None

    def open(self, port: int) -> _Socket:
        """Open one more socket."""
        socket = _Socket(self._receive)
        self.host.listenUDP(port, socket)
        return socket

    # -- descriptions

    def offer(
        self,
        *lines: str,
        setup: str = "actpass",
        session: Iterable[str] = ("group:BUNDLE 0",),
        without: str = "",
        profile: str = "UDP/TLS/RTP/SAVPF",
        **options: Any,
    ) -> str:
        """
        Return an offer as a browser makes it.

        :param lines: further ones.
        :param session: attributes of the session.
        :param without: an attribute to leave out.
        """
        own = {
            "mid": "a=mid:0",
            "rtcp-mux": "a=rtcp-mux",
            "ice-ufrag": f"a=ice-ufrag:{self.ufrag}",
            "ice-pwd": f"a=ice-pwd:{self.password}",
            "fingerprint": f"a=fingerprint:{self.dtls.fingerprint}",
            "setup": f"a=setup:{setup}",
        }
        own.pop(without, None)
        options.setdefault("formats", "0")
        text = self.sdp(9, extra=[*own.values(), *lines], **options)
        text = text.replace("RTP/AVP", profile, 1).replace(
            f"c=IN IP4 {self.address[0]}", "c=IN IP4 0.0.0.0"
        )
        return text.replace("t=0 0\r\n", "t=0 0\r\n" + "".join(f"a={row}\r\n" for row in session))

    def learn(self, message: Request | Response) -> None:
        """Read the server's description."""
        self.server = sdp_of(message).media[0]

    @property
    def where(self) -> Address:
        """The candidate of the server."""
        assert self.server is not None
        fields = (self.server.attributes.get("candidate") or "").split()
        return fields[4], int(fields[5])

    # -- ICE

    def check(
        self,
        *,
        nominate: bool = True,
        role: str = "ICE-CONTROLLING",
        password: str | None = None,
        username: str | None = None,
        socket: _Socket | None = None,
    ) -> None:
        """Send a check and wait a moment."""
        assert self.server is not None
        ufrag = self.server.attributes.get("ice-ufrag")
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, bytes(12))
        message.attributes["USERNAME"] = username or f"{ufrag}:{self.ufrag}"
        message.attributes[role] = 7
        message.attributes["PRIORITY"] = 1
        if nominate:
            message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(
            (password or self.server.attributes.get("ice-pwd") or "").encode()
        )
        (socket or self.socket).send(bytes(message), self.where)
        self.network.run_for(0.2)

    # -- DTLS and SRTP

    def begin(self) -> None:
        """Send the first flight of DTLS."""
        self.transmit(self.dtls.go())

    def transmit(self, flight: list[bytes]) -> None:
        """Send datagrams of DTLS, and wait a moment."""
        for datagram in flight:
            self.socket.send(datagram, self.where)
        self.network.run_for(0.2)

    def say(self, frame: bytes, sequence: int = 1, socket: _Socket | None = None) -> None:
        """Send an RTP packet and wait a moment."""
        assert self._speaker is not None
        packet = RTPPacket(0, sequence, 160 * sequence, 0x1234, frame).pack()
        data = self._speaker.protect(packet, False)
        assert data is not None
        (socket or self.socket).send(data, self.where)
        self.network.run_for(0.1)

    def _receive(self, data: bytes, socket: _Socket) -> None:
        if data[0] < 4:
            self.answers.append(stun.parse_message(data))
        elif data[0] < 64:
            self.flights.append(data)
            if not self.dtls.is_done and not self.is_deaf:
                for datagram in self.dtls.go(data):
                    socket.send(datagram, self.where)
                if self.dtls.is_done:
                    self._speaker, self._listener = self.dtls.contexts()
        elif self._listener is not None:
            is_report = is_rtcp(data)
            plain = self._listener.unprotect(data, is_report)
            assert plain is not None
            if is_report:
                self.reports.append(plain)
            else:
                self.heard.append(RTPPacket.parse(plain))
