# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Applications that hear what comes within their calls: ICallEvents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.application import Application, CallEvents
from sipsess.call import Call
from sipsess.interfaces import ICallEvents
from sipsess.message import Request, Response
from sipsess.sdp import SessionDescription
from sipsess.supplement import Reject, Retry, SessionSupplement, Verdict
from sipsess.supplements.info import DigitInfo
from sipsess.supplements.refer import Refer
from sipsess.testing import Agent, VirtualNetwork

from .calls import Script
from .phone import Phone
from .test_bridge import SERVER, TARGET, BridgeCase, Far


class Plain(CallEvents, Application):
    """Has nothing to say."""

    name = "plain"

    async def handle(self, call: Call) -> None:
        """Answer, and wait for the end."""
        await call.answer()
        await call.ended


#: What answers as if nobody listened.
PLAIN = Plain()


class Listener(CallEvents, Script):
    """Notes what it hears, and says what it is told to say."""

    def __init__(self, function: Callable[[Call], Awaitable[Any]]) -> None:
        super().__init__(function)
        self.heard: list[str] = []
        self.request: Request | None = None
        #: What is raised or returned, by the name of the callback.
        self.says: dict[str, Any] = {}

    def _say(self, what: str, text: str) -> Any:
        self.heard.append(f"{what} {text}")
        word = self.says.get(what)
        if isinstance(word, Exception):
            raise word
        return word

    def on_offer(self, call: Call, request: Request, offer: SessionDescription) -> Any:
        """See ICallEvents."""
        return self._say("offer", f"{request.method} {offer.media[0].direction}")

    def on_request(self, call: Call, request: Request) -> Any:
        """See ICallEvents."""
        self.request = request
        return self._say("request", request.method)

    def on_response(self, call: Call, response: Response) -> Any:
        """See ICallEvents."""
        return self._say("response", f"{response.cseq.method} {response.status}")

    def on_provisional(self, call: Call, response: Response) -> Any:
        """See ICallEvents."""
        return self._say("provisional", str(response.status))


class Late(SessionSupplement):
    """Refuses one method."""

    name = "late"
    priority = 500
    methods = frozenset({"REFER"})

    def incoming_request(self, session: Any, request: Request) -> None:
        """Refuse it."""
        raise Reject(403)


