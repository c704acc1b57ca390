# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The session: one INVITE dialog with its media, its plugins, and what they keep with it.

Theory of operation
    The session is the hub, and its parts know one thing each: :class:`.RequestDesk` the requests
    of the peer, :class:`.Responder` their answers, :class:`.OutgoingRequest` a request of ours,
    :class:`.Requester` those within the call, :class:`.Waiting` the time and what plugins promise,
    :class:`.InviteServer` and :class:`.InviteClient` INVITE and ACK, :class:`.ReinviteQueue` the
    INVITEs within the call, :class:`.OfferIntake` the offers of the peer,
    :class:`.MediaNegotiation` what becomes of them and of ours, :class:`.ApplicationRunner` the
    application, :class:`.Report` what is told about all of it. :class:`.InviteUsage` is the table
    that says how the call stands and what its hang-up takes.

    It ends exactly once, in :meth:`.SessionEnding.usage_ended`: timers, pending work, the
    application, ``session_end``, cookies, media, ``session_destroy``, in this order.

The module is long because everything that plugins do with a session is one class.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, succeed

from sipsess.dialog import Dialog, InviteUsage
from sipsess.dialog.usage import TERMINATED
from sipsess.endpoint import Endpoint
from sipsess.flow import Flow
from sipsess.interfaces import IApplication
from sipsess.message import Request, Response
from sipsess.supplement import check_headers
from sipsess.timers import Timer
from sipsess.trace import DecisionRecord

from .capabilities import Capabilities
from .chain import Chain
from .cookies import Cookies
from .desk import RequestDesk
from .early import EarlyMedia
from .ending import SessionEnding
from .handlers import Handlers
from .identity import Identity, get_callee, get_identity
from .invite_client import InviteClient
from .invite_server import InviteServer
from .kept import KeptRequest
from .media_change import NO_CHANGE, MediaChange
from .negotiation import MediaNegotiation
from .offers import OfferIntake
from .part import OnDemand, StoppedPart
from .provisionals import Provisionals
from .reason import LOCAL, EndListener, EndReason, SessionEnded
from .reinvites import ReinviteQueue
from .report import Report
from .requester import Requester
from .responder import Responder
from .runner import ApplicationRunner
from .updates import UpdateServer
from .waiting import Waiting
from .way import way_of

if TYPE_CHECKING:
    from sipsess.call import Call
    from sipsess.manager import DialogManager


