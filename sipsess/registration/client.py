# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
One registration of ours: what the table says, done (:rfc:`3261#section-10.2`).

Theory of operation
    :mod:`sipsess.registration.table` says when a REGISTER goes out; this module builds it, reads
    its answer, and decides how long to wait: for the refresh a share of what was granted, after a
    failure longer each time (:rfc:`5626#section-4.5`), after a Retry-After what it says; always
    with some chance in it, so that a thousand clients of a registrar that was away do not come back
    in the same second. The way to the registrar is looked for at each attempt, so that another
    address or network is found without help; when one server fails the next one is tried at once
    (:rfc:`3263#section-4.3`).

    Behind a NAT the first answer tells where the registrar sees us. Then one more REGISTER follows
    at once, with that address as Contact, and takes back the one before; and the flow is kept open,
    as it is the way of the calls to come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure

from sipsess.core import SIPCore
from sipsess.errors import IllegalTransition, RemoteError, SIPError
from sipsess.flow import Flow
from sipsess.locating import NextHop
from sipsess.message import NameAddr, Request, Response, build_request, parse_uri
from sipsess.message.challenge import ANSWERED_BY
from sipsess.message.register import read_expires, read_min_expires
from sipsess.supplements.credentials import CredentialsRefused, answer_challenges
from sipsess.timers import Timer
from sipsess.transaction import ClientTransaction

from .account import MAX_EXPIRES, Account
from .table import (
    DUE,
    FAIL,
    LOSE_FLOW,
    REGISTERED,
    START,
    STOP,
    STOPPED,
    SUCCEED,
    TABLE,
    TRY_AGAIN,
    UNREGISTERING,
)

#: The shares of the granted time after which a binding is refreshed, at the earliest and latest.
REFRESH = (0.6, 0.85)
#: Seconds of the back-off: doubled with each failure, at most the second number, and at least half
#: of that is waited (:rfc:`5626#section-4.5`).
BASE_DELAY = 30.0
MAX_DELAY = 1800.0
#: Seconds within which a lost flow is replaced.
LOST_DELAY = 5.0
#: REGISTER requests in a row, each with what the answer before has asked for.
MAX_ATTEMPTS = 6
#: Refusals that may pass soon; after all others of 4xx and 6xx the longest delay is waited.
_PASSING = frozenset({408, 430, 480})
#: Service-Route values that are kept (:rfc:`3608`).
MAX_SERVICE_ROUTES = 10


