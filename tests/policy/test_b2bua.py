# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application ``b2bua``, and the policy that says which headers go along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sipsess.application import Application
from sipsess.applications.b2bua import B2BUAApplication
from sipsess.applications.b2bua_options import BridgeOptions
from sipsess.applications.dial import DialApplication, DialOptions
from sipsess.call import Call, HeaderPolicy
from sipsess.call.passing import OWN, USUAL
from sipsess.endpoint import ANONYMOUS, AnonymousGate, Endpoint
from sipsess.message import Headers, Request
from sipsess.supplements.identity import Identity
from sipsess.supplements.reason import ReasonSupplement
from sipsess.supplements.refer import Refer
from sipsess.testing import Agent, VirtualNetwork

from .engines import ADDRESS, FakeEngine
from .phone import Phone, sdp_of
from .test_bridge import SERVER, TARGET, BridgeCase, Far

#: An endpoint that is believed, and is told everything.
FRIEND = Endpoint("friend", is_trusted=True, sends_identity="pai", sends_history="diversion")
#: What the caller's INVITE says.
TOLD = {
    "Subject": "Lunch",
    "User-to-User": "56a390f3d2b7310023a2;encoding=hex",
    "Diversion": "<sip:old@192.0.2.4>;reason=unconditional",
    "History-Info": "<sip:old@192.0.2.4>;index=1",
    "P-Asserted-Identity": '"Ann" <sip:ann@192.0.2.9>',
    "X-Secret": "1",
}


class B2BUACase(BridgeCase):
    """A caller, the server with the application, and a callee."""

    #: Who calls.
    caller: Endpoint = ANONYMOUS

    def route(self, how: BridgeOptions, **options: Any) -> None:
        """Place a call by a route with options."""
        application = B2BUAApplication().with_options(how)
        self.serve(application, **options)

    def serve(self, application: Any, **options: Any) -> None:
        """Place a call to an application."""
        self.net = VirtualNetwork()
        self.near, self.far = Phone(self.net), Far(self.net)
        self.agent = Agent(
            self.net.host("192.0.2.1", name="server"),
            applications=[application],
            application=application.name,
            supplements=[ReasonSupplement(), Refer(), Identity()],
            gates=[AnonymousGate(self.caller)],
        )
        self.agent.core.endpoints = {"friend": FRIEND}
        self.agent.manager.media_engine = options.pop("engine", None)
        self.invite = self.near.invite("sip:bob@192.0.2.1", **options)
        self.near.send(self.invite, SERVER)

    def leg_of(self, how: BridgeOptions, **options: Any) -> Request:
        """Place a call; return the INVITE to the callee."""
        self.route(how, **options)
        self.leg = self.far.expect("INVITE")
        return self.leg

    def refuse(self, status: int = 486, seen: int = 0) -> None:
        """Let the callee refuse, and check that nothing is left."""
        self.far.reply(self.leg, status)
        self.far.expect("ACK")
        self.near.expect(seen or status)
        self.settle()


