# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The dialog manager: the session service of the core.

It owns every dialog and session, gives each request to its dialog, makes a session of each INVITE
outside one, and places calls. Plugins are given to it; what is registered later counts for the
sessions that begin later.

The module is long because plugins, incoming and outgoing calls meet here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from twisted.internet.defer import Deferred, ensureDeferred
from zope.interface import implementer

from sipsess.codec import CODECS, Codec
from sipsess.core import Admission, SIPCore
from sipsess.dialog import Dialog, DialogId, check_dialog
from sipsess.dialog.reliable import OPTION_TAG
from sipsess.endpoint import ANONYMOUS, Endpoint
from sipsess.errors import LocalError, RemoteError
from sipsess.flow import Flow, format_host, source_key
from sipsess.interfaces import (
    IApplication,
    IChooseApplication,
    IDialogService,
    IMediaClock,
    IMediaEngine,
    IMediaPolicy,
    IMediaPorts,
    ISDPHandler,
    ISessionSupplement,
    ISIPService,
)
from sipsess.locating import NextHop
from sipsess.message import SIPURI, Request, Response, TelURI, build_request, parse_uri
from sipsess.routing import GROUPS, Destination, route_by_name
from sipsess.session import Chain, EndReason, Session, order_handlers
from sipsess.session.bodies import refusal_of_body
from sipsess.session.reason import LOCAL
from sipsess.supplement import Reject
from sipsess.tally import Tally
from sipsess.trace import RecordBook

if TYPE_CHECKING:
    from sipsess.call import Call
    from sipsess.registrar import Registrar, UserCalls
    from sipsess.registration import Registrations
    from sipsess.session import MediaNegotiation

#: Sessions at a time; each costs some 10 kB, so a flood costs 200 MB at most.
MAX_SESSIONS = 20_000
#: Of these, one peer may begin as many: one host, or in IPv6 one network of 64 bits. It may be the
#: only trunk of a server, and still leaves room for others.
MAX_SESSIONS_PER_PEER = MAX_SESSIONS * 3 // 4
#: Seconds after which a peer may come back when there are too many sessions.
RETRY_AFTER = 10
#: How long a call of ours may ring, in seconds.
DIAL_LIMIT = 180.0

#: Makes who negotiates the media of a session; ``None`` leaves it to the session itself.
MediaMaker: TypeAlias = Callable[[Session], "MediaNegotiation | None"]

REASONS: dict[str, str] = {
    "sessions-full": "there are too many sessions (503)",
    "peer-sessions-full": "one peer has begun too many sessions (503)",
    "endpoint-calls-full": "an endpoint has as many calls as it may have (503)",
    "application-refused": "the endpoint may not have that application (404)",
    "supplement-refused": "a supplement refused a request of a call",
    "call-refused": "a supplement refused a call before it began",
    "no-application": "nothing here answers that Request-URI (404)",
    "stopping": "the server is stopping (503)",
    "unsupported-body": "the body's type is not understood here (415)",
    "answer-unacceptable": "the caller does not accept a session description (406)",
    "extension-required": "the endpoint demands 100rel, which the caller does not support (421)",
    "media-refused": "nothing of the offered media can be used (488)",
    "no-media-port": "no port, or no file descriptor, is left for the media of a call (503)",
    "session-busy": "too many requests of one dialog wait (500)",
    "request-unclaimed": "no plugin wanted a request that one of them allows (501, 415)",
    "answer-overdue": "nobody answered a request in time (500, 480)",
}


