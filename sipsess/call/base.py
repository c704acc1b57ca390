# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What a call is: its session, what it waits for, its move to another peer and its end.

Theory of operation
    Each method that takes time returns a Deferred; behind it stands one :class:`Wait`, which
    fires it exactly once and lets go of what it used (a timer, a playback) whichever way it ends:
    done, cancelled, or with the call. Whatever waits is resumed inside a turn of the core, so that
    what an application does next leaves at once and in order.

    A call outlives its session: when the peer transfers us, or another one takes his place, it
    moves to the session with the new peer (:meth:`CallBase.move_to`), and its application with
    it. What waits goes on waiting there; what was being played or recorded is done.

    What can be done with a call stands in :mod:`sipsess.call.call`.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from sipsess.errors import DialogStateError, RemoteError
from sipsess.interfaces import ICallEvents
from sipsess.media import AudioStream
from sipsess.message import SIPURI, Request, Response, TelURI
from sipsess.routing import GROUPS
from sipsess.sdphandlers.audio import find_audio
from sipsess.session import Cookies, EndReason, Identity, SessionEnded

from .transfer import move_session
from .wait import Wait

if TYPE_CHECKING:
    from sipsess.session import Session

    from .bridge import Bridge
    from .call import Call


class CallBase:
    """
    What a call is; :class:`.Call`, its only subclass, adds what can be done with it.

    Every method raises :class:`.SessionEnded` when the call is over, and what waits then fails
    with it.

    :param session: that it stands for.
    """

    __slots__ = ("_ended", "events", "joined", "session", "waits")

    def __init__(self, session: Session) -> None:
        #: The session underneath: its dialog, media and decision record.
        self.session = session
        application: Any = session.application
        #: Its application, when it wants to hear what comes within the call.
        self.events: ICallEvents | None = (
            application if ICallEvents.providedBy(application) else None
        )
        #: What joins it with another call, or ``None``.
        self.joined: Bridge | None = None
        #: What waits for something, for :class:`Wait`.
        self.waits: dict[Wait, None] = {}
        self._ended: tuple[Deferred[EndReason], ...] = ()
        self._take(session)

    def __repr__(self) -> str:
        return f"<Call {self.session.call_id} from {self.caller} to {self.callee}>"

    # -- what it is ------------------------------------------------------------------------

    @property
    def request(self) -> Request:
        """The INVITE that began it, as received or as built."""
        return self.session.invite

    @property
    def response(self) -> Response | None:
        """The final response to our INVITE; ``None`` before it, and when we are called."""
        return self.session.final_response

    @property
    def identity(self) -> Identity:
        """Who the peer says he is."""
        return self.session.get_identity()

    @property
    def cookies(self) -> Cookies:
        """What plugins keep with it."""
        return self.session.cookies

    @property
    def caller(self) -> str:
        """The URI of the From header."""
        return self.request.from_.uri

    @property
    def caller_user(self) -> str:
        """The user or the number of that URI, without escapes; empty when it names nobody."""
        try:
            return self.request.from_.user_text
        except RemoteError:
            return ""

    @property
    def callee(self) -> str:
        """The URI of the To header."""
        return self.request.to.uri

    @property
    def dialled(self) -> str:
        """The user part of the Request-URI, or the number of a tel URI; may be empty."""
        uri = self.request.request_uri
        if isinstance(uri, SIPURI):
            return uri.user or ""
        return uri.number if isinstance(uri, TelURI) else ""

    @property
    def groups(self) -> Mapping[str, str]:
        """What the named groups of the route's pattern matched in the Request-URI's user."""
        groups: Mapping[str, str] | None = self.cookies.get(GROUPS)
        return groups or {}

    @property
    def is_answered(self) -> bool:
        """Whether it was answered and has not ended."""
        return self.session.is_answered and not self.is_ended

    @property
    def is_ended(self) -> bool:
        """Whether it is over, or somebody has decided that it ends."""
        return self.session.end_reason is not None

    @property
    def audio(self) -> AudioStream | None:
        """Its audio stream, or ``None`` when none was negotiated (yet)."""
        return find_audio(self.session)

    @property
    def ended(self) -> Deferred[EndReason]:
        """A Deferred that fires when it is over, with the reason; await it."""
        if self.session.is_finished:
            return succeed(self.session.reason_or_unknown())
        deferred: Deferred[EndReason] = Deferred()
        self._ended = (*self._ended, deferred)
        return deferred

    # -- another peer ----------------------------------------------------------------------

    def move_to(self, session: Session) -> None:
        """
        Go on with another peer, the application too; for supplements.

        Nothing is heard until that session is answered; call this once more then. The session
        before is left without application and call; whoever moves ends it.

        :param session: with the other peer; its own call, if any, is dropped.
        :raises SessionEnded: when it is over.
        """
        with session.core.turn:
            if session.is_over:
                raise SessionEnded(session.reason_or_unknown())
            if session is not self.session:
                if self.audio is not None:
                    self.audio.echo = False
                move_session(self.session, session)
                self.session = session
                self._take(session)
            for wait in list(self.waits):
                wait.follow()

    def media_changed(self) -> None:
        """Hear that audio was negotiated; the audio handler calls it."""
        if self.joined is not None:
            self.joined.media_changed(cast("Call", self))

    # -- the end ---------------------------------------------------------------------------

    def _check(self) -> None:
        if self.is_ended:
            raise self.ended_error()

    def ended_error(self) -> SessionEnded:
        """Return what fails because the call is over."""
        return SessionEnded(self.session.reason_or_unknown())

    def _stream(self) -> AudioStream:
        self._check()
        stream = self.audio
        if stream is None or stream.is_closed:
            raise DialogStateError(
                "the call has no audio"
                if self.session.is_answered
                else "the call has no audio yet: answer it first"
            )
        return stream

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Run what waits several times; its Deferred is one that the call's end knows of."""
        running = Deferred.fromCoroutine(coroutine)
        if running.called:
            return running
        wait = Wait(self, running.cancel)
        running.addCallbacks(wait.finish, wait.fail)
        return wait.deferred

    def _take(self, session: Session) -> None:
        """Be the call that hears of a session's end; one that is dropped hears of it, too."""
        session.channel = call = cast("Call", self)
        dropped, session.listener = session.listener, call
        if dropped is not None:
            session.when_ended().addCallback(dropped.session_over, session)

    def session_ending(self, session: Session) -> None:
        """Hear that the end of a session is decided; for the session."""
        if session is self.session:
            for wait in list(self.waits):
                if wait.ending is not None:
                    wait.ending()

    def session_over(self, reason: EndReason, session: Session) -> None:
        """Hear that a session is over; for the session."""
        if session is not self.session:
            return
        ended, self._ended = self._ended, ()
        for wait in list(self.waits):
            wait.fail(Failure(self.ended_error()))
        for deferred in ended:
            if not deferred.called:
                deferred.callback(reason)
