# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The application of a session: started, and cancelled when the call is over.

A coroutine of an application waits for most of its call. ``Deferred.fromCoroutine`` would keep a
second Deferred, its state of cancellation and their closures as long: 0.7 kB in each call. Here the
session's part is what the coroutine is resumed by.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from sipsess.errors import SIPError
from sipsess.failures import CANCELLED
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
        "_awaited",
        "_context",
        "_coroutine",
    )

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._coroutine: Coroutine[Any, Any, None] | None = None
        #: What the coroutine waits for; ``None`` while it runs.
        self._awaited: Deferred[Any] | None = None
        #: In which it runs, as any coroutine does that Twisted runs.
        self._context: Context | None = None

    @property
    def is_running(self) -> bool:
        """Whether the application still runs; it may take its time after the end of the call."""
        return self._coroutine is not None

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
            if not isinstance(coroutine, Coroutine):
                raise TypeError(f"handle is no coroutine function: it returned {coroutine!r}")
        except Exception:
            self._done(Failure())
            return
        self._coroutine, self._context = coroutine, copy_context()
        self._resume(None)

    def _resume(self, result: object) -> None:
        """Give the coroutine what it has waited for; it runs until it waits again, or is done."""
        coroutine, context = self._coroutine, self._context
        assert coroutine is not None and context is not None  # it waits for this
        self._awaited = None
        try:
            if isinstance(result, Failure):
                awaited = context.run(result.throwExceptionIntoGenerator, coroutine)
            else:
                awaited = context.run(coroutine.send, result)
        except StopIteration:
            self._done(None)
        except BaseException:
            self._done(Failure())
        else:
            if not isinstance(awaited, Deferred):
                awaited = fail(TypeError(f"{awaited!r} is no Deferred and cannot be awaited here"))
            self._awaited = awaited
            awaited.addBoth(self._resume)

    def _done(self, result: object) -> None:
        self._coroutine = self._context = None
        with self.session.core.turn:
            self.session.core.turn.later(self._over, result)

    def _over(self, result: object) -> None:
        """Hang up, or refuse, what the application has left."""
        session = self.session
        status, reason, headers = NOT_ANSWERED, None, dict[str, str]()
        text = "the application is done"
        if isinstance(result, Failure) and not (session.is_over and result.check(*CANCELLED)):
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
        if self._coroutine is None:
            return
        if self._awaited is None:
            core = self.session.core
            core.timers.start(core.turn.now, 0.0, self.cancel, None)
            return
        self._awaited.cancel()
