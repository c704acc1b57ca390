# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The transaction layer: finds the transaction of each message, or hands the message on.

Theory of operation
    A peer that sends a request again sends the same bytes, so their hash tells whether a request
    may be a copy; only of those, of ACKs and of responses is the key read from the bytes. A hit is
    the machine's business: a copy of a request is answered from the stored bytes, and a copy of a
    final response is acknowledged from them, without a message being built. Everything else is
    parsed, looked up by what the parser says (a copy may have come another way, the quick look is
    allowed to give up, and RFC 2543 peers need more than it sees), and returned to the caller if
    nothing is found. All this runs inside a turn of the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import TypeAlias

from sipsess.counters import Counters
from sipsess.errors import ConnectFailed, LocalError, RemoteError, TransportError
from sipsess.flow import Address, Flow, source_key
from sipsess.message import Request, Response, parse, peek
from sipsess.tally import Tally
from sipsess.timers import TimerQueue
from sipsess.transaction._base import TRANSPORT_ERROR, Transaction
from sipsess.transaction.client import (
    ClientTransaction,
    Fallback,
    InviteClientTransaction,
    NonInviteClientTransaction,
)
from sipsess.transaction.client_tables import CALLING
from sipsess.transaction.client_tables import COMPLETED as CLIENT_COMPLETED
from sipsess.transaction.client_tables import TRYING as CLIENT_TRYING
from sipsess.transaction.keys import Key, has_cookie, merge_key, request_key, server_key
from sipsess.transaction.mirror import Mirror
from sipsess.transaction.server import (
    InviteServerTransaction,
    NonInviteServerTransaction,
    ServerTransaction,
)
from sipsess.transaction.server_tables import ACCEPTED, ACK, PROCEEDING, REQUEST, TRYING
from sipsess.transaction.timing import (
    DEFAULT_TIMING,
    MAX_TRANSACTION_BYTES,
    MAX_TRANSACTIONS,
    MAX_TRANSACTIONS_PER_PEER,
    Timing,
)
from sipsess.transaction.users import ClientUser, ServerUser
from sipsess.turn import Turn

#: Why this room drops messages.
REASONS: dict[str, str] = {
    "misrouted-response": "A response held several Via headers, so it was meant for somebody else.",
    "response-cseq": "A response has another number in CSeq than its request.",
}

#: Told after each step: transaction, event, old state, new state.
StepTrace: TypeAlias = Callable[[Transaction, str, str, str], None]

#: Called with a lost flow and a port; returns another flow to the same host, or ``None``.
Reopen: TypeAlias = Callable[[Flow, int], Flow | None]


class TransactionExistsError(LocalError):
    """A transaction with that key exists already."""


class TransactionLimitError(LocalError):
    """There are as many server transactions as there may be."""

    status_hint = 503


