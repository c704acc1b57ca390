# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Registrations of ours, in virtual time: a scripted registrar at the other end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipsess.endpoint import ANONYMOUS, Endpoint
from sipsess.errors import IllegalTransition, LocalError, TransportError
from sipsess.flow import Flow
from sipsess.interfaces import ICredentials
from sipsess.message import Request
from sipsess.message.challenge import Challenge
from sipsess.registration import Account, Registrations
from sipsess.registration.client import BASE_DELAY, LOST_DELAY, MAX_ATTEMPTS, MAX_DELAY
from sipsess.registration.registrations import MAX_ACCOUNTS, START_GAP
from sipsess.testing import ScriptedPeer
from tests.policy.agents import PEER, US, BoxTestCase

REGISTRAR = f"sip:{PEER}"


@implementer(ICredentials)
class Book:
    """Answers challenges of one realm."""

    def answer_challenge(self, request: Request, challenge: Challenge) -> str | None:
        """See the interface."""
        if challenge.realm != "pbx":
            return None
        return f'Digest realm="pbx", nonce="{challenge.nonce}", uri="{request.uri}"'


KNOWN = Endpoint("pbx", credentials=Book())


class RegistrationCase(BoxTestCase):
    """A box with registrations; the peer is the registrar."""

    def begin(self, **options: Any) -> Request:
        """Start with one account; return its first REGISTER."""
        self.start()
        self.flow: Flow | Exception = self.box.flow_to((PEER, 5060))
        self.looked_for: list[str] = []
        self.registrations = Registrations(self.box.core, self.find_flow)
        account = Account("sip:alice@example.com", REGISTRAR, **options)
        self.client = self.registrations.add(account)
        self.registrations.start()
        return self.next_register()

    def find_flow(self, uri: str) -> Deferred[Flow]:
        """Return the way to the registrar, or fail."""
        self.looked_for.append(uri)
        if isinstance(self.flow, Exception):
            raise self.flow
        return succeed(self.flow)

    def next_register(self, within: float = 5.0) -> Request:
        """Return the next REGISTER."""
        return self.peer.expect("REGISTER", within)

    def grant(self, request: Request, seconds: int = 600, *more: tuple[str, str]) -> None:
        """Answer as a registrar does, and let the answer come."""
        contact = f"{request.headers.get('Contact')};expires={seconds}"
        self.peer.reply(request, 200, headers=[("Contact", contact), *more])
        self.net.run_for(0.1)

    def refuse(self, request: Request, status: int, *headers: tuple[str, str]) -> None:
        """Refuse, and let the answer come."""
        self.peer.reply(request, status, headers=headers)
        self.net.run_for(0.1)

    def waits(self, least: float, most: float) -> Request:
        """Check that the next REGISTER comes after so many seconds, and not before."""
        self.assertTrue(least <= self.delay <= most, f"{self.delay} s")
        self.peer.expect_silence(self.delay - 0.5)
        return self.next_register()

    @property
    def delay(self) -> float:
        """The seconds to the next REGISTER."""
        delay = self.client.next_in(self.net.seconds())
        assert delay is not None
        return delay

    def finish(self, *, failures: int = 0) -> None:
        """Stop, and see that nothing is left."""
        if self.client.state != "STOPPED":
            stopping = self.registrations.stop()
            self.net.run_for(0.1)
            self.registrations.abandon()
            self.assertIsNone(self.successResultOf(stopping))
        super().finish(failures=failures)


