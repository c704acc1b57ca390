# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A 503 to an INVITE, made of its bytes: for a server that has no time to read it.

It is what :func:`~sipsess.message.build_response` makes, for the usual INVITE; whenever the two
could differ (continuation lines, several Vias in one header, broken headers) there is none, and the
caller parses.
"""

from __future__ import annotations

import re

from sipsess.flow import Address

#: What a response repeats (:rfc:`3261#section-8.2.6.2`), by name or compact form.
_REPEATED = {
    b"via": b"Via",
    b"v": b"Via",
    b"from": b"From",
    b"f": b"From",
    b"to": b"To",
    b"t": b"To",
    b"call-id": b"Call-ID",
    b"i": b"Call-ID",
    b"cseq": b"CSeq",
}
_TO_TAG = re.compile(rb"\r\nt(?:o)?[ \t]*:[^\r]*;[ \t]*tag[ \t]*=", re.IGNORECASE)
_RPORT = re.compile(rb";[ \t]*rport[ \t]*(?=;|$)", re.IGNORECASE)

#: Where SIP listens when a sent-by does not say.
_DEFAULT_PORT = 5060


def is_in_dialog(data: bytes) -> bool:
    """Tell whether a request has a To tag, as far as its bytes show it plainly."""
    return _TO_TAG.search(data) is not None


def build_busy(
    data: bytes, source: Address, to_tag: bytes, retry_after: int
) -> tuple[bytes, int] | None:
    """
    Return a 503 to an INVITE, and the port that it goes to (:rfc:`3261#section-18.2.2`).

    :param data: the INVITE, of UDP.
    :param source: where it came from.
    :param to_tag: of the response.
    :return: ``None`` when it must be parsed to be answered.
    """
    lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    answer = [b"SIP/2.0 503 Service Unavailable"]
    port = 0
    missing = {b"Via", b"From", b"To", b"Call-ID", b"CSeq"}
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        wanted = _REPEATED.get(name.rstrip(b" \t").lower())
        if wanted is None:
            if line[:1] in (b" ", b"\t", b""):
                return None
            continue
        value = value.strip(b" \t")
        if wanted == b"Via" and not port:
            found = _stamp(value, source)
            if found is None:
                return None
            value, port = found
        elif wanted == b"To":
            value += b";tag=" + to_tag
        if wanted not in missing and wanted != b"Via":
            return None
        missing.discard(wanted)
        answer.append(wanted + b": " + value)
    if missing or any(b"\n" in line or b"\r" in line or b"\0" in line for line in answer):
        return None
    answer.append(b"Retry-After: %d" % retry_after)
    answer.append(b"Content-Length: 0\r\n\r\n")
    return b"\r\n".join(answer), port


def _stamp(via: bytes, source: Address) -> tuple[bytes, int] | None:
    """Return the top Via with where the request came from (:rfc:`3581`), and the reply's port."""
    if b"," in via or b'"' in via or b"received" in via.lower():
        return None
    host, port = source[0].encode(), source[1]
    received = b";received=" + host
    stamped, count = _RPORT.subn(b";rport=%d" % port, via, count=1)
    if count:
        return stamped + received, port
    _, _, written = via.partition(b";")[0].rstrip(b" \t").rpartition(b":")
    is_port = len(written) <= 5 and written.isdigit()
    return via + received, int(written) if is_port else _DEFAULT_PORT
