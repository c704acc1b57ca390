# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the fields of an endpoint do to its calls."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sipsess.admission import Admission
from sipsess.application import Application
from sipsess.call import Call
from sipsess.endpoint import ANONYMOUS, Endpoint
from sipsess.errors import LocalError
from sipsess.message import Request, Response
from sipsess.sdp import parse as parse_sdp
from sipsess.sdphandlers.audio import find_audio
from sipsess.session import Session
from sipsess.supplement import Reject
from sipsess.supplements.info import DigitInfo
from sipsess.supplements.session_timer import SessionTimer, get_timer
from sipsess.testing import Agent, VirtualNetwork
from tests.policy.agents import PEER, US, Gate
from tests.policy.phone import Phone
from tests.policy.sessions import SessionTestCase


def gate_for(endpoint: Endpoint) -> Gate:
    """Return a gate that gives everybody this endpoint."""

    def admit(admission: Admission) -> None:
        admission.endpoint = endpoint

    return Gate(admit)


class FieldTests(SynchronousTestCase):
    """What makes no sense."""

    def test_bad(self) -> None:
        """Refused where it is written, with the endpoint's name."""
        for fields in (
            {"codecs": ()},
            {"session_interval": 89},
            {"session_minimum": 30},
            {"max_calls": -1},
        ):
            error = self.assertRaises(LocalError, Endpoint, "trunk", **fields)
            self.assertIn("trunk", str(error))


class EndpointTestCase(SessionTestCase):
    """One box for which everybody is the same endpoint."""

    def begin(self, *supplements: Any, **fields: Any) -> Endpoint:
        """Start the box; everybody is an endpoint with these fields."""
        endpoint = Endpoint("trunk", **fields)
        self.start(*supplements, gates=[gate_for(endpoint)])
        return endpoint


class LimitTests(EndpointTestCase):
    """How many calls, and which."""

    def test_max_calls(self) -> None:
        """More calls than an endpoint may have are refused, both ways, until one ends."""
        endpoint = self.begin(max_calls=2)
        first = self.call()
        session, request = self.placed(endpoint=endpoint)
        self.invite()
        refused = self.peer.expect(503)
        self.assertIn("Retry-After", refused.headers)
        self.peer.ack(refused)
        self.assertEqual(self.box.refused["endpoint-calls-full"], 1)
        self.send("OPTIONS", uri=f"sip:bob@{US}")
        self.assertEqual(self.answer_to("OPTIONS").status, 503)
        third = self.box.manager.dial(
            f"sip:peer@{PEER}", self.box.flow_to((PEER, 5060)), endpoint=endpoint
        )
        self.failureResultOf(third.invite_client.answered, Reject)
        # An endpoint of another name has its own limit.
        other = self.box.dial(endpoint=ANONYMOUS)
        self.peer.reply(self.peer.expect("INVITE"), 486)
        self.peer.bye(first)
        self.peer.reply(request, 486)
        self.net.run_for(1)
        self.assertTrue(session.is_over and other.is_over)
        self.peer.bye(self.call())
        self.finish()

    def test_no_calls(self) -> None:
        """An endpoint may have none at all."""
        self.begin(max_calls=0)
        self.invite()
        self.peer.ack(self.peer.expect(503))
        self.net.run_for(70)
        self.net.assert_quiet()

    def test_applications(self) -> None:
        """Applications that an endpoint may not have are not there for it."""
        for allowed, status in ((frozenset({"other"}), 404), (frozenset({"script", "x"}), 200)):
            self.begin(applications=allowed)
            self.invite()
            response = self.answer_to("INVITE")
            self.assertEqual(response.status, status)
            self.peer.ack(response)
            if status == 200:
                self.peer.bye(response)
            else:
                self.assertEqual(self.box.refused, {"application-refused": 1})
            self.finish()