class RegisterTests(RegistrationCase):
    """What is sent, and what becomes of it."""

    def test_request(self) -> None:
        """The REGISTER names the domain, the address of record, and where we are (10.2)."""
        request = self.begin(user="line1", expires=900)
        self.assertEqual(request.uri, REGISTRAR)
        self.assertEqual((request.to.uri, request.to_tag), ("sip:alice@example.com", None))
        self.assertEqual(request.from_.uri, "sip:alice@example.com")
        self.assertEqual(request.headers.get("Contact"), f"<sip:line1@{US}:5060>")
        self.assertEqual(request.headers.get("Expires"), "900")
        self.assertEqual(request.supported, {"path"})
        self.assertIn("INVITE", request.allow)
        self.finish()

    def test_proxy(self) -> None:
        """By way of an outbound proxy it still names the registrar (8.1.2)."""
        for proxy, route in (("sip:p.example", "sip:p.example;lr"), ("sip:p;lr", "sip:p;lr")):
            request = self.begin(proxy=proxy)
            self.assertEqual(request.uri, REGISTRAR)
            self.assertEqual(request.headers.get("Route"), f"<{route}>")
            self.assertEqual(self.looked_for, [proxy])
            self.finish()

    def test_refresh(self) -> None:
        """Before it expires it is refreshed: same Call-ID, CSeq one more (10.2.4)."""
        first = self.begin()
        self.assertEqual(self.client.state, "REGISTERING")
        self.grant(first, 600)
        self.assertEqual((self.client.state, self.client.error), ("REGISTERED", ""))
        self.assertTrue(599 < (self.client.seconds_left(self.net.seconds()) or 0) <= 600)
        second = self.waits(360, 510)
        self.assertEqual(second.call_id, first.call_id)
        self.assertEqual(second.cseq.number, first.cseq.number + 1)
        self.grant(second, 60)
        self.assertEqual(self.looked_for, [REGISTRAR, REGISTRAR])
        self.waits(36, 51)
        self.finish()

    def test_granted(self) -> None:
        """What was granted is said of our contact, or by Expires, or is what we asked for."""
        request = self.begin()
        other = ("Contact", "<sip:alice@10.0.0.7>;expires=30")
        self.peer.reply(request, 200, headers=[("Expires", "100"), other])
        self.net.run_for(0.1)
        self.grant(self.waits(60, 85), 50)
        self.peer.reply(self.waits(30, 43), 200)
        self.net.run_for(0.1)
        self.assertTrue(3600 * 0.6 <= self.delay + 0.1 <= 3600 * 0.85)
        self.finish()

    def test_granted_more(self) -> None:
        """A registrar may grant less than what was asked for, not more (10.3)."""
        self.grant(self.begin(expires=100), 600_000)
        self.waits(60, 85)
        self.finish()

    def test_broken_answer(self) -> None:
        """A contact of others that cannot be read is not ours, and harms nothing."""
        request = self.begin()
        self.peer.reply(
            request, 200, headers=[("Contact", "<sip:[::>;expires=5"), ("Expires", "90")]
        )
        self.net.run_for(0.1)
        again = self.waits(54, 77)
        self.peer.reply(again, 200, headers=[("Contact", "<sip:a"), ("Expires", "90")])
        self.net.run_for(0.1)
        self.waits(54, 77)
        self.finish()

    def test_nothing_granted(self) -> None:
        """A registrar that grants nothing is asked again later."""
        self.grant(self.begin(), 0)
        self.assertEqual((self.client.state, self.client.error), ("WAITING", "nothing was granted"))
        self.finish()

    def test_service_route(self) -> None:
        """The routes that the registrar wants are kept (RFC 3608)."""
        request = self.begin()
        self.grant(request, 600, ("Service-Route", "<sip:p1;lr>, <sip:p2;lr>"))
        self.assertEqual(self.client.service_route, ("<sip:p1;lr>", "<sip:p2;lr>"))
        self.finish()

    def test_provisional(self) -> None:
        """A 100 changes nothing."""
        request = self.begin()
        self.refuse(request, 100)
        self.assertEqual(self.client.state, "REGISTERING")
        self.grant(request)
        self.finish()


