# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The messages of a basic call, shaped like those of a load generator: seven lines and an SDP."""

from __future__ import annotations

from sipsess.flow import Flow

SDP = (
    b"v=0\r\no=caller 53655765 2353687637 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\n"
    b"t=0 0\r\nm=audio 6000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
)

#: From the caller's port to ours.
FLOW = Flow("UDP", ("192.0.2.1", 5060), ("192.0.2.2", 5060), "udp:5060")


def make_request(
    number: int, method: str, *, cseq: int = 1, branch: int = 0, to_tag: str = "", body: bytes = b""
) -> bytes:
    """
    Return a request of call ``number``.

    :param branch: tells the transactions of one call apart; an ACK of a non-2xx has its INVITE's.
    :param to_tag: ours, once the call has one.
    """
    to = f"<sip:service@192.0.2.1:5060>;tag={to_tag}" if to_tag else "<sip:service@192.0.2.1:5060>"
    content = "Content-Type: application/sdp\r\n" if body else ""
    head = (
        f"{method} sip:service@192.0.2.1:5060 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK-{number}-{branch}\r\n"
        f"From: caller <sip:caller@192.0.2.2:5060>;tag={number}Tag\r\n"
        f"To: service {to}\r\n"
        f"Call-ID: {number}-1@192.0.2.2\r\n"
        f"CSeq: {cseq} {method}\r\n"
        f"Contact: sip:caller@192.0.2.2:5060\r\n"
        f"Max-Forwards: 70\r\n"
        f"Subject: Performance Test\r\n"
        f"{content}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def tag_of(response: bytes) -> str:
    """Return the To tag of a response."""
    begin = response.index(b"tag=", response.index(b"\r\nTo:")) + 4
    return response[begin : response.index(b"\r\n", begin)].decode("ascii")
