# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The lite side of ICE (RFC 8445), and what it reads in descriptions (RFC 8839)."""

from __future__ import annotations

import random

from aioice import stun
from twisted.trial.unittest import SynchronousTestCase

from sipsess.flow import Address
from sipsess.ice import Credentials, ICEError, LiteAgent, candidate, read_peer
from sipsess.ice.lite import MAX_ADDRESSES
from sipsess.ice.stun import MAX_CHECK
from sipsess.ids import IdSource
from sipsess.sdp import MediaDescription, parse

OURS = Credentials("ours", "our+password+of+22+characters")
THEIRS = Credentials("them", "their+password+of+22+chars")
PEER = ("192.0.2.9", 50000)


def check(
    *names: str,
    username: str = "ours:them",
    password: str = OURS.password,
    kind: stun.Class = stun.Class.REQUEST,
    has_fingerprint: bool = True,
) -> bytes:
    """Return a check with these attributes besides those that each has."""
    message = stun.Message(stun.Method.BINDING, kind, bytes(12), {"USERNAME": username})
    for name in names:
        message.attributes[name] = None if name == "USE-CANDIDATE" else 5
    message.add_message_integrity(password.encode())
    if not has_fingerprint:
        del message.attributes["FINGERPRINT"]
    return bytes(message)


def media(*lines: str, session: tuple[str, ...] = ()) -> MediaDescription:
    """Return a stream with these attributes."""
    rows = ["v=0", "o=x 1 1 IN IP4 192.0.2.9", "s=-", "t=0 0", *session, "m=audio 9 X 0", *lines]
    return parse("\r\n".join([*rows, ""]).encode()).media[0]