class ChallengeTests(RegistrationCase):
    """401, 407 and 423: the same again, but otherwise."""

    def challenge(self, request: Request, status: int, text: str) -> None:
        """Challenge."""
        name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
        self.refuse(request, status, (name, f"Digest {text}"))

    def test_401(self) -> None:
        """It is sent again at once with credentials, and stays registered."""
        first = self.begin(endpoint=KNOWN)
        self.challenge(first, 401, 'realm="pbx", nonce="1"')
        second = self.next_register()
        self.assertEqual(
            second.headers.get("Authorization"),
            f'Digest realm="pbx", nonce="1", uri="{REGISTRAR}"',
        )
        self.assertEqual((second.call_id, second.cseq.number), (first.call_id, 2))
        self.grant(second)
        self.assertEqual((self.client.state, self.client.failures), ("REGISTERED", 0))
        self.assertIsNone(self.waits(360, 510).headers.get("Authorization"))
        self.finish()

    def test_proxy_and_registrar(self) -> None:
        """A proxy and the registrar challenge, one after the other."""
        self.challenge(self.begin(endpoint=KNOWN), 407, 'realm="pbx", nonce="1"')
        second = self.next_register()
        self.assertIn('nonce="1"', second.headers.get("Proxy-Authorization") or "")
        self.grant(second)
        self.finish()

    def test_stale(self) -> None:
        """A stale nonce is answered anew, but not for ever."""
        request = self.begin(endpoint=KNOWN)
        for number in range(MAX_ATTEMPTS):
            self.challenge(request, 401, f'realm="pbx", nonce="{number}", stale=true')
            if number < MAX_ATTEMPTS - 1:
                request = self.next_register()
        self.assertEqual(self.client.error, "401 Unauthorized")
        self.waits(MAX_DELAY / 2, MAX_DELAY)
        self.finish()

    def test_wrong(self) -> None:
        """Credentials that were refused are not sent again soon."""
        self.challenge(self.begin(endpoint=KNOWN), 401, 'realm="pbx", nonce="1"')
        self.challenge(self.next_register(), 401, 'realm="pbx", nonce="2"')
        self.assertIn("refused the credentials", self.client.error)
        self.waits(MAX_DELAY / 2, MAX_DELAY)
        self.finish()

    def test_none(self) -> None:
        """Without credentials, or without some for that realm, it is a refusal."""
        self.challenge(self.begin(), 401, 'realm="pbx", nonce="1"')
        self.assertIn("there are no credentials", self.client.error)
        self.finish()
        self.challenge(self.begin(endpoint=KNOWN), 401, 'realm="else", nonce="1"')
        self.assertIn("no credentials for the 401", self.client.error)
        self.finish()

    def test_423(self) -> None:
        """A registrar may demand a longer time, which is asked for from then on (10.2.8)."""
        self.refuse(self.begin(expires=60), 423, ("Min-Expires", "300"))
        second = self.next_register()
        self.assertEqual(second.headers.get("Expires"), "300")
        self.grant(second, 300)
        self.assertEqual(self.waits(180, 255).headers.get("Expires"), "300")
        self.finish()

    def test_bad_423(self) -> None:
        """One that demands nothing, less than we asked for, or too much is a refusal."""
        for value in ("", "60", "10", str(2**32 - 1)):
            self.refuse(self.begin(expires=60), 423, ("Min-Expires", value))
            self.assertEqual((self.client.state, self.client.failures), ("WAITING", 1))
            self.finish()


