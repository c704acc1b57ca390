# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The transaction layer of :rfc:`3261#section-17`, with :rfc:`6026` and :rfc:`4320`.

Four machines as complete tables, found by keys that are read from the bytes of a message. Users are
told by upcalls of the turn; nothing here calls them inside a step.
"""

from __future__ import annotations

from sipsess.transaction._base import Transaction
from sipsess.transaction.client import ClientTransaction
from sipsess.transaction.client_tables import INVITE_CLIENT, NON_INVITE_CLIENT
from sipsess.transaction.layer import (
    REASONS,
    StepTrace,
    TransactionExistsError,
    TransactionLayer,
    TransactionLimitError,
)
from sipsess.transaction.server import ServerTransaction
from sipsess.transaction.server_tables import INVITE_SERVER, NON_INVITE_SERVER
from sipsess.transaction.timing import DEFAULT_TIMING, MAX_TRANSACTIONS, TRYING_DELAY, Timing
from sipsess.transaction.users import ClientUser, ServerUser

__all__ = [
    "DEFAULT_TIMING",
    "INVITE_CLIENT",
    "INVITE_SERVER",
    "MAX_TRANSACTIONS",
    "NON_INVITE_CLIENT",
    "NON_INVITE_SERVER",
    "REASONS",
    "TRYING_DELAY",
    "ClientTransaction",
    "ClientUser",
    "ServerTransaction",
    "ServerUser",
    "StepTrace",
    "Timing",
    "Transaction",
    "TransactionExistsError",
    "TransactionLayer",
    "TransactionLimitError",
]
