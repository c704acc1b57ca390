# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A browser within greater calls: with early media, and joined with a telephone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sipsess.call import Call
from sipsess.testing import Agent, VirtualNetwork
from tests.policy.browser import Browser
from tests.policy.calls import Script
from tests.policy.phone import FRAME, Phone, audio_at, sdp_of

SERVER = ("192.0.2.1", 5060)


async def connect(call: Call) -> Any:
    """Call the telephone, answer, join."""
    leg = await call.dial("sip:bob@192.0.2.7")
    await call.answer()
    return await call.bridge(leg)


async def announce(call: Call) -> None:
    """Say something before the call is answered, and never answer."""
    await call.progress()
    call.play(bytes(16000))
    await call.wait(30)
    await call.reject(480)


class CallTests(SynchronousTestCase):
    """A browser calls."""

    def start(self, function: Callable[[Call], Awaitable[Any]]) -> None:
        """Place its call."""
        self.net = VirtualNetwork()
        self.browser = Browser(self.net)
        self.far = Phone(self.net, "192.0.2.7", "far")
        self.agent = Agent(
            self.net.host("192.0.2.1", name="server"),
            applications=[Script(function)],
            application="script",
        )
        invite = self.browser.invite("sip:bob@192.0.2.1", body=self.browser.offer())
        self.browser.send(invite, SERVER)

    def settle(self) -> None:
        """Check that nothing is left."""
        self.net.run_for(40)
        self.net.assert_quiet()

    def test_early_media(self) -> None:
        """What is said before the answer waits for a way and for keys, and for nothing else."""
        self.start(announce)
        response: Any = self.browser.expect(183)
        self.browser.learn(response)
        self.net.run_for(1)
        self.browser.check()
        self.browser.begin()
        self.net.run_for(2)
        self.assertEqual(len(self.browser.heard), 50)
        self.assertEqual(len(self.browser.reports), 1)
        refused: Any = self.browser.expect(480, within=30)
        self.browser.ack(refused)
        self.settle()

    def test_bridge(self) -> None:
        """A browser talks with a telephone: packets are relayed between encrypted and plain."""
        self.start(connect)
        leg: Any = self.far.expect("INVITE")
        self.assertEqual(sdp_of(leg).media[0].proto, "RTP/AVP")
        self.far.reply(leg, 200, body=self.far.sdp())
        self.far.expect("ACK")
        answer: Any = self.browser.expect(200)
        self.browser.ack(answer)
        self.browser.learn(answer)
        self.browser.check()
        self.browser.begin()
        self.far.speak(audio_at(leg), 3)
        self.net.run_for(0.1)
        self.assertEqual([packet.payload for packet in self.browser.heard], [FRAME] * 3)
        for number in range(4):
            self.browser.say(FRAME, number)
        self.assertEqual([packet.payload for packet in self.far.ear.packets], [FRAME] * 4)
        self.far.send(self.far.request_within(leg, "BYE"))
        self.far.expect(200)
        self.browser.reply(self.browser.expect("BYE"), 200)
        self.settle()