class FailureTests(RegistrationCase):
    """Refusals, silence, and coming back."""

    def test_lost_packets(self) -> None:
        """A lost REGISTER or answer costs a retransmission, no more."""
        lost: list[bytes] = []

        def lose(source: Any, target: Any, data: bytes) -> bool:
            lost.append(data)
            return len(lost) < 3

        self.start()
        self.net.filters.append(lose)
        self.box.core.ids.random.seed(1)
        self.flow, self.looked_for = self.box.flow_to((PEER, 5060)), []
        self.registrations = Registrations(self.box.core, self.find_flow)
        self.client = self.registrations.add(Account("sip:alice@example.com", REGISTRAR))
        self.registrations.start()
        self.grant(self.next_register())
        self.assertEqual((self.client.state, len(lost)), ("REGISTERED", 4))
        self.finish()

    def test_silence(self) -> None:
        """No answer: the delay doubles up to its limit, with chance in it (RFC 5626 4.5)."""
        self.begin()
        self.net.run_for(33)
        self.assertEqual(self.client.state, "WAITING")
        self.assertTrue(self.client.error)
        for number in range(8):
            most = min(MAX_DELAY, BASE_DELAY * 2**number)
            self.waits(most / 2 - 1, most)
            self.net.run_for(33)
        self.assertEqual(self.client.failures, 9)
        self.finish()

    def test_back_again(self) -> None:
        """When the registrar is back all is as before, and the back-off begins anew."""
        request = self.begin()
        self.refuse(request, 500)
        self.refuse(self.waits(BASE_DELAY / 2 - 1, BASE_DELAY), 500)
        self.grant(self.waits(BASE_DELAY - 1, 2 * BASE_DELAY))
        self.assertEqual((self.client.state, self.client.failures), ("REGISTERED", 0))
        self.refuse(self.waits(360, 510), 500)
        self.assertTrue(self.client.seconds_left(self.net.seconds()))
        self.waits(BASE_DELAY / 2 - 1, BASE_DELAY)
        self.finish()

    def test_retry_after(self) -> None:
        """A 503 says when to come back (20.33), within reason."""
        self.refuse(self.begin(), 503, ("Retry-After", "120"))
        self.refuse(self.waits(119, 132), 503, ("Retry-After", "999999"))
        self.refuse(self.waits(MAX_DELAY - 1, MAX_DELAY * 1.1), 503, ("Retry-After", "soon"))
        self.assertTrue(self.delay <= 4 * BASE_DELAY)
        self.finish()

    def test_lasting(self) -> None:
        """403 and its like are not asked again soon; 480 is."""
        for status, most in ((403, MAX_DELAY), (404, MAX_DELAY), (600, MAX_DELAY), (480, 30.0)):
            self.refuse(self.begin(), status)
            self.assertIn(str(status), self.client.error)
            self.assertTrue(most / 2 - 1 <= self.delay <= most, self.delay)
            self.finish()

    def test_no_way(self) -> None:
        """A network that is gone is tried again, and found again."""
        self.grant(self.begin())
        self.flow = TransportError("no route to host")
        self.net.run_for(600)
        self.assertEqual((self.client.state, self.client.error), ("WAITING", "no route to host"))
        self.flow = self.box.flow_to((PEER, 5060))
        request = self.next_register(MAX_DELAY)
        self.grant(request)
        self.assertEqual(self.client.state, "REGISTERED")
        self.finish()

    def test_bug(self) -> None:
        """A bug on the way is logged, and the next attempt comes all the same."""
        self.grant(self.begin())
        self.flow = ZeroDivisionError("oops")
        self.net.run_until(lambda: self.client.error == "oops", 511)
        self.flow = self.box.flow_to((PEER, 5060))
        self.grant(self.next_register(60))
        self.finish(failures=1)

    def test_moved(self) -> None:
        """The next REGISTER goes where the registrar is by then."""
        self.grant(self.begin())
        other = ScriptedPeer(self.net.host("192.0.2.10", name="other"))
        self.flow = self.box.flow_to(other.address)
        request = other.expect("REGISTER", 600)
        other.reply(request, 200)
        self.net.run_for(0.1)
        self.assertEqual(self.client.state, "REGISTERED")
        stopping = self.client.stop()
        other.reply(other.expect("REGISTER"), 200)
        self.net.run_for(0.1)
        self.assertIsNone(self.successResultOf(stopping))
        self.finish()

    def test_flow_lost(self) -> None:
        """When its flow is lost a binding is made anew soon; another flow does not matter."""
        request = self.begin()
        flow = self.client.flow
        assert flow is not None

        def lose(lost: Flow, state: str) -> None:
            self.box.core.flow_lost(lost, self.net.seconds())
            self.assertEqual(self.client.state, state)

        lose(flow.to(("192.0.2.77", 5060)), "REGISTERING")
        self.registrations.flow_lost(flow)
        self.grant(request)
        lose(flow.to(("192.0.2.77", 5060)), "REGISTERED")
        lose(flow, "WAITING")
        lose(flow, "WAITING")
        again = self.next_register(LOST_DELAY)
        stopping = self.registrations.stop()
        self.registrations.flow_lost(flow)
        self.grant(again)
        self.registrations.flow_lost(flow)
        self.registrations.stop()
        self.refuse(self.next_register(), 200)
        lose(flow, "STOPPED")
        self.assertIsNone(self.successResultOf(stopping))
        self.client.start(5.0)
        lose(flow, "IDLE")
        self.assertIsNone(self.successResultOf(self.client.stop()))
        self.finish()


