# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The two client transactions (:rfc:`3261#section-17.1`); their tables are in ``client_tables``."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from sipsess.errors import SIPError
from sipsess.flow import Flow
from sipsess.message import Request, Response
from sipsess.transaction._base import Transaction
from sipsess.transaction.client_tables import (
    FIRE_A,
    FIRE_B,
    FIRE_E,
    FIRE_F,
    INVITE_CLIENT,
    NON_INVITE_CLIENT,
    RESPONSE_1XX,
    RESPONSE_2XX,
    RESPONSE_300_699,
    RESPONSE_FINAL,
)
from sipsess.transaction.users import ClientUser

if TYPE_CHECKING:
    from sipsess.transaction.keys import Key
    from sipsess.transaction.layer import TransactionLayer


#: A request as it is sent on another flow, and that flow.
Fallback: TypeAlias = tuple[Request, Flow]


class ClientTransaction(Transaction):
    """A request that we send; made by :meth:`TransactionLayer.create_client`."""

    __slots__ = ("fallback", "user")

    def __init__(
        self,
        layer: TransactionLayer,
        key: Key,
        request: Request,
        flow: Flow,
        state: str,
        user: ClientUser,
    ) -> None:
        super().__init__(layer, key, request, flow, state)
        #: Who is told, until the transaction ends.
        self.user: ClientUser | None = user
        #: The request and its flow, should the connection that was preferred not open.
        self.fallback: Fallback | None = None

    def fall_back(self, now: float) -> None:
        """Begin anew with :attr:`fallback`, as nothing was sent (:rfc:`3261#section-18.1.1`)."""
        assert self.fallback is not None
        (self.request, flow), self.fallback = self.fallback, None
        self._layer.move(self, flow)
        self.begin(now)

    def begin(self, now: float) -> None:
        """Send the request and start the timers."""
        raise NotImplementedError

    def classify(self, status: int) -> str:
        """Return the event that a response is."""
        raise NotImplementedError

    def tell_response(self, response: Response, now: float) -> None:
        """Queue the upcall that passes a response."""
        if self.user is not None:
            self._layer.turn.later(self.user.response_received, self, response, now)

    def tell_failed(self, error: SIPError, now: float) -> None:
        """Queue the upcall that says why it failed."""
        if self.user is not None:
            self._layer.turn.later(self.user.client_failed, self, error, now)

    def tell_terminated(self, now: float) -> None:
        """Queue the last upcall and let go of the user."""
        user, self.user = self.user, None
        if user is not None:
            self._layer.turn.later(user.client_terminated, self, now)


class InviteClientTransaction(ClientTransaction):
    """The client transaction of an INVITE."""

    __slots__ = ()

    NAME = "INVITE_CLIENT"
    TABLE = INVITE_CLIENT

    def begin(self, now: float) -> None:
        """Send the INVITE and start Timers A and B."""
        self.send(self.request.to_bytes())
        self.start_end_timer(self._layer.timing.timeout, FIRE_B, now)
        self.start_resending(FIRE_A, now)

    def classify(self, status: int) -> str:
        """Return the event that a response is."""
        if status < 200:
            return RESPONSE_1XX
        return RESPONSE_2XX if status < 300 else RESPONSE_300_699


class NonInviteClientTransaction(ClientTransaction):
    """The client transaction of any other request but ACK."""

    __slots__ = ()

    NAME = "NON_INVITE_CLIENT"
    TABLE = NON_INVITE_CLIENT

    def begin(self, now: float) -> None:
        """Send the request and start Timers E and F."""
        self.send(self.request.to_bytes())
        self.start_end_timer(self._layer.timing.timeout, FIRE_F, now)
        self.start_resending(FIRE_E, now)

    def classify(self, status: int) -> str:
        """Return the event that a response is."""
        return RESPONSE_1XX if status < 200 else RESPONSE_FINAL
