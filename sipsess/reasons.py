# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What each reason code means: the ``REASONS`` of all rooms in one table, for whoever prints counters.
"""

from __future__ import annotations

from sipsess import cdr, core, defence, engine, flows, manager, mediastream, sdp
from sipsess.dialog import dialog, reliable
from sipsess.dtls import REASONS as DTLS_REASONS
from sipsess.endpoint import digest_gate, identify
from sipsess.ice import REASONS as ICE_REASONS
from sipsess.media import rtp
from sipsess.message import REASONS as MESSAGE_REASONS
from sipsess.registrar import rules as registrar
from sipsess.srtp import REASONS as SRTP_REASONS
from sipsess.transaction import REASONS as TRANSACTION_REASONS


def all_reasons() -> dict[str, str]:
    """Return reason code to one sentence for people, sorted by code."""
    tables = (
        MESSAGE_REASONS,
        TRANSACTION_REASONS,
        sdp.REASONS,
        dialog.REASONS,
        reliable.REASONS,
        rtp.REASONS,
        SRTP_REASONS,
        ICE_REASONS,
        DTLS_REASONS,
        cdr.REASONS,
        engine.REASONS,
        core.REASONS,
        flows.REASONS,
        defence.REASONS,
        manager.REASONS,
        digest_gate.REASONS,
        identify.REASONS,
        registrar.REASONS,
        mediastream.REASONS,
    )
    return dict(sorted((code, text) for table in tables for code, text in table.items()))
