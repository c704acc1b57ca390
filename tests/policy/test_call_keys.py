# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Keys as INFO requests."""

from __future__ import annotations

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sipsess.call import Call
from sipsess.errors import LocalError
from sipsess.message import Request
from sipsess.session import SessionEnded
from sipsess.testing import Agent, VirtualNetwork
from tests.policy.phone import Phone


class KeyTests(SynchronousTestCase):
    """A telephone without telephone-event, called by an agent that presses keys."""

    def answered(self, allow: str) -> Call:
        """Call the phone, which allows these methods; return the call."""
        self.net = VirtualNetwork()
        self.phone = Phone(self.net)
        self.agent = Agent(self.net.host("192.0.2.1", name="agent"))
        session = self.agent.dial("sip:phone@192.0.2.9")
        session.invite_client.answered.addErrback(lambda failure: None)
        body = self.phone.sdp(formats="0")
        self.phone.reply(self.phone.expect("INVITE"), 200, headers={"Allow": allow}, body=body)
        self.phone.expect("ACK")
        return session.channel or self.agent.manager.make_call(session)

    def end(self, call: Call) -> None:
        """Hang up and check that nothing is left."""
        call.hangup()
        self.phone.reply(self.phone.expect("BYE"), 200)
        self.net.run_for(40)
        self.net.assert_quiet()

    def expect_info(self, digit: str) -> Request:
        """Return the INFO of a digit."""
        info = self.phone.expect("INFO", 0.5)
        self.assertEqual(info.content_type, "application/dtmf-relay")
        self.assertEqual(info.body, f"Signal={digit}\r\nDuration=100\r\n".encode())
        return info

    def test_one_info_for_each_key(self) -> None:
        """The next key waits for the answer to the one before, and for its own length."""
        call = self.answered("INVITE, INFO")
        sent = call.send_digits("1#")
        self.phone.reply(self.expect_info("1"), 200)
        self.phone.expect_silence(0.17)
        self.phone.reply(self.expect_info("#"), 200)
        self.assertNoResult(sent)
        self.net.run_for(0.3)
        self.successResultOf(sent)
        self.assertEqual(self.phone.ear.packets, [])
        self.end(call)

    def test_refused(self) -> None:
        """A peer that does not know such a body hears tones, and no further INFO."""
        call = self.answered("INFO")
        sent = call.send_digits("12")
        self.phone.reply(self.expect_info("1"), 415)
        self.phone.expect_silence(1)
        self.successResultOf(sent)
        # Each is 100 ms long and followed by a pause of 80 ms, in packets of 20 ms.
        self.assertGreaterEqual(len(self.phone.ear.packets), 14)
        self.end(call)

    def test_not_allowed(self) -> None:
        """A peer that does not allow INFO hears tones at once."""
        call = self.answered("INVITE, BYE")
        sent = call.send_digits("1")
        self.phone.expect_silence(1)
        self.successResultOf(sent)
        self.end(call)

    def test_no_key(self) -> None:
        """What is no key of a telephone is refused before anything is sent."""
        call = self.answered("INFO")
        self.assertRaises(LocalError, call.send_digits, "1x")
        self.phone.expect_silence(1)
        self.end(call)

    def test_call_ends_meanwhile(self) -> None:
        """What is left is not sent when the call ends."""
        call = self.answered("INFO")
        failures: list[Failure] = []
        call.send_digits("12").addErrback(failures.append)
        self.expect_info("1")
        self.end(call)
        self.assertEqual(self.phone.count(lambda message: b"Signal=2" in message.body), 0)
        (failure,) = failures
        failure.trap(SessionEnded)