@implementer(ISIPService, IDialogService)
class DialogManager:
    """
    The session service.

    :param core: that it registers with.
    :param supplements: for every session, in any order.
    :param handlers: the SDP handlers, in any order.
    :param codecs: that endpoints may speak; each says of which.
    :param applications: a Request-URI user that equals a name chooses that application.
    :param application: the name of the application for every other user; ``None`` refuses (404).
    :param media_ports: opens RTP ports.
    :param media_clock: lets audio streams speak.
    :param make_call: makes what an application holds of a session.
    """

    name = "sessions"

    def __init__(
        self,
        core: SIPCore,
        *,
        supplements: Iterable[ISessionSupplement] = (),
        handlers: Iterable[ISDPHandler] = (),
        codecs: Iterable[Codec] = CODECS,
        applications: Iterable[IApplication] = (),
        application: str | None = None,
        media_ports: IMediaPorts | None = None,
        media_clock: IMediaClock | None = None,
        make_call: Callable[[Session], Call] | None = None,
    ) -> None:
        self.core = core
        self.media_ports = media_ports
        self.media_clock = media_clock
        #: That endpoints may speak.
        self.codecs = tuple(codecs)
        by_name = {item.name: item for item in applications}
        if application is not None and application not in by_name:
            known = ", ".join(sorted(by_name)) or "none"
            raise LocalError(f"there is no application {application!r}; there are: {known}")
        #: Chooses the application of the calls that come from now on; replace it as a whole.
        self.router = route_by_name(by_name.values(), by_name.get(application or ""))
        #: The live sessions, each with the host that its INVITE came from; ``None``: from us.
        self.sessions: dict[Session, str | None] = {}
        self.records = RecordBook()
        #: New calls are refused with 503: the server is stopping.
        self.is_stopping = False
        self.max_sessions = MAX_SESSIONS
        self.max_sessions_per_peer = MAX_SESSIONS_PER_PEER
        #: How long a call of ours may ring, in seconds.
        self.dial_limit = DIAL_LIMIT
        #: Sessions by the host that their INVITE came from.
        self._peers = Tally()
        #: Sessions by the name of their endpoint.
        self._endpoints = Tally()
        self._dialogs: dict[DialogId, Session] = {}
        self._supplements = list(supplements)
        self._handlers = list(handlers)
        self._chain = Chain(self._supplements)
        self._choosers = _choosers(self._chain)
        self._ordered = order_handlers(self._handlers)
        self._make_call = make_call
        #: Finds the next hop to a URI that needs the name service; without it, addresses alone do.
        self.locate: Callable[[str], Awaitable[NextHop]] | None = None
        #: Where users are reached; ``None`` when nobody can register.
        self.registrar: Registrar | None = None
        #: Calls them; ``None`` without a server.
        self.user_calls: UserCalls | None = None
        #: Carries the media of bridges that are to use it; ``None`` without one.
        self.media_engine: IMediaEngine | None = None
        #: Where we are reached ourselves; ``None`` when we register nowhere.
        self.registrations: Registrations | None = None
        core.register_service(self)

    # -- plugins ---------------------------------------------------------------------------

    @property
    def chain(self) -> Chain:
        """The supplements of the sessions that begin now."""
        return self._chain

    @property
    def handlers(self) -> Mapping[str, tuple[ISDPHandler, ...]]:
        """The SDP handlers of the sessions that begin now, by media type."""
        return self._ordered

    def register_supplement(self, supplement: ISessionSupplement) -> None:
        """
        Add a supplement for the sessions that begin from now on.

        :raises LocalError: when one of that name is registered.
        """
        if any(item.name == supplement.name for item in self._supplements):
            raise LocalError(f"there is a supplement {supplement.name!r} already")
        self._supplements.append(supplement)
        self._set_chain()

    def unregister_supplement(self, supplement: ISessionSupplement) -> None:
        """Take a supplement away; live sessions keep it."""
        self._supplements = [item for item in self._supplements if item is not supplement]
        self._set_chain()

    def _set_chain(self) -> None:
        self._chain = Chain(self._supplements)
        self._choosers = _choosers(self._chain)

    def register_sdp_handler(self, handler: ISDPHandler, media_type: str | None = None) -> None:
        """
        Add an SDP handler for the sessions that begin from now on.

        :param media_type: must be the handler's own when given.
        :raises LocalError: when its type is another, or its name is taken within the type.
        """
        if media_type is not None and media_type != handler.media_type:
            raise LocalError(f"{handler.name!r} handles {handler.media_type}, not {media_type}")
        same = self._ordered.get(handler.media_type, ())
        if any(item.name == handler.name for item in same):
            raise LocalError(f"there is a {handler.media_type} handler {handler.name!r} already")
        self._handlers.append(handler)
        self._ordered = order_handlers(self._handlers)

    def unregister_sdp_handler(self, handler: ISDPHandler) -> None:
        """Take an SDP handler away; live sessions keep it."""
        self._handlers = [item for item in self._handlers if item is not handler]
        self._ordered = order_handlers(self._handlers)

    # -- the service -----------------------------------------------------------------------

    @property
    def allow(self) -> frozenset[str]:
        """See :class:`.ISIPService`."""
        return self._chain.allow

    @property
    def option_tags(self) -> frozenset[str]:
        """See :class:`.ISIPService`."""
        return self._chain.option_tags

    @property
    def accept(self) -> frozenset[str]:
        """See :class:`.ISIPService`."""
        return self._chain.accept

    def handle_request(self, admission: Admission) -> bool:
        """See :meth:`.ISIPService.handle_request`."""
        request = admission.request
        if request.to_tag is not None:
            session = self._dialogs.get((request.call_id, request.to_tag, request.from_tag or ""))
            if session is None or session.is_over:
                return False
            session.desk.receive_request(admission)
            return True
        if request.method == "INVITE":
            self._receive_invite(admission)
            return True
        return request.method == "OPTIONS" and self._refuse_options(admission)

    def _refuse_options(self, admission: Admission) -> bool:
        """
        Refuse an OPTIONS as an INVITE would be (:rfc:`3261#section-11.2`).

        :return: ``False`` when a call would be taken; then the core says what is supported. That
            goes for a Request-URI without a user, too: it asks about the server.
        """
        request = admission.request
        refusal = self._refusal_of_call(admission)
        if refusal is not None:
            admission.refuse(refusal, 503, headers={"Retry-After": str(RETRY_AFTER)})
        elif _user_of(request) and self._route(admission) is None:
            admission.refuse("no-application", 404)
        else:
            return False
        return True

    def handle_ack(self, request: Request, flow: Flow) -> bool:
        """See :meth:`.ISIPService.handle_ack`."""
        tag = request.to_tag
        if tag is None:
            return False
        session = self._dialogs.get((request.call_id, tag, request.from_tag or ""))
        if session is None:
            return False
        session.invite_server.receive_ack(request)
        return True

    def handle_stray_response(self, response: Response, flow: Flow) -> bool:
        """See :meth:`.ISIPService.handle_stray_response`."""
        if response.cseq.method != "INVITE" or not 200 <= response.status < 300:
            return False
        key = (response.call_id, response.from_tag or "", response.to_tag or "")
        session = self._dialogs.get(key)
        return session is not None and session.invite_client.repeat_ack(response)

    # -- incoming calls --------------------------------------------------------------------

    def _receive_invite(self, admission: Admission) -> None:
        if self._is_refused(admission):
            return
        request = admission.request
        try:
            chosen = self._choose(request)
        except Reject as reject:
            admission.refuse("call-refused", reject.status, reject.reason, reject.headers)
            return
        endpoint = admission.endpoint or ANONYMOUS
        destination = self._route(admission) if chosen is None else Destination(chosen)
        if destination is None:
            admission.refuse("no-application", 404)
            return
        if endpoint.applications and destination.application.name not in endpoint.applications:
            admission.refuse("application-refused", 404)
            return
        session = Session(
            self,
            endpoint=endpoint,
            application=destination.application,
            chain=self._chain,
            handlers=self._ordered,
            invite=request,
            flow=admission.transaction.flow,
            is_callee=True,
        )
        if destination.groups:
            session.cookies.add(GROUPS, destination.groups)
        if IMediaPolicy.providedBy(destination.application):
            session.media = destination.application.make_media(session) or session.media
        self._add_session(session, source_key(admission.flow.remote[0]))
        try:
            session.begin()
            session.move(session.flow)
            session.desk.receive_initial(admission)
        except Exception:
            # A bug of ours: the core answers 500, and nothing of the session may stay.
            session.ending.fail(EndReason(LOCAL, "INVITE", 500, "internal error"))
            raise

    def _choose(self, request: Request) -> IApplication | None:
        """
        Return the application that a supplement chooses, or ``None``.

        :raises Reject: when one refuses the call; 500 when one fails, which is logged.
        :raises RemoteError: when one finds that the request breaks the protocol.
        """
        for name, choose in self._choosers:
            try:
                application = choose(self, request)
            except (Reject, RemoteError):
                raise
            except Exception as error:
                self.core.plugin_failed(name, "choose_application", error, request.call_id)
                raise Reject(500) from error
            if application is not None:
                return application
        return None

    def _is_refused(self, admission: Admission) -> bool:
        """
        Refuse an INVITE of which no session can be made.

        :raises RemoteError: when no dialog can be made of it.
        """
        request = admission.request
        refusal = self._refusal_of_call(admission)
        if refusal is not None:
            admission.refuse(refusal, 503, headers={"Retry-After": str(RETRY_AFTER)})
            return True
        headers = self._refusal_of_body(request)
        if headers is not None:
            admission.refuse("unsupported-body", 415, headers=headers)
            return True
        if not _accepts_sdp(request):
            # RFC 4475 3.3.15: no 2xx could be written that he would read.
            admission.refuse("answer-unacceptable", 406)
            return True
        if self._is_extension_refused(admission):
            return True
        check_dialog(request)
        return False

    def _is_extension_refused(self, admission: Admission) -> bool:
        """Refuse an INVITE whose caller and endpoint do not agree about an extension."""
        request = admission.request
        endpoint = admission.endpoint or ANONYMOUS
        withheld = endpoint.withheld & request.require
        if withheld:
            unsupported = ", ".join(sorted(withheld))
            admission.refuse("bad-extension", 420, headers={"Unsupported": unsupported})
            return True
        if (
            endpoint.reliable == "required"
            and OPTION_TAG not in request.supported | request.require
        ):
            admission.refuse("extension-required", 421, headers={"Require": OPTION_TAG})
            return True
        return False

    def _refusal_of_call(self, admission: Admission) -> str | None:
        """Return why no call of a peer is taken at all now, or ``None``."""
        if self.is_stopping:
            return "stopping"
        if len(self.sessions) >= self.max_sessions:
            return "sessions-full"
        if self._peers[source_key(admission.flow.remote[0])] >= self.max_sessions_per_peer:
            return "peer-sessions-full"
        is_full = self._is_full(admission.endpoint or ANONYMOUS)
        return "endpoint-calls-full" if is_full else None

    def _is_full(self, endpoint: Endpoint) -> bool:
        """Tell whether an endpoint has as many calls as it may have."""
        limit = endpoint.max_calls
        return limit is not None and self._endpoints[endpoint.name] >= limit

    def _refusal_of_body(self, request: Request) -> dict[str, str] | None:
        """Return the headers of a 415 (:rfc:`3261#section-8.2.3`), or ``None``."""
        headers = refusal_of_body(request, self._chain.accept)
        return headers if headers != {} else {"Accept": self._chain.accept_text}

    def _route(self, admission: Admission) -> Destination | None:
        """Return where a new call goes; the user of a ``tel:`` URI is its number."""
        return self.router.find(_user_of(admission.request), admission.endpoint or ANONYMOUS)

    # -- outgoing calls --------------------------------------------------------------------

    async def find_next_hop(self, uri: str, near: Flow) -> NextHop:
        """
        Return the next hop to a URI, for :meth:`dial`.

        :param near: of the call that wants it; the way to names when nothing can resolve them.
        :raises TransportError: when the URI leads nowhere.
        """
        if self.locate is not None:
            return await self.locate(uri)
        return NextHop.along(self.core.flow_to(uri, near))

    def dial(
        self,
        uri: str,
        flow: Flow | NextHop,
        *,
        from_: str | None = None,
        headers: Mapping[str, str] | None = None,
        application: IApplication | None = None,
        endpoint: Endpoint = ANONYMOUS,
        offered_media: Sequence[str] = ("audio",),
        is_pinned: bool = False,
        media: MediaMaker | None = None,
    ) -> Session:
        r"""
        Place a call.

        :param uri: whom to call; Request-URI and To.
        :param flow: where the INVITE goes; or the next hop, when other servers may be tried.
        :param from\_: a From value without tag; left out, ``sip:sipsess@`` and our address.
        :param headers: more headers of the INVITE.
        :param offered_media: the media types of the offer; empty for none (a late offer).
        :param is_pinned: whether the requests within the call take ``flow``, too, unless they have
            a Route: the peer's Contact may lead nowhere.
        :param media: makes who negotiates its media, if it is not the session's own.
        :return: the session; its ``invite_client.answered`` fires when the call stands, or fails
            with :class:`.Reject` (a veto), :class:`.NegotiationFailed` or :class:`.SessionEnded`.
        :raises HeaderValueError: when something of it cannot be written.
        """
        with self.core.turn:
            hop = NextHop.of(flow)
            request = self._build_invite(uri, hop.flow, from_, headers)
            session = Session(
                self,
                endpoint=endpoint,
                application=application,
                chain=self._chain,
                handlers=self._ordered,
                invite=request,
                flow=hop.flow,
                is_callee=False,
            )
            session.offered_media = tuple(offered_media)
            session.way = session.way.pin(is_pinned)
            if media is not None:
                session.media = media(session) or session.media
            session.work_on(self._place(session, request, hop))
            return session

    def _build_invite(
        self, uri: str, flow: Flow, from_: str | None, headers: Mapping[str, str] | None
    ) -> Request:
        ids = self.core.ids
        sender = from_ or f"<sip:sipsess@{format_host(flow.host)}>"
        if "<" not in sender:
            sender = f"<{sender}>"
        request = build_request(
            "INVITE",
            uri,
            from_=f"{sender};tag={self.core.new_tag(flow)}",
            to=f"<{_address_of_record(uri)}>",
            call_id=ids.call_id(),
            cseq=1,
        )
        for name, value in (headers or {}).items():
            request.headers.set(name, value)
        return request

    async def _place(self, session: Session, request: Request, hop: NextHop) -> None:
        """Ask who may veto, describe our media, prepare, send."""
        try:
            is_full = len(self.sessions) >= self.max_sessions or self._is_full(session.endpoint)
            if self.is_stopping or is_full:
                raise Reject(503)
            await session.chain.ask(session, "session_create")
        except Exception as error:
            self._not_placed(session, error)
            return
        if session.is_over:
            return
        self._add_session(session)
        session.start_timer(self.dial_limit, session.ending.give_up)
        session.begin()
        try:
            request.headers.set("Contact", session.contact)
            session.capabilities.announce(request)
            if session.offered_media:
                offer = await session.media.create_offer(session.offered_media)
                request.set_body("application/sdp", offer.to_bytes())
            await session.chain.ask(session, "prepare_request", request)
        except Exception as error:
            self._not_placed(session, error)
            return
        if not session.is_over:
            session.invite_client.send_initial(request, hop)

    def _not_placed(self, session: Session, error: Exception) -> None:
        """Tell who dialled that the INVITE will not be sent."""
        if not session.is_over:
            session.invite_client.settle(error)
            session.ending.fail(EndReason(LOCAL, "INVITE", text=f"not placed: {error}"))

    # -- what the sessions tell ------------------------------------------------------------

    def _add_session(self, session: Session, peer: str | None = None) -> None:
        self.sessions[session] = peer
        self._endpoints.add(session.endpoint.name)
        if peer is not None:
            self._peers.add(peer)
        self.records.open(session.record)

    def add_dialog(self, dialog: Dialog, session: Session) -> None:
        """Give the requests of a dialog to its session."""
        self._dialogs[dialog.id] = session

    def remove_dialog(self, dialog: Dialog) -> None:
        """Know a dialog no more."""
        self._dialogs.pop(dialog.id, None)

    def session_over(self, session: Session) -> None:
        """Let go of a session and its dialogs."""
        self.core.keep_alives.release(session)
        if session in self.sessions:
            self._endpoints.remove(session.endpoint.name)
        peer = self.sessions.pop(session, None)
        if peer is not None:
            self._peers.remove(peer)
        for dialog in session.dialogs.values():
            self._dialogs.pop(dialog.id, None)

    def make_call(self, session: Session) -> Call:
        """Return the call of a session, for its application."""
        if self._make_call is None:
            from sipsess.call import Call  # circular: a call holds its session

            return Call(session)
        return self._make_call(session)

    def find_session(self, call_id: str, local_tag: str, remote_tag: str) -> Session | None:
        """See :meth:`.IDialogService.find_session`."""
        return self._dialogs.get((call_id, local_tag, remote_tag))

    # -- the end ---------------------------------------------------------------------------

    def stop(self) -> Deferred[None]:
        """
        Take no more calls and end the live ones.

        :return: fires when all sessions are over.
        """
        with self.core.turn:
            self.is_stopping = True
            sessions = list(self.sessions)
            for session in sessions:
                is_refused = session.is_callee and not session.is_answered
                # Retry-After is for the refusal; a BYE or CANCEL has no such header (20.33).
                headers = {"Retry-After": str(RETRY_AFTER)} if is_refused else None
                session.terminate(503, headers=headers)
        return ensureDeferred(self._all_over(sessions))

    async def _all_over(self, sessions: Sequence[Session]) -> None:
        for session in sessions:
            await session.when_ended()

    def leftovers(self) -> list[str]:
        """Describe what is still there, for tests that want nothing to be left."""
        return [
            *(f"session {session.call_id} {session.usage.state}" for session in self.sessions),
            *(f"dialog {key}" for key in self._dialogs),
            *self.core.layer.leftovers(),
            *([f"{len(self.core.timers)} timers"] if len(self.core.timers) else []),
        ]


