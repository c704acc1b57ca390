# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The session: one INVITE dialog with its media, its plugins, and what they keep with it.

Theory of operation
    The session is the hub, and its parts know one thing each: :class:`.RequestDesk` the requests
    of the peer, :class:`.Responder` their answers, :class:`.OutgoingRequest` a request of ours,
    :class:`.InviteServer` and :class:`.InviteClient` INVITE and ACK, :class:`.MediaNegotiation`
    offers and answers, :class:`.ApplicationRunner` the application. :class:`.InviteUsage` is the
    table that says how the call stands and what its hang-up takes.

    It ends exactly once, in :meth:`Session.finish`: timers, pending work, the application,
    ``session_end``, cookies, media, ``session_destroy``, in this order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from sipsess.dialog import Dialog, InviteUsage
from sipsess.dialog.usage import (
    CALLING,
    PROCEEDING,
    SEND_AGAIN,
)
from sipsess.endpoint import Endpoint
from sipsess.errors import DialogStateError
from sipsess.flow import Flow
from sipsess.interfaces import IApplication
from sipsess.message import Request, Response
from sipsess.sdp import SessionDescription
from sipsess.sdp import parse as parse_sdp
from sipsess.timers import Timer
from sipsess.trace import DecisionRecord

from .chain import CORE_METHODS, Chain
from .cookies import Cookies
from .desk import RequestDesk
from .ending import SessionEnding
from .identity import Identity, get_identity
from .invite_client import InviteClient
from .invite_server import InviteServer
from .negotiation import Handlers, MediaNegotiation
from .outgoing import OutgoingRequest
from .reason import LOCAL, REMOTE, EndReason, SessionEnded
from .responder import Responder
from .runner import ApplicationRunner

if TYPE_CHECKING:
    from sipsess.call import Call
    from sipsess.manager import DialogManager

