# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The shipped supplement for INFO: digits, packages (:rfc:`6086`) and what nobody wants."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred

from sipsess.errors import LocalError
from sipsess.message import Request, Response
from sipsess.session import Session
from sipsess.supplement import Reject
from sipsess.supplements.info import DigitInfo, InfoPackage, get_peer_packages
from sipsess.testing import CallPair
from tests.policy.agents import ring
from tests.policy.sessions import SessionTestCase

RELAY = "application/dtmf-relay"
PLAIN = "application/dtmf"


class Package(InfoPackage):
    """Takes a package and does what a test says."""

    recv_info = frozenset({"Conference"})

    def __init__(self, name: str, result: Any = None, priority: int = 500) -> None:
        self.name = name
        self.result = result
        self.priority = priority
        self.seen: list[bytes] = []

    def receive_info(self, session: Session, request: Request) -> Awaitable[None] | None:
        """Note it."""
        self.seen.append(request.body)
        if isinstance(self.result, Exception):
            raise self.result
        result: Awaitable[None] | None = self.result
        return result


class Channel:
    """Stands for the call: it keeps the digits, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.digits: list[str] = []
        self.error = error

    def receive_digit(self, digit: str, seconds: float | None = None) -> None:
        """Keep it."""
        if self.error is not None:
            raise self.error
        self.digits.append(digit)


class InfoTestCase(SessionTestCase):
    """One box with the supplement and a call whose digits are kept."""

    def begin(self, *supplements: InfoPackage, error: Exception | None = None) -> Response:
        """Begin anew, and make a call."""
        self.start(DigitInfo(), *supplements)
        self.success = self.call()
        self.channel = Channel(error)
        self.session.channel = self.channel  # type: ignore[assignment]
        return self.success

    def info(self, body: bytes = b"", content_type: str = RELAY, **headers: str) -> Response:
        """Send an INFO and return its answer; an underscore in a header's name is a hyphen."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self.request_within(
            self.success, "INFO", body=body, content_type=content_type, headers=fields
        )
        return self.answer_to("INFO")

    def end(self, *, failures: int = 0) -> None:
        """Hang up and check that nothing is left."""
        self.peer.bye(self.success)
        self.finish(failures=failures)


class DigitTests(InfoTestCase):
    """Digits in bodies."""

    def test_both_forms(self) -> None:
        """A key in either body type is answered 200 and reaches the call as a digit."""
        self.begin()
        for body, kind in (
            (b"Signal=5\r\nDuration=160", RELAY),
            (b"Signal= #\r\n", RELAY + ";charset=x"),
            (b"*", PLAIN),
            (b"Signal=A", PLAIN),
        ):
            self.assertEqual(self.info(body, kind).status, 200)
        self.assertEqual(self.channel.digits, ["5", "#", "*", "A"])
        self.assertIn("digit 5", self.lines(self.success.call_id))
        self.end()

    def test_retransmission_is_one_digit(self) -> None:
        """17.2.2: the copy of an INFO gets the same answer, and is no second digit."""
        self.begin()
        info = self.request_within(self.success, "INFO", body=b"5", content_type=PLAIN)
        self.peer.send(info)
        self.net.run_for(1)
        self.assertEqual(self.channel.digits, ["5"])
        self.end()

    def test_hook_flash(self) -> None:
        """A hook flash is answered 200 and is no digit, in each of its forms."""
        self.begin()
        for body, kind in ((b"Signal=!", RELAY), (b"16", PLAIN), (b"x", "application/hook-flash")):
            self.assertEqual(self.info(body, kind).status, 200)
        self.assertEqual(self.channel.digits, [])
        self.end()

    def test_bad_key(self) -> None:
        """A body of a known type without a key: 400, counted."""
        self.begin()
        self.assertEqual(self.info(b"Signal=hello").status, 400)
        self.assertEqual(self.box.refused["bad-dtmf-body"], 1)
        self.assertEqual(self.channel.digits, [])
        self.end()

    def test_unknown_body(self) -> None:
        """RFC 3261 8.2.3: another body: 415, and Accept names those that are read."""
        self.begin()
        answer = self.info(b"x", "text/x")
        self.assertEqual(answer.status, 415)
        accept = answer.headers.values("Accept")
        self.assertLessEqual({RELAY, PLAIN, "application/sdp"}, set(accept))
        self.end()

    def test_empty(self) -> None:
        """RFC 6086 4.2.2: an INFO without a body and a package: 200."""
        self.begin()
        self.assertEqual(self.info().status, 200)
        self.end()

    def test_method_is_matched_exactly(self) -> None:
        """A method whose name is part of INFO's is not INFO, whatever its body."""
        self.begin()
        self.request_within(self.success, "NF", body=b"5", content_type=PLAIN)
        self.assertEqual(self.answer_to("NF").status, 501)
        self.assertEqual(self.channel.digits, [])
        self.end()

    def test_nobody_listens(self) -> None:
        """Without an application that could hear it a digit is answered all the same."""
        self.begin()
        self.session.channel = None
        self.assertEqual(self.info(b"5", PLAIN).status, 200)
        self.end()

    def test_digit_that_cannot_be_used(self) -> None:
        """A digit that the call cannot take now is answered, noted, and dropped."""
        self.begin(error=LocalError("full"))
        self.assertEqual(self.info(b"5", PLAIN).status, 200)
        self.assertIn("digit dropped: full", self.lines(self.success.call_id))
        self.end()

    def test_outside_a_call(self) -> None:
        """RFC 3261 12.2.2: an INFO of no dialog: 481."""
        self.start(DigitInfo())
        request = self.peer.request("INFO", "sip:192.0.2.1", to="<sip:192.0.2.1>;tag=x")
        self.peer.send(request, ("192.0.2.1", 5060))
        self.assertEqual(self.answer_to("INFO").status, 481)
        self.finish()

    def test_before_the_answer(self) -> None:
        """RFC 6086 3: an INFO within an early dialog is answered too."""
        self.start(DigitInfo(), play=ring)
        invite = self.invite()
        ringing = self.peer.expect(180)
        channel = Channel()
        self.session.channel = channel  # type: ignore[assignment]
        self.request_within(ringing, "INFO", body=b"5", content_type=PLAIN)
        self.assertEqual(self.answer_to("INFO").status, 200)
        self.assertEqual(channel.digits, ["5"])
        self.peer.cancel(invite)
        self.peer.ack(self.peer.expect(487))
        self.finish()

    def test_same_digits_as_by_rtp(self) -> None:
        """An application reads digits that came by INFO like any others."""
        pair = CallPair(callee_supplements=[DigitInfo()])
        call = pair.dial()
        pair.net.run_for(1)
        answers: list[Response] = []
        for digit in (b"4", b"2"):
            sent = call.session.send_request("INFO", content_type=PLAIN, body=digit)
            sent.addCallback(answers.append)
        pair.net.run_for(1)
        assert call.callee is not None
        assert call.callee.channel is not None
        read = call.callee.channel.read_digits(2)
        self.assertEqual(self.successResultOf(read), "42")
        self.assertEqual([answer.status for answer in answers], [200, 200])
        call.hang_up()
        pair.settle()


