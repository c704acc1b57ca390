# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Encrypted audio: whether what it needs is installed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sipsess import dtls, srtp
from sipsess.endpoint import Endpoint
from sipsess.srtp.context import HINT as SRTP_HINT
from sipsess.transport.listen import WEB, ListenSpec

from .findings import NOTE, OK, WRONG, Finding

SUBJECT = "encrypted audio"


def examine_encryption(
    endpoints: Iterable[Endpoint], listeners: Iterable[ListenSpec]
) -> Iterator[Finding]:
    """Yield what is missing for endpoints that encrypt, and for browsers; nothing without any."""
    wanted = {endpoint.media_encryption for endpoint in endpoints}
    takes_browsers = any(spec.transport in WEB for spec in listeners)
    if "sdes" in wanted:
        yield _judge("SRTP (media_encryption = sdes)", srtp.is_available(), SRTP_HINT)
    if "dtls" in wanted:
        yield _judge("DTLS-SRTP (media_encryption = dtls)", dtls.is_available(), dtls.HINT)
    elif takes_browsers and not dtls.is_available():
        text = "browsers can connect, but their calls are refused: there is no DTLS-SRTP"
        yield Finding(NOTE, SUBJECT, text, dtls.HINT)


def _judge(what: str, is_available: bool, hint: str) -> Finding:
    if is_available:
        return Finding(OK, SUBJECT, f"{what} is installed")
    return Finding(WRONG, SUBJECT, f"{what} is not installed, so these calls cannot be", hint)