class Session:
    """
    One call, as SIP sees it.

    :param manager: the dialog manager that owns it.
    :param endpoint: how the peer is treated.
    :param application: what the call is for, or ``None`` when the program drives it.
    :param chain: the supplements, for the whole life of the session.
    :param handlers: the SDP handlers, likewise.
    :param invite: the INVITE as received, or as built.
    :param flow: between us and the peer.
    :param is_callee: whether the INVITE came to us.
    """

    __slots__ = (
        "_invite_client",
        "_provisionals",
        "_reinvites",
        "_requester",
        "_updates",
        "application",
        "capabilities",
        "chain",
        "channel",
        "cookies",
        "core",
        "desk",
        "dialog",
        "dialogs",
        "early",
        "end_reason",
        "ending",
        "endpoint",
        "final_response",
        "flow",
        "has_begun",
        "invite_server",
        "is_callee",
        "is_finished",
        "is_parted",
        "kept_invite",
        "listener",
        "local_tag",
        "manager",
        "media",
        "offered_media",
        "offers",
        "on_provisional",
        "record",
        "report",
        "responder",
        "runner",
        "usage",
        "waiting",
        "way",
        "work",
    )

    def __init__(
        self,
        manager: DialogManager,
        *,
        endpoint: Endpoint,
        application: IApplication | None,
        chain: Chain,
        handlers: Handlers,
        invite: Request,
        flow: Flow,
        is_callee: bool,
    ) -> None:
        self.manager = manager
        self.core = core = manager.core
        self.endpoint = endpoint
        self.application = application
        self.chain = chain
        self.kept_invite = KeptRequest(invite, flow)
        self.flow, self.way = flow, way_of(invite, flow, is_callee=is_callee)
        self.is_callee = is_callee
        self.local_tag: str = core.new_tag(flow) if is_callee else (invite.from_tag or "")
        #: Every early and confirmed dialog, by remote tag; :attr:`dialog` is the chosen one.
        self.dialogs: dict[str, Dialog] = {}
        self.dialog: Dialog | None = None
        self.ending = SessionEnding(self)
        self.usage = InviteUsage(self.ending, core.turn, is_callee=is_callee)
        number = core.ids.random.getrandbits(62)
        self.media = MediaNegotiation(self, handlers, host=flow.host, session_id=number)
        #: The media types of an offer of ours.
        self.offered_media: tuple[str, ...] = ("audio",)
        self.report = Report(self)
        self.cookies = Cookies(self.report)
        self.waiting = Waiting(self)
        #: What the application holds; made when the call reaches it.
        self.channel: Call | None = None
        #: Hears of the end before everybody else.
        self.listener: EndListener | None = None
        self.desk = RequestDesk(self)
        self.responder, self.runner = Responder(self), ApplicationRunner(self)
        self.invite_server = InviteServer(self)
        self.early, self.offers = EarlyMedia(self), OfferIntake(self)
        self.capabilities = Capabilities(self)
        self._updates: UpdateServer | None = None
        self._provisionals: Provisionals | None = None
        self._reinvites: ReinviteQueue | None = None
        self._invite_client = None if is_callee else InviteClient(self)
        self._requester: Requester | None = None
        self.end_reason: EndReason | None = None  # until somebody has decided it
        #: The final response to our INVITE.
        self.final_response: Response | None = None
        #: Called for each provisional response.
        self.on_provisional: Callable[[Response], None] | None = None
        self.record = DecisionRecord(invite.call_id, _title(invite, is_callee), core.turn.now)
        #: What prepares a call of ours, while it waits.
        self.work: Deferred[Any] | None = None
        #: The supplements have heard of the beginning.
        self.has_begun = False
        #: The supplements have heard of the end; from then on no message is shown to them.
        self.is_finished = False
        #: Nothing can come for it any more; see :meth:`.SessionEnding.part`.
        self.is_parted = False

    # -- parts that a plain call never asks for -----------------------------------------------

    updates = OnDemand(UpdateServer)
    provisionals = OnDemand(Provisionals)
    reinvites = OnDemand(ReinviteQueue)
    invite_client = OnDemand(InviteClient)
    requester = OnDemand(Requester)

    def parts_on_demand(self) -> Iterator[StoppedPart]:
        """Yield those that were asked for, in the order in which they are stopped."""
        for part in (
            self._updates,
            self._provisionals,
            self._reinvites,
            self._invite_client,
            self._requester,
        ):
            if part is not None:
                yield part

    def send_waiting(self) -> None:
        """Send the next re-INVITE or UPDATE that waits and may go now."""
        if self._reinvites is not None:
            self._reinvites.send_waiting()

    # -- what everybody asks ---------------------------------------------------------------

    @property
    def invite(self) -> Request:
        """The INVITE that began it, as received or as built."""
        return self.kept_invite.get()

    @property
    def call_id(self) -> str:
        """The Call-ID of all its dialogs."""
        return self.record.call_id

    @property
    def is_over(self) -> bool:
        """Whether the call is over; nothing can be sent any more."""
        return self.usage.state == TERMINATED

    @property
    def is_answered(self) -> bool:
        """Whether a 2xx was sent or received and the call is not over."""
        return self.usage.is_answered

    def is_initial(self, request: Request) -> bool:
        """Tell whether ``request`` is an INVITE that makes the call: it has no To tag."""
        return request.method == "INVITE" and request.to_tag is None

    def get_identity(self, message: Request | Response | None = None) -> Identity:
        """
        Return who the peer says he is, as far as the endpoint is trusted to say it.

        :param message: of the peer; left out, its INVITE, or its final response to ours.
        """
        if message is None and self.is_callee:
            message = self.invite
        elif message is None:
            message = self.final_response
            if message is None:
                return get_callee(self.invite)
        endpoint = self.endpoint
        return get_identity(message, is_trusted=endpoint.is_trusted, users=endpoint.users)

    def note(self, what: str, detail: str = "") -> None:
        """Add a fact to the decision record that ``sipsess explain`` prints."""
        now = self.core.turn.time()
        if self.is_parted:
            self.manager.records.add_late(self.record, now, what, detail)
        else:
            self.record.add(now, what, detail)

    def _check(self) -> None:
        """Refuse what needs the parts of the session when they are gone."""
        if self.is_parted:
            raise SessionEnded(self.reason_or_unknown())

    def reason_or_unknown(self) -> EndReason:
        """Return why the session ended or is about to."""
        return self.end_reason or EndReason(LOCAL, "BYE", text="ended")

    def set_reason(self, reason: EndReason) -> None:
        """Note why the session ends; the first reason counts, and the end is decided with it."""
        if self.end_reason is None:
            self.end_reason = reason
            if self.listener is not None:
                self.core.turn.later(self.listener.session_ending, self)

    # -- turns, timers, work that waits ----------------------------------------------------

    def wait(self, awaitable: Awaitable[Any]) -> Deferred[Any]:
        """
        Return a Deferred for a plugin's Deferred or coroutine, fired inside a turn.

        Cancelling it cancels the plugin's; what the plugin gives after that is counted and dropped.
        """
        self._check()
        return self.waiting.wait(awaitable)

    def start_timer(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """
        Call ``callback(*args)`` after ``delay`` seconds, unless the session ends before.

        :return: for :meth:`cancel_timer`.
        :raises SessionEnded: when it has ended already.
        """
        self._check()
        with self.core.turn:
            return self.waiting.start(delay, callback, args)

    def cancel_timer(self, timer: Timer | None) -> None:
        """Stop a timer; harmless when it has fired."""
        if not self.is_parted:
            self.waiting.cancel(timer)

    # -- life ------------------------------------------------------------------------------

    def begin(self) -> None:
        """Tell the supplements that the session begins."""
        self.has_begun = True
        self.core.counters.sessions_begun += 1
        self.note("began", f"endpoint {self.endpoint.name}, application {self.runner.name}")
        self.chain.tell(self, "session_begin")
        if self.core.trace is not None:
            self.core.trace.session_begun(self, self.core.turn.now)

    def when_confirmed(self) -> Deferred[None]:
        """
        Return a Deferred that fires when the call stands: the ACK came, or was sent.

        It fails with :class:`.SessionEnded` when that never happens.
        """
        if self.is_finished:
            return fail(SessionEnded(self.reason_or_unknown()))
        return self.ending.when_confirmed()

    def when_ended(self) -> Deferred[EndReason]:
        """Return a Deferred that fires when the session is over, with the reason."""
        if self.is_finished:
            return succeed(self.reason_or_unknown())
        return self.ending.when_ended()

    def work_on(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run what prepares a call; the session's end cancels it."""
        deferred = Deferred.fromCoroutine(coroutine)
        if not deferred.called:
            self.work = deferred
        deferred.addErrback(self.report.internal_error)

    # -- responses of ours -----------------------------------------------------------------

    def send_response(
        self,
        status: int,
        request: Request | None = None,
        *,
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
        reliable: bool | None = None,
        with_media: bool = False,
    ) -> Deferred[Response]:
        """
        Answer a request of the peer; a 2xx to INVITE brings the media's description with it.

        A 2xx to INVITE waits while a reliable provisional response with a description has no PRACK
        (:rfc:`3262#section-3`).

        :param status: 101 to 699; 100 is the core's.
        :param request: left out, the INVITE that has no answer yet.
        :param reliable: whether a provisional response to the first INVITE is repeated until its
            PRACK comes. Left out, when the caller or the endpoint demands it, or when it brings the
            media's description and the caller supports it.
        :param with_media: whether a provisional response brings the media's description: early
            media. When the INVITE had no offer, it only does when it is reliable.
        :return: fires with the response when it was sent: at once, unless an SDP handler takes
            time, or a reliable response has no PRACK yet.
        :raises DialogStateError: when the request has its final response, or is none of this
            session; or ``reliable`` is asked for, but the caller does not support it.
        :raises LocalError: when too many reliable responses wait for a PRACK.
        :raises HeaderValueError: when something of it cannot be written.
        """
        self._check()
        with self.core.turn:
            incoming = self.desk.find(request)
            check_headers(headers or {}, reason)
            if not 101 <= status <= 699:
                raise ValueError(f"a session sends a status of 101 to 699, not {status}")
            if incoming.request.method == "INVITE" and 200 <= status < 300:
                return self.invite_server.answer(incoming, headers, reason)
            if status >= 300:
                return succeed(self.responder.reject(incoming, status, reason, headers))
            if incoming.request.method == "INVITE" and status < 200:
                return self.early.send(
                    incoming, status, reason, headers, reliable=reliable, with_media=with_media
                )
            response = self.responder.build(incoming.request, status, reason, headers)
            self.responder.respond(incoming, response)
            return succeed(response)

    # -- requests of ours ------------------------------------------------------------------

    def send_request(
        self,
        method: str,
        *,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        body: bytes = b"",
    ) -> Deferred[Response]:
        """
        Send a request within the dialog.

        :param method: not INVITE, ACK, BYE or CANCEL; see :meth:`send_reinvite`, :meth:`terminate`.
        :return: fires with the final response, whatever it says; fails with :class:`.Timeout` or
            :class:`.TransportError`.
        :raises DialogStateError: when there is no dialog, or the call is over.
        """
        self._check()
        with self.core.turn:
            return self.requester.send(method, headers, content_type, body)

    def send_reinvite(
        self,
        headers: Mapping[str, str] | None = None,
        response_callback: Callable[[Response], object] | None = None,
        *,
        change: MediaChange = NO_CHANGE,
    ) -> Deferred[Response]:
        """
        Re-negotiate the media; waits while another INVITE is pending, and after glare.

        :param headers: more headers of the INVITE.
        :param response_callback: called with the final response.
        :param change: of the media. What the peer changes before the INVITE may go is kept; when
            the INVITE is refused, all is as before.
        :return: fires with the final response, whatever it says; fails with :class:`.SessionEnded`,
            :class:`.Timeout`, :class:`.TransportError` or :class:`.NegotiationFailed`.
        """
        deferred = self._renegotiate(headers, "INVITE", True, change)
        if response_callback is not None:
            # What the callback gives is not what the Deferred fires with.
            deferred.addCallback(lambda response: (response_callback(response), response)[1])
        return deferred

    def send_update(
        self,
        headers: Mapping[str, str] | None = None,
        *,
        with_offer: bool = False,
        change: MediaChange = NO_CHANGE,
    ) -> Deferred[Response]:
        """
        Send an UPDATE (:rfc:`3311`), before or after the call is answered, as soon as it may go.

        Before the call is answered, the offer goes with our next PRACK when the peer has said that
        it takes no UPDATE (:rfc:`3262#section-5`).

        :param headers: more headers of it.
        :param with_offer: whether it re-negotiates the media; without, it refreshes the target and
            whatever supplements add.
        :param change: of the media, when it re-negotiates them; as for :meth:`send_reinvite`.
        :return: as for :meth:`send_reinvite`.
        """
        return self._renegotiate(headers, "UPDATE", with_offer, change)

    def refresh(self, *, with_offer: bool = False) -> Deferred[Response]:
        """
        Refresh the session: by UPDATE when the peer allows it, else by a re-INVITE.

        :param with_offer: whether an UPDATE describes our media; a re-INVITE always does.
        :return: as for :meth:`send_reinvite`.
        """
        if self.peer_allows("UPDATE"):
            return self.send_update(with_offer=with_offer)
        return self.send_reinvite()

    def hold(self) -> Deferred[Response]:
        """Put the peer on hold; see :meth:`send_reinvite`."""
        return self.send_reinvite(change=MediaChange(direction="sendonly"))

    def unhold(self) -> Deferred[Response]:
        """Take the peer back from hold; see :meth:`send_reinvite`."""
        return self.send_reinvite(change=MediaChange(direction="sendrecv"))

    def _renegotiate(
        self,
        headers: Mapping[str, str] | None,
        method: str,
        with_offer: bool,
        change: MediaChange,
    ) -> Deferred[Response]:
        with self.core.turn:
            if self.is_over:
                raise SessionEnded(self.reason_or_unknown())
            return self.reinvites.add(headers, method, with_offer=with_offer, change=change)

    def terminate(
        self,
        status: int = 480,
        *,
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """
        End the session, whatever its state: refuse, cancel or hang up; harmless when done twice.

        :param status: of the refusal, when the INVITE came to us and has no answer.
        :param reason: its reason phrase.
        :param headers: of the refusal, the CANCEL or the BYE, such as Reason (:rfc:`3326`).
        :raises HeaderValueError: when something of it cannot be written.
        :raises ValueError: when ``status`` refuses nothing.
        """
        if not 300 <= status <= 699:
            raise ValueError(f"a call is refused with a status of 300 to 699, not {status}")
        check_headers(headers or {}, reason)
        if not self.is_finished:
            self.ending.terminate(status, reason, headers)

    # -- for the parts ---------------------------------------------------------------------

    @property
    def contact(self) -> str:
        """The Contact value of this side: where the peer reaches this session."""
        return self.way.contact(self.flow, self.core.contact_of(self.flow))

    def peer_allows(self, method: str) -> bool:
        """Tell whether the peer has said, in its last Allow, that it takes a method."""
        return self.capabilities.allows(method)

    def flow_to(self, dialog: Dialog) -> Flow:
        """Return the flow to a dialog's next hop."""
        return self.way.flow_to(self.core, dialog, self.flow)

    def move(self, flow: Flow) -> None:
        """Go on with the peer on another flow, which is kept alive if a NAT may forget it."""
        self.flow = flow
        self.core.hold_open(self, flow, is_translated=self.way.is_pinned)

    def add_dialog(self, dialog: Dialog) -> None:
        """Own one more dialog."""
        self.dialogs[dialog.remote_tag] = dialog
        self.manager.add_dialog(dialog, self)

    def remove_dialog(self, dialog: Dialog) -> None:
        """Own a dialog no more: its call was dropped."""
        dialog.terminate()
        self.dialogs.pop(dialog.remote_tag, None)
        self.manager.remove_dialog(dialog)


def _title(invite: Request, is_callee: bool) -> str:
    """Return what the decision record calls a call."""
    return f"call from {invite.from_.uri}" if is_callee else f"call to {invite.to.uri}"
