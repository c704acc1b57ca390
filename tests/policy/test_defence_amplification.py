# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
How much can be made to be sent to somebody in whose name a request comes, and what proves that he
is who he says.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.core import Admission
from sipsess.defence import DefenceSettings, Perimeter
from sipsess.defence.perimeter import PROOF_LIFE
from sipsess.flow import Address, Flow
from sipsess.message import Via
from sipsess.supplement import Reject, Verdict
from sipsess.testing import Agent, ScriptedPeer, VirtualNetwork
from tests.policy.agents import Gate
from tests.policy.test_defence import Closed, DefenceTestCase
from tests.sim.stories import Answering, Early

SERVER = "192.0.2.1"
VICTIM = "192.0.2.66"
SETTINGS = DefenceSettings()

#: The shortest request that is answered.
SHORT = (
    b"OPTIONS sip:192.0.2.1 SIP/2.0\r\nv:SIP/2.0/UDP a;branch=z9hG4bK%d\r\nf:<sip:a>;tag=1\r\n"
    b"t:<sip:b>\r\ni:%d\r\nCSeq:1 OPTIONS\r\nMax-Forwards:9\r\n\r\n"
)


def challenges(admission: Admission) -> Verdict:
    """Refuse with several challenges, as :rfc:`8760` wants them."""
    nonce = "0123456789abcdef" * 4
    one = f'Digest realm="example.com", nonce="{nonce}", qop="auth", algorithm='
    raise Reject(401, headers={"WWW-Authenticate": ", ".join([one + "MD5", one + "SHA-256"])})