class TimerTests(EndpointTestCase):
    """Session timers by endpoint."""

    def timer(self, session: Session) -> int | None:
        """Return the interval that was settled, or ``None``."""
        state = get_timer(session)
        return None if state is None or state.current is None else state.current.interval

    def test_requested(self) -> None:
        """An endpoint is asked for a timer as it says, in both directions."""
        endpoint = self.begin(SessionTimer(), session_timer="request", session_interval=600)
        success = self.call()
        self.assertEqual(success.headers.get("Session-Expires"), "600;refresher=uas")
        self.peer.bye(success)
        session, invite = self.placed(endpoint=endpoint)
        self.assertEqual(invite.headers.get("Session-Expires"), "600")
        self.peer.reply(invite, 200, headers={"Session-Expires": "600;refresher=uas"})
        self.peer.expect("ACK")
        self.assertEqual(self.timer(session), 600)
        self.hang_up(session)
        self.finish()

    def test_after_422(self) -> None:
        """More time is asked for when the peer wants more than the endpoint says."""
        endpoint = self.begin(SessionTimer(), session_timer="request", session_interval=600)
        session, invite = self.placed(endpoint=endpoint)
        self.peer.reply(invite, 422, headers={"Min-SE": "900"})
        again = self.peer.expect("INVITE")
        self.assertEqual(again.headers.get("Session-Expires"), "900")
        self.peer.reply(again, 486)
        self.net.run_for(1)
        self.assertTrue(session.is_over)
        self.finish()

    def test_minimum(self) -> None:
        """A shorter interval than the endpoint's minimum is refused (RFC 4028 section 6)."""
        self.begin(SessionTimer(), session_minimum=300)
        self.invite(headers={"Supported": "timer", "Session-Expires": "200"})
        refused = self.peer.expect(422)
        self.assertEqual(refused.headers.get("Min-SE"), "300")
        self.peer.ack(refused)
        self.finish()

    def test_never(self) -> None:
        """An endpoint without timers is told of none, and gets none."""
        timer = SessionTimer()
        timer.is_wanted = True
        endpoint = self.begin(timer, session_timer="no")
        self.invite(headers={"Supported": "timer", "Session-Expires": "200"})
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.assertNotIn("Session-Expires", success.headers)
        self.assertNotIn("timer", success.supported)
        self.peer.bye(success)
        session, invite = self.placed(endpoint=endpoint)
        self.assertNotIn("Session-Expires", invite.headers)
        self.assertNotIn("timer", invite.supported)
        self.assertIn("100rel", invite.supported)
        self.peer.reply(invite, 200, headers={"Session-Expires": "200;refresher=uas"})
        self.peer.expect("ACK")
        self.assertIsNone(self.timer(session))
        self.hang_up(session)
        self.finish()

    def test_required(self) -> None:
        """Who demands what is withheld is refused (RFC 3261 8.2.2.3)."""
        self.begin(SessionTimer(), session_timer="no", reliable="no")
        self.invite(headers={"Require": "timer, 100rel"})
        refused = self.peer.expect(420)
        self.assertEqual(refused.headers.get("Unsupported"), "100rel, timer")
        self.peer.ack(refused)
        self.finish()


class Pressing(Application):
    """Answers, and waits."""

    name = "pressing"

    def __init__(self) -> None:
        self.call: Call | None = None

    async def handle(self, call: Call) -> None:
        """See IApplication."""
        self.call = call
        await call.answer()
        await call.ended