class RouteTests(B2BUACase):
    """Targets, one after the other."""

    def test_targets(self) -> None:
        """The next one is called when one fails; nobody hears of that."""
        how = BridgeOptions(targets=("sip:{dialled}@192.0.2.7", "sip:second@192.0.2.7"))
        leg = self.leg_of(how)
        self.assertEqual(leg.uri, "sip:bob@192.0.2.7")
        self.far.reply(leg, 503)
        self.far.expect("ACK")
        leg = self.leg = self.far.expect("INVITE")
        self.assertEqual(leg.uri, "sip:second@192.0.2.7")
        self.assertEqual(leg.max_forwards, 69)
        self.far.reply(leg, 200)
        self.far.expect("ACK")
        ok = self.near.expect(200)
        self.near.ack(ok)
        self.net.run_for(0.1)
        self.near.bye(ok)
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()

    def test_answered(self) -> None:
        """Behind a menu the call is answered already."""

        class Before(Application):
            name = "before"

            async def handle(self, call: Call) -> None:
                await call.answer()
                await B2BUAApplication(BridgeOptions(targets=(TARGET,))).handle(call)

        self.serve(Before())
        ok = self.near.expect(200)
        self.near.ack(ok)
        self.far.reply(self.far.expect("INVITE"), 200)
        self.far.expect("ACK")
        self.net.run_for(0.1)
        self.near.bye(ok)
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()

    def test_refusal_that_counts(self) -> None:
        """Who is busy is busy: nobody else is called."""
        self.leg_of(BridgeOptions(targets=(TARGET, "sip:second@192.0.2.7")))
        self.refuse(486)
        self.assertEqual(self.far.count("INVITE"), 1)

    def test_all_fail(self) -> None:
        """When all fail the caller hears of the last one."""
        leg = self.leg_of(BridgeOptions(targets=(TARGET, "sip:second@192.0.2.7"), timeout=5))
        self.far.reply(leg, 180)
        self.near.expect(180)
        self.net.run_for(5)
        self.far.reply(self.far.expect("CANCEL"), 200)
        self.far.reply(leg, 487)
        self.leg = self.far.expect("INVITE")
        self.refuse(404)

    def test_unknown_endpoint(self) -> None:
        """A route with an endpoint that is not there leads nowhere."""
        self.route(BridgeOptions(targets=(TARGET,), endpoint="foe"))
        self.near.expect(500)
        self.settle()

    def test_without_targets(self) -> None:
        """Without a route's options there is nobody to call."""
        self.serve(B2BUAApplication())
        self.near.expect(404)
        self.settle()

    def test_options(self) -> None:
        """What makes no sense is refused."""
        for options in (
            BridgeOptions(),
            BridgeOptions(targets=("nonsense",)),
            BridgeOptions(targets=(TARGET,), timeout=0),
            BridgeOptions(targets=(TARGET,) * 3, timeout=100),
            BridgeOptions(targets=(TARGET,), set_headers={"Via": "x"}),
            BridgeOptions(targets=(TARGET,), pass_headers=("contact",)),
            BridgeOptions(targets=(TARGET,), pass_headers=("m",)),
        ):
            self.assertRaises(ValueError, B2BUAApplication().with_options, options)


class MediaTests(B2BUACase):
    """Where media go."""

    def media_of(self, application: Any, engine: FakeEngine | None = None) -> str | None:
        """Call; return whose address the callee hears of."""
        self.serve(application, engine=engine)
        self.leg = self.far.expect("INVITE")
        address = sdp_of(self.leg).media[0].address
        self.refuse()
        return address

    def test_ways(self) -> None:
        """Through the server, from peer to peer, or through the engine if there is one."""
        for media, engine, address in (
            ("usual", None, "192.0.2.1"),
            ("usual", FakeEngine(), ADDRESS),
            ("relay", FakeEngine(), "192.0.2.1"),
            ("passthrough", FakeEngine(), "192.0.2.9"),
            ("engine", FakeEngine(), ADDRESS),
            ("engine", None, "192.0.2.1"),
        ):
            how: Any = BridgeOptions(targets=(TARGET,), media=media)  # type: ignore[arg-type]
            self.assertEqual(self.media_of(B2BUAApplication(how), engine), address)
            how = DialOptions(TARGET, media=media)  # type: ignore[arg-type]
            self.assertEqual(self.media_of(DialApplication(how), engine), address)


