# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Every error of sipsess, sorted by whose fault it is.

:class:`LocalError` is a bug on this side: we, or a plugin, misused the API. :class:`RemoteError`
means that the peer broke the protocol; its ``reason_code`` is what the counters count. The two
errors of :rfc:`3261#section-8.1.3.1`, :class:`Timeout` and :class:`TransportError`, are nobody's
fault.
"""

from __future__ import annotations

from typing import ClassVar


class SIPError(Exception):
    """The base of every error that sipsess raises on purpose."""

    #: The status to answer a request with, or ``None`` when no answer makes sense.
    status_hint: ClassVar[int | None] = None


class LocalError(SIPError):
    """This side, the program or a plugin, used the API wrongly."""

    status_hint: ClassVar[int | None] = 500


class IllegalTransition(LocalError):
    """A state machine was fed an event that this side must never feed in that state."""

    def __init__(self, machine: str, state: str, event: str) -> None:
        super().__init__(f"{machine}: {event} is illegal in state {state}")
        self.machine = machine
        self.state = state
        self.event = event


class DialogStateError(LocalError):
    """The dialog or session cannot do this in its present state."""


class FrozenMessageError(LocalError):
    """A message was changed after it had been serialised."""


class HeaderValueError(LocalError):
    """A header or URI value cannot be written: it holds a line break or a NUL."""


class PluginError(LocalError):
    """A plugin broke its contract; the text names the plugin and what it did."""


class CookieError(LocalError):
    """A cookie of that name exists already, or the session has ended."""


class NoPortsError(LocalError):
    """The pool of media ports is empty."""

    status_hint: ClassVar[int | None] = 503


class RemoteError(SIPError):
    """
    The peer broke the protocol.

    :param reason_code: a short word in kebab-case; each has a counter.
    :param text: one sentence for people.
    """

    status_hint: ClassVar[int | None] = 400

    def __init__(self, reason_code: str, text: str) -> None:
        super().__init__(text)
        self.reason_code = reason_code
        self.text = text


class Timeout(SIPError):
    """No final response came in time; the TU treats it as a 408 (:rfc:`3261#section-8.1.3.1`)."""

    status_hint: ClassVar[int | None] = 408


class TransportError(SIPError):
    """
    The transport could not carry a message.

    The TU treats it as a 503 (:rfc:`3261#section-8.1.3.1`).
    """

    status_hint: ClassVar[int | None] = 503


class ConnectFailed(TransportError):
    """A connection could not be opened, so nothing was sent."""
