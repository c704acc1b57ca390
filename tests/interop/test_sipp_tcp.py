# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The scenarios of SIPp once more, over TCP: on one connection, and on one for each call.

An attended transfer of SIPp stays within one server: SIPp refuses to take another connection in a
call (``setdest``) when the one that it has was opened by its peer.
"""

from __future__ import annotations

from sipsess.applications.echo import EchoApplication

from . import test_sipp_called, test_sipp_calls
from .sipp import ScenarioTestCase
from .tunnels import TurnsEnd, dig


class TCPTestCase(ScenarioTestCase):
    """Plays over TCP."""

    transport = "TCP"
    sipp_transport = "t1"


class CallsOfferTests(TCPTestCase, test_sipp_calls.OfferTests):
    """See the class of UDP."""


class CallsEarlyTests(TCPTestCase, test_sipp_calls.EarlyTests):
    """See the class of UDP."""


class CallsTimerTests(TCPTestCase, test_sipp_calls.TimerTests):
    """See the class of UDP."""


class CallsRaceTests(TCPTestCase, test_sipp_calls.RaceTests):
    """See the class of UDP."""


class CallsTransferTests(TCPTestCase, test_sipp_calls.TransferTests):
    """See the class of UDP; SIPp calls through a tunnel, for :class:`.TurnsEnd`."""

    def entrance(self, port: int) -> int:
        """Dig a tunnel in which SIPp hears one thing at a time."""
        return self.dug(*dig(port, make_near=TurnsEnd))


class CallsOtherRequestTests(TCPTestCase, test_sipp_calls.OtherRequestTests):
    """See the class of UDP."""


class CalledOfferTests(TCPTestCase, test_sipp_called.OfferTests):
    """See the class of UDP."""


class CalledEarlyTests(TCPTestCase, test_sipp_called.EarlyTests):
    """See the class of UDP."""


class CalledTimerTests(TCPTestCase, test_sipp_called.TimerTests):
    """See the class of UDP."""


class CalledRaceTests(TCPTestCase, test_sipp_called.CallingTestCase):
    """
    See the class of UDP.

    That of a CANCEL which comes too late is left out: SIPp takes our ACK and BYE, which come in one
    piece, before the step between them.
    """

    give_up = test_sipp_called.RaceTests.give_up
    test_glare = test_sipp_called.RaceTests.test_glare
    test_cancel = test_sipp_called.RaceTests.test_cancel
    test_cancel_late = test_sipp_called.RaceTests.test_cancel_late
    test_fork = test_sipp_called.RaceTests.test_fork


class CalledTransferTests(TCPTestCase, test_sipp_called.TransferTests):
    """See the class of UDP."""


class ManyConnectionsTests(ScenarioTestCase):
    """One connection for each call."""

    transport = "TCP"
    sipp_transport = "tn"

    async def test_calls(self) -> None:
        """Fifty calls at a time, each on its own connection, which goes with it."""
        server = self.serve_all(EchoApplication())
        many = ("-m", "200", "-r", "100", "-l", "50")
        await self.calls(server, "uac_options.xml", options=many)
