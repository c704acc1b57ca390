# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The registrar: the service of the core that answers REGISTER (:rfc:`3261#section-10.3`).

Theory of operation
    What the request alone decides is checked at once: domain, who may, the Contacts. The rest needs
    the user's bindings, and those are the store's, which takes time: what is wanted of one user
    waits in a queue of its own until the one before is stored, so that every REGISTER sees what the
    last one did. The answer is given after the store has done its work, and tells what is stored.
    A store that fails or never answers costs a 500.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.python.failure import Failure
from zope.interface import implementer

from sipsess.admission import Admission, reason_of
from sipsess.core import RETRY_AFTER, SIPCore
from sipsess.endpoint import ANONYMOUS
from sipsess.flow import Flow
from sipsess.interfaces import IBindingStore, ISIPService
from sipsess.message import NameAddr, Request, Response, build_response
from sipsess.message.register import format_date
from sipsess.timers import Timer

from .binding import Binding, Source
from .rules import Limits, RegisterRefused, Registration, read_registration, read_user
from .store import MemoryStore, StoreFullError

#: Seconds that a request may wait for the store: the peer gives up after 64*T1.
STORE_LIMIT = 20.0
#: REGISTER requests that may wait for the store at a time.
MAX_WAITING = 1000
#: Seconds between two looks for bindings that have expired.
PURGE_PERIOD = 60.0
#: Seconds after which a flow without a sign of life is taken for dead (:rfc:`5626#section-4.4`).
FLOW_TIMER = 120

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RegistrarOptions:
    """How a registrar behaves."""

    #: Where bindings are kept.
    store: IBindingStore = field(default_factory=MemoryStore)
    #: The domains that it serves, the first one its name; none for whatever phones call it. They
    #: are names of one and the same domain: a user is the same in each.
    domains: tuple[str, ...] = ()
    #: What it grants.
    limits: Limits = field(default_factory=Limits)
    #: Whether those whom no gate has identified may register any user.
    admits_anybody: bool = False


