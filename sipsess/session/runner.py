# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application of a session: started, and cancelled when the call is over."""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sipsess.errors import SIPError
from sipsess.sdphandler import NegotiationFailed
from sipsess.supplement import Reject

from .part import Part
from .reason import LOCAL, EndReason

if TYPE_CHECKING:
    from .session import Session

#: The answer to a call that its application neither answered nor refused.
NOT_ANSWERED = 480


class ApplicationRunner(Part):
    """
    Runs ``handle(call)``.

    :param session: whose application it is.
    """

    __slots__ = (
        "_coroutine",
        "_deferred",
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._coroutine: CoroutineType[Any, Any, None] | None = None
        self._deferred: Deferred[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the application still runs; it may take its time after the end of the call."""
        return self._deferred is not None

    @property
    def name(self) -> str:
        """The application's name; ``"none"`` when the program drives the call itself."""
        application = self.session.application
        return "none" if application is None else application.name

    def start(self) -> None:
        """Let the application have the call."""
        session = self.session
        if session.application is None or session.is_over:
            return
        session.channel = session.manager.make_call(session)
        session.note("application", self.name)
        try:
            coroutine = session.application.handle(session.channel)
            self._coroutine = cast("CoroutineType[Any, Any, None]", coroutine)
            deferred = Deferred.fromCoroutine(coroutine)
        except Exception:
            self._done(Failure())
            return
        if not deferred.called:
            self._deferred = deferred
        deferred.addBoth(self._done)

    def _done(self, result: object) -> None:
        self._deferred = self._coroutine = None
        with self.session.core.turn:
            self.session.core.turn.later(self._over, result)

    def _over(self, result: object) -> None:
        """Hang up, or refuse, what the application has left."""
        session = self.session
        status, reason, headers = NOT_ANSWERED, None, dict[str, str]()
        text = "the application is done"
        if isinstance(result, Failure) and not (session.is_over and result.check(CancelledError)):
            status, reason, headers = self._failed(result)
            text = reason or "the application failed"
        if session.is_answered:
            session.set_reason(EndReason(LOCAL, "BYE", text=text))
        session.terminate(status, reason=reason, headers=headers)
        if isinstance(result, Failure):
            # Its frames hold it, and it holds them: a cycle for each call that is hung up.
            result.tb = None
            if result.value is not None:
                result.value.__traceback__ = None
        if session.is_finished:
            session.core.turn.last(session.ending.part)

    def _failed(self, failure: Failure) -> tuple[int, str | None, dict[str, str]]:
        error = failure.value
        if isinstance(error, Reject):
            self.session.note("rejected", f"{error} by application {self.name}")
            return error.status, error.reason, error.headers
        if isinstance(error, NegotiationFailed):
            return error.status, None, {}
        if isinstance(error, SIPError):
            self.session.note("application failed", str(error))
            return error.status_hint or NOT_ANSWERED, None, {}
        name = f"application {self.name}"
        self.session.report.plugin_failed(name, "handle", error or RuntimeError(failure))
        return 500, None, {}

    def cancel(self, payload: None = None, now: float = 0.0) -> None:
        """Cancel the application where it waits; if it is running just now, when it waits next."""
        deferred, coroutine = self._deferred, self._coroutine
        if deferred is None or coroutine is None:
            return
        if coroutine.cr_running:
            core = self.session.core
            core.timers.start(core.turn.now, 0.0, self.cancel, None)
            return
        deferred.cancel()
