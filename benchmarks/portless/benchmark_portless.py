# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Audio without a port, for ``twistd sipsess --plugin-dir``: what the signalling alone costs.

The answer is the one that the shipped audio handler gives, but nobody listens at its port.
"""

from __future__ import annotations

from sipsess.sdp import MediaDescription, SessionDescription
from sipsess.sdphandler import SDPHandler, StreamVerdict
from sipsess.sdphandlers._formats import answered, common_formats, describe, has_codec
from sipsess.sdphandlers._profiles import PLAIN_PROFILE
from sipsess.sdphandlers.audio import speaks_to
from sipsess.session import LocalDescription, Session, SessionStream

#: The port that every answer names.
PORT = 40000


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
        if remote is None or remote.proto != PLAIN_PROFILE:
            return StreamVerdict.NOT_HANDLED
        is_ours = has_codec(common_formats(remote, speaks_to(session)))
        return StreamVerdict.HANDLED if is_ours else StreamVerdict.NOT_HANDLED

    def create_outgoing_sdp_stream(
        self, session: Session, stream: SessionStream, sdp: LocalDescription
    ) -> MediaDescription | StreamVerdict:
        """Answer with the common formats."""
        if stream.remote is None:
            return StreamVerdict.NOT_HANDLED
        formats = answered(tuple(common_formats(stream.remote, speaks_to(session))))
        numbers = [item.number for item in formats]
        attributes = describe(formats, "sendrecv")
        return sdp.media("audio", PORT, PLAIN_PROFILE, numbers, attributes=attributes)


portless = PortlessAudio()
