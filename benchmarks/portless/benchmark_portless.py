# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Audio without a port, for ``twistd sipsess --plugin-dir``: what the signalling alone costs.

The answer is the one that the shipped audio handler gives, but nobody listens at its port.
"""

from __future__ import annotations

from functools import lru_cache

from sipsess.sdp import AttributeLines, MediaDescription, SessionDescription
from sipsess.sdphandler import SDPHandler, StreamVerdict
from sipsess.sdphandlers._profiles import PLAIN_PROFILE
from sipsess.sdphandlers.audio import common_formats
from sipsess.session import LocalDescription, Session, SessionStream

#: The port that every answer names.
PORT = 40000

_RTPMAPS = {
    "PCMU": "PCMU/8000",
    "PCMA": "PCMA/8000",
    "TELEPHONE-EVENT": "telephone-event/8000",
}


class PortlessAudio(SDPHandler):
    """Claims audio before the shipped handler does."""

    name = "portless"
    media_type = "audio"
    priority = 100

    def handle_incoming_sdp_stream_offer(
        self, session: Session, stream: SessionStream, sdp: SessionDescription
    ) -> StreamVerdict:
        """Claim what the shipped handler would claim."""
        remote = stream.remote
        is_ours = remote is not None and remote.proto == PLAIN_PROFILE and common_formats(remote)
        return StreamVerdict.HANDLED if is_ours else StreamVerdict.NOT_HANDLED

    def create_outgoing_sdp_stream(
        self, session: Session, stream: SessionStream, sdp: LocalDescription
    ) -> MediaDescription | StreamVerdict:
        """Answer with the common formats."""
        if stream.remote is None:
            return StreamVerdict.NOT_HANDLED
        formats = tuple(common_formats(stream.remote))
        numbers = [number for number, _ in formats]
        return sdp.media("audio", PORT, PLAIN_PROFILE, numbers, attributes=_describe(formats))


@lru_cache(maxsize=128)
def _describe(formats: tuple[tuple[str, str], ...]) -> AttributeLines:
    """Return the attributes of the answer, as the shipped handler keeps them."""
    attributes: list[tuple[str, str | None]] = []
    for number, name in formats:
        attributes.append(("rtpmap", f"{number} {_RTPMAPS[name]}"))
        if name == "TELEPHONE-EVENT":
            attributes.append(("fmtp", f"{number} 0-15"))
    return AttributeLines([*attributes, ("ptime", "20"), ("sendrecv", None)])


portless = PortlessAudio()
