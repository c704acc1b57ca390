# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Ends a call whose far end sends no audio any more, when its endpoint wants that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.media import AudioStream
from sipsess.session.reason import NETWORK, EndReason

if TYPE_CHECKING:
    from sipsess.session import Session

#: How often it is looked, in the time of silence that is allowed.
LOOKS = 4


class Inactivity:
    """
    Looks whether packets come; one that is late by a look does no harm.

    While one of the two holds the call, silence is allowed, and does not count afterwards.

    :param session: that it ends.
    :param stream: that must not be silent.
    :param limit: seconds of silence that are allowed.
    """

    __slots__ = ("_limit", "_packets", "_session", "_silent", "_stream")

    def __init__(self, session: Session, stream: AudioStream, limit: float) -> None:
        self._session = session
        self._stream = stream
        self._limit = limit
        self._packets = stream.packets_received
        #: Looks in a row that found nothing new.
        self._silent = 0
        self._wait()

    def _wait(self) -> None:
        self._session.start_timer(self._limit / LOOKS, self._look)

    def _look(self) -> None:
        stream, session = self._stream, self._session
        if stream.is_closed:
            return
        is_allowed = stream.direction != "sendrecv" or stream.packets_received != self._packets
        self._packets = stream.packets_received
        self._silent = 0 if is_allowed else self._silent + 1
        if self._silent < LOOKS:
            self._wait()
            return
        session.set_reason(EndReason(NETWORK, "BYE", text=f"no audio came for {self._limit:g} s"))
        session.terminate()