_log = Logger()


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
        "_began",
        "_timers",
        "_when_ended",
        "_work",
        "application",
        "chain",
        "channel",
        "cookies",
        "core",
        "desk",
        "dialog",
        "dialogs",
        "end_reason",
        "ending",
        "endpoint",
        "final_response",
        "flow",
        "invite",
        "invite_client",
        "invite_server",
        "is_callee",
        "local_tag",
        "manager",
        "media",
        "offered_media",
        "on_confirmed",
        "on_provisional",
        "record",
        "responder",
        "runner",
        "usage",
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
        self.invite = invite
        self.flow = flow
        self.is_callee = is_callee
        self.local_tag: str = core.ids.tag() if is_callee else (invite.from_tag or "")
        #: Every early and confirmed dialog, by remote tag; :attr:`dialog` is the chosen one.
        self.dialogs: dict[str, Dialog] = {}
        self.dialog: Dialog | None = None
        self.ending = SessionEnding(self)
        self.usage = InviteUsage(self.ending, core.turn, is_callee=is_callee)
        self.media = MediaNegotiation(
            self,
            handlers,
            host=flow.host,
            session_id=core.ids.random.getrandbits(62),
            wait=self.wait,
        )
        #: The media types of an offer of ours.
        self.offered_media: tuple[str, ...] = ("audio",)
        self.cookies = Cookies()
        #: What the application holds; made when the call reaches it.
        self.channel: Call | None = None
        self.desk = RequestDesk(self)
        self.responder = Responder(self)
        self.runner = ApplicationRunner(self)
        self.invite_server = InviteServer(self)
        self.invite_client = InviteClient(self)
        #: Why the session ended, ``None`` while it lives and nobody has decided its end.
        self.end_reason: EndReason | None = None
        #: The final response to our INVITE.
        self.final_response: Response | None = None
        #: Called when the call stands, and for each provisional response.
        self.on_confirmed: Callable[[], None] | None = None
        self.on_provisional: Callable[[Response], None] | None = None
        now = core.turn.now
        who = invite.from_.uri if is_callee else invite.to.uri
        self.record = DecisionRecord(
            invite.call_id, f"call {'from' if is_callee else 'to'} {who}", now
        )
        self._timers: set[Timer] = set()
        self._work: Deferred[Any] | None = None
        self._began = False
        self._when_ended: list[Deferred[EndReason]] = []

    # -- what everybody asks ---------------------------------------------------------------

    @property
    def call_id(self) -> str:
        """The Call-ID of all its dialogs."""
        return self.record.call_id

    @property
    def is_over(self) -> bool:
        """Whether the call is over; nothing can be sent any more."""
        return self.usage.is_over

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

        :param message: of the peer; left out, the one that began the call.
        """
        if message is None:
            message = self.invite if self.is_callee else self.final_response or self.invite
        return get_identity(message, is_trusted=self.endpoint.is_trusted)

    def note(self, what: str, detail: str = "") -> None:
        """Add a fact to the decision record that ``sipsess explain`` prints."""
        self.record.add(self.core.turn.now, what, detail)

    def reason_or_unknown(self) -> EndReason:
        """Return why the session ended or is about to."""
        return self.end_reason or EndReason(LOCAL, "BYE", text="ended")

    def set_reason(self, reason: EndReason) -> None:
        """Note why the session ends; the first reason counts."""
        if self.end_reason is None:
            self.end_reason = reason

    # -- turns, timers, work that waits ----------------------------------------------------

    def wait(self, awaitable: Awaitable[Any]) -> Deferred[Any]:
        """
        Return a Deferred for a plugin's Deferred or coroutine, fired inside a turn.

        Cancelling it cancels the plugin's; what the plugin gives after that is counted and dropped.
        """
        inner: Deferred[Any] = ensureDeferred(awaitable)  # type: ignore[arg-type]
        if inner.called and not inner.paused:
            return inner
        outer: Deferred[Any] = Deferred(lambda _: inner.cancel())
        inner.addBoth(self._fire, outer)
        return outer

    def _fire(self, result: object, outer: Deferred[Any]) -> None:
        if outer.called:
            self.count_late_verdict()
            return
        with self.core.turn:
            if isinstance(result, Failure):
                outer.errback(result)
            else:
                outer.callback(result)

    def start_timer(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """
        Call ``callback(*args)`` after ``delay`` seconds, unless the session ends before.

        :return: for :meth:`cancel_timer`.
        :raises SessionEnded: when it has ended already.
        """
        if self.is_over:
            raise SessionEnded(self.reason_or_unknown())
        timer = self.core.timers.start(
            self.core.turn.now, delay, self._timer_fired, (callback, args)
        )
        self._timers.add(timer)
        return timer

    def _timer_fired(
        self, payload: tuple[Callable[..., object], tuple[Any, ...]], now: float
    ) -> None:
        self._timers = {timer for timer in self._timers if timer.is_active}
        self.core.turn.later(payload[0], *payload[1])

    def cancel_timer(self, timer: Timer | None) -> None:
        """Stop a timer; harmless when it has fired."""
        if timer is not None:
            self.core.timers.cancel(timer)
            self._timers.discard(timer)

    def count_late_verdict(self) -> None:
        """Count what a plugin gave when nobody waited for it any more."""
        self.core.counters.late_verdicts += 1

    def plugin_failed(self, name: str, callback: str, error: BaseException) -> None:
        """Log, count and note what a plugin raised."""
        self.note("plugin failed", f"{name}.{callback}: {error!r}")
        self.core.plugin_failed(name, callback, error, self.call_id)

    def internal_error(self, failure: Failure) -> None:
        """Log a bug of this side and end the call."""
        if failure.check(SessionEnded):
            return
        self.core.internal_error(failure, self.call_id)
        self.set_reason(EndReason(LOCAL, "BYE", text="internal error"))
        self.terminate(500)

    # -- life ------------------------------------------------------------------------------

    def begin(self) -> None:
        """Tell the supplements that the session begins."""
        self._began = True
        self.core.counters.sessions_begun += 1
        self.note("began", f"endpoint {self.endpoint.name}, application {self.runner.name}")
        self.chain.tell(self, "session_begin")
        if self.core.trace is not None:
            self.core.trace.session_begun(self, self.core.turn.now)

    def finish(self) -> None:
        """End: release all that is of this session, exactly once and in this order."""
        reason = self.end_reason = self.reason_or_unknown()
        self.note("ended", str(reason))
        for timer in self._timers:
            self.core.timers.cancel(timer)
        self._timers.clear()
        self.invite_server.stop()
        self.desk.close()
        self.runner.cancel()
        if self._work is not None:
            self._work.cancel()
        self.invite_client.stop()
        if self._began:
            self.chain.tell(self, "session_end")
        self.cookies.destroy_all()
        self.media.close()
        if self._began:
            self.chain.tell(self, "session_destroy")
            self.core.counters.sessions_ended += 1
        for dialog in self.dialogs.values():
            dialog.terminate()
        if self.core.trace is not None:
            self.core.trace.session_ended(self, self.core.turn.now)
        self.manager.session_over(self)
        waiting, self._when_ended = self._when_ended, []
        for deferred in waiting:
            deferred.callback(reason)

    def when_ended(self) -> Deferred[EndReason]:
        """Return a Deferred that fires when the session is over, with the reason."""
        deferred: Deferred[EndReason] = Deferred()
        if self.is_over:
            deferred.callback(self.reason_or_unknown())
        else:
            self._when_ended.append(deferred)
        return deferred

    def work_on(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run what prepares a call; the session's end cancels it."""
        deferred = Deferred.fromCoroutine(coroutine)
        if not deferred.called:
            self._work = deferred
        deferred.addErrback(self.internal_error)

    # -- messages of the peer --------------------------------------------------------------

    def negotiate(self, request: Request) -> None:
        """
        Take the offer of a request, at the MEDIA mark of the chain.

        :raises RemoteError: when the body cannot be read.
        :raises NegotiationFailed: when nothing of it is wanted.
        """
        if request.body:
            self.media.receive_offer(self.parse_sdp(request))
            self.note("offer", describe_media(self.media.machine.pending_remote))

    def parse_sdp(self, message: Request | Response) -> SessionDescription:
        """
        Return the session description of a message.

        :raises SDPError: when it has none, or one that cannot be read.
        """
        return parse_sdp(message.body)

    # -- responses of ours -----------------------------------------------------------------

    def send_response(
        self,
        status: int,
        request: Request | None = None,
        *,
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Deferred[Response]:
        """
        Answer a request of the peer; a 2xx to INVITE brings the media's description with it.

        :param status: 101 to 699; 100 is the core's.
        :param request: left out, the INVITE that has no answer yet.
        :return: fires with the response when it was sent, at once unless an SDP handler takes time.
        :raises DialogStateError: when the request has its final response, or is none of this
            session.
        """
        with self.core.turn:
            incoming = self.desk.find(request)
            if incoming.request.method == "INVITE" and 200 <= status < 300:
                return self.invite_server.answer(incoming, headers)
            if status >= 300:
                return succeed(self.responder.reject(incoming, status, reason, headers))
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
        if method in CORE_METHODS - {"OPTIONS"}:
            raise DialogStateError(f"{method} is sent by the session itself")
        with self.core.turn:
            dialog = self.dialog
            if dialog is None or self.is_over:
                raise DialogStateError(f"the call {self.call_id} has no dialog for {method}")
            request = dialog.build_request(method)
            for name, value in (headers or {}).items():
                request.headers.set(name, value)
            if body:
                request.set_body(content_type or "application/octet-stream", body)
            result: Deferred[Response] = Deferred()
            OutgoingRequest(
                self,
                request,
                self.flow_to(dialog),
                lambda outgoing, response: self._responded(outgoing, response, result),
                lambda outgoing, error: result.errback(error),
            ).send()
            return result

    def _responded(
        self, outgoing: OutgoingRequest, response: Response, result: Deferred[Response]
    ) -> None:
        if response.status < 200:
            return
        if response.status in (408, 481):
            # RFC 3261 12.2.1.2: the dialog is gone at the other end.
            self.set_reason(
                EndReason(REMOTE, outgoing.request.method, response.status, response.reason)
            )
            self.terminate()
        result.callback(response)

    def send_reinvite(
        self,
        headers: Mapping[str, str] | None = None,
        response_callback: Callable[[Response], object] | None = None,
    ) -> Deferred[Response]:
        """
        Re-negotiate the media; waits while another INVITE is pending, and after glare.

        :param headers: more headers of the INVITE.
        :param response_callback: called with the final response.
        :return: fires with the final response, whatever it says; fails with :class:`.SessionEnded`,
            :class:`.Timeout`, :class:`.TransportError` or :class:`.NegotiationFailed`.
        """
        with self.core.turn:
            if self.is_over:
                raise SessionEnded(self.reason_or_unknown())
            deferred = self.invite_client.reinvite(headers)
            if response_callback is not None:
                deferred.addCallback(self._called_back, response_callback)
            return deferred

    def _called_back(
        self, response: Response, response_callback: Callable[[Response], object]
    ) -> Response:
        response_callback(response)
        return response

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
        """
        self.ending.terminate(status, reason, headers)

    # -- for the parts ---------------------------------------------------------------------

    def provisional_received(self, response: Response) -> None:
        """A provisional response came."""
        if self.on_provisional is not None:
            self.on_provisional(response)

    def may_retry(self, outgoing: OutgoingRequest) -> bool:
        """Tell whether a request may be sent again: the call still wants it."""
        if outgoing is self.invite_client.outgoing and not self.is_answered:
            if self.usage.state not in (CALLING, PROCEEDING):
                return False
            self.usage.feed(SEND_AGAIN)
        return not self.is_over

    def next_cseq(self, outgoing: OutgoingRequest) -> int:
        """Return the CSeq number of a retry."""
        if self.dialog is None:
            return outgoing.request.cseq.number + 1
        self.dialog.local_seq = max(self.dialog.local_seq, outgoing.request.cseq.number) + 1
        return self.dialog.local_seq

    @property
    def contact(self) -> str:
        """The Contact value of this side: where the peer reaches this session."""
        transport = self.flow.transport.lower()
        suffix = "" if transport == "udp" else f";transport={transport}"
        return f"<sip:{self.flow.sent_by}{suffix}>"

    def add_capabilities(self, message: Request | Response) -> None:
        """Set Allow and, when there is anything to say, Supported."""
        message.headers.set("Allow", self.core.allow_of(self.chain))
        if self.chain.option_tags:
            message.headers.set("Supported", ", ".join(sorted(self.chain.option_tags)))

    def flow_to(self, dialog: Dialog) -> Flow:
        """Return the flow to a dialog's next hop."""
        return self.core.flow_to(dialog.next_hop(), self.flow)

    def add_dialog(self, dialog: Dialog) -> None:
        """Own one more dialog."""
        self.dialogs[dialog.remote_tag] = dialog
        self.manager.add_dialog(dialog, self)

    def remove_dialog(self, dialog: Dialog) -> None:
        """Own a dialog no more: its call was dropped."""
        dialog.terminate()
        self.dialogs.pop(dialog.remote_tag, None)
        self.manager.remove_dialog(dialog)

    def dialog_confirmed(self) -> None:
        """The callee's dialog is confirmed by its 2xx."""
        if self.dialog is not None:
            self.dialog.confirm()

    def dialog_refreshed(self, request: Request) -> None:
        """A target refresh of the peer was accepted (12.2.2)."""
        if self.dialog is not None:
            self.dialog.refresh_target(request)


def describe_media(sdp: SessionDescription | None) -> str:
    """Return the m-lines of a description in a few words, for the decision record."""
    if sdp is None:
        return "none"
    return ", ".join(
        f"{media.media} {media.proto} {'/'.join(media.formats[:6])} port {media.port}"
        for media in sdp.media
    )