def _choosers(
    chain: Chain,
) -> tuple[tuple[str, Callable[[DialogManager, Request], IApplication | None]], ...]:
    """Return who has a say in what a call is for, by name."""
    return tuple(
        (item.name, item.choose_application)
        for item in chain.supplements
        if IChooseApplication.providedBy(item)
    )


def _address_of_record(uri: str) -> str:
    """Return what of a URI may stand in To: not the transport, say (:rfc:`3261#section-19.1.1`)."""
    try:
        parsed = parse_uri(uri)
    except RemoteError:
        return uri
    if not isinstance(parsed, SIPURI) or "transport" not in parsed.params:
        return uri
    return str(replace(parsed, params=parsed.params.without("transport")))


def _user_of(request: Request) -> str:
    """Return whom a request is for: the user part, escapes resolved; empty when there is none."""
    uri = request.request_uri
    if isinstance(uri, TelURI):
        return uri.digits
    return (uri.user_text or "") if isinstance(uri, SIPURI) else ""


def _accepts_sdp(request: Request) -> bool:
    """Tell whether the answer may be a session description (20.1)."""
    if "Accept" not in request.headers:
        return True
    kinds = {value.partition(";")[0].strip().lower() for value in request.headers.values("Accept")}
    return not kinds.isdisjoint(("application/sdp", "application/*", "*/*"))