class CredentialsTests(SynchronousTestCase):
    """What stands in a description (RFC 8839 section 5)."""

    def reason(self, description: MediaDescription) -> str:
        """Return why a description is refused."""
        return str(self.assertRaises(ICEError, read_peer, description).reason_code)

    def test_made(self) -> None:
        """Ours are long enough, differ each time, can be read, and the password is not printed."""
        ids = IdSource(random.Random(1))
        made = Credentials.make(ids)
        lines = (f"a=ice-ufrag:{made.ufrag}", f"a=ice-pwd:{made.password}")
        self.assertEqual(read_peer(media(*lines)), made)
        self.assertNotEqual(Credentials.make(ids), made)
        self.assertNotIn(made.password, repr(made))

    def test_of_the_session(self) -> None:
        """They may stand in the session, and those of the stream come first."""
        lines = (f"a=ice-ufrag:{OURS.ufrag}", f"a=ice-pwd:{OURS.password}")
        own = (f"a=ice-ufrag:{THEIRS.ufrag}", f"a=ice-pwd:{THEIRS.password}")
        self.assertEqual(read_peer(media(session=lines)), OURS)
        self.assertEqual(read_peer(media(*own, session=lines)), THEIRS)

    def test_missing(self) -> None:
        """Neither may be missing."""
        for line in ("a=sendrecv", f"a=ice-ufrag:{OURS.ufrag}", f"a=ice-pwd:{OURS.password}"):
            self.assertEqual(self.reason(media(line)), "ice-missing")

    def test_malformed(self) -> None:
        """Length and characters are those of RFC 8839 section 5.4."""
        good = OURS.password
        for ufrag, password in (
            ("abc", good),
            ("a" * 257, good),
            ("ab:d", good),
            ("abcd", "x" * 21),
            ("abcd", "x" * 257),
            ("abcd", "x" * 22 + "é"),
        ):
            lines = (f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{password}")
            self.assertEqual(self.reason(media(*lines)), "ice-malformed")

    def test_two_lite_sides(self) -> None:
        """A peer that makes no checks either is no partner."""
        lines = (f"a=ice-ufrag:{OURS.ufrag}", f"a=ice-pwd:{OURS.password}")
        self.assertEqual(self.reason(media(*lines, session=("a=ice-lite",))), "ice-both-lite")

    def test_candidate(self) -> None:
        """There is one candidate: the address that is there, for RTP and RTCP."""
        self.assertEqual(
            candidate("192.0.2.1", 10000), "1 1 UDP 2130706431 192.0.2.1 10000 typ host"
        )


class AgentTests(SynchronousTestCase):
    """Checks and their answers (RFC 8445 section 7.3)."""

    def setUp(self) -> None:
        """Make an agent that has agreed with its peer."""
        self.agent = LiteAgent()
        self.agent.agree(OURS, THEIRS)

    def answer(self, data: bytes, source: Address = PEER) -> stun.Message:
        """Send a check; return its answer."""
        answer = self.agent.receive(data, source)
        assert answer is not None
        return stun.parse_message(answer)

    def assert_refused(self, *datagrams: bytes) -> None:
        """Check that datagrams get no answer, are counted, and prove nothing."""
        before = self.agent.refused
        for data in datagrams:
            self.assertIsNone(self.agent.receive(data, PEER), data)
        self.assertEqual(self.agent.refused, before + len(datagrams))
        self.assertFalse(self.agent.knows(PEER))

    def test_good(self) -> None:
        """A good check gets the address it came from, signed, and makes it known."""
        answer = self.answer(check("PRIORITY", "ICE-CONTROLLING"))
        self.assertEqual(answer.message_class, stun.Class.RESPONSE)
        self.assertEqual(answer.attributes["XOR-MAPPED-ADDRESS"], PEER)
        self.assertTrue(answer.check_message_integrity(OURS.password.encode()))
        self.assertIn("FINGERPRINT", answer.attributes)
        self.assertTrue(self.agent.knows(PEER))
        self.assertIsNone(self.agent.selected)

    def test_of_ipv6(self) -> None:
        """An address of IPv6 is told as well."""
        peer = ("2001:db8::9", 50000)
        answer = self.answer(check(), peer)
        self.assertEqual(answer.attributes["XOR-MAPPED-ADDRESS"], peer)

    def test_nominated(self) -> None:
        """What the peer has chosen is selected, and what it chooses later as well."""
        for port in (1, 2):
            self.answer(check("USE-CANDIDATE"), ("192.0.2.9", port))
            self.assertEqual(self.agent.selected, ("192.0.2.9", port))

    def test_role_conflict(self) -> None:
        """A peer that thinks that we choose is told that it does (487)."""
        answer = self.answer(check("ICE-CONTROLLED", "USE-CANDIDATE"))
        self.assertEqual(answer.error_code, 487)
        self.assertTrue(answer.check_message_integrity(OURS.password.encode()))
        self.assertFalse(self.agent.knows(PEER))

    def test_not_signed_by_the_peer(self) -> None:
        """Whoever has not read our description gets nothing at all."""
        unsigned = stun.Message(
            stun.Method.BINDING, stun.Class.REQUEST, bytes(12), {"USERNAME": "ours:them"}
        )
        unsigned.add_fingerprint()
        self.assert_refused(
            check(password=THEIRS.password),
            check(username="ours:other"),
            check(username="othe:them"),
            check(has_fingerprint=False),
            bytes(unsigned),
        )

    def test_no_checks(self) -> None:
        """Responses, indications, and what only looks like STUN get nothing."""
        good = check()
        self.assert_refused(
            *(check(kind=kind) for kind in stun.Class if kind is not stun.Class.REQUEST),
            b"",
            good[:19],
            good + b"\0\0\0\0",
            good[:4] + bytes(4) + good[8:],
            good[:-1] + b"\xff" if good[-1] != 0xFF else good[:-1] + b"\0",
            check(username="ours:" + "x" * MAX_CHECK),
        )

    def test_before_anything_is_agreed(self) -> None:
        """Without credentials there is no answer."""
        self.agent = LiteAgent()
        self.assert_refused(check())

    def test_restart(self) -> None:
        """New credentials count from then on; what was selected goes on until it is replaced."""
        self.answer(check("USE-CANDIDATE"))
        again = Credentials("anew", "x" * 22)
        self.agent.agree(again, THEIRS)
        self.assertIsNone(self.agent.receive(check("USE-CANDIDATE"), ("192.0.2.9", 2)))
        self.assertEqual(self.agent.selected, PEER)
        self.assertTrue(self.agent.knows(PEER))
        data = check("USE-CANDIDATE", username="anew:them", password=again.password)
        self.answer(data, ("192.0.2.9", 3))
        self.assertEqual(self.agent.selected, ("192.0.2.9", 3))

    def test_addresses_are_bounded(self) -> None:
        """Of many addresses the one that was silent for longest is forgotten, and never the way."""
        self.answer(check("USE-CANDIDATE"))
        others = [("192.0.2.9", number) for number in range(1, MAX_ADDRESSES + 1)]
        for source in others:
            self.answer(check(), source)
        self.answer(check(), others[1])
        self.answer(check(), ("192.0.2.9", 99))
        known = [source for source in (PEER, *others) if self.agent.knows(source)]
        self.assertEqual(known, [PEER, others[1], *others[3:]])

    def test_any_bytes(self) -> None:
        """Whatever comes, nothing is raised, and what is not as it was signed proves nothing."""
        source = random.Random(8445)
        good = check("PRIORITY", "USE-CANDIDATE")
        signed = range(20, len(good) - 8)
        for _ in range(3000):
            data = bytearray(good)
            for _ in range(source.randrange(1, 4)):
                data[source.randrange(20, len(data))] = source.randrange(256)
            if data[signed.start : signed.stop] != good[signed.start : signed.stop]:
                self.agent.receive(bytes(data), PEER)
        self.assertFalse(self.agent.knows(PEER))
