# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""tshark looks on while SIPp plays its scenarios: an independent reader of what we send."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from sipsess.applications.early import EarlyApplication
from sipsess.applications.echo import EchoApplication
from sipsess.applications.reject import RejectApplication
from sipsess.applications.ring import RingApplication
from sipsess.call import Call

from .peers import Capture, sip_port
from .sipp import ScenarioTestCase

#: Scenarios in which we have nothing to do but to be called, and the application that is.
CALLING = {
    "uac_cancel.xml": "ring",
    "uac_info.xml": "echo",
    "uac_late_offer.xml": "echo",
    "uac_options.xml": "echo",
    "uac_prack.xml": "early",
    "uac_refer_refused.xml": "echo",
    "uac_timer.xml": "echo",
    "uac_update_too_early.xml": "ring",
}


async def hang_up(call: Call) -> None:
    """End the call."""
    await call.hangup()


async def hold(call: Call) -> None:
    """Send re-INVITEs."""
    await call.hold()
    await call.resume()
    await call.hangup()


async def press(call: Call) -> None:
    """Send INFO."""
    await call.send_digits("1#")
    await call.read_digits(1, timeout=5)
    await call.hangup()


async def ask(call: Call) -> None:
    """Send OPTIONS."""
    await call.session.send_request("OPTIONS")
    await call.ended


async def refresh(call: Call) -> None:
    """Send UPDATE."""
    await call.session.refresh()
    await call.hangup()


async def transfer(call: Call) -> None:
    """Send REFER."""
    await call.transfer("sip:carol@127.0.0.1:5080")


#: Scenarios in which we call, and what we do then.
CALLED: dict[str, Callable[[Call], Coroutine[Any, Any, None]]] = {
    "uas_hold.xml": hold,
    "uas_info.xml": press,
    "uas_options.xml": ask,
    "uas_prack.xml": hang_up,
    "uas_refer.xml": transfer,
    "uas_timer.xml": refresh,
}

METHODS = "ACK BYE CANCEL INFO INVITE NOTIFY OPTIONS PRACK REFER UPDATE"
STATUSES = "180 183 200 202 400 415 422 469 481 487 500 501 603"


class CaptureTests(ScenarioTestCase):
    """A conversation of SIPp and a server of ours, in which everything is said."""

    async def test_nothing_malformed(self) -> None:
        """tshark understands all our requests and responses, and finds no fault with them."""
        self.require("sipp", "tshark")
        server = self.serve_all(
            EchoApplication(), EarlyApplication(0.1), RingApplication(30), RejectApplication()
        )
        port = sip_port(server)
        capture = Capture(self, port, f"udp port {port}")
        await capture.begin()
        for scenario, application in CALLING.items():
            options = ("-s", application)
            await self.calls(server, scenario, options=options, target=f"127.0.0.1:{port}")
        for scenario, act in CALLED.items():

            async def story(uri: str, act: Any = act) -> None:
                await act(await server.dial(uri, headers={"Session-Expires": "90"}))

            await self.called(server, scenario, story, answer="recvonly")

        async def give_up(uri: str) -> None:
            dialling = server.dial(uri, timeout=0.1)
            dialling.addErrback(lambda failure: None)
            await dialling

        await self.called(server, "uas_cancel.xml", give_up)
        await capture.end()
        ours = f"udp.srcport == {port}"
        methods = await capture.read(f"sip.Request-Line && {ours}", "sip.Method")
        self.assertEqual(sorted({method for [method] in methods}), METHODS.split())
        statuses = await capture.read(f"sip.Status-Line && {ours}", "sip.Status-Code")
        self.assertEqual(sorted({status for [status] in statuses}), STATUSES.split())
        self.assertEqual(await capture.problems(port), [])