class HeaderTests(B2BUACase):
    """What goes along."""

    def assert_passed(self, request: Any, expected: Mapping[str, str | None]) -> None:
        """Check headers of a message."""
        found = {name: request.headers.get(name) for name in expected}
        self.assertEqual(found, dict(expected))

    def test_stranger(self) -> None:
        """What a stranger says of himself and of the past does not go along, other things do."""
        self.leg_of(BridgeOptions(targets=(TARGET,), endpoint="friend"), headers=TOLD)
        self.assert_passed(
            self.leg,
            {
                "Subject": "Lunch",
                "User-to-User": TOLD["User-to-User"],
                "Diversion": None,
                "History-Info": None,
                "P-Asserted-Identity": f"<{self.near.uri}>",
                "X-Secret": None,
            },
        )
        self.refuse()

    def test_choice(self) -> None:
        """A route chooses what goes along, and what is added."""
        how = BridgeOptions(
            targets=(TARGET,),
            pass_headers=("X-*", "subject"),
            drop_headers=("X-Other",),
            set_headers={"X-Route": "7"},
            caller="sip:pbx@192.0.2.1",
        )
        self.leg_of(how, headers={**TOLD, "X-Other": "2"})
        expected = {"X-Secret": "1", "X-Other": None, "X-Route": "7", "Subject": "Lunch"}
        self.assert_passed(self.leg, {**expected, "User-to-User": None})
        self.assertEqual(self.leg.from_.uri, "sip:pbx@192.0.2.1")
        self.refuse()

    def test_compact_forms(self) -> None:
        """The short name of a header is the header (RFC 3261 section 7.3.3), ours as well."""
        compact = Headers([("s", "Lunch"), ("r", "<sip:x@192.0.2.66>"), ("f", "<sip:x@y>")])
        for passed in (USUAL, ("*",), ("s", "f")):
            found = HeaderPolicy(passed).of_refusal(compact, FRIEND, FRIEND)
            self.assertEqual(found, {"s": "Lunch"})

    def test_hidden(self) -> None:
        """A route may keep the caller from the callee (RFC 3323)."""
        self.leg_of(BridgeOptions(targets=(TARGET,), identity="hide"), headers=TOLD)
        self.assertEqual(self.leg.from_.uri, "sip:anonymous@anonymous.invalid")
        self.assert_passed(self.leg, {"Privacy": "id", "P-Asserted-Identity": None})
        self.refuse()

    def test_private(self) -> None:
        """A caller who wants to be hidden is."""
        self.leg_of(BridgeOptions(targets=(TARGET,)), headers={**TOLD, "Privacy": "user;id"})
        self.assertEqual(self.leg.from_.uri, "sip:anonymous@anonymous.invalid")
        self.assert_passed(self.leg, {"Privacy": "user;id", "Subject": None})
        self.refuse()

    def test_back(self) -> None:
        """What the callee says with 18x, 200 and BYE goes along to the caller."""
        leg = self.leg_of(BridgeOptions(targets=(TARGET,)))
        data = {"User-to-User": "01;encoding=hex"}
        self.far.reply(leg, 180, headers=data)
        self.assert_passed(self.near.expect(180), data)
        early = {"User-to-User": "02;encoding=hex"}
        self.far.reply(leg, 183, headers=early, body=self.far.sdp())
        self.assert_passed(self.near.expect(183), early)
        answer = {"User-to-User": "03;encoding=hex", "P-Asserted-Identity": "<sip:x@192.0.2.7>"}
        self.far.reply(leg, 200, headers=answer)
        self.far.expect("ACK")
        ok = self.near.expect(200)
        self.assert_passed(ok, {"User-to-User": "03;encoding=hex", "P-Asserted-Identity": None})
        self.near.ack(ok)
        self.net.run_for(0.1)
        last = {"User-to-User": "04;encoding=hex", "Reason": "Q.850;cause=31"}
        self.far.bye(leg, headers=last)
        bye = self.near.expect("BYE")
        self.assert_passed(bye, last)
        self.near.reply(bye, 200)
        self.settle()

    def test_refusal(self) -> None:
        """What he says with his refusal does, too."""
        leg = self.leg_of(BridgeOptions(targets=(TARGET,)))
        data = {"User-to-User": "05;encoding=hex"}
        self.far.reply(leg, 486, headers=data)
        self.far.expect("ACK")
        self.assert_passed(self.near.expect(486), data)
        self.settle()

    def test_given_up(self) -> None:
        """What the caller says with his BYE goes to the callee."""
        leg = self.leg_of(BridgeOptions(targets=(TARGET,)))
        self.far.reply(leg, 200)
        self.far.expect("ACK")
        ok = self.near.expect(200)
        self.near.ack(ok)
        self.net.run_for(0.1)
        self.near.bye(ok, headers={"User-to-User": "06;encoding=hex"})
        bye = self.far.expect("BYE")
        self.assert_passed(bye, {"User-to-User": "06;encoding=hex"})
        self.far.reply(bye, 200)
        self.settle()

    def told(self, endpoint: Endpoint) -> bool:
        """Tell whether the policy by itself tells an endpoint who calls."""
        near = self.agent.sessions[0]
        return "P-Asserted-Identity" in HeaderPolicy(identity="pass").of_invite(near, endpoint)

    def test_without_max_forwards(self) -> None:
        """A call that does not say how far it may go may go as far as any."""
        self.route(BridgeOptions(targets=(TARGET,)))
        self.far.reply(self.far.expect("INVITE"), 486)
        self.far.expect("ACK")
        self.near.expect(486)
        invite = self.near.invite("sip:bob@192.0.2.1")
        invite.headers.remove("Max-Forwards")
        self.near.send(invite, SERVER)
        self.leg = self.far.expect("INVITE")
        self.assertEqual(self.leg.max_forwards, 69)
        self.refuse()

    def test_without_the_supplement(self) -> None:
        """A stranger's word is told to nobody, whoever else looks at it."""
        self.leg_of(BridgeOptions(targets=(TARGET,)), headers=TOLD)
        self.assertEqual([self.told(ANONYMOUS), self.told(FRIEND)], [False, False])
        self.refuse()


