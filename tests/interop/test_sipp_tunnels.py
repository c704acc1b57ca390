# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The scenarios of SIPp once more, over TLS and WebSocket: it speaks TCP, into tunnels.

Those of transfers are left out: the URIs in them ask for UDP. Nobody calls a browser that has not
called before, so over WebSocket SIPp calls.
"""

from __future__ import annotations

from twisted.internet.interfaces import IListeningPort

from . import test_sipp_called, test_sipp_calls
from .peers import reactor
from .secure import SecureTestCase
from .sipp import ScenarioTestCase
from .tunnels import WebEnd, dig


class TLSTestCase(SecureTestCase, ScenarioTestCase):
    """Plays over TLS."""

    sipp_transport = "t1"

    def entrance(self, port: int) -> int:
        """Dig a tunnel whose far end speaks TLS."""
        connect = self.credentials.connect
        return self.dug(*dig(port, wrap_far=lambda inner: connect("", inner, reactor)))

    def exit(self, port: int) -> int:
        """Dig a tunnel whose near end speaks TLS."""
        serve = self.credentials.serve
        return self.dug(*dig(port, wrap_near=lambda inner: serve(inner, reactor)))

    def dug(self, listening: IListeningPort, port: int) -> int:
        """Return the port of a tunnel, which is closed with the test."""
        self.addCleanup(listening.stopListening)
        return port


class WebTestCase(ScenarioTestCase):
    """Plays over WebSocket."""

    transport = "WS"
    sipp_transport = "t1"

    def entrance(self, port: int) -> int:
        """Dig a tunnel whose far end is a browser."""
        listening, entered = dig(port, make_far=WebEnd)
        self.addCleanup(listening.stopListening)
        return entered


class TLSCallsOfferTests(TLSTestCase, test_sipp_calls.OfferTests):
    """See the class of UDP."""


class TLSCallsEarlyTests(TLSTestCase, test_sipp_calls.EarlyTests):
    """See the class of UDP."""


class TLSCallsTimerTests(TLSTestCase, test_sipp_calls.TimerTests):
    """See the class of UDP."""


class TLSCallsRaceTests(TLSTestCase, test_sipp_calls.RaceTests):
    """See the class of UDP."""


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


class WebCallsOtherRequestTests(WebTestCase, test_sipp_calls.OtherRequestTests):
    """See the class of UDP."""


class TLSCalledOfferTests(TLSTestCase, test_sipp_called.OfferTests):
    """See the class of UDP."""


class TLSCalledEarlyTests(TLSTestCase, test_sipp_called.EarlyTests):
    """See the class of UDP."""


class TLSCalledTimerTests(TLSTestCase, test_sipp_called.TimerTests):
    """See the class of UDP."""
