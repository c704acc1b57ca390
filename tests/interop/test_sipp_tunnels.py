# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The scenarios of SIPp once more, over TLS and WebSocket: it speaks TCP, into tunnels.

Nobody calls a browser that has not called before, so over WebSocket SIPp calls, and whom it lets us
call is called over UDP.
"""

from __future__ import annotations

from sipsess.server import SIPServer

from . import test_sipp_called, test_sipp_calls
from .peers import reactor
from .secure import SecureTestCase
from .sipp import ScenarioTestCase
from .tunnels import End, TurnsEnd, WebEnd, dig


class TLSTestCase(SecureTestCase, ScenarioTestCase):
    """Plays over TLS."""

    sipp_transport = "t1"
    #: The end of a tunnel at which SIPp calls.
    near: type[End] = End

    def entrance(self, port: int) -> int:
        """Dig a tunnel whose far end speaks TLS."""
        connect = self.credentials.connect
        return self.dug(
            *dig(port, make_near=self.near, wrap_far=lambda inner: connect("", inner, reactor))
        )

    def exit(self, port: int) -> int:
        """Dig a tunnel whose near end speaks TLS."""
        serve = self.credentials.serve
        return self.dug(*dig(port, wrap_near=lambda inner: serve(inner, reactor)))


class WebTestCase(ScenarioTestCase):
    """Plays over WebSocket."""

    transport = "WS"
    sipp_transport = "t1"
    #: The end of a tunnel at which SIPp calls.
    near: type[End] = End

    def where(self) -> list[str]:
        """Listen for browsers, and for those whom a browser lets us call."""
        return [*super().where(), "udp:0:interface=127.0.0.1"]

    def target_of(self, server: SIPServer) -> str:
        """Return where a server is called over UDP: nobody but a browser opens a WebSocket."""
        return f"127.0.0.1:{server.listeners[1].address[1]}"

    def entrance(self, port: int) -> int:
        """Dig a tunnel whose far end is a browser."""
        return self.dug(*dig(port, make_near=self.near, make_far=WebEnd))


class TLSCallsOfferTests(TLSTestCase, test_sipp_calls.OfferTests):
    """See the class of UDP."""


class TLSCallsEarlyTests(TLSTestCase, test_sipp_calls.EarlyTests):
    """See the class of UDP."""


class TLSCallsTimerTests(TLSTestCase, test_sipp_calls.TimerTests):
    """See the class of UDP."""


class TLSCallsRaceTests(TLSTestCase, test_sipp_calls.RaceTests):
    """See the class of UDP."""


class TLSCallsTransferTests(TLSTestCase, test_sipp_calls.TransferTests):
    """See the class of UDP, and :class:`.TurnsEnd`."""

    near = TurnsEnd


class TLSCallsOtherRequestTests(TLSTestCase, test_sipp_calls.OtherRequestTests):
    """See the class of UDP."""


class WebCallsOfferTests(WebTestCase, test_sipp_calls.OfferTests):
    """See the class of UDP."""


class WebCallsEarlyTests(WebTestCase, test_sipp_calls.EarlyTests):
    """See the class of UDP."""


class WebCallsTimerTests(WebTestCase, test_sipp_calls.TimerTests):
    """See the class of UDP."""


class WebCallsRaceTests(WebTestCase, test_sipp_calls.RaceTests):
    """See the class of UDP."""


class WebCallsTransferTests(WebTestCase, test_sipp_calls.TransferTests):
    """See the class of UDP, and :class:`.TurnsEnd`."""

    near = TurnsEnd


class WebCallsOtherRequestTests(WebTestCase, test_sipp_calls.OtherRequestTests):
    """See the class of UDP."""


class TLSCalledOfferTests(TLSTestCase, test_sipp_called.OfferTests):
    """See the class of UDP."""


class TLSCalledEarlyTests(TLSTestCase, test_sipp_called.EarlyTests):
    """See the class of UDP."""


class TLSCalledTimerTests(TLSTestCase, test_sipp_called.TimerTests):
    """See the class of UDP."""


class TLSCalledTransferTests(TLSTestCase, test_sipp_called.TransferTests):
    """See the class of UDP."""