class ReflectionTests(DefenceTestCase):
    """What arrives at a victim who sends nothing, when an attacker sends in his name."""

    def setUp(self) -> None:
        """Build the server, the victim, and count bytes."""
        self.begin()

    def begin(self, gate: Gate | None = None, defence: DefenceSettings | None = SETTINGS) -> None:
        """Build them anew."""
        self.net = VirtualNetwork()
        self.agent = Agent(
            self.net.host(SERVER, name="server"),
            applications=[Answering(), Early(), Closed()],
            gates=None if gate is None else [gate],
            defence=defence,
        )
        self.peer = ScriptedPeer(self.net.host(VICTIM, name="victim"))
        self.sent = 0
        #: Bytes that reached each host.
        self.got: dict[str, int] = {}
        self.net.filters.append(self.count)

    def count(self, source: Address, target: Address, data: bytes) -> bool:
        """Count what the server sends."""
        if source[0] == SERVER:
            self.got[target[0]] = self.got.get(target[0], 0) + len(data)
        return False

    def attack(self, data: bytes) -> None:
        """Let the server receive a datagram in the victim's name."""
        self.sent += len(data)
        port = self.agent.host.find_port((SERVER, 5060), (VICTIM, 5060))
        assert port is not None
        port.deliver(data, (VICTIM, 5060))

    def reflected(self, make: Callable[[int], bytes], count: int = 1, pause: float = 0.0) -> float:
        """Attack so often, let all timers end, and return how many bytes came for each sent."""
        for number in range(count):
            self.attack(make(number))
            self.net.run_for(pause)
        self.net.run_for(150)
        allowance = (
            SETTINGS.unproven_bytes + SETTINGS.unproven_bytes_per_second * self.net.seconds()
        )
        got = sum(self.got.values())
        self.assertLessEqual(got, self.sent + allowance)
        return got / self.sent

    def invite(self, user: str) -> Callable[[int], bytes]:
        """Return what makes INVITEs, each of another call."""

        def make(number: int) -> bytes:
            invite = self.peer.invite(f"sip:{user}@{SERVER}", call_id=str(number))
            invite.headers.set("Contact", f"<sip:{VICTIM}>")
            invite.headers.set("Supported", "100rel")
            return invite.to_bytes()

        return make

    def request(self, method: str) -> Callable[[int], bytes]:
        """Return what makes other requests."""
        return lambda number: self.peer.request(
            method, f"sip:{SERVER}", call_id=str(number)
        ).to_bytes()

    def test_one_request(self) -> None:
        """What the copies of an answer to a single request are, until it is given up."""
        for name, make, gate, least, most in (
            ("OPTIONS", self.request("OPTIONS"), None, 1.0, 2.0),
            ("short OPTIONS", lambda number: SHORT % (number, number), None, 1.0, 3.5),
            ("unknown method", self.request("NF"), None, 1.0, 1.7),
            ("challenge", self.request("REGISTER"), Gate(challenges), 1.5, 2.5),
            ("refused call", self.invite("closed"), None, 4.0, 7.0),
            ("answered call", self.invite("answering"), None, 15.0, 25.0),
            ("early media", self.invite("early"), None, 4.0, 20.0),
        ):
            self.begin(gate)
            ratio = self.reflected(make)
            self.assertTrue(least <= ratio <= most, f"{name}: {ratio:.2f}")

    def test_flood(self) -> None:
        """A victim of a flood gets no more than was sent in his name, and the allowance."""
        for make in (
            self.request("OPTIONS"),
            lambda number: SHORT % (number, number),
            self.invite("answering"),
            self.invite("closed"),
            self.invite("early"),
        ):
            self.begin(defence=DefenceSettings(failures_per_minute=0.0))
            self.assertLess(self.reflected(make, 500, 0.01), 1.6)
            self.assertIn("unproven-held", self.refused)

    def test_without_defence(self) -> None:
        """It is the defence that does it."""
        self.begin(defence=None)
        self.assertRaises(
            self.failureException, self.reflected, self.invite("answering"), 500, 0.01
        )

    def test_contact_of_a_victim(self) -> None:
        """The BYEs of calls that nobody acknowledged go to their Contact, whoever that is."""
        self.begin(defence=DefenceSettings(failures_per_minute=0.0))
        self.peer = ScriptedPeer(self.net.host("192.0.2.77", name="target"))

        def make(number: int) -> bytes:
            invite = self.peer.invite(f"sip:answering@{SERVER}", call_id=str(number))
            # Another host in Via would look like a NAT, and the BYE would go to the source.
            invite.set_top_via(Via("UDP", VICTIM, 5060, invite.via.params))
            invite.headers.set("Contact", "<sip:192.0.2.77>")
            return invite.to_bytes()

        self.reflected(make, 300, 0.01)
        allowance = SETTINGS.unproven_bytes + SETTINGS.unproven_bytes_per_second * 153
        self.assertLess(self.got["192.0.2.77"], allowance)
        self.assertGreater(self.got["192.0.2.77"], SETTINGS.unproven_bytes)

    def test_contact_that_is_no_address(self) -> None:
        """A BYE that can go nowhere else goes where the call came from, and counts."""
        invite = self.peer.invite(f"sip:answering@{SERVER}")
        invite.headers.set("Contact", "<sip:x@18446744073709551616.0.2.3>")
        self.reflected(lambda number: invite.to_bytes())
        self.assertEqual(list(self.got), [VICTIM])
        self.assertEqual(self.agent.core.counters.send_errors, 0)
        self.net.assert_quiet()


class BoundTests(SynchronousTestCase):
    """The bound itself."""

    @settings(deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.just("receive"), st.integers(1, 65535)),
                st.tuples(st.just("send"), st.integers(1, 65535)),
                st.tuples(st.just("wait"), st.integers(0, 100)),
            )
        ),
        st.integers(0, 40000),
        st.integers(0, 5000),
    )
    def test_whatever_is_sent(
        self, steps: list[tuple[str, int]], allowance: int, rate: int
    ) -> None:
        """In no order of messages does a stranger get more than the bound says."""
        chosen = DefenceSettings(unproven_bytes=allowance, unproven_bytes_per_second=rate)
        perimeter = Perimeter(
            chosen, b"secret", lambda reason, flow: None, lambda data, flow: False, lambda: 0.0
        )
        flow = Flow("UDP", (SERVER, 5060), (VICTIM, 5060))
        now, came, left = 0.0, 0, 0
        for what, number in steps:
            if what == "wait":
                now += number
            elif what == "receive":
                came += number
                perimeter.takes(b"x" * number, flow, now)
            elif not perimeter.holds(b"x" * number, flow, now):
                left += number
            self.assertLessEqual(left, came + allowance + rate * now)


