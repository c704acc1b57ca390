# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What a transaction user (TU, :rfc:`3261#section-17`) is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sipsess.errors import SIPError

if TYPE_CHECKING:
    from sipsess.message import Response
    from sipsess.transaction.client import ClientTransaction
    from sipsess.transaction.server import ServerTransaction


class ServerUser(Protocol):
    """The user of a server transaction; called between table steps, in the same turn."""

    def server_failed(self, transaction: ServerTransaction, error: SIPError, now: float) -> None:
        """
        Learn that an answer did not arrive.

        :param error: :class:`~sipsess.errors.Timeout` when no ACK came (Timer H); the transaction
            has ended. :class:`~sipsess.errors.TransportError` when the flow is lost; an INVITE
            transaction goes on (:rfc:`6026#section-7.1`): while it has no final response, still
            send one (see :meth:`ServerTransaction.move`) or call ``abandon``.
        """

    def server_terminated(self, transaction: ServerTransaction, now: float) -> None:
        """Learn that the transaction is over and has let go of its user; called once."""


class ClientUser(Protocol):
    """The user of a client transaction; called between table steps, in the same turn."""

    def response_received(
        self, transaction: ClientTransaction, response: Response, now: float
    ) -> None:
        """
        Take a response: any number of provisional ones, then one final one.

        An INVITE may give several 2xx, copies and those of other forks, for 64*T1; each wants its
        ACK (:rfc:`3261#section-13.2.2.4`).
        """

    def client_failed(self, transaction: ClientTransaction, error: SIPError, now: float) -> None:
        """
        Learn that there will be no final response; never called after one.

        :param error: :class:`~sipsess.errors.Timeout` or
            :class:`~sipsess.errors.TransportError` (:rfc:`3261#section-8.1.3.1`).
        """

    def client_terminated(self, transaction: ClientTransaction, now: float) -> None:
        """Learn that the transaction is over and has let go of its user; called once."""