class StopTests(RegistrationCase):
    """The end of a registration."""

    def stop(self) -> Deferred[None]:
        """Stop, and let what is sent come."""
        stopping = self.registrations.stop()
        self.net.run_for(0.1)
        return stopping

    def removed(self, stopping: Deferred[None], request: Request, first: Request) -> None:
        """Check a removal, and answer it."""
        self.assertEqual(request.headers.get("Expires"), "0")
        self.assertEqual(request.headers.get("Contact"), first.headers.get("Contact"))
        self.assertNoResult(stopping)
        self.peer.reply(request, 200)
        self.net.run_for(0.1)
        self.assertIsNone(self.successResultOf(stopping))
        self.assertEqual((self.client.state, self.client.expires), ("STOPPED", None))

    def test_removed(self) -> None:
        """The binding is removed, and that is waited for (10.2.2)."""
        first = self.begin()
        self.grant(first)
        stopping = self.stop()
        self.removed(stopping, self.next_register(), first)
        self.assertIsNone(self.successResultOf(self.client.stop()))
        self.finish()

    def test_challenged(self) -> None:
        """The removal is challenged, too."""
        first = self.begin(endpoint=KNOWN)
        self.grant(first)
        stopping = self.stop()
        challenge = ("WWW-Authenticate", 'Digest realm="pbx", nonce="1"')
        self.refuse(self.next_register(), 401, challenge)
        request = self.next_register()
        self.assertTrue(request.headers.get("Authorization"))
        self.removed(stopping, request, first)
        self.finish()

    def test_outstanding(self) -> None:
        """Never two at a time: the removal waits for the answer to the REGISTER before it."""
        first = self.begin()
        stopping = self.stop()
        again = self.client.stop()
        self.peer.expect_silence(2)
        self.grant(first)
        self.removed(stopping, self.next_register(), first)
        self.assertIsNone(self.successResultOf(again))
        self.finish()

    def test_outstanding_is_challenged(self) -> None:
        """The credentials that the outstanding one wanted go with the removal."""
        first = self.begin(endpoint=KNOWN)
        stopping = self.stop()
        self.refuse(first, 401, ("WWW-Authenticate", 'Digest realm="pbx", nonce="1"'))
        request = self.next_register()
        self.assertTrue(request.headers.get("Authorization"))
        self.removed(stopping, request, first)
        self.finish()

    def test_outstanding_is_refused(self) -> None:
        """When it is refused there is nothing to remove."""
        first = self.begin()
        stopping = self.stop()
        self.refuse(first, 403)
        self.assertIsNone(self.successResultOf(stopping))
        self.peer.expect_silence(5)
        self.finish()

    def test_waiting(self) -> None:
        """A binding may be there whose answer was lost: it is removed."""
        first = self.begin()
        self.net.run_for(33)
        stopping = self.stop()
        self.removed(stopping, self.next_register(), first)
        self.finish()

    def test_refused(self) -> None:
        """A removal that is refused ends it all the same."""
        self.grant(self.begin())
        stopping = self.stop()
        self.refuse(self.next_register(), 500)
        self.assertIsNone(self.successResultOf(stopping))
        self.finish()

    def test_abandoned(self) -> None:
        """Nobody waits longer than he wants to: for an answer, or for a name."""
        self.grant(self.begin())
        stopping = self.stop()
        self.next_register()
        self.assertNoResult(stopping)
        self.registrations.abandon()
        self.assertIsNone(self.successResultOf(stopping))
        self.finish()

    def test_abandoned_late(self) -> None:
        """A registrar that only says 100 is not waited for either; nor is one that is slow."""
        first = self.begin()
        self.refuse(first, 100)
        stopping = self.stop()
        stopping.cancel()
        self.failureResultOf(stopping, CancelledError)
        self.registrations.abandon()
        self.assertEqual(self.client.state, "STOPPED")
        self.refuse(first, 200)
        self.peer.expect_silence(5)
        self.finish()

    def test_abandoned_on_the_way(self) -> None:
        """The search for the registrar is given up, too."""
        self.grant(self.begin())
        asked: list[Deferred[Flow]] = []

        def ask(uri: str) -> Deferred[Flow]:
            asked.append(Deferred())
            return asked[-1]

        self.client._find = ask
        stopping = self.stop()
        self.assertNoResult(stopping)
        self.registrations.abandon()
        self.assertIsNone(self.successResultOf(stopping))
        self.assertEqual(len(asked), 1)
        self.finish()

    def test_again(self) -> None:
        """What was stopped can be started again."""
        first = self.begin()
        self.grant(first)
        self.removed(self.stop(), self.next_register(), first)
        self.client.start()
        self.grant(self.next_register())
        self.assertEqual(self.client.state, "REGISTERED")
        self.finish()

    def test_never_begun(self) -> None:
        """One that waits for its beginning sends nothing at all."""
        self.grant(self.begin())
        late = self.registrations.add(Account("sip:bob@example.com", REGISTRAR))
        late.start(10.0)
        self.assertIsNone(self.successResultOf(late.stop()))
        self.peer.expect_silence(11)
        with self.assertRaises(IllegalTransition):
            late._feed("DUE")
        self.finish()


