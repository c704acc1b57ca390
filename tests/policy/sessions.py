# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the tests of sessions share: a supplement and an SDP handler that do what a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sipsess.interfaces import ISDPHandler
from sipsess.message import Request, Response
from sipsess.sdp import SessionDescription
from sipsess.sdphandler import SDPHandler, StreamDescription, StreamVerdict
from sipsess.session import LocalDescription, Session, SessionStream
from sipsess.supplement import RequestVerdict, ResponseVerdict, SessionSupplement
from tests.policy.agents import PEER, US, Box, BoxTestCase

#: A callback's replacement: called with what the callback gets.
Act = Callable[..., Any]


class Probe(SessionSupplement):
    """
    Notes each callback, and does what a test says.

    :param acts: by callback, what it does; so are all other keywords.
    """

    def __init__(
        self,
        name: str = "probe",
        priority: int = 500,
        methods: Iterable[str] | None = None,
        acts: dict[str, Act] | None = None,
        **more: Act,
    ) -> None:
        self.name = name
        self.priority = priority
        self.methods = None if methods is None else frozenset(methods)
        self.acts = {**(acts or {}), **more}
        #: Callback and method or status, in order.
        self.seen: list[str] = []
        self.sessions: list[Session] = []

    def _do(self, callback: str, what: object, *args: Any) -> Any:
        self.seen.append(f"{callback} {what}".strip())
        act = self.acts.get(callback)
        return None if act is None else act(*args)

    def count(self, what: str) -> int:
        """Return how often something was seen."""
        return self.seen.count(what)

    def session_begin(self, session: Session) -> Any:
        """Note it."""
        self.sessions.append(session)
        return self._do("session_begin", "", session)

    def session_end(self, session: Session) -> Any:
        """Note it."""
        return self._do("session_end", "", session)

    def session_destroy(self, session: Session) -> Any:
        """Note it."""
        return self._do("session_destroy", "", session)

    def incoming_request(self, session: Session, request: Request) -> RequestVerdict:
        """Note it."""
        verdict: RequestVerdict = self._do("incoming_request", request.method, session, request)
        return verdict

    def outgoing_request(self, session: Session, request: Request) -> Any:
        """Note it."""
        return self._do("outgoing_request", request.method, session, request)

    def incoming_response(self, session: Session, response: Response) -> ResponseVerdict:
        """Note it."""
        what = f"{response.status} {response.cseq.method}"
        verdict: ResponseVerdict = self._do("incoming_response", what, session, response)
        return verdict

    def outgoing_response(self, session: Session, response: Response) -> Any:
        """Note it."""
        what = f"{response.status} {response.cseq.method}"
        return self._do("outgoing_response", what, session, response)


class Handler(SDPHandler):
    """
    An SDP handler that notes each callback and does what a test says.

    :param claim: of offers; a verdict, or a function of session, stream and offer.
    :param create: ``None`` for PCMU on port 40000, or a function of session, stream and sdp.
    """

    def __init__(
        self,
        name: str = "handler",
        priority: int = 500,
        media_type: str = "audio",
        claim: Any = StreamVerdict.HANDLED,
        create: Act | None = None,
        acts: dict[str, Act] | None = None,
        **more: Act,
    ) -> None:
        self.name = name
        self.priority = priority
        self.media_type = media_type
        self.claim = claim
        self.create = create
        self.acts = {**(acts or {}), **more}
        self.log: list[str] = []

    def _do(self, what: str, session: Session, stream: SessionStream) -> None:
        self.log.append(what)
        if what in self.acts:
            self.acts[what](session, stream)

    def handle_incoming_sdp_stream_offer(
        self, session: Session, stream: SessionStream, sdp: SessionDescription
    ) -> StreamVerdict:
        """Claim, or not."""
        self._do("claim", session, stream)
        verdict: StreamVerdict = (
            self.claim(session, stream, sdp) if callable(self.claim) else self.claim
        )
        return verdict

    def create_outgoing_sdp_stream(
        self, session: Session, stream: SessionStream, sdp: LocalDescription
    ) -> StreamDescription:
        """Describe."""
        self._do("create", session, stream)
        if self.create is None:
            return sdp.media(self.media_type, 40000, "RTP/AVP", ["0"])
        described: StreamDescription = self.create(session, stream, sdp)
        return described

    def apply_negotiated_sdp_stream(self, session: Session, stream: SessionStream) -> None:
        """Note it."""
        self._do("apply", session, stream)

    def stop_stream(self, session: Session, stream: SessionStream) -> None:
        """Note it."""
        self._do("stop", session, stream)

    def destroy_stream(self, session: Session, stream: SessionStream) -> None:
        """Note it."""
        self._do("destroy", session, stream)


class SessionTestCase(BoxTestCase):
    """One box with the supplements and handlers of a test, one peer, one network."""

    def start(
        self,
        *supplements: SessionSupplement,
        handlers: Iterable[ISDPHandler] | None = None,
        **kwargs: Any,
    ) -> Box:
        """Begin anew."""
        box = super().start(supplements=supplements, **kwargs)
        if handlers is not None:
            for old in box.manager.handlers["audio"]:
                box.manager.unregister_sdp_handler(old)
            for new in handlers:
                box.manager.register_sdp_handler(new)
        return box

    @property
    def session(self) -> Session:
        """The one live session."""
        (session,) = self.box.manager.sessions
        return session

    def request_within(self, response: Response | Request, method: str, **kwargs: Any) -> Request:
        """Send a request of the peer within the dialog."""
        request = self.peer.request_within(response, method, **kwargs)
        self.peer.send(request, (US, 5060))
        return request

    def placed(self, **kwargs: Any) -> tuple[Session, Request]:
        """Place a call to the peer; return the session and the INVITE that came."""
        session = self.box.dial(**kwargs)
        return session, self.peer.expect("INVITE")

    def answered(self, **kwargs: Any) -> tuple[Session, Request]:
        """Place a call that the peer answers; return the session and the INVITE."""
        session, invite = self.placed(**kwargs)
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        return session, invite

    def hang_up(self, session: Session) -> None:
        """End a call from our side."""
        session.terminate()
        self.peer.reply(self.peer.expect("BYE"), 200)

    def lines(self, call_id: str) -> str:
        """Return what is explained of a call."""
        (record,) = self.box.manager.records.find(call_id)
        return "\n".join(record.lines())


def audio(port: int = 40000, count: int = 1, kind: str = "audio", version: int = 1) -> str:
    """Return an SDP with so many streams."""
    head = f"v=0\r\no=peer 1 {version} IN IP4 {PEER}\r\ns=-\r\nc=IN IP4 {PEER}\r\nt=0 0\r\n"
    return head + f"m={kind} {port} RTP/AVP 0\r\n" * count