class RegistrationClient:
    """
    One registration.

    :param core: that sends the requests.
    :param account: what is registered.
    :param find: finds the next hop to a URI.
    """

    def __init__(
        self, core: SIPCore, account: Account, find: Callable[[str], Awaitable[Flow | NextHop]]
    ) -> None:
        self.account = account
        self.state = STOPPED
        #: Why the last REGISTER came to nothing; empty when it did not.
        self.error = ""
        #: How often in a row.
        self.failures = 0
        #: Until when the binding stands, by the clock of the core; ``None`` when there is none.
        self.expires: float | None = None
        #: The flow of the last REGISTER.
        self.flow: Flow | None = None
        #: The routes that the registrar wants our requests to take (:rfc:`3608`).
        self.service_route: tuple[str, ...] = ()
        self._core = core
        self._find = find
        self._hop: NextHop | None = None
        #: The Contact of the last REGISTER, and the one that is bound; empty for none.
        self._contact = ""
        self._bound = ""
        #: The last success told of a NAT, and is followed by another REGISTER.
        self._is_moving = False
        #: What the REGISTER that runs asks for, in seconds.
        self._seconds = 0
        self._call_id = core.ids.call_id()
        self._tag = core.ids.tag()
        self._cseq = 0
        self._asked = account.expires
        self._delay = 0.0
        self._attempts = 0
        self._answers: dict[str, list[str]] = {}
        self._timer: Timer | None = None
        self._request: Request | None = None
        self._transaction: ClientTransaction | None = None
        self._finding: Deferred[None] | None = None
        self._ending: list[Deferred[None]] = []

    # -- what others ask -------------------------------------------------------------------

    def start(self, delay: float = 0.0) -> None:
        """
        Register, and stay registered.

        :param delay: seconds before the first REGISTER.
        """
        with self._core.turn:
            self._delay = delay
            self._feed(START)

    def stop(self) -> Deferred[None]:
        """
        Remove the binding.

        :return: fires when the registrar has answered, or does not.
        """
        with self._core.turn:
            self._feed(STOP)
        if self.state == STOPPED:
            return succeed(None)
        ending: Deferred[None] = Deferred()
        self._ending.append(ending)
        return ending

    def abandon(self) -> None:
        """Wait for nothing any more; the binding expires by itself."""
        with self._core.turn:
            if self._finding is not None:
                self._finding.cancel()
            transaction, self._transaction = self._transaction, None
            if transaction is not None:
                transaction.abandon(self._core.turn.now)
                self._feed(FAIL)

    def flow_lost(self, flow: Flow) -> None:
        """Register anew soon when the flow of the binding is lost."""
        if flow == self.flow:
            with self._core.turn:
                if self.state == REGISTERED:
                    self._delay = self._core.ids.random.uniform(0, LOST_DELAY)
                self._feed(LOSE_FLOW)

    def seconds_left(self, now: float) -> float | None:
        """Return for how long the binding stands yet; ``None`` when it does not."""
        return None if self.expires is None or self.expires <= now else self.expires - now

    def next_in(self, now: float) -> float | None:
        """Return how many seconds there are to the next REGISTER; ``None`` when none is planned."""
        timer = self._timer
        return None if timer is None or not timer.is_active else max(0.0, timer.when - now)

    # -- what the table says ---------------------------------------------------------------

    def _feed(self, event: str) -> None:
        cell = TABLE[self.state][event]
        if not cell.legal:
            raise IllegalTransition("REGISTRATION", self.state, event)
        self.state = cell.next_state
        for action in cell.actions:
            action(self)

    def plan(self) -> None:
        """See :meth:`.RegistrationOwner.plan`."""
        core = self._core
        self._timer = core.timers.start(core.turn.now, self._delay, self._due, None)

    def unplan(self) -> None:
        """See :meth:`.RegistrationOwner.unplan`."""
        self._core.timers.cancel(self._timer)

    def register(self) -> None:
        """See :meth:`.RegistrationOwner.register`."""
        self._core.turn.later(self._send, self._asked)

    def unregister(self) -> None:
        """See :meth:`.RegistrationOwner.unregister`."""
        self._core.turn.later(self._send, 0)

    def ended(self) -> None:
        """See :meth:`.RegistrationOwner.ended`."""
        self.expires = None
        self._bound = ""
        self._core.keep_alives.release(self)
        ending, self._ending = self._ending, []
        for deferred in ending:
            if not deferred.called:
                self._core.turn.later(deferred.callback, None)

    def _due(self, payload: None, now: float) -> None:
        with self._core.turn:
            self._feed(DUE)

    # -- sending ---------------------------------------------------------------------------

    def _send(self, seconds: int) -> None:
        self._seconds = seconds
        self._look_for(self._find_hop())

    def _look_for(self, finding: Coroutine[Any, Any, NextHop]) -> None:
        self._finding = Deferred.fromCoroutine(self._deliver(finding))
        self._finding.addBoth(self._delivered)

    async def _find_hop(self) -> NextHop:
        return NextHop.of(await self._find(self.account.next_hop))

    async def _deliver(self, finding: Coroutine[Any, Any, NextHop]) -> None:
        """Wait for the next hop, and send."""
        hop = await finding
        with self._core.turn:
            self._hop, self.flow = hop, hop.flow
            self._request = self._build(hop.flow, self._seconds)
            self._transaction = self._core.send_request(self._request, hop.flow, self)

    def _goes_on(self, outcome: Response | SIPError) -> bool:
        """Send to the next server of the registrar, if there is one."""
        if self._hop is None or not self._hop.goes_on_after(outcome):
            return False
        self._look_for(self._hop.advance())
        return True

    def _delivered(self, result: object) -> None:
        """Take what kept a REGISTER from being sent."""
        self._finding = None
        if not isinstance(result, Failure):
            return
        error: Any = result.value
        with self._core.turn:
            if not isinstance(error, SIPError | CancelledError):
                self._core.internal_error(result, self._call_id)
            self._fail(str(error) or type(error).__name__, self._back_off())

    def _build(self, flow: Flow, seconds: int) -> Request:
        account = self.account
        self._cseq += 1
        request = build_request(
            "REGISTER",
            account.registrar_uri,
            from_=f"<{account.aor}>;tag={self._tag}",
            to=f"<{account.aor}>",
            call_id=self._call_id,
            cseq=self._cseq,
        )
        headers = request.headers
        if account.route:
            headers.set("Route", account.route)
        self._contact = self._contact_of(flow)
        headers.set("Contact", f"<{self._contact}>")
        if self._bound not in ("", self._contact):
            # 10.2.2: what leads nowhere any more is taken back.
            headers.add("Contact", f"<{self._bound}>;expires=0")
        headers.set("Expires", str(seconds))
        headers.set("Supported", "path")
        headers.set("Allow", ", ".join(sorted(self._core.allow)))
        answers, self._answers = self._answers, {}
        for name, values in answers.items():
            for value in values:
                headers.add(name, value)
        return request

    def _contact_of(self, flow: Flow) -> str:
        transport = flow.transport.lower()
        suffix = "" if transport == "udp" else f";transport={transport}"
        return f"sip:{self.account.contact_user}@{self._core.contact_of(flow)}{suffix}"

    # -- what becomes of it ----------------------------------------------------------------

    def response_received(
        self, transaction: ClientTransaction, response: Response, now: float
    ) -> None:
        """See :meth:`.ClientUser.response_received`."""
        if transaction is not self._transaction or response.status < 200:
            return
        self._transaction = None
        if response.status < 300:
            if self.state == UNREGISTERING:
                self._feed(SUCCEED)
            else:
                self._succeeded(response, now)
            return
        if self._goes_on(response):
            return
        try:
            wants = self._changes(response)
        except SIPError as error:
            self._refused(response, f" ({error})")
        else:
            if wants and self._attempts + 1 < MAX_ATTEMPTS:
                self._attempts += 1
                self._feed(TRY_AGAIN)
            else:
                self._refused(response)

    def client_failed(self, transaction: ClientTransaction, error: SIPError, now: float) -> None:
        """See :meth:`.ClientUser.client_failed`."""
        if transaction is self._transaction:
            self._transaction = None
            if not self._goes_on(error):
                self._fail(str(error) or "no answer", self._back_off())

    def client_terminated(self, transaction: ClientTransaction, now: float) -> None:
        """See :meth:`.ClientUser.client_terminated`."""

    def _succeeded(self, response: Response, now: float) -> None:
        granted = self._granted(response)
        if granted <= 0:
            self._fail("nothing was granted", self._back_off())
            return
        self.expires = now + granted
        self.error = ""
        self.failures = self._attempts = 0
        routes = response.headers.values("Service-Route")
        self.service_route = tuple(routes[:MAX_SERVICE_ROUTES])
        self._delay = granted * self._core.ids.random.uniform(*REFRESH)
        self._bound = self._contact
        self._look_at_the_way(self._sent_on())
        self._feed(SUCCEED)

    def _look_at_the_way(self, flow: Flow) -> None:
        """Keep the way open, and register anew, once, when it leads through a NAT."""
        self._core.hold_open(self, flow)
        self._is_moving = not self._is_moving and self._contact_of(flow) != self._contact
        if self._is_moving:
            self._delay = 0.0

    def _granted(self, response: Response) -> int:
        """Return the seconds of our contact, else of the header, else what was asked for (10.3)."""
        ours = parse_uri(self._contact)
        try:
            contacts = response.contacts
        except RemoteError:
            contacts = []
        found = next((one for one in contacts if _leads_to(one, ours)), None)
        seconds = read_expires(response.headers, found)
        return self._asked if seconds is None else min(seconds, self._asked)

    def _sent_on(self) -> Flow:
        assert self.flow is not None  # there is an answer, so a request was sent
        return self.flow

    def _changes(self, response: Response) -> bool:
        """
        Take what a refusal asks for; tell whether another REGISTER is of use.

        :raises CredentialsRefused: when a challenge cannot be answered.
        """
        if response.status == 423:
            least = read_min_expires(response.headers)
            if least is None or not self._asked < least <= MAX_EXPIRES:
                return False
            self._asked = least
            return True
        if response.status not in ANSWERED_BY:
            return False
        credentials = self.account.endpoint.credentials
        if credentials is None or self._request is None:
            raise CredentialsRefused("there are no credentials")
        self._answers = answer_challenges(credentials, self._request, response)
        return True

    def _refused(self, response: Response, more: str = "") -> None:
        status = response.status
        delay = self._back_off()
        try:
            retry_after = response.retry_after
        except RemoteError:
            retry_after = None
        if retry_after is not None:
            delay = min(retry_after, MAX_DELAY) * self._core.ids.random.uniform(1.0, 1.1)
        elif status // 100 in (3, 4, 6) and status not in _PASSING:
            delay = self._jittered(MAX_DELAY)
        self._fail(f"{status} {response.reason}{more}", delay)

    def _fail(self, error: str, delay: float) -> None:
        self.error = error
        self.failures += 1
        self._attempts = 0
        self._delay = delay
        self._feed(FAIL)

    def _back_off(self) -> float:
        """Return the delay after one failure more (:rfc:`5626#section-4.5`)."""
        return self._jittered(min(MAX_DELAY, BASE_DELAY * 2 ** min(self.failures, 10)))

    def _jittered(self, delay: float) -> float:
        return self._core.ids.random.uniform(delay / 2, delay)


def _leads_to(contact: NameAddr, uri: object) -> bool:
    try:
        return contact.parsed_uri == uri
    except RemoteError:
        return False