class EventCase(BridgeCase):
    """A caller, the server whose application listens, and a callee."""

    def start(self, function: Callable[[Call], Awaitable[Any]] = PLAIN.handle, **how: Any) -> None:
        """Place a call of the near phone."""
        self.net = VirtualNetwork()
        self.near, self.far = Phone(self.net), Far(self.net)
        self.listener = Listener(function)
        self.agent = Agent(
            self.net.host("192.0.2.1", name="server"),
            applications=[self.listener],
            application="script",
            supplements=[DigitInfo(), Refer(), *how.pop("supplements", ())],
        )
        self.invite = self.near.invite("sip:bob@192.0.2.1", **how)
        self.near.send(self.invite, SERVER)

    def answered(self, **how: Any) -> None:
        """Let the call be answered."""
        self.start(**how)
        self.ok: Response = self.near.expect(200)
        self.near.ack(self.ok)
        self.net.run_for(0.1)

    def ask(self, method: str, body: str = "", kind: str | None = None, **headers: str) -> None:
        """Send a request within the call."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = self.near.request_within(
            self.ok, method, body=body, content_type=kind, headers=named
        )
        self.near.send(request)

    def end(self) -> None:
        """Hang up, and check that nothing is left."""
        self.near.bye(self.ok)
        self.near.expect(lambda m: isinstance(m, Response) and m.cseq.method == "BYE")
        self.settle()


class BaseTests(SynchronousTestCase):
    """The base class."""

    def test_provides(self) -> None:
        """It says nothing to anything."""
        plain = Plain()
        verifyObject(ICallEvents, plain)
        unknown: Any = None
        self.assertIsNone(plain.on_offer(unknown, unknown, unknown))
        self.assertIsNone(plain.on_request(unknown, unknown))
        self.assertIsNone(plain.on_response(unknown, unknown))
        self.assertIsNone(plain.on_provisional(unknown, unknown))


class RequestTests(EventCase):
    """What the peer sends."""

    def test_offers_and_others(self) -> None:
        """Offers are told apart from other requests; the first INVITE is none of them."""
        self.answered()
        self.ask("INVITE", self.near.sdp(direction="sendonly"))
        self.near.ack(self.near.expect(200))
        self.ask("UPDATE", self.near.sdp())
        self.near.expect(200)
        self.ask("OPTIONS")
        self.near.expect(200)
        self.end()
        self.assertEqual(
            self.listener.heard,
            ["offer INVITE sendonly", "offer UPDATE sendrecv", "request OPTIONS", "request BYE"],
        )

    def test_refused_offer(self) -> None:
        """An offer that it refuses changes nothing."""
        self.answered()
        self.listener.says["offer"] = Reject(488, headers={"Warning": '399 x "No"'})
        self.ask("INVITE", self.near.sdp(direction="sendonly"))
        refused = self.near.expect(488)
        self.assertIn("399", refused.headers.get("Warning") or "")
        self.near.ack(refused)
        call = self.listener.call
        assert call is not None and call.audio is not None
        self.assertEqual(call.audio.direction, "sendrecv")
        self.end()

    def test_takes_its_time(self) -> None:
        """A verdict may be a Deferred; the answer waits for it."""
        self.answered()
        verdict: Deferred[Any] = Deferred()
        self.listener.says["offer"] = verdict
        self.ask("INVITE", self.near.sdp(direction="sendonly"))
        self.net.run_for(3)
        self.assertEqual(self.near.count(200), 1)
        verdict.callback(None)
        self.near.ack(self.near.expect(200))
        self.end()

    def test_answers_by_itself(self) -> None:
        """What it has handled, it answers."""
        self.answered()
        self.listener.says["request"] = Verdict.HANDLED
        self.ask("INFO", "hello", "text/plain")
        self.net.run_for(0.1)
        call = self.listener.call
        assert call is not None
        call.session.send_response(202, self.listener.request)
        self.near.expect(202)
        self.listener.says.clear()
        self.end()

    def test_a_bug(self) -> None:
        """What it raises otherwise is logged, and answered 500; the call goes on."""
        self.answered()
        self.listener.says["request"] = ValueError("bug")
        self.ask("OPTIONS")
        self.near.expect(500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.listener.says.clear()
        self.end()

    def test_last_of_the_chain(self) -> None:
        """What a supplement refuses or takes it does not hear of."""
        self.answered(supplements=[Late()])
        self.ask("REFER", Refer_To="<sip:x@192.0.2.8>")
        self.near.expect(403)
        self.ask("INFO", "Signal=5", "application/dtmf-relay")
        self.near.expect(200)
        self.assertEqual(self.listener.heard, [])
        self.end()

    def test_without(self) -> None:
        """An application that provides nothing of it is not asked."""
        self.answered()
        call = self.listener.call
        assert call is not None
        call.events = None
        self.ask("OPTIONS")
        self.near.expect(200)
        self.assertEqual(self.listener.heard, [])
        self.end()


class ResponseTests(EventCase):
    """What the peer answers."""

    def test_responses(self) -> None:
        """It hears of each response within the call, and may want the request sent again."""
        self.answered()
        call = self.listener.call
        assert call is not None
        sending = call.session.send_request("INFO", content_type="text/plain", body=b"hello")
        self.listener.says["response"] = Retry({"X-Again": "1"})
        self.near.reply(self.near.expect("INFO"), 488)
        again = self.near.expect("INFO")
        self.listener.says.clear()
        self.assertEqual(again.headers.get("X-Again"), "1")
        self.near.reply(again, 200)
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(sending).status, 200)
        self.assertEqual(self.listener.heard, ["response INFO 488", "response INFO 200"])
        self.end()

    async def dial(self, call: Call) -> None:
        """Call somebody, and join him."""
        leg = await call.dial(TARGET)
        await call.answer()
        await call.bridge(leg)

    def test_legs(self) -> None:
        """It hears of the legs that are dialled for its calls, too."""
        leg = self.ring(self.dial)
        self.listener.says["provisional"] = Verdict.HANDLED
        self.far.reply(leg, 180)
        self.net.run_for(0.1)
        self.assertEqual(self.near.count(180), 0)
        self.listener.says.clear()
        self.far.reply(leg, 183)
        self.near.expect(183)
        self.far.reply(leg, 200, body=self.far.sdp())
        self.far.expect("ACK")
        ok = self.near.expect(200)
        self.near.ack(ok)
        self.net.run_for(0.1)
        self.far.send(self.far.request_within(leg, "OPTIONS"))
        self.far.expect(200)
        self.far.bye(leg)
        self.near.reply(self.near.expect("BYE"), 200)
        self.net.run_for(0.1)
        self.assertEqual(
            self.listener.heard,
            [
                *("provisional 180", "provisional 183", "request OPTIONS", "request BYE"),
                "response BYE 200",
            ],
        )
        self.settle()

    def test_a_bug(self) -> None:
        """What it raises over a provisional response is logged, and the caller is told."""
        leg = self.ring(self.dial)
        self.listener.says["provisional"] = ValueError("bug")
        self.far.reply(leg, 180)
        self.near.expect(180)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.far.reply(leg, 486)
        self.far.expect("ACK")
        self.near.expect(486)
        self.settle()

    def test_moved(self) -> None:
        """When the peer transfers the call it hears what the new one sends."""
        self.answered()
        third = Phone(self.net, "192.0.2.8", "third")
        self.ask("REFER", Refer_To=f"<{third.uri}>", Refer_Sub="false")
        self.near.expect(200)
        invite = third.expect("INVITE")
        third.reply(invite, 200)
        third.expect("ACK")
        self.near.bye(self.ok)
        self.near.expect(200)
        self.listener.heard.clear()
        third.send(third.request_within(invite, "OPTIONS"))
        third.expect(200)
        self.assertEqual(self.listener.heard, ["request OPTIONS"])
        third.bye(invite)
        self.settle()
