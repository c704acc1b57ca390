# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What a session tells about its plugins: to the log, the counters, the trace and its record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from .reason import LOCAL, EndReason, SessionEnded

if TYPE_CHECKING:
    from .session import Session


class Report:
    """
    The reports of one session.

    :param session: whose Call-ID they carry.
    """

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def verdict(self, plugin: str, callback: str, verdict: str) -> None:
        """Let the trace, if there is one, see what a plugin decided."""
        core = self._session.core
        if core.trace is not None:
            call_id = self._session.call_id
            core.trace.plugin_verdict(plugin, callback, verdict, call_id, core.turn.now)

    def plugin_failed(self, name: str, callback: str, error: BaseException) -> None:
        """Log, count, trace and note what a plugin raised."""
        session = self._session
        session.note("plugin failed", f"{name}.{callback}: {error!r}")
        self.verdict(name, callback, "failed")
        session.core.plugin_failed(name, callback, error, session.call_id)

    def cookie_failed(self, name: str, error: Exception) -> None:
        """Report what destroying a cookie raised."""
        self.plugin_failed(f"cookie {name}", "destroy", error)

    def internal_error(self, failure: Failure) -> None:
        """Report a bug of this side and end the call."""
        session = self._session
        if not failure.check(SessionEnded):
            session.core.internal_error(failure, session.call_id)
            session.set_reason(EndReason(LOCAL, "BYE", text="internal error"))
            session.terminate(500)