class ProofTests(DefenceTestCase):
    """How an address is proven, and for how long."""

    def is_proven(self, host: str = VICTIM) -> bool:
        """Whether the server sends as much as it likes there."""
        perimeter = self.agent.core.perimeter
        assert perimeter is not None
        flow = self.agent.flow_to(f"sip:{host}")
        return not perimeter.holds(b"x" * 1_000_000, flow, self.net.seconds())

    def test_acknowledged_answer(self) -> None:
        """The ACK of a 2xx has a tag that was only sent to that address."""
        self.peer.send(self.peer.invite(f"sip:answer@{SERVER}"))
        answer = self.peer.expect(200)
        self.assertFalse(self.is_proven())
        self.peer.ack(answer)
        self.net.run_for(0.1)
        self.assertTrue(self.is_proven())
        self.hang_up(answer)

    def test_acknowledged_refusal(self) -> None:
        """The ACK of a refusal, too, also of one that was given without a transaction."""
        self.peer.send(self.peer.invite(f"sip:nobody@{SERVER}"))
        self.peer.ack(self.peer.expect(404))
        self.net.run_for(0.1)
        self.assertTrue(self.is_proven())
        self.serve()
        bad = self.peer.invite(f"sip:answer@{SERVER}")
        bad.headers.set("Max-Forwards", "bad")
        self.peer.send(bad)
        self.peer.ack(self.peer.expect(400))
        self.net.run_for(0.1)
        self.assertTrue(self.is_proven())

    def test_tag_of_another(self) -> None:
        """A tag that was sent to one address proves no other."""
        self.peer.send(self.peer.invite(f"sip:answer@{SERVER}"))
        answer = self.peer.expect(200)
        ack = self.other.request_within(answer, "ACK")
        self.other.send(ack, (SERVER, 5060))
        self.net.run_for(0.1)
        self.assertFalse(self.is_proven("192.0.2.9"))
        self.hang_up(answer)

    def test_whom_we_call(self) -> None:
        """Whom we call on our own account we send what we like, and his answers keep it so."""
        self.agent.dial("sip:x@192.0.2.66")
        self.assertTrue(self.is_proven())
        invite = self.peer.expect("INVITE")
        self.net.run_for(10.0)
        self.peer.reply(invite, 486)
        self.peer.expect("ACK")
        self.net.run_for(PROOF_LIFE)
        self.assertFalse(self.is_proven())

    def test_it_ends(self) -> None:
        """A proof is good for an hour, and each message of a call renews it."""
        answer = self.call()
        self.net.run_for(PROOF_LIFE * 0.9)
        self.peer.send(self.peer.request_within(answer, "OPTIONS"))
        self.net.run_for(PROOF_LIFE * 0.9)
        self.assertTrue(self.is_proven())
        self.hang_up(answer)
        self.net.run_for(PROOF_LIFE + 1)
        self.assertFalse(self.is_proven())

    def test_held(self) -> None:
        """What is held back is counted; the peer sends again, and is heard."""
        self.serve(unproven_bytes=100, unproven_bytes_per_second=0.0)
        request = self.peer.request("OPTIONS", f"sip:{SERVER}")
        self.peer.send(request, (SERVER, 5060))
        self.net.run_for(0.1)
        self.assertEqual(self.refused, {"unproven-held": 1})
        self.assertEqual(self.peer.received, [])
        self.peer.send(request, (SERVER, 5060))
        self.peer.expect(200)

    def test_no_limit(self) -> None:
        """It can be switched off."""
        self.serve(unproven_bytes=-1)
        self.assertTrue(self.is_proven())

    def test_trusted(self) -> None:
        """Whoever is trusted need prove nothing, and sees nothing of it."""
        self.serve(trusted=("192.0.2.66",))
        self.assertTrue(self.is_proven())
        answer = self.call()
        self.assertEqual(len(answer.to_tag), 12)
        self.hang_up(answer)
