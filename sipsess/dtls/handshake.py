# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
One handshake of DTLS (:rfc:`6347`), without a socket or a clock, that gives the keys of SRTP.

Theory of operation
    OpenSSL gets each datagram and says what to send. Its own timer asks the clock of this machine
    and is not used: a flight is kept and sent again unchanged, which a receiver cannot tell from a
    copy that was late. That is done when the owner's timer says so, and when the far end repeats
    what it has sent before, since it would not if ours had come (:rfc:`6347#section-4.2.4`).

    When it is over, well or not, OpenSSL's state goes. Only the last flight of a server stays, as
    nothing tells whether it has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sipsess.srtp.crypto import Suite

from .fingerprint import Fingerprint, fits
from .identity import PROFILES, our_context
from .records import MTU, messages, pack

if TYPE_CHECKING:
    from OpenSSL import SSL

#: What the keys are taken out with (:rfc:`5764#section-4.2`).
_LABEL = b"EXTRACTOR-dtls_srtp"

#: Datagrams of the far end that are looked at: a handshake has some ten in its two or three
#: flights, and none of these is sent more often than we send ours again.
MAX_DATAGRAMS = 256

#: How often flights are sent again, for whatever reason.
MAX_RESENDS = 24

_MAX_READ = 65_536


@dataclass(frozen=True, slots=True)
class Keys:
    """What a handshake has given; the keys are master key and master salt, and never printed."""

    suite: Suite
    local: bytes = field(repr=False)
    remote: bytes = field(repr=False)


class Handshake:
    """
    One side of a handshake.

    :param fingerprints: of the far end's certificate, as its description says.
    :param is_client: whether this side begins.
    """

    __slots__ = (
        *("_connection", "_datagrams", "_fingerprints", "_flight", "_is_client", "_resends"),
        *("_seen", "failure", "keys"),
    )

    def __init__(self, fingerprints: Sequence[Fingerprint], *, is_client: bool) -> None:
        from OpenSSL import SSL

        self._fingerprints = fingerprints
        self._is_client = is_client
        self._connection: SSL.Connection | None = SSL.Connection(our_context(), None)
        self._connection.set_ciphertext_mtu(MTU)
        if is_client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()
        #: The datagrams that were sent last.
        self._flight: list[bytes] = []
        #: The messages of the far end.
        self._seen: set[bytes] = set()
        self._datagrams = 0
        self._resends = 0
        #: What it has given.
        self.keys: Keys | None = None
        #: Why it has failed, for people.
        self.failure: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has succeeded or failed."""
        return self._connection is None

    def start(self) -> list[bytes]:
        """Return the first flight of a client."""
        return self._step()

    def receive(self, data: bytes) -> list[bytes]:
        """
        Take a datagram; never raises.

        :return: the datagrams to send.
        """
        if self._datagrams >= MAX_DATAGRAMS:
            return []
        self._datagrams += 1
        came = set(messages(data))
        if self.is_over:
            # The far end of a server still waits for the last flight.
            is_answered = self.keys is not None and not self._is_client
            return self.resend() if came and is_answered else []
        is_repeated = bool(came) and came <= self._seen
        self._seen |= came
        sent = self._step(data)
        return self.resend() if is_repeated and not sent and not self.is_over else sent

    def resend(self) -> list[bytes]:
        """Return the last flight once more."""
        if self._resends >= MAX_RESENDS:
            return []
        self._resends += 1
        return self._flight

    def _step(self, data: bytes = b"") -> list[bytes]:
        """Go on as far as it goes; return what that sends."""
        from OpenSSL import SSL

        connection = self._connection
        assert connection is not None
        try:
            if data:
                connection.bio_write(data)
            connection.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self._fail(_explain(error))
        else:
            self._finish(connection)
            if self.failure is not None:
                # Nothing for who is not the one that was meant, the end of our side included.
                return []
        flight = pack(_read(connection))
        if flight:
            self._flight = flight
        return flight

    def _finish(self, connection: SSL.Connection) -> None:
        """Check whom we have spoken to, and take the keys."""
        from cryptography.hazmat.primitives.serialization import Encoding

        certificate = connection.get_peer_certificate(as_cryptography=True)
        assert certificate is not None  # the context takes nobody without
        suite = PROFILES.get(connection.get_selected_srtp_profile())
        if not fits(self._fingerprints, certificate.public_bytes(Encoding.DER)):
            self._fail("the certificate is not the one that a=fingerprint says")
        elif suite is None:
            self._fail("no protection profile for SRTP is common to both sides")
        else:
            self.keys = _take_keys(connection, suite, self._is_client)
            self._connection = None

    def _fail(self, failure: str) -> None:
        self.failure = failure
        self._connection = None


def _read(connection: SSL.Connection) -> bytes:
    """Return what the connection wants to send."""
    from OpenSSL import SSL

    pieces = []
    while True:
        try:
            pieces.append(connection.bio_read(_MAX_READ))
        except SSL.WantReadError:
            return b"".join(pieces)


def _take_keys(connection: SSL.Connection, suite: Suite, is_client: bool) -> Keys:
    """Cut the exported bytes: both keys, then both salts, the client's first each time."""
    exported = connection.export_keying_material(_LABEL, 2 * suite.length)
    salts = 2 * suite.key
    client, server = (
        exported[number * suite.key :][: suite.key]
        + exported[salts + number * suite.salt :][: suite.salt]
        for number in (0, 1)
    )
    return Keys(suite, client, server) if is_client else Keys(suite, server, client)


def _explain(error: Exception) -> str:
    """Return what OpenSSL says, in short."""
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else ()
    return f"DTLS failed: {reasons[0][2] if reasons else type(error).__name__}"
