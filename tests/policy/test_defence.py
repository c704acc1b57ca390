# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of the perimeter, around a whole agent."""

from __future__ import annotations

from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipsess.application import Application
from sipsess.call import Call
from sipsess.core import Admission, SIPCore
from sipsess.defence import DefenceSettings, Perimeter
from sipsess.defence.perimeter import SUSPICION
from sipsess.endpoint import (
    ANONYMOUS,
    DigestGate,
    Endpoint,
    EndpointRealm,
    HA1Checker,
    IdentifyGate,
    MemoryStore,
)
from sipsess.errors import LocalError
from sipsess.flow import Flow
from sipsess.interfaces import IRequestGate
from sipsess.message.challenge import Challenge
from sipsess.message.digest import answer_challenge
from sipsess.registration import Account, Registrations
from sipsess.supplement import Reject, Verdict
from sipsess.testing import Agent, ScriptedPeer, VirtualNetwork
from sipsess.testing.pair import AnsweringApplication

SERVER = "192.0.2.1"
ECHO, NOBODY = f"sip:answer@{SERVER}", f"sip:nobody@{SERVER}"


@implementer(IRequestGate)
class Locked:
    """Challenges whoever shows no credentials, and refuses whoever shows wrong ones."""

    name = "locked"

    def admit(self, admission: Admission) -> Verdict:
        """See the interface."""
        if admission.request.headers.get("Authorization") != "good":
            raise Reject(401, headers={"WWW-Authenticate": 'Digest realm="a", nonce="b"'})
        admission.endpoint = ANONYMOUS
        admission.authenticated()
        return Verdict.CONTINUE


class Closed(Application):
    """Knows nobody."""

    name = "closed"

    async def handle(self, call: Call) -> None:
        """See the interface."""
        raise Reject(404)