class TransactionLayer:
    """
    Owns all transactions of one core.

    :param limit: how many server transactions there may be. Client transactions are not limited, as
        no peer begins them.
    :param byte_limit: how many bytes their requests may have together.
    :param peer_limit: how many of them one peer, a host, may have.
    """

    __slots__ = (
        "_by_remote",
        "_clients",
        "_hashes",
        "_held",
        "_initial",
        "_peers",
        "_servers",
        "byte_limit",
        "counters",
        "limit",
        "mirror",
        "on_refused",
        "peer_limit",
        "step_trace",
        "timers",
        "timing",
        "turn",
    )

    def __init__(
        self,
        *,
        turn: Turn,
        timers: TimerQueue,
        counters: Counters,
        timing: Timing = DEFAULT_TIMING,
        limit: int = MAX_TRANSACTIONS,
        byte_limit: int = MAX_TRANSACTION_BYTES,
        peer_limit: int = MAX_TRANSACTIONS_PER_PEER,
    ) -> None:
        self.turn = turn
        self.timers = timers
        self.counters = counters
        self.timing = timing
        #: Told about each step of a machine, if set.
        self.step_trace: StepTrace | None = None
        #: How many server transactions there may be, all requests' bytes, and those of one peer;
        #: what is there when a limit is lowered stays.
        self.limit = limit
        self.byte_limit = byte_limit
        self.peer_limit = peer_limit
        #: Told about each refusal before it is sent, if set: transaction, response and time.
        self.on_refused: Callable[[ServerTransaction, Response, float], None] | None = None
        #: Where peers see us.
        self.mirror = Mirror()
        #: Server transactions by the host that their requests came from.
        self._peers = Tally()
        #: The bytes of all requests that server transactions keep.
        self._held = 0
        self._servers: dict[Key, ServerTransaction] = {}
        #: The same, by the hash of the bytes of their requests, which are not kept.
        self._hashes: dict[int, ServerTransaction] = {}
        self._clients: dict[Key, ClientTransaction] = {}
        # Dicts instead of sets, as their order is the same in each run.
        self._by_remote: dict[Address, dict[Transaction, None]] = {}
        self._initial: dict[Key, ServerTransaction] = {}

    def __len__(self) -> int:
        """Return how many transactions there are."""
        return len(self._servers) + len(self._clients)

    def fullness(self, host: str) -> str | None:
        """
        Return why a new request must be refused without a transaction (503), or ``None``.

        :param host: where it came from.
        """
        if len(self._servers) >= self.limit or self._held >= self.byte_limit:
            return "transactions-full"
        is_full = self._peers[source_key(host)] >= self.peer_limit
        return "peer-transactions-full" if is_full else None

    def leftovers(self) -> list[str]:
        """Describe each transaction, for tests that want none to be left."""
        return [repr(item) for item in chain(self._servers.values(), self._clients.values())]

    def receive(self, data: bytes, flow: Flow, now: float) -> Request | Response | None:
        """
        Feed one message.

        :param data: the whole message, as it came.
        :param flow: where it came from.
        :return: ``None`` when a transaction dealt with it. Else a valid request that needs a new
            server transaction, a CANCEL (which needs its own, too), the ACK of a 2xx, or a response
            that belongs to nothing.
        :raises RemoteError: for what cannot be parsed or is not valid; nothing has changed then.
        """
        may_hit = data.startswith((b"ACK ", b"SIP/")) or hash(data) in self._hashes
        glance = peek(data) if may_hit else None
        if glance is None:
            return self._receive_parsed(data, flow, now)
        if glance.is_request:
            if not has_cookie(glance.branch):
                return self._receive_parsed(data, flow, now)
            key = server_key(glance.branch, glance.sent_by, glance.method, flow)
            server = self._servers.get(key)
            if server is None or (glance.method == ACK and server.state == ACCEPTED):
                return self._receive_parsed(data, flow, now)
            self._feed_request(server, glance.method, now)
            return None
        client = self._clients.get((glance.branch, glance.method))
        if client is None or client.state != CLIENT_COMPLETED:
            return self._receive_parsed(data, flow, now)
        self._feed_copy(client, glance.status, now)
        return None

    def has_server(self, data: bytes, flow: Flow) -> bool:
        """Tell whether a request is plainly a copy of one that has a server transaction."""
        glance = peek(data)
        if glance is None or not glance.is_request:
            return False
        return server_key(glance.branch, glance.sent_by, glance.method, flow) in self._servers

    def _receive_parsed(self, data: bytes, flow: Flow, now: float) -> Request | Response | None:
        message = parse(data)
        message.validate()
        if isinstance(message, Request):
            server = self._servers.get(request_key(message, flow))
            # RFC 6026 7.1: in ACCEPTED the ACK goes to the TU.
            if server is None or (message.method == ACK and server.state == ACCEPTED):
                return message
            self._feed_request(server, message.method, now)
            return None
        if len(message.vias) > 1:  # RFC 3261 8.1.3.3
            raise RemoteError("misrouted-response", REASONS["misrouted-response"])
        client = self._clients.get((message.via.branch, message.cseq.method))
        if client is None:
            return message
        if message.cseq.number != client.request.cseq.number:
            # 8.2.6.2: they are equal; a dialog would count wrong after it.
            raise RemoteError("response-cseq", REASONS["response-cseq"])
        if client.state == CLIENT_COMPLETED:
            self._feed_copy(client, message.status, now)
        else:
            self.mirror.note(message.via, flow, now)
            client.step(client.classify(message.status), message, now)
        return None

    def _feed_request(self, server: ServerTransaction, method: str, now: float) -> None:
        if method == ACK:
            server.step(ACK, None, now)
        else:
            self.counters.request_retransmissions_received += 1
            server.step(REQUEST, None, now)

    def _feed_copy(self, client: ClientTransaction, status: int, now: float) -> None:
        self.counters.response_retransmissions_received += 1
        client.step(client.classify(status), None, now)

    def create_server(
        self,
        request: Request,
        flow: Flow,
        now: float,
        *,
        reply_flow: Flow | None = None,
        user: ServerUser | None = None,
    ) -> ServerTransaction:
        """
        Begin a server transaction for a request that :meth:`receive` returned; not for an ACK.

        :param flow: where it came from.
        :param reply_flow: where the responses go (:rfc:`3261#section-18.2.2`), if not there.
        :raises TransactionLimitError: when there are too many; see :meth:`fullness`.
        :raises TransactionExistsError: when the request has one already.
        """
        if self.fullness(flow.remote[0]) is not None:
            raise TransactionLimitError(
                f"there are {len(self._servers)} server transactions with {self._held} bytes"
            )
        key = request_key(request, flow)
        if key in self._servers or request.method == ACK:
            raise TransactionExistsError(f"{request.method} {key[0]} needs no new transaction")
        replies = reply_flow or flow
        server: ServerTransaction
        if request.method == "INVITE":
            server = InviteServerTransaction(self, key, request, replies, PROCEEDING, user)
        else:
            server = NonInviteServerTransaction(self, key, request, replies, TRYING, user)
        self._keep(server, flow)
        self._link(server)
        self.counters.transactions_begun += 1
        server.begin(now)
        return server

    def _keep(self, server: ServerTransaction, flow: Flow) -> None:
        """Enter a new server transaction into the indexes and accounts."""
        request = server.request
        self._servers[server.key] = server
        server.peer = source_key(flow.remote[0])
        self._peers.add(server.peer)
        server.size = request.size
        self._held += server.size
        server.source_hash = hash(request.source)
        self._hashes[server.source_hash] = server
        server.merge_key = merge_key(request)
        if server.merge_key is not None:
            self._initial.setdefault(server.merge_key, server)

    def create_client(
        self,
        request: Request,
        flow: Flow,
        user: ClientUser,
        now: float,
        fallback: Fallback | None = None,
    ) -> ClientTransaction:
        """
        Begin a client transaction: the request is serialised and sent at once; not for an ACK.

        :param fallback: what is sent instead when the connection of ``flow`` cannot be opened; it
            has the same branch.
        :raises TransactionExistsError: when the branch was used already.
        """
        key = (request.via.branch, request.method)
        if key in self._clients or request.method == ACK:
            raise TransactionExistsError(f"{request.method} {key[0]} needs no new transaction")
        client: ClientTransaction
        if request.method == "INVITE":
            client = InviteClientTransaction(self, key, request, flow, CALLING, user)
        else:
            client = NonInviteClientTransaction(self, key, request, flow, CLIENT_TRYING, user)
        request.to_bytes()  # if that fails, nothing has begun
        client.fallback = fallback
        self._clients[key] = client
        self._link(client)
        self.counters.transactions_begun += 1
        client.begin(now)
        return client

    def find_cancelled(self, cancel: Request, flow: Flow) -> ServerTransaction | None:
        """
        Return the INVITE transaction that a CANCEL means (:rfc:`3261#section-9.2`).

        It may have a final response already; then the CANCEL has no effect on it.
        """
        return self._servers.get(request_key(cancel, flow, "INVITE"))

    def find_merged(self, request: Request, flow: Flow) -> bool:
        """
        Return whether the request came here twice, by different ways.

        :param flow: where it came from.
        :return: ``True`` when another server transaction has its From tag, Call-ID and CSeq; the
            answer is 482 (:rfc:`3261#section-8.2.2.2`). Its own transaction, if it has one already,
            does not count.
        """
        key = merge_key(request)
        other = None if key is None else self._initial.get(key)
        return other is not None and other.key != request_key(request, flow)

    def flow_lost(
        self,
        flow: Flow,
        now: float,
        error: TransportError | None = None,
        reopen: Reopen | None = None,
    ) -> None:
        """
        Tell each transaction on a flow that nothing can be sent there.

        A response whose connection is lost goes to the sent-by of its request on a new one, and
        only when that is lost, too, is its transaction told (:rfc:`3261#section-18.2.2`).

        :param error: what the transactions are told.
        :param reopen: returns the flow to the port of a sent-by, or ``None``.
        """
        error = error or TransportError(f"the flow to {flow.remote[0]}:{flow.remote[1]} is lost")
        for transaction in tuple(self._by_remote.get(flow.remote, ())):
            if transaction.flow != flow or self._reopen(transaction, reopen):
                continue
            if (
                isinstance(error, ConnectFailed)
                and isinstance(transaction, ClientTransaction)
                and transaction.fallback is not None
            ):
                transaction.fall_back(now)
            else:
                transaction.step(TRANSPORT_ERROR, error, now)

    def _reopen(self, transaction: Transaction, reopen: Reopen | None) -> bool:
        """Let a server transaction send its responses elsewhere, once."""
        if reopen is None or not isinstance(transaction, ServerTransaction):
            return False
        port, transaction.return_port = transaction.return_port, 0
        other = reopen(transaction.flow, port) if port else None
        if other is None:
            return False
        transaction.move(other)
        return True

    def send_failed(self, flow: Flow, error: Exception, now: float) -> None:
        """
        Tell client transactions on a flow without connection that there is no way to the peer.

        Only those of requests outside any dialog, to which nobody has answered yet: for them there
        may be another server (:rfc:`3263#section-4.3`). A call that stands outlives a network that
        is away for a moment: its requests are sent again by their timers.
        """
        for transaction in tuple(self._by_remote.get(flow.remote, ())):
            if (
                isinstance(transaction, ClientTransaction)
                and transaction.flow == flow
                and transaction.state in (CALLING, CLIENT_TRYING)
                and transaction.request.to_tag is None
            ):
                transaction.step(TRANSPORT_ERROR, error, now)

    def forget(self, transaction: Transaction) -> None:
        """Remove a transaction that has ended from all indexes; only the machines call this."""
        self._unlink(transaction)
        if isinstance(transaction, ServerTransaction):
            if self._servers.pop(transaction.key, None) is not None:
                self._held -= transaction.size
                self._peers.remove(transaction.peer)
                if self._hashes.get(transaction.source_hash) is transaction:
                    del self._hashes[transaction.source_hash]
            key = transaction.merge_key
            if key is not None and self._initial.get(key) is transaction:
                del self._initial[key]
        else:
            self._clients.pop(transaction.key, None)

    def answered(self, server: ServerTransaction) -> None:
        """Hear that a request has its final answer, and its bytes are kept no more."""
        self._held -= server.size
        server.size = 0

    def move(self, transaction: Transaction, flow: Flow) -> None:
        """Change the flow that a transaction sends on; :meth:`ServerTransaction.move` calls it."""
        self._unlink(transaction)
        transaction.flow = flow
        self._link(transaction)

    def _link(self, transaction: Transaction) -> None:
        remote = transaction.flow.remote
        bucket = self._by_remote.get(remote)
        if bucket is None:
            self._by_remote[remote] = {transaction: None}
        else:
            bucket[transaction] = None

    def _unlink(self, transaction: Transaction) -> None:
        remote = transaction.flow.remote
        bucket = self._by_remote.get(remote, {})
        bucket.pop(transaction, None)
        if not bucket:
            self._by_remote.pop(remote, None)
