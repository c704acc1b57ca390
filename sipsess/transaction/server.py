# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The two server transactions (:rfc:`3261#section-17.2`); their tables are in ``server_tables``.

The TU must end each of them: by a final response, or by :meth:`ServerTransaction.abandon`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.errors import SIPError
from sipsess.flow import Flow
from sipsess.message import Request, Response
from sipsess.transaction._base import Transaction
from sipsess.transaction.server_tables import (
    FIRE_TRYING,
    INVITE_SERVER,
    NON_INVITE_SERVER,
    RESPOND_1XX,
    RESPOND_2XX,
    RESPOND_300_699,
    RESPOND_408,
    RESPOND_FINAL,
)
from sipsess.transaction.timing import TRYING_DELAY
from sipsess.transaction.users import ServerUser

if TYPE_CHECKING:
    from sipsess.transaction.keys import Key
    from sipsess.transaction.layer import TransactionLayer


class ServerTransaction(Transaction):
    """A request that came, and our answers; made by :meth:`TransactionLayer.create_server`."""

    __slots__ = (
        "has_final",
        "is_known",
        "last_status",
        "merge_key",
        "peer",
        "return_port",
        "size",
        "source_hash",
        "user",
    )

    def __init__(
        self,
        layer: TransactionLayer,
        key: Key,
        request: Request,
        flow: Flow,
        state: str,
        user: ServerUser | None,
    ) -> None:
        super().__init__(layer, key, request, flow, state)
        #: Who is told; may be set until the transaction ends.
        self.user = user
        #: The status that the TU sent last, 0 before.
        self.last_status = 0
        #: Whether a final response was sent; then :attr:`request` is gone.
        self.has_final = False
        #: The bytes of the request, for the layer's account.
        self.size = 0
        #: The host that the request came from, likewise.
        self.peer = ""
        #: Whether something has shown who sent the request: a proof, or where it came from.
        self.is_known = False
        #: The port at the peer's host that responses go to when their connection is lost, or 0.
        self.return_port = 0
        #: The hash of the bytes of the request, which tells the layer what may be a copy.
        self.source_hash = 0
        #: What a merged request would have in common (:rfc:`3261#section-8.2.2.2`).
        self.merge_key: Key | None = None

    def respond(self, response: Response, now: float) -> None:
        """
        Send a response; once the transaction has ended, do nothing.

        :raises IllegalTransition: for a second final response, any provisional response or 408 to
            a non-INVITE (:rfc:`4320`), or anything but another 2xx after a 2xx to an INVITE.
        """
        response.to_bytes()  # if that fails, no state changes
        on_refused = self._layer.on_refused
        if on_refused is not None and response.status >= 300 and not self.has_final:
            on_refused(self, response, now)
        self.step(self.classify(response.status), response, now)

    def let_go_of_request(self) -> None:
        """
        Keep the request no longer: its final answer is all that a copy of it needs.

        A transaction lives on for 32 s, and most of what it costs is the request.
        """
        if not self.has_final:
            self.has_final = True
            del self.request
            self._layer.answered(self)

    def begin(self, now: float) -> None:
        """Start what runs from the beginning."""
        raise NotImplementedError

    def classify(self, status: int) -> str:
        """Return the event that a response of the TU is."""
        raise NotImplementedError

    def move(self, flow: Flow) -> None:
        """Let all further responses go to ``flow`` (:rfc:`3261#section-18.2.2`)."""
        self._layer.move(self, flow)

    def tell_failed(self, error: SIPError, now: float) -> None:
        """Queue the upcall that says why it failed."""
        if self.user is not None:
            self._layer.turn.later(self.user.server_failed, self, error, now)

    def tell_terminated(self, now: float) -> None:
        """Queue the last upcall and let go of the user."""
        user, self.user = self.user, None
        if user is not None:
            self._layer.turn.later(user.server_terminated, self, now)


class InviteServerTransaction(ServerTransaction):
    """The server transaction of an INVITE."""

    __slots__ = ()

    NAME = "INVITE_SERVER"
    TABLE = INVITE_SERVER

    def begin(self, now: float) -> None:
        """Start the timer of the 100 Trying."""
        timers = self._layer.timers
        self._resend_timer = timers.start(now, TRYING_DELAY, FIRE_TRYING, self)

    def classify(self, status: int) -> str:
        """Return the event that a response of the TU is."""
        if status < 200:
            return RESPOND_1XX
        return RESPOND_2XX if status < 300 else RESPOND_300_699


class NonInviteServerTransaction(ServerTransaction):
    """The server transaction of any other request but ACK."""

    __slots__ = ()

    NAME = "NON_INVITE_SERVER"
    TABLE = NON_INVITE_SERVER

    def begin(self, now: float) -> None:
        """Start the timer of the late 100 Trying (:rfc:`4320#section-4.1`)."""
        layer = self._layer
        self._resend_timer = layer.timers.start(
            now, layer.timing.non_invite_trying, FIRE_TRYING, self
        )

    def classify(self, status: int) -> str:
        """Return the event that a response of the TU is."""
        if status < 200:
            return RESPOND_1XX
        return RESPOND_408 if status == 408 else RESPOND_FINAL
