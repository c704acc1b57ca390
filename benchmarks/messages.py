# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The messages of a basic call, shaped like those of a load generator: seven lines and an SDP."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sipsess.flow import Address, Flow


def make_sdp(host: str, port: int) -> bytes:
    """Return an offer, or an answer, of audio at an address."""
    return (
        f"v=0\r\no=caller 53655765 2353687637 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\n"
        f"t=0 0\r\nm=audio {port} RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\n"
        f"a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"
        f"a=ptime:20\r\na=sendrecv\r\n"
    ).encode("ascii")


@dataclass(frozen=True)
class Writer:
    """
    Writes the messages of a caller.

    :param here: the caller's address.
    :param there: the address of who is called.
    """

    here: Address = ("127.0.0.2", 5060)
    there: Address = ("127.0.0.1", 5060)

    @cached_property
    def flow(self) -> Flow:
        """The flow that the messages come on."""
        return Flow("UDP", self.there, self.here, f"udp:{self.there[1]}")

    def request(
        self,
        number: int,
        method: str,
        *,
        cseq: int = 1,
        branch: int = 0,
        to_tag: str = "",
        body: bytes = b"",
        user: str = "service",
    ) -> bytes:
        """
        Return a request of call ``number``.

        :param branch: tells the transactions of one call apart; an ACK of a non-2xx has its
            INVITE's.
        :param to_tag: of who is called, once he has one.
        """
        here = f"{self.here[0]}:{self.here[1]}"
        uri = f"sip:{user}@{self.there[0]}:{self.there[1]}"
        to = f"<{uri}>;tag={to_tag}" if to_tag else f"<{uri}>"
        content = "Content-Type: application/sdp\r\n" if body else ""
        head = (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {here};branch=z9hG4bK-{number}-{branch}\r\n"
            f"From: caller <sip:caller@{here}>;tag={number}Tag\r\n"
            f"To: {user} {to}\r\n"
            f"Call-ID: {number}-1@{self.here[0]}\r\n"
            f"CSeq: {cseq} {method}\r\n"
            f"Contact: sip:caller@{here}\r\n"
            f"Max-Forwards: 70\r\n"
            f"Subject: Performance Test\r\n"
            f"{content}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("ascii") + body

    def invite(self, number: int, *, user: str = "service", audio: Address | None = None) -> bytes:
        """
        Return an INVITE with an offer.

        :param audio: where audio is wanted.
        """
        body = make_sdp(*(audio or (self.here[0], 6000)))
        return self.request(number, "INVITE", body=body, user=user)

    def ack(self, number: int, to_tag: str) -> bytes:
        """Return the ACK of a 2xx."""
        return self.request(number, "ACK", branch=1, to_tag=to_tag)

    def bye(self, number: int, to_tag: str) -> bytes:
        """Return the BYE of a call."""
        return self.request(number, "BYE", cseq=2, branch=2, to_tag=to_tag)


#: For what is measured without a network.
WRITER = Writer()


def tag_of(response: bytes) -> str:
    """Return the To tag of a response."""
    begin = response.index(b"tag=", response.index(b"\r\nTo:")) + 4
    return response[begin : response.index(b"\r\n", begin)].decode("ascii")


def number_of(response: bytes) -> int:
    """Return the number of the call that a response belongs to."""
    begin = response.index(b"\r\nCall-ID: ") + 11
    return int(response[begin : response.index(b"-", begin)])
