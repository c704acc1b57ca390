# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Messages that belong to a live call: with its Call-ID, its tags and its place in the order.

A mutated message is mostly refused at the door. These are read to their end: requests of the
dialog that nobody has sent, answers that were not given, and the parts of offer and answer where
they do not belong.
"""

from __future__ import annotations

import random
import re

from tests.fuzz.dictionary import HEADERS, SDP_LINES

#: The headers that make a message one of a dialog.
_DIALOG = re.compile(
    rb"(?im)^(?:from|f|to|t|call-id|i|route|contact|m|max-forwards)[ \t]*:[^\r\n]*\r\n"
)
_CSEQ = re.compile(rb"(?im)^CSeq[ \t]*:[ \t]*(\d+)[ \t]+(\S+)\r\n")
_VIA = re.compile(rb"(?im)^(?:via|v)[ \t]*:[^\r\n]*\r\n")
_BRANCH = re.compile(rb"branch=[^;,\s]+")
_URI = re.compile(rb"(?im)^(?:contact|m)[ \t]*:[^<\r\n]*<([^>\r\n]*)>")

#: Methods of requests within a dialog, those that do most for a call more often.
_METHODS = (
    *(b"INVITE", b"UPDATE", b"PRACK", b"INFO", b"REFER", b"NOTIFY", b"BYE", b"OPTIONS", b"ACK"),
    *(b"INVITE", b"UPDATE", b"PRACK", b"CANCEL", b"MESSAGE", b"SUBSCRIBE"),
)
_STATUSES = (
    *(b"100 Trying", b"180 Ringing", b"183 Session Progress", b"200 OK", b"202 Accepted"),
    *(b"302 Moved Temporarily", b"401 Unauthorized", b"407 Proxy", b"408 Timeout", b"415 Type"),
    *(b"420 Extension", b"421 Extension", b"422 Too Small", b"481 Gone", b"487 Terminated"),
    *(b"488 Not Acceptable", b"491 Pending", b"500 Error", b"503 Full", b"600 Busy", b"199 Early"),
)

#: What a request of each kind needs to be taken seriously.
_OWN_HEADERS: dict[bytes, tuple[bytes, ...]] = {
    b"REFER": (
        b"Refer-To: <sip:answering@192.0.2.3>",
        b"Refer-To: <sip:puppet@192.0.2.2?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>",
    ),
    b"NOTIFY": (
        b"Event: refer\r\nSubscription-State: active;expires=60",
        b"Event: refer;id=2\r\nSubscription-State: terminated",
    ),
    b"PRACK": (b"RAck: 1 1 INVITE", b"RAck: 2 1 INVITE", b"RAck: 1 2 UPDATE"),
    b"INFO": (b"Info-Package: dtmf", b"Content-Disposition: render"),
    b"UPDATE": (b"Session-Expires: 90;refresher=uac", b"Session-Expires: 5", b"Min-SE: 7200"),
    b"INVITE": (
        b"Session-Expires: 90;refresher=uas\r\nSupported: timer",
        b"Replaces: a;to-tag=b;from-tag=c",
        b"Require: 100rel",
        b"Supported: 100rel, timer",
    ),
}
_BODIES: tuple[tuple[bytes, bytes], ...] = (
    (b"application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n"),
    (b"application/dtmf-relay", b"Signal=5\r\nDuration=99999999999999999\r\n"),
    (b"application/dtmf", b"11"),
    (b"message/sipfrag;version=2.0", b"SIP/2.0 200 OK\r\n"),
    (b"message/sipfrag", b"SIP/2.0 9999"),
    (b"multipart/mixed;boundary=x", b"--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--x--"),
    (b"text/plain", b"\xff\xfe hello"),
    (b"application/sdp", b""),
)


def sdp(rng: random.Random) -> bytes:
    """Return a session description: a good one, with at most some lines too many or too few."""
    lines = [
        *(b"v=0", b"o=- %d %d IN IP4 192.0.2.66" % (rng.randrange(9), rng.randrange(9)), b"s=-"),
        *(b"c=IN IP4 192.0.2.%d" % rng.choice((1, 2, 66)), b"t=0 0"),
    ]
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 20))):
        kind = rng.choice((b"audio", b"audio", b"video", b"image", b"text"))
        port = rng.choice((0, 4000, 4002, 41000))
        lines.append(b"m=%s %d RTP/AVP %s" % (kind, port, rng.choice((b"0", b"8 0 101", b"31"))))
        lines.append(b"a=" + rng.choice((b"sendrecv", b"sendonly", b"recvonly", b"inactive")))
    for _ in range(rng.choice((0, 0, 1, 2))):
        lines.insert(rng.randrange(len(lines)), rng.choice(SDP_LINES))
    return b"\r\n".join((*lines, b""))


def _number(rng: random.Random, written: bytes) -> int:
    """Return a CSeq number near the one of a message, or far from it."""
    step = rng.choice((0, 1, 1, 1, 1, 2, 3, 100, -1, 1 << 30))
    return max(0, min(int(written[:10]), 1 << 31) + step)


def _content(rng: random.Random) -> tuple[bytes, bytes]:
    choice = rng.random()
    if choice < 0.4:
        return b"application/sdp", sdp(rng)
    return rng.choice(_BODIES) if choice < 0.8 else (b"", b"")


def _finish(rng: random.Random, lines: list[bytes]) -> bytes:
    for _ in range(rng.choice((0, 0, 1, 2))):
        lines.append(rng.choice(HEADERS) + b"\r\n")
    kind, body = _content(rng)
    if kind:
        lines.append(b"Content-Type: " + kind + b"\r\n")
    lines.append(b"Content-Length: %d\r\n\r\n" % len(body))
    return b"".join(lines) + body


def sibling_request(rng: random.Random, data: bytes) -> bytes:
    """Return another request of the dialog of a request, from the same side; or the same bytes."""
    cseq, via = _CSEQ.search(data), _VIA.search(data)
    if data.startswith(b"SIP/") or cseq is None or via is None:
        return data
    method = rng.choice(_METHODS)
    words = data.partition(b"\r\n")[0].split(b" ")
    uri = words[1] if len(words) > 1 else b"sip:x"
    branch = b"branch=z9hG4bK%x" % rng.randrange(1 << 32)
    if method in (b"ACK", b"CANCEL") and rng.random() < 0.7:
        number, stamped = int(cseq[1][:10]), via[0]
    else:
        number, stamped = _number(rng, cseq[1]), _BRANCH.sub(branch, via[0])
    lines = [
        method + b" " + uri + b" SIP/2.0\r\n",
        stamped,
        *_DIALOG.findall(data),
        b"CSeq: %d %s\r\n" % (number, method),
    ]
    own = _OWN_HEADERS.get(method, ())
    if own and rng.random() < 0.8:
        lines.append(rng.choice(own) + b"\r\n")
    return _finish(rng, lines)


def reply(rng: random.Random, data: bytes) -> bytes:
    """Return an answer to a request, as its receiver might give it; or the same bytes."""
    cseq = _CSEQ.search(data)
    if data.startswith(b"SIP/") or cseq is None:
        return data
    repeated = b"".join([*_VIA.findall(data), *_DIALOG.findall(data)])
    if rng.random() < 0.8:
        repeated = re.sub(
            rb"(?im)^((?:to|t)[ \t]*:(?:(?!;tag=)[^\r\n])*)\r\n", rb"\1;tag=r\r\n", repeated
        )
    lines = [b"SIP/2.0 " + rng.choice(_STATUSES) + b"\r\n", repeated, cseq[0]]
    if rng.random() < 0.5:
        lines.append(b"Require: 100rel\r\nRSeq: %d\r\n" % rng.choice((0, 1, 1, 2, 3, 1 << 31)))
    if rng.random() < 0.3:
        lines.append(b"Contact: <sip:x@192.0.2.%d>\r\n" % rng.choice((1, 2, 3, 66)))
    return _finish(rng, lines)


def changed_answer(rng: random.Random, data: bytes) -> bytes:
    """Return a response with another status, another tag or another body; or the same bytes."""
    if not data.startswith(b"SIP/2.0 "):
        return data
    head, _, _ = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    if rng.random() < 0.6:
        first = b"SIP/2.0 " + rng.choice(_STATUSES)
    if rng.random() < 0.3:
        lines = [re.sub(rb"(?i)^(To:.*;tag=)[^;]*", rb"\1other", line) for line in lines]
    unwanted = (b"content-type", b"content-length")
    kept = [line + b"\r\n" for line in lines if not line.lower().startswith(unwanted)]
    return _finish(rng, [first + b"\r\n", *kept])