class MediaTests(SynchronousTestCase):
    """Codecs and keys by endpoint."""

    def begin(self, **fields: Any) -> None:
        """Start an agent and a phone; everybody is an endpoint with these fields."""
        self.net = VirtualNetwork()
        self.phone = Phone(self.net)
        self.application = Pressing()
        self.endpoint = Endpoint("phone", **fields)
        self.agent = Agent(
            self.net.host("192.0.2.1", name="server"),
            applications=[self.application],
            application="pressing",
            supplements=[DigitInfo()],
            gates=[gate_for(self.endpoint)],
        )

    def formats(self, message: Request | Response) -> list[str]:
        """Return the formats of a description."""
        return parse_sdp(message.body).media[0].formats

    def end(self) -> None:
        """Hang up and check that nothing is left."""
        for session in self.agent.sessions:
            session.terminate()
            self.phone.reply(self.phone.expect("BYE"), 200)
        self.net.run_for(70)
        self.net.assert_quiet()

    def test_offer(self) -> None:
        """Our offer has the endpoint's codecs, in its order, and events if it knows them."""
        for fields, expected in (
            ({}, ["0", "8", "101"]),
            ({"codecs": ("PCMA", "PCMU")}, ["8", "0", "101"]),
            ({"codecs": ("PCMA",), "dtmf": "inband"}, ["8"]),
        ):
            self.begin(**fields)
            session = self.agent.dial("sip:x@192.0.2.9", endpoint=self.endpoint)
            invite = self.phone.expect("INVITE")
            self.assertEqual(self.formats(invite), expected)
            self.phone.reply(invite, 486)
            self.net.run_for(1)
            self.assertTrue(session.is_over)
            self.end()

    def test_answer(self) -> None:
        """Our answer has of the offer what the endpoint may use, in the offer's order."""
        self.begin(codecs=("PCMU", "PCMA"), dtmf="info")
        success = self.phone.call(body=self.phone.sdp(formats="101 8 0"))
        self.assertEqual(self.formats(success), ["8", "0"])
        self.end()

    def test_no_codec(self) -> None:
        """An offer without a codec that the endpoint may use is refused."""
        self.begin(codecs=("PCMA",))
        self.phone.send(self.phone.invite("sip:x@192.0.2.1", body=self.phone.sdp(formats="0 101")))
        self.phone.ack(self.phone.expect(488))
        self.end()

    def press(self, offer: str, **fields: Any) -> list[str]:
        """Press a key towards a phone that allows INFO; return how it came."""
        self.begin(**fields)
        invite = self.phone.invite("sip:x@192.0.2.1", body=self.phone.sdp(formats=offer))
        invite.headers.set("Allow", "INVITE, ACK, BYE, CANCEL, INFO")
        self.phone.send(invite)
        self.phone.ack(self.phone.expect(200))
        self.net.run_for(0.1)
        assert self.application.call is not None
        self.application.call.send_digits("5").addErrback(lambda failure: None)
        self.net.run_for(1)
        ways = {"events" for packet in self.phone.ear.packets if packet.payload_type == 101}
        ways |= {"tones" for packet in self.phone.ear.packets if packet.payload_type != 101}
        for message in self.phone.received:
            if isinstance(message, Request) and message.method == "INFO":
                ways.add("INFO")
                break
        for session in self.agent.sessions:
            session.terminate()
        self.net.run_for(40)
        return sorted(ways)

    def test_send_digits(self) -> None:
        """Keys are pressed as the endpoint says."""
        for offer, mode, expected in (
            ("0 101", "rfc4733", ["events"]),
            ("0", "rfc4733", ["INFO"]),
            ("0 101", "info", ["INFO"]),
            ("0 101", "inband", ["tones"]),
        ):
            self.assertEqual(self.press(offer, dtmf=mode), expected, (offer, mode))

    def test_no_digits(self) -> None:
        """None are pressed, and none are heard."""
        self.begin(dtmf="none")
        success = self.phone.call(body=self.phone.sdp(formats="0 101"))
        self.assertEqual(self.formats(success), ["0"])
        call = self.application.call
        assert call is not None and find_audio(call.session) is not None
        self.assertRaises(LocalError, call.send_digits, "1")
        info = self.phone.request_within(
            success, "INFO", body=b"5", content_type="application/dtmf"
        )
        self.phone.send(info)
        self.phone.expect(200)
        self.assertEqual(call.keypad.waiting, "")
        self.end()
