# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Datagrams nobody expects, into a whole agent: every message of RFC 4475, then arbitrary ones.

Nothing may raise or be logged, every request that can be answered gets the answer of the RFC, and
afterwards the agent works as ever and nothing is left.
"""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.policy.agents import US, BoxTestCase

_TORTURE = Path(__file__).parent.parent / "torture"

#: What the agent answers to each message of RFC 4475, which is a UAS that knows INVITE, OPTIONS and
#: the others of its Allow; 0 for silence.
ANSWERS = {
    # 3.1.1 valid; a To tag of nobody's dialog is 481.
    **{"wsinv": 481, "intmeth": 501, "esc01": 200, "escnull": 405, "esc02": 501, "lwsdisp": 200},
    **{"longreq": 200, "dblreq": 405, "semiuri": 200, "transports": 200, "mpart01": 405},
    **{"unreason": 0, "noreason": 0},
    # 3.1.2 invalid.
    **{"badinv01": 400, "clerr": 400, "ncl": 400, "scalar02": 400, "scalarlg": 0, "quotbal": 400},
    **{"ltgtruri": 400, "lwsruri": 400, "lwsstart": 400, "trws": 400, "escruri": 400},
    **{"baddate": 200, "regbadct": 405, "badaspec": 400, "baddn": 400, "badvers": 505},
    **{"mismatch01": 400, "mismatch02": 400, "bigcode": 0},
    # 3.2 and 3.3; REGISTER is nobody's here, zero Max-Forwards are a proxy's affair.
    **{"badbranch": 200, "insuf": 400, "unkscm": 416, "novelsc": 416, "unksm2": 405, "bext01": 420},
    **{"invut": 415, "regaut01": 405, "multi01": 400, "mcl01": 400, "bcast": 0, "zeromf": 200},
    **{"cparam01": 405, "cparam02": 405, "regescrt": 405, "sdp01": 406, "inv2543": 200},
}


class TortureTests(BoxTestCase):
    """RFC 4475 and RFC 5118, message by message."""

    def feed(self, data: bytes) -> set[int]:
        """Send one datagram; return the final statuses that left, wherever they went."""
        seen = len(self.net.trace)
        self.peer.datagramReceived = _deaf  # type: ignore[method-assign]
        self.peer.send(data, (US, 5060))
        self.net.run_for(1)
        del self.peer.datagramReceived
        self.assertEqual(self.flushLoggedErrors(), [])
        return {
            int(event.data[8:11])
            for event in self.net.trace[seen:]
            if event.source[0] == US and event.data.startswith(b"SIP/2.0 ")
        } - {100}

    def test_every_message_of_rfc_4475(self) -> None:
        """Each gets its answer, or is dropped and counted; none harms what comes after it."""
        names = {path.stem for path in (_TORTURE / "rfc4475").glob("*.dat")}
        self.assertEqual(names, set(ANSWERS))
        for name, status in ANSWERS.items():
            self.start()
            statuses = self.feed((_TORTURE / "rfc4475" / f"{name}.dat").read_bytes())
            self.assertEqual(statuses, {status} - {0}, name)
            if not status or status >= 400:
                self.assertEqual(sum(self.box.refused.values()), 1, (name, self.box.refused))
            self.end()

    def test_every_message_of_rfc_5118(self) -> None:
        """The IPv6 ones: the same without a table."""
        for path in sorted((_TORTURE / "rfc5118").glob("*.dat")):
            self.start()
            self.feed(path.read_bytes())
            self.end()

    def end(self) -> None:
        """Hang up what was answered, and see that all is well."""
        for session in tuple(self.box.manager.sessions):
            session.terminate()
        self.net.run_for(70)
        self.finish()


#: Pieces that mutated messages are made of.
_SEEDS = [
    path.read_bytes()
    for folder in ("rfc4475", "rfc5118")
    for path in sorted((_TORTURE / folder).glob("*.dat"))
]
_PIECES = [
    *(
        b"\r\n",
        b"\r\n\r\n",
        b"\0",
        b'"',
        b"<",
        b">",
        b";",
        b",",
        b"@",
        b":",
        b"%",
        b"\xff",
        b"tag=",
    ),
    *(b"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx;rport\r\n", b"To: <sip:a>;tag=x\r\n", b"v: "),
    *(b"Contact: <sip:x@192.0.2.9>\r\n", b"Route: <sip:y>\r\n", b"Record-Route: <\r\n"),
    *(
        b"Content-Length: 0\r\n",
        b"CSeq: 1 INVITE\r\n",
        b"CSeq: 99999999999 BYE\r\n",
        b"Require: x\r\n",
    ),
    *(b"SIP/2.0 200 OK\r\n", b"SIP/2.0", b"INVITE", b"ACK", b"CANCEL", b"BYE", b"PRACK", b"tel:1"),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a torture message with pieces cut out, doubled, swapped in and flipped."""
    data = bytearray(draw(st.sampled_from(_SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 40))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            del data[place : place + length]
        elif kind == 1:
            data[place:place] = draw(st.sampled_from(_PIECES))
        elif kind == 2:
            data[place:place] = data[place : place + length]
        else:
            data[place : place + 1] = bytes([draw(st.integers(0, 255))])
    return bytes(data)


class FuzzTests(BoxTestCase):
    """Arbitrary bytes."""

    def play(self, datagrams: list[bytes]) -> None:
        """Send them; nothing raises, nothing is logged, all drains, and the agent still works."""
        self.start()
        for data in datagrams:
            self.box.core.receive_datagram(
                data, self.box.flow_to(("192.0.2.77", 5060)), self.net.seconds()
            )
            self.net.run_for(0.1)
        self.assertEqual([str(failure) for failure in self.flushLoggedErrors()], [])
        self.assertNotIn("internal-error", self.box.refused)
        # A call that somebody made among them was answered and never acknowledged: BYE, 64*T1.
        self.net.run_for(70)
        self.finish()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.binary(max_size=300), max_size=5))
    def test_arbitrary(self, datagrams: list[bytes]) -> None:
        """Any bytes."""
        self.play(datagrams)

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(mutated(), min_size=1, max_size=5))
    def test_mutated(self, datagrams: list[bytes]) -> None:
        """Messages that are nearly right."""
        self.play(datagrams)

    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(), st.integers(1, 30))
    def test_mutated_within_a_call(self, seed: int, count: int) -> None:
        """Nearly right requests and responses of a real call, between its real messages."""
        chance = random.Random(seed)
        self.start()
        success = self.call()
        wires = [event.data for event in self.net.trace]
        for _ in range(count):
            data = bytearray(chance.choice(wires))
            for _ in range(chance.randint(0, 3)):
                place = chance.randrange(len(data))
                piece = chance.choice(_PIECES) if chance.random() < 0.5 else b""
                data[place : place + chance.randint(0, 10)] = piece
            self.box.core.receive_datagram(
                bytes(data), self.box.flow_to(self.peer.address), self.net.seconds()
            )
        self.peer.datagramReceived = _deaf  # type: ignore[method-assign]
        self.net.run_for(0.1)
        self.assertEqual([str(failure) for failure in self.flushLoggedErrors()], [])
        del self.peer.datagramReceived
        self.peer.received.clear()
        self.peer._unread.clear()
        self.peer.send(self.peer.request_within(success, "BYE", cseq=2**31 - 1))
        for session in tuple(self.box.manager.sessions):
            session.terminate()
        self.net.run_for(70)
        self.finish()


