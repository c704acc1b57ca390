# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The cryptography of SRTP (:rfc:`3711`), by libsrtp; needs the extra ``srtp``.

The library is imported when the first call wants it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from .crypto import Suite

#: What to say when the extra is missing.
HINT = "install sipsess[srtp]"

#: Packets that may come late and are still told from repeated ones (:rfc:`3711#section-3.3.2`
#: wants 64 at least); a second of audio and more.
WINDOW = 128

#: The names of libsrtp for the suites of SDP.
_PROFILES = {
    "AEAD_AES_256_GCM": "SRTP_PROFILE_AEAD_AES_256_GCM",
    "AEAD_AES_128_GCM": "SRTP_PROFILE_AEAD_AES_128_GCM",
    "AES_CM_128_HMAC_SHA1_80": "SRTP_PROFILE_AES128_CM_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32": "SRTP_PROFILE_AES128_CM_SHA1_32",
}


def is_available() -> bool:
    """Tell whether the extra is installed."""
    return find_spec("pylibsrtp") is not None


class Context:
    """
    One direction of a stream: a master key, and what was sent or received under it.

    :param suite: of the key.
    :param key: master key and master salt.
    :param is_sender: whether it protects; if not, it unprotects.
    """

    __slots__ = ("_errors", "_session")

    def __init__(self, suite: Suite, key: bytes, *, is_sender: bool) -> None:
        import pylibsrtp

        kind = "OUTBOUND" if is_sender else "INBOUND"
        policy: Any = pylibsrtp.Policy(
            key=key,
            ssrc_type=getattr(pylibsrtp.Policy, f"SSRC_ANY_{kind}"),
            srtp_profile=getattr(pylibsrtp.Policy, _PROFILES[suite.name]),
        )
        policy.window_size = WINDOW
        self._session = pylibsrtp.Session(policy)
        # A packet of more than 1500 bytes is a ValueError.
        self._errors = (pylibsrtp.Error, ValueError)

    def protect(self, data: bytes, is_rtcp: bool) -> bytes | None:
        """Return the encrypted packet; ``None`` when it is none or the key is used up."""
        session = self._session
        return self._try(session.protect_rtcp if is_rtcp else session.protect, data)

    def unprotect(self, data: bytes, is_rtcp: bool) -> bytes | None:
        """Return the plain packet; ``None`` when it is forged, broken or a repetition."""
        session = self._session
        return self._try(session.unprotect_rtcp if is_rtcp else session.unprotect, data)

    def _try(self, process: Any, data: bytes) -> bytes | None:
        try:
            result: bytes = process(data)
        except self._errors:
            return None
        return result