class ListTests(RegistrationCase):
    """Several accounts."""

    def test_apart(self) -> None:
        """The accounts begin one after the other."""
        self.start()
        self.flow, self.looked_for = self.box.flow_to((PEER, 5060)), []
        self.registrations = Registrations(self.box.core, self.find_flow)
        for number in range(3):
            self.registrations.add(Account(f"sip:{number}@example.com", REGISTRAR))
        self.client = self.registrations.clients[0]
        self.registrations.start()
        self.net.run_for(START_GAP * 1.5)
        self.assertEqual(len(self.looked_for), 2)
        self.net.run_for(START_GAP)
        self.assertEqual(len(self.looked_for), 3)
        users = {self.next_register().to.uri for _ in range(3)}
        self.assertEqual(len(users), 3)
        stopping = self.registrations.stop()
        self.registrations.abandon()
        self.net.run_for(0.1)
        self.assertIsNone(self.successResultOf(stopping))
        self.finish()

    def test_twice(self) -> None:
        """An address of record has one account, and there is a limit of accounts."""
        self.begin()
        with self.assertRaisesRegex(LocalError, "is registered already"):
            self.registrations.add(self.client.account)
        self.registrations.clients *= MAX_ACCOUNTS
        with self.assertRaisesRegex(LocalError, "more than"):
            self.registrations.add(Account("sip:bob@example.com"))
        del self.registrations.clients[1:]
        self.grant(self.peer.received[0])  # type: ignore[arg-type]
        self.finish()


class AccountTests(SynchronousTestCase):
    """What an account may be."""

    def test_defaults(self) -> None:
        """The address of record alone is enough."""
        account = Account("sips:%61lice@example.com:5070")
        self.assertEqual(account.registrar_uri, "sips:example.com:5070")
        self.assertEqual(account.contact_user, "%61lice")
        self.assertEqual((account.expires, account.endpoint), (3600, ANONYMOUS))

    def test_mistakes(self) -> None:
        """Each mistake is told in words that help."""
        cases: Sequence[tuple[dict[str, Any], str]] = (
            ({"aor": "alice"}, "aor: .*write sip:"),
            ({"aor": "tel:+123"}, "aor: .*no SIP URI"),
            ({"aor": "sip:example.com"}, "aor: .*names no user"),
            ({"aor": "sip:a@b", "registrar": "sip:c@d"}, "registrar: .*names a user"),
            ({"aor": "sip:a@b", "registrar": "x"}, "registrar: "),
            ({"aor": "sip:a@b", "proxy": "sip:c@d"}, "proxy: .*names a user"),
            ({"aor": "sip:a@b", "expires": 0}, "expires: 0 is not"),
        )
        for arguments, pattern in cases:
            with self.assertRaisesRegex(LocalError, pattern):
                Account(**arguments)
