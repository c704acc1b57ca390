# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Dialogs and the INVITE usage (:rfc:`3261#section-12`, :rfc:`5057`)."""

from .dialog import CSeqError, Dialog, DialogId, check_dialog, contact_uri
from .success import SuccessRetransmission
from .usage import InviteUsage, UsageOwner

__all__ = [
    "CSeqError",
    "Dialog",
    "DialogId",
    "InviteUsage",
    "SuccessRetransmission",
    "UsageOwner",
    "check_dialog",
    "contact_uri",
]