class DefenceTestCase(SynchronousTestCase):
    """A server with a defence, and peers."""

    def serve(self, *, gates: list[IRequestGate] | None = None, **settings: Any) -> None:
        """Build the server anew, with these settings, and two peers."""
        self.net = VirtualNetwork()
        self.agent = Agent(
            self.net.host(SERVER, "2001:db8::1", name="server"),
            applications=[AnsweringApplication(), Closed()],
            defence=DefenceSettings(**settings),
            gates=gates,
        )
        self.peer = ScriptedPeer(self.net.host("192.0.2.66", name="mallory"))
        self.other = ScriptedPeer(self.net.host("192.0.2.9", name="alice"))

    def setUp(self) -> None:
        """Serve with what is usual."""
        self.serve()

    @property
    def refused(self) -> dict[str, int]:
        """What was refused, by reason."""
        return self.agent.core.counters.refused

    def ask(self, uri: str = NOBODY, method: str = "OPTIONS", **headers: str) -> None:
        """Let the peer send a request, and some time go by."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.peer.send(self.peer.request(method, uri, headers=named), (SERVER, 5060))
        self.net.run_for(0.05)

    def guess(self, count: int) -> None:
        """Let the peer ask for somebody who is not there, so often."""
        for _ in range(count):
            self.ask()

    def is_heard(self, peer: ScriptedPeer | None = None) -> bool:
        """Whether a peer gets an answer."""
        peer = peer or self.peer
        request = peer.request("OPTIONS", f"sip:{SERVER}")
        peer.send(request, (SERVER, 5060))
        self.net.run_for(0.1)
        return any(message.call_id == request.call_id for message in peer.received)

    def call(self, peer: ScriptedPeer | None = None) -> Any:
        """Let a peer place a call, which is answered; return the 200."""
        peer = peer or self.peer
        peer.send(peer.invite(ECHO))
        answer = peer.expect(200)
        peer.ack(answer)
        self.net.run_for(0.1)
        return answer

    def hang_up(self, answer: Any, peer: ScriptedPeer | None = None) -> None:
        """Let a peer hang up, and all come to its end."""
        peer = peer or self.peer
        peer.bye(answer)
        peer.expect(lambda message: getattr(message, "cseq", answer.cseq).method == "BYE")
        self.net.run_for(40)
        self.net.assert_quiet()


class AccessTests(DefenceTestCase):
    """Who may speak."""

    def test_denied(self) -> None:
        """Whom the access list denies gets no answer, others do."""
        self.serve(access=("deny 192.0.2.64/26",))
        self.assertFalse(self.is_heard())
        self.assertEqual(self.refused, {"access-denied": 1})
        self.assertTrue(self.is_heard(self.other))

    def test_trusted_is_not_denied(self) -> None:
        """Trust goes before the access list."""
        self.serve(access=("deny all",), trusted=("192.0.2.66",))
        self.assertTrue(self.is_heard())
        self.assertFalse(self.is_heard(self.other))

    def test_single_addresses_of_ipv6(self) -> None:
        """Trust and rules are for the addresses that they name, not for the whole /64."""
        self.serve(access=("deny 2001:db8::66",), trusted=("::1/128", "2001:db8::5"))
        perimeter = self.agent.core.perimeter
        assert perimeter is not None
        for host, is_trusted, is_denied in (
            ("2001:db8::1", False, False),
            ("2001:db8::5", True, False),
            ("2001:db8::66", False, True),
            ("::1", True, False),
            ("::2", False, False),
        ):
            flow = Flow("UDP", ("2001:db8::1", 5060), (host, 5060))
            # Without a proof, a megabyte may go only to who is trusted.
            self.assertIs(perimeter.holds(b"x" * 1_000_000, flow, 0.0), not is_trusted, host)
            self.assertIs(perimeter.takes(b"OPTIONS ", flow, 0.0), is_denied, host)

    def test_mistakes(self) -> None:
        """A network that cannot be read stops the start."""
        self.assertRaises(LocalError, self.serve, trusted=("example.com",))
        self.assertRaises(LocalError, self.serve, access=("deny",))

    def test_connections(self) -> None:
        """Whether a host may connect is asked beforehand, too."""
        self.serve(access=("deny 192.0.2.64/26",), trusted=("192.0.2.65",))
        perimeter = self.agent.core.perimeter
        assert perimeter is not None
        core = self.agent.core
        for host, reason in (
            ("192.0.2.66", "access-denied"),
            ("192.0.2.65", None),
            ("192.0.2.9", None),
        ):
            self.assertEqual(core.refusal_of_host(host), reason)
        perimeter.bans.ban("192.0.2.10", "192.0.2.10", "failures", "TCP", 0.0)
        self.assertEqual(core.refusal_of_host("192.0.2.10"), "banned")
        self.serve()
        self.assertIsNone(self.box_without().refusal_of_host("192.0.2.66"))

    def box_without(self) -> SIPCore:
        """Return a core that has no defence."""
        return Agent(self.net.host("192.0.2.3", name="open")).core


class ScannerTests(DefenceTestCase):
    """Programs that look for servers."""

    def test_silence(self) -> None:
        """A scanner hears nothing, however it writes its name; others do."""
        for name in ("friendly-scanner", "SIPVicious 0.3", "sipcli/v1.8"):
            self.ask(User_Agent=name)
        self.ask(user_agent="pplsip")
        self.assertEqual(self.peer.received, [])
        self.assertEqual(self.refused, {"scanner": 4})
        self.ask(User_Agent="A telephone that is no friendly-scanner")
        self.assertEqual(len(self.peer.received), 1)

    def test_banned(self) -> None:
        """One that goes on is banned, and others are not."""
        for _ in range(10):
            self.ask(User_Agent="friendly-scanner")
        self.assertFalse(self.is_heard())
        self.assertEqual(self.refused, {"scanner": 7, "banned": 4})
        self.assertTrue(self.is_heard(self.other))
        self.net.run_for(61)
        self.assertTrue(self.is_heard())

    def test_other_names(self) -> None:
        """The list can be another one, or empty."""
        self.serve(scanner_agents=("mine",))
        self.ask(User_Agent="Mine/1.0")
        self.assertEqual(self.refused, {"scanner": 1})
        self.serve(scanner_agents=())
        self.ask(User_Agent="friendly-scanner")
        self.assertEqual(len(self.peer.received), 1)

    def test_within_a_call(self) -> None:
        """A call that stands is not cut for a name."""
        answer = self.call()
        self.peer.bye(answer, headers={"User-Agent": "friendly-scanner"})
        self.peer.expect(200)
        self.net.run_for(40)
        self.net.assert_quiet()


class BanTests(DefenceTestCase):
    """Who guesses is banned."""

    def test_unknown_users(self) -> None:
        """Thirty requests for nobody are borne, one more is not."""
        self.guess(31)
        self.assertEqual(self.peer.count(404), 31)
        self.assertFalse(self.is_heard())
        self.assertTrue(self.is_heard(self.other))
        self.assertEqual(self.refused["banned"], 1)

    def test_applications_count(self) -> None:
        """A refusal by an application counts like one of our own."""
        for _ in range(35):
            self.peer.send(self.peer.invite(f"sip:closed@{SERVER}"), (SERVER, 5060))
            self.net.run_for(0.1)
        self.assertFalse(self.is_heard())

    def test_copies_do_not_count(self) -> None:
        """A refusal that is sent again because nobody acknowledges it is one failure."""
        for _ in range(10):
            self.peer.send(self.peer.invite(f"sip:closed@{SERVER}"), (SERVER, 5060))
        self.net.run_for(10)
        self.assertGreater(self.peer.count(404), 40)
        self.assertTrue(self.is_heard())

    def test_slowly(self) -> None:
        """Half of one a second is borne for ever."""
        for _ in range(200):
            self.ask()
            self.net.run_for(2.0)
        self.assertTrue(self.is_heard())

    def test_wrong_credentials(self) -> None:
        """Who tries passwords is banned; a telephone that knows its own is not."""
        self.serve(gates=[Locked()])
        for _ in range(100):
            self.ask(ECHO)
            self.ask(ECHO, Authorization="good")
        self.assertTrue(self.is_heard())
        for _ in range(80):
            self.ask(ECHO, Authorization="wrong")
        self.assertFalse(self.is_heard())

    def test_flood_without_credentials(self) -> None:
        """Challenges that nobody answers add up."""
        self.serve(gates=[Locked()], unproven_bytes=-1)
        for _ in range(500):
            self.peer.send(self.peer.invite(ECHO), (SERVER, 5060))
            self.net.run_for(0.01)
        self.assertEqual(sum(self.refused.values()), 500)
        self.assertGreater(self.refused["gate-refused"], 300)
        self.assertGreater(self.refused["banned"], 100)
        self.assertFalse(self.is_heard())

    def test_good_calls_make_up(self) -> None:
        """A trunk whose callers often dial wrong is not banned while others dial right."""
        for _ in range(100):
            self.ask()
            self.hang_up(self.call())
        self.assertTrue(self.is_heard())

    def test_no_bans(self) -> None:
        """Nobody is banned when that is not wanted, nor whoever is trusted."""
        for settings in ({"failures_per_minute": 0.0}, {"trusted": ("192.0.2.0/24",)}):
            self.serve(**settings)
            self.guess(100)
            self.assertTrue(self.is_heard())

    def test_proven_is_suspect_first(self) -> None:
        """Somebody else could have failed in the name of a peer that was heard of before."""
        self.hang_up(self.call())
        self.guess(33)
        self.assertTrue(self.is_heard())
        self.guess(33)
        self.assertFalse(self.is_heard())
        self.net.run_for(SUSPICION + 100)
        self.guess(33)
        self.assertTrue(self.is_heard())

    def test_calls_go_on(self) -> None:
        """A ban does not cut the calls of who is banned, in whose name others may have sent."""
        answer = self.call()
        self.guess(70)
        self.assertFalse(self.is_heard())
        banned = self.refused["banned"]
        self.ask(NOBODY, X_Proof=answer.to_tag)
        self.assertEqual(self.refused["banned"], banned + 1)
        self.hang_up(answer)

    def test_wrong_numbers_of_a_trunk(self) -> None:
        """What an endpoint that is known by its network or its proof dials wrong is no guess."""
        trunk = Endpoint("trunk", networks=("192.0.2.66",))
        self.serve(gates=[IdentifyGate([trunk], anonymous="allow")])
        self.guess(100)
        self.assertTrue(self.is_heard())
        self.peer = self.other
        self.guess(31)
        self.assertFalse(self.is_heard())

    def test_old_nonces(self) -> None:
        """Phones behind one NAT that all come back with an old nonce have the right password."""
        store = MemoryStore()
        store.add("bob", "pbx", "zanzibar")
        phones = Endpoint("phones", digest_users=frozenset({"bob"}))
        self.serve(
            gates=[DigestGate(Portal(EndpointRealm([phones]), [HA1Checker([store])]), "pbx")]
        )
        challenge = Challenge.parse('Digest realm="pbx", nonce="old", qop="auth"')
        for password, is_borne in (("zanzibar", True), ("guess", False)):
            for _ in range(100):
                answer = answer_challenge(
                    challenge,
                    username="bob",
                    password=password,
                    method="OPTIONS",
                    uri=ECHO,
                    body=b"",
                    cnonce="c",
                    count=1,
                )
                self.ask(ECHO, Authorization=str(answer))
            self.assertIs(self.is_heard(), is_borne)

    def test_answers_to_us(self) -> None:
        """Who is banned may answer what we ask, such as a registrar: we have turned to it."""
        registrations = Registrations(
            self.agent.core, lambda uri: succeed(self.agent.flow_to("sip:192.0.2.66"))
        )
        line = registrations.add(Account("sip:alice@192.0.2.66", expires=60))
        registrations.start()
        self.peer.reply(self.peer.expect("REGISTER"), 200)
        self.guess(70)
        self.assertFalse(self.is_heard())
        self.peer.reply(self.peer.expect("REGISTER", within=52), 200)
        self.net.run_for(0.1)
        self.assertEqual((line.state, line.failures), ("REGISTERED", 0))

    def test_lifted(self) -> None:
        """A ban that is lifted is as if it had never been."""
        self.guess(31)
        self.assertFalse(self.is_heard())
        perimeter = self.agent.core.perimeter
        assert perimeter is not None
        self.assertTrue(perimeter.lift("192.0.2.66"))
        self.assertFalse(perimeter.lift("192.0.2.66"))
        self.guess(29)
        self.assertTrue(self.is_heard())

    def test_network_of_ipv6(self) -> None:
        """A ban is for the whole /64."""
        self.peer = ScriptedPeer(self.net.host("2001:db8:0:1::1", name="six"))
        other = ScriptedPeer(self.net.host("2001:db8:0:1:ffff::1", name="neighbour"))
        self.agent = Agent(
            self.net.host("192.0.2.2", "2001:db8::2", name="second"),
            listen=r"udp:5060:interface=\:\:",
            application="answer",
            applications=[AnsweringApplication()],
            defence=DefenceSettings(),
        )
        for _ in range(7):
            request = self.peer.request("OPTIONS", "sip:[2001:db8::2]")
            request.headers.set("User-Agent", "friendly-scanner")
            self.peer.send(request, ("2001:db8::2", 5060))
        other.send(other.request("OPTIONS", "sip:[2001:db8::2]"), ("2001:db8::2", 5060))
        self.net.run_for(1)
        self.assertEqual(self.refused, {"scanner": 7, "banned": 1})


class RateTests(DefenceTestCase):
    """How much a source may ask for."""

    def test_calls(self) -> None:
        """More new calls than a rate are dropped; other requests are not."""
        self.serve(calls_per_second=1.0, burst_seconds=3.0)
        for _ in range(5):
            self.ask(f"sip:closed@{SERVER}", "INVITE")
        self.assertEqual(self.refused["rate-calls"], 2)
        self.assertTrue(self.is_heard())
        self.net.run_for(1.5)
        self.ask(f"sip:closed@{SERVER}", "INVITE")
        self.assertEqual(self.refused["rate-calls"], 2)

    def test_registers(self) -> None:
        """Likewise REGISTERs."""
        self.serve(registers_per_second=0.1)
        for _ in range(3):
            self.ask(f"sip:{SERVER}", "REGISTER")
        self.assertEqual(self.refused["rate-registers"], 2)

    def test_requests(self) -> None:
        """All requests outside dialogs together; those within are not counted."""
        self.serve(requests_per_second=1.0, burst_seconds=2.0)
        answer = self.call()
        self.assertTrue(self.is_heard())
        self.assertFalse(self.is_heard())
        self.assertEqual(self.refused["rate-requests"], 1)
        self.peer.send(self.peer.request_within(answer, "INVITE", body=self.peer.sdp(40010)))
        self.peer.ack(self.peer.expect(200))
        self.hang_up(answer)

    def test_copies(self) -> None:
        """The copy of a request that was taken is answered, whatever the rate."""
        self.serve(requests_per_second=1.0, burst_seconds=1.0)
        request = self.peer.request("OPTIONS", f"sip:{SERVER}")
        for _ in range(3):
            self.peer.send(request, (SERVER, 5060))
        self.net.run_for(0.1)
        self.assertEqual(self.peer.count(200), 3)
        self.assertNotIn("rate-requests", self.refused)

    def test_each_for_itself(self) -> None:
        """One who asks too much takes nothing from others."""
        self.serve(requests_per_second=1.0, burst_seconds=1.0)
        self.guess(10)
        self.assertTrue(self.is_heard(self.other))


class FlowTests(SynchronousTestCase):
    """What differs on a connection, whose address is real."""

    def test_stream(self) -> None:
        """No proof is asked for, nothing is held back, and a ban leaves the calls alone."""
        refused: list[str] = []
        perimeter = Perimeter(
            DefenceSettings(failures_per_minute=1.0),
            b"secret",
            lambda reason, flow: refused.append(reason),
            lambda data, flow: False,
            lambda: 0.0,
        )
        flow = Flow("TCP", (SERVER, 5060), ("192.0.2.66", 4000), is_reliable=True, serial=1)
        perimeter.expect(flow, 0.0)
        self.assertFalse(perimeter.holds(b"x" * 100_000, flow, 0.0))
        scan = b"OPTIONS sip:a@b SIP/2.0\r\nUser-Agent: friendly-scanner\r\n\r\n"
        self.assertTrue(perimeter.takes(scan, flow, 0.0))
        self.assertTrue(perimeter.takes(b"BYE sip:a@b SIP/2.0\r\nTo: <a>;tag=x\r\n\r\n", flow, 1.0))
        proof = perimeter.proof_for(flow).encode()
        own = b"BYE sip:a@b SIP/2.0\r\nTo: <a>;tag=x%s\r\n\r\n" % proof
        self.assertFalse(perimeter.takes(own, flow, 1.0))
        self.assertEqual(refused, ["scanner", "banned"])
        (ban,) = perimeter.bans.active(1.0)
        self.assertEqual((ban.address, ban.until), ("192.0.2.66", 60.0))