def _deaf(datagram: bytes, addr: tuple[str, int]) -> None:
    """Receive nothing: what answers a broken request may be broken, too."""


class ErrorTests(BoxTestCase):
    """What is never answered."""

    def test_broken_ack_and_response(self) -> None:
        """No answer to an ACK or a response, however broken; each is counted by its code."""
        self.start()
        via = "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa;rport\r\n"
        for data, code in (
            (f"ACK sip:a SIP/2.0\r\n{via}\r\n", "missing-header"),
            (f"SIP/2.0 200 OK\r\n{via}\r\n", "missing-header"),
            (f"SIP/2.0 2000 OK\r\n{via}\r\n", "bad-start-line"),
            (f"ACK sip:a SIP/3.0\r\n{via}\r\n", "bad-version"),
            ("OPTIONS sip:a SIP/2.0\r\n\r\n", "missing-header"),
            ("nonsense", "bad-start-line"),
        ):
            self.box.core.counters.refused.clear()
            self.peer.send(data.encode(), (US, 5060))
            self.peer.expect_silence(1)
            self.assertEqual(list(self.box.refused.values()), [1], data)
            self.assertIn(code, self.box.refused)
        self.finish()

    def test_via_that_cannot_be_read(self) -> None:
        """RFC 4475 section 3.1.2.1: the 400 goes to the source, as the Via says nothing."""
        self.start()
        self.peer.datagramReceived = _deaf  # type: ignore[method-assign]
        self.peer.send((_TORTURE / "rfc4475" / "badinv01.dat").read_bytes(), (US, 5060))
        self.net.run_for(1)
        event = self.net.trace[-1]
        self.assertEqual((event.source[0], event.target), (US, self.peer.address))
        self.assertTrue(event.data.startswith(b"SIP/2.0 400 "))
        del self.peer.datagramReceived
        self.finish()
