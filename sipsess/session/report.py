# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What a session tells about its plugins: to the log, the counters, the trace and its record."""

from __future__ import annotations

from twisted.python.failure import Failure

from .part import Part
from .reason import LOCAL, EndReason, SessionEnded


class Report(Part):
    """
    The reports of one session.

    :param session: whose Call-ID they carry.
    """

    __slots__ = ()

    def verdict(self, plugin: str, callback: str, verdict: str) -> None:
        """Let the trace, if there is one, see what a plugin decided."""
        core = self.session.core
        if core.trace is not None:
            call_id = self.session.call_id
            core.trace.plugin_verdict(plugin, callback, verdict, call_id, core.turn.now)

    def plugin_failed(self, name: str, callback: str, error: BaseException) -> None:
        """Log, count, trace and note what a plugin raised."""
        session = self.session
        session.note("plugin failed", f"{name}.{callback}: {error!r}")
        self.verdict(name, callback, "failed")
        session.core.plugin_failed(name, callback, error, session.call_id)

    def cookie_failed(self, name: str, error: Exception) -> None:
        """Report what destroying a cookie raised."""
        self.plugin_failed(f"cookie {name}", "destroy", error)

    def internal_error(self, failure: Failure) -> None:
        """Report a bug of this side and end the call."""
        session = self.session
        if not failure.check(SessionEnded):
            session.core.internal_error(failure, session.call_id)
            session.set_reason(EndReason(LOCAL, "BYE", text="internal error"))
            session.terminate(500)