@implementer(ISIPService)
class Registrar:
    """
    Keeps where users are reached.

    :param core: that it registers with.
    :param options: how it behaves.
    :param wall_time: the wall clock, in seconds since 1970; bindings outlive the process.
    """

    name = "registrar"
    allow = frozenset({"REGISTER"})
    option_tags = frozenset({"path", "outbound"})
    accept = frozenset[str]()

    def __init__(
        self, core: SIPCore, options: RegistrarOptions, wall_time: Callable[[], float]
    ) -> None:
        self.core = core
        self.options = options
        self.store = options.store
        self.limits = options.limits
        self._domains = frozenset(domain.lower() for domain in options.domains)
        self._wall_time = wall_time
        self._locks: dict[str, DeferredLock] = {}
        self._waiting = 0
        self._purge: Timer | None = None
        #: The connections by which bindings came, and until when they are needed.
        self._flows: dict[Source, tuple[Flow, float]] = {}

    @property
    def domain(self) -> str | None:
        """The name of the domain; ``None`` when it serves whatever it is called."""
        return self.options.domains[0] if self.options.domains else None

    # -- life ------------------------------------------------------------------------------

    def start(self) -> None:
        """
        Open the store and answer from now on.

        :raises StoreError: when the store cannot be used.
        """
        self.store.open()
        self.core.register_service(self)
        self.core.flow_watchers.append(self._flow_lost)
        self._purge_expired(None, 0.0)

    def stop(self) -> Deferred[None]:
        """
        Answer no more.

        :return: fires when the store is closed.
        """
        self.core.unregister_service(self)
        self.core.flow_watchers.remove(self._flow_lost)
        with self.core.turn:
            for source in tuple(self._flows):
                self._forget_flow(source)
            self.core.timers.cancel(self._purge)
        return self.store.close()

    def _purge_expired(self, payload: None, now: float) -> None:
        with self.core.turn:
            core = self.core
            self._purge = core.timers.start(core.turn.now, PURGE_PERIOD, self._purge_expired, None)
            now = self._wall_time()
            self.store.purge(now).addErrback(self._store_failed)
            for source in [source for source, one in self._flows.items() if one[1] <= now]:
                self._forget_flow(source)

    def _store_failed(self, failure: Failure, callback: str = "purge", call_id: str = "") -> None:
        error = failure.value or RuntimeError("it failed for no reason")
        self.core.plugin_failed("binding store", callback, error, call_id)

    # -- what others ask -------------------------------------------------------------------

    def find(self, user: str) -> Deferred[Sequence[Binding]]:
        """Return the bindings of a user that are valid now, in the order in which they came."""
        return self.store.find(user, self._wall_time())

    def list_bindings(self, limit: int) -> Deferred[Sequence[Binding]]:
        """Return the bindings that are valid now, at most ``limit``, in the order of users."""
        return self.store.list_bindings(limit, self._wall_time())

    def seconds_left(self, binding: Binding) -> int:
        """Return for how long a binding is valid yet."""
        return binding.seconds_left(self._wall_time())

    def flow_of(self, source: Source) -> Flow | None:
        """Return the connection by which a binding came; ``None`` when it is lost."""
        found = self._flows.get(source)
        return None if found is None else found[0]

    @property
    def flows(self) -> set[Flow]:
        """The connections that bindings need, and the ways through a NAT."""
        return {flow for flow, _ in self._flows.values()}

    def _flow_lost(self, flow: Flow) -> None:
        self._forget_flow(Source.of(flow))

    def _keep_flow(self, flow: Flow, bindings: Sequence[Binding]) -> None:
        """Remember a connection, or keep a way through a NAT, as long as a binding needs it."""
        source = Source.of(flow)
        own = [binding for binding in bindings if binding.source == source]
        is_translated = not flow.serial and any(binding.is_pinned for binding in own)
        if not own or not (flow.serial or is_translated):
            self._forget_flow(source)
            return
        self._flows[source] = (flow, max(binding.expires for binding in own))
        if is_translated:
            # The calls to the phone come in by it. A connection is the phone's to keep (RFC 5626).
            self.core.keep_alives.hold(source, flow)

    def _forget_flow(self, source: Source) -> None:
        self._flows.pop(source, None)
        self.core.keep_alives.release(source)

    # -- the service -----------------------------------------------------------------------

    def handle_request(self, admission: Admission) -> bool:
        """See :meth:`.ISIPService.handle_request`."""
        request = admission.request
        if request.method != "REGISTER" or request.to_tag is not None:
            return False
        try:
            user = read_user(request, self._domains)
            name = self._authorize(admission, user)
            wanted = read_registration(request, admission.flow, user, name, self.limits)
            if self._waiting >= MAX_WAITING:
                raise RegisterRefused("registrar-busy", 503, "", {"Retry-After": str(RETRY_AFTER)})
        except RegisterRefused as refused:
            _refuse(admission, refused)
            return True
        self._take_up(admission, wanted)
        return True

    def handle_ack(self, request: Request, flow: Flow) -> bool:
        """See :meth:`.ISIPService.handle_ack`."""
        return False

    def handle_stray_response(self, response: Response, flow: Flow) -> bool:
        """See :meth:`.ISIPService.handle_stray_response`."""
        return False

    def _authorize(self, admission: Admission, user: str) -> str:
        """
        Check who may register whom (10.3, step 4).

        :return: the name of the endpoint.
        :raises RegisterRefused: when he may not (403).
        """
        endpoint = admission.endpoint or ANONYMOUS
        if endpoint.name == ANONYMOUS.name:
            may = self.options.admits_anybody
        else:
            may = endpoint.may_register(user, admission.user)
        if not may:
            raise RegisterRefused("registrar-forbidden", 403, "")
        return endpoint.name

    def _take_up(self, admission: Admission, wanted: Registration) -> None:
        """Let a REGISTER wait for its turn and for the store, but not for ever."""
        self._waiting += 1
        work = Deferred.fromCoroutine(self._carry_out(admission, wanted))
        core = self.core
        limit = core.timers.start(
            core.turn.now, STORE_LIMIT, lambda payload, now: work.cancel(), None
        )
        work.addBoth(self._done, admission, limit)

    def _done(self, result: object, admission: Admission, limit: Timer) -> None:
        self._waiting -= 1
        with self.core.turn:
            self.core.timers.cancel(limit)
            if isinstance(result, Failure):
                self._failed(result, admission)

    def _failed(self, failure: Failure, admission: Admission) -> None:
        error = failure.value
        if isinstance(error, RegisterRefused):
            _refuse(admission, error)
        elif isinstance(error, StoreFullError):
            headers = {"Retry-After": str(RETRY_AFTER)}
            admission.refuse("registrar-full", 503, headers=headers)
        else:
            if not isinstance(error, CancelledError):
                self._store_failed(failure, "REGISTER", admission.request.call_id)
            admission.refuse("registrar-store", 500)

    async def _carry_out(self, admission: Admission, wanted: Registration) -> None:
        """Change what is stored, and answer."""
        bindings = await self._with_lock(wanted.user, self._update, wanted)
        with self.core.turn:
            if not wanted.is_query:
                self.core.counters.registrations_accepted += 1
                self._keep_flow(admission.flow, bindings)
            self.core.respond(
                admission.transaction, self._build_answer(admission, wanted, bindings)
            )

    async def _update(self, wanted: Registration) -> Sequence[Binding]:
        now = self._wall_time()
        bindings = await self.store.find(wanted.user, now)
        if wanted.is_query:
            return bindings
        changed = wanted.apply(bindings, now, self.limits)
        try:
            await self.store.replace(wanted.user, changed, self.limits.max_bindings)
        except StoreFullError:
            # Those that have expired since the last look make room.
            if not await self.store.purge(now):
                raise
            await self.store.replace(wanted.user, changed, self.limits.max_bindings)
        return changed

    async def _with_lock(
        self, user: str, work: Callable[[Registration], Awaitable[_T]], wanted: Registration
    ) -> _T:
        """Do something of a user when what came before is done."""
        lock = self._locks.setdefault(user, DeferredLock())
        await lock.acquire()
        try:
            return await work(wanted)
        finally:
            lock.release()
            if not lock.locked and self._locks.get(user) is lock:
                del self._locks[user]

    def _build_answer(
        self, admission: Admission, wanted: Registration, bindings: Sequence[Binding]
    ) -> Response:
        """Return the 200: all bindings of the user, and what was made of the request (step 8)."""
        request = admission.request
        response = build_response(request, 200, to_tag=admission.local_tag)
        headers = response.headers
        now = self._wall_time()
        for binding in bindings:
            contact = NameAddr.parse(binding.contact)
            seconds = str(binding.seconds_left(now))
            headers.add("Contact", str(contact.with_param("expires", seconds)))
        headers.set("Date", format_date(_EPOCH + timedelta(seconds=int(now))))
        headers.set("Supported", ", ".join(sorted(self.core.option_tags)))
        for path in wanted.path:
            # RFC 3327 5.3: the phone sees which way its calls will come.
            headers.add("Path", path)
        if wanted.is_outbound:
            headers.set("Require", "outbound")
            if admission.flow.is_reliable:
                headers.set("Flow-Timer", str(FLOW_TIMER))
        return response


def _refuse(admission: Admission, refused: RegisterRefused) -> None:
    admission.refuse(
        refused.reason_code,
        refused.status,
        reason_of(refused.status, refused.text),
        refused.headers,
    )
