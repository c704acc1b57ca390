# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
RTCP of one audio stream: what SDP says of it, and when reports leave.

Theory of operation
    RTCP shares the port of RTP when both sides say ``a=rtcp-mux`` (:rfc:`5761#section-5.1.1`). Our
    offers do, our answers when the offer does. Else it has the next port, which is opened when the
    first packet comes or goes: a call that says nothing needs no second socket.

    The same moment starts the reports, one every five seconds or so (:rfc:`3550#section-6.2`). When
    nothing has come and gone between two of them they stop until something does, so that a call
    which is only held costs nothing. A peer who reports during a hold keeps ours going.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.flow import Address
from sipsess.interfaces import IMediaPort
from sipsess.media import AudioStream
from sipsess.media.reporting import next_interval
from sipsess.sdp import MediaDescription
from sipsess.timers import Timer

if TYPE_CHECKING:
    from sipsess.session import Session, SessionStream

#: The attribute that says that RTCP shares the port of RTP.
MUX = "rtcp-mux"


class Reports:
    """
    Sends the reports of one stream.

    :param session: that it belongs to.
    :param stream: its m-line.
    :param port: where its packets leave.
    :param audio: what is reported of.
    """

    __slots__ = ("_activity", "_audio", "_has_reported", "_port", "_session", "_stream", "_timer")

    def __init__(
        self, session: Session, stream: SessionStream, port: IMediaPort, audio: AudioStream
    ) -> None:
        self._session = session
        self._stream = stream
        self._port = port
        self._audio = audio
        #: Until the next report; ``None`` while none are sent.
        self._timer: Timer | None = None
        #: What had come and gone at the last report.
        self._activity = (0, 0, 0)
        self._has_reported = False

    def apply(self) -> None:
        """Take what was negotiated; a peer who wants no RTCP gets none (:rfc:`3556#section-2`)."""
        self._session.cancel_timer(self._timer)
        self._timer = None
        remote = self._stream.active_remote
        is_wanted = remote is not None and not _is_unwanted(remote)
        self._audio.on_activity = self._begin if is_wanted else None

    def stop(self) -> None:
        """Say goodbye, if anything was said at all (:rfc:`3550#section-6.3.7`)."""
        if self._has_reported and not self._audio.is_closed:
            self._send(is_leaving=True)

    def _begin(self) -> None:
        """Begin to report: a packet has come or gone."""
        if not self._session.is_over and self._latch():
            self._wait(is_first=True)

    def _latch(self) -> bool:
        """Learn where reports go; whether there can be any."""
        local, remote = self._stream.active_local, self._stream.active_remote
        assert local is not None and remote is not None
        address = None if has_mux(local) and has_mux(remote) else _rtcp_address(remote)
        self._audio.reporter.latch.signalled = address
        if address is None or self._port.open_rtcp():
            return True
        self._session.note("audio", f"no RTCP: port {self._port.port + 1} cannot be had")
        return False

    def _wait(self, *, is_first: bool) -> None:
        delay = next_interval(self._session.core.ids.random, is_first=is_first)
        self._timer = self._session.start_timer(delay, self._report)

    def _report(self) -> None:
        """Report, unless nothing has happened since the last time."""
        self._timer = None
        audio, before = self._audio, self._activity
        self._activity = (audio.packets_received, audio.packets_sent, audio.reports_received)
        if audio.is_closed:
            return
        if self._activity == before:
            audio.on_activity = self._begin
            return
        self._send(is_leaving=False)
        self._wait(is_first=False)

    def _send(self, *, is_leaving: bool) -> None:
        report = self._audio.report(self._session.core.turn.now, is_leaving=is_leaving)
        if report is not None:
            self._has_reported = True
            self._port.send_rtcp(*report)


def has_mux(media: MediaDescription) -> bool:
    """Tell whether a description wants RTCP on the port of RTP."""
    return media.attributes.get(MUX) is not None


def _is_unwanted(remote: MediaDescription) -> bool:
    widths = remote.bandwidths
    return widths.get("RS") == 0 == widths.get("RR")


def _rtcp_address(remote: MediaDescription) -> Address:
    """Return where the peer wants RTCP (:rfc:`3605#section-2.1`); by default on the next port."""
    fields = (remote.attributes.get("rtcp") or "").split()
    host = fields[3] if len(fields) == 4 else remote.address or ""
    number = fields[0] if fields else ""
    is_port = number.isascii() and number.isdecimal() and len(number) <= 5
    return host, int(number) if is_port and 0 < int(number) < 65536 else remote.port + 1