class PackageTests(InfoTestCase):
    """INFO packages."""

    def test_unknown_package(self) -> None:
        """RFC 6086 4.2.2: 469 with Recv-Info, be there a body or not; it says nil without any."""
        self.begin()
        for body in (b"", b"5"):
            answer = self.info(body, PLAIN, Info_Package="foo")
            self.assertEqual((answer.status, answer.headers.get("Recv-Info")), (469, "nil"))
        self.assertEqual(self.channel.digits, [])
        self.end()

    def test_known_package(self) -> None:
        """RFC 6086 4.2.1: what a supplement declares is announced, delivered and answered 200."""
        package = Package("conference")
        success = self.begin(package)
        self.assertEqual(success.headers.get("Recv-Info"), "Conference")
        self.assertEqual(self.info(b"x", "text/x", Info_Package="conference;a=b").status, 200)
        self.assertEqual(package.seen, [b"x"])
        answer = self.info(b"x", "text/x", Info_Package="other")
        self.assertEqual((answer.status, answer.headers.get("Recv-Info")), (469, "Conference"))
        self.assertEqual(self.info(b"5", PLAIN).status, 200)
        self.assertEqual(package.seen, [b"x"])
        self.end()

    def test_first_one_gets_it(self) -> None:
        """Of two supplements with one package the first in order takes it."""
        first, second = Package("a", priority=300), Package("b", priority=600)
        self.begin(second, first)
        self.assertEqual(self.info(Info_Package="conference").status, 200)
        self.assertEqual((first.seen, second.seen), ([b""], []))
        self.end()

    def test_refused(self) -> None:
        """A package's supplement may refuse its content."""
        self.begin(Package("conference", Reject(415)))
        self.assertEqual(self.info(b"x", Info_Package="conference").status, 415)
        self.end()

    def test_takes_its_time(self) -> None:
        """The 200 goes out when the supplement's Deferred has fired."""
        thinking: Deferred[None] = Deferred()
        self.begin(Package("conference", thinking))
        self.request_within(self.success, "INFO", headers={"Info-Package": "conference"})
        self.peer.expect_silence(1)
        thinking.callback(None)
        self.assertEqual(self.answer_to("INFO").status, 200)
        self.end()

    def test_what_the_peer_takes(self) -> None:
        """RFC 6086 5.2: the peer's Recv-Info is known, whoever called."""
        self.start(DigitInfo())
        self.invite(headers={"Recv-Info": "Foo, bar;x=y"})
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.net.run_for(0.1)
        self.assertEqual(get_peer_packages(self.session), {"foo", "bar"})
        self.peer.bye(success)
        self.finish()
        self.start(DigitInfo())
        session, invite = self.placed()
        self.assertEqual(get_peer_packages(session), frozenset())
        self.peer.reply(invite, 200, headers={"Recv-Info": "nil"})
        self.peer.expect("ACK")
        self.assertEqual(get_peer_packages(session), frozenset())
        self.hang_up(session)
        self.finish()