class FriendTests(HeaderTests):
    """The same among endpoints that trust each other."""

    caller = FRIEND

    def test_without_the_supplement(self) -> None:
        """A friend's word is told to friends alone, whoever else looks at it."""
        self.leg_of(BridgeOptions(targets=(TARGET,)), headers=TOLD)
        self.assertEqual([self.told(ANONYMOUS), self.told(FRIEND)], [False, True])
        self.refuse()

    def test_stranger(self) -> None:
        """Identity and history go along to whom is told them, in his form."""
        self.leg_of(BridgeOptions(targets=(TARGET,), endpoint="friend"), headers=TOLD)
        self.assert_passed(
            self.leg,
            {
                "P-Asserted-Identity": TOLD["P-Asserted-Identity"],
                "Diversion": TOLD["Diversion"],
                "History-Info": None,
            },
        )
        self.refuse()

    def test_not_told(self) -> None:
        """They do not to whom is told nothing, nor when the route says so."""
        expected = {"P-Asserted-Identity": None, "Diversion": None, "History-Info": None}
        self.leg_of(BridgeOptions(targets=(TARGET,)), headers=TOLD)
        self.assert_passed(self.leg, expected)
        self.refuse()
        how = BridgeOptions(targets=(TARGET,), endpoint="friend", identity="no")
        self.leg_of(how, headers=TOLD)
        self.assert_passed(self.leg, {"P-Asserted-Identity": f"<{self.near.uri}>"})
        self.refuse()

    def test_back(self) -> None:
        """Who has answered is told to the caller, when the callee is believed."""
        leg = self.leg_of(BridgeOptions(targets=(TARGET,), endpoint="friend"))
        asserted = {"P-Asserted-Identity": "<sip:carol@192.0.2.7>"}
        self.far.reply(leg, 200, headers=asserted)
        self.far.expect("ACK")
        ok = self.near.expect(200)
        self.assert_passed(ok, asserted)
        self.near.ack(ok)
        self.net.run_for(0.1)
        self.near.bye(ok)
        self.far.reply(self.far.expect("BYE"), 200)
        self.settle()


class PolicyTests(SynchronousTestCase):
    """The policy by itself."""

    def test_history(self) -> None:
        """The past goes along from whom is believed, to whom is told it, in his form."""
        headers = Headers((name, TOLD[name]) for name in ("Diversion", "History-Info"))
        newer = Endpoint("newer", sends_history="history-info")
        policy = HeaderPolicy(USUAL)
        for source, target, expected in (
            (FRIEND, FRIEND, ["Diversion"]),
            (FRIEND, newer, ["History-Info"]),
            (FRIEND, ANONYMOUS, []),
            (ANONYMOUS, FRIEND, []),
        ):
            self.assertEqual(list(policy.of_refusal(headers, source, target)), expected)

    def test_what_never_goes_along(self) -> None:
        """However much a policy lets pass, what the session writes itself is not in it."""
        headers = Headers([("X-Own", "1"), *((name, "1") for name in sorted(OWN))])
        policy = HeaderPolicy(("*",))
        self.assertEqual(policy.of_refusal(headers, FRIEND, FRIEND), {"X-Own": "1"})

    def test_call_of_ours(self) -> None:
        """A call that we have placed has told us nothing that could go along."""
        net = VirtualNetwork()
        phone = Phone(net)
        agent = Agent(net.host("192.0.2.1", name="server"))
        session = agent.dial(phone.uri)
        policy = HeaderPolicy(USUAL, added={"X-Own": "1"}, identity="pass")
        self.assertEqual(policy.of_invite(session, FRIEND), {"X-Own": "1"})
        self.assertEqual(policy.of_answer(session, FRIEND), {})
        self.assertEqual(policy.of_end(session, FRIEND), {})
        session.terminate()
        net.run_for(80)
        net.assert_quiet()
