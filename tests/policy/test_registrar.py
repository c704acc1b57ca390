# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The registrar on the wire: each step of RFC 3261 10.3 with its answer."""

from __future__ import annotations

from twisted.cred.portal import Portal
from zope.interface.verify import verifyObject

from sipsess.endpoint import (
    ANONYMOUS,
    DigestCredentials,
    DigestGate,
    Endpoint,
    EndpointRealm,
    HA1Checker,
    Login,
)
from sipsess.endpoint import MemoryStore as UserStore
from sipsess.interfaces import IBindingStore, ISIPService
from sipsess.message import Request
from sipsess.registrar import Limits, Source
from sipsess.registrar.registrar import MAX_WAITING, PURGE_PERIOD, STORE_LIMIT
from sipsess.supplements.credentials import answer_challenges
from sipsess.testing import ScriptedPeer
from tests.policy.agents import PEER, US
from tests.policy.registrars import WALL, RegistrarCase, SlowStore, shown

PHONE = f"<sip:alice@{PEER}>"
URN = '+sip.instance="<urn:uuid:1>"'


class AnswerTests(RegistrarCase):
    """What is answered when all is well."""

    def test_the_interfaces(self) -> None:
        """What the tests use is what the interfaces say."""
        self.serve()
        verifyObject(ISIPService, self.registrar)
        verifyObject(IBindingStore, self.store)
        verifyObject(IBindingStore, SlowStore())
        self.finish()

    def test_bound(self) -> None:
        """A 200 lists the contact with its expires, and says what time it is (10.3 step 8)."""
        self.serve()
        response = self.registered(f'"Alice" {PHONE};q=0.5', headers=[("Expires", "600")])
        self.assertEqual(response.status, 200)
        self.assertEqual(
            response.headers.get_all("Contact"), [f"<sip:alice@{PEER}>;q=0.5;expires=600"]
        )
        self.assertEqual(response.headers.get("Date"), "Fri, 13 Feb 2009 23:31:30 GMT")
        self.assertIn("path", response.supported)
        self.assertEqual(self.box.core.counters.registrations_accepted, 1)
        self.finish()

    def test_expires(self) -> None:
        """The parameter, the header, the default; and never more than the most."""
        self.serve()
        first = self.registered(
            f"{PHONE};expires=120", "<sip:two@192.0.2.9>", headers=[("Expires", "600")]
        )
        self.assertEqual(shown(first), [(f"sip:alice@{PEER}", "120"), (f"sip:two@{PEER}", "600")])
        self.assertEqual(shown(self.registered("<sip:3@192.0.2.9>"))[-1][1], "3600")
        self.assertEqual(shown(self.registered("<sip:4@192.0.2.9>;expires=99999"))[-1][1], "7200")
        self.finish()

    def test_query(self) -> None:
        """A REGISTER without Contact only asks (10.2.3), with the time that is left."""
        self.serve()
        self.registered(PHONE, headers=[("Expires", "600")])
        self.net.run_for(100)
        self.assertEqual(shown(self.registered()), [(f"sip:alice@{PEER}", "500")])
        self.assertEqual(self.box.core.counters.registrations_accepted, 1)
        self.finish()

    def test_expiry(self) -> None:
        """An expired binding is gone, and its record is thrown away."""
        self.serve()
        self.registered(PHONE, headers=[("Expires", "90")])
        self.net.run_for(91)
        self.assertEqual(self.bindings(), [])
        self.assertEqual(shown(self.registered()), [])
        self.net.run_for(PURGE_PERIOD)
        self.assertEqual(self.successResultOf(self.store.find("alice", 0.0)), [])
        self.finish()

    def test_refresh_and_removal(self) -> None:
        """The same contact again is refreshed; expires 0 removes it (10.2.2, 10.2.4)."""
        self.serve()
        self.registered(PHONE, call_id="a")
        self.assertEqual(len(shown(self.registered(f"{PHONE};expires=100", call_id="a"))), 1)
        self.assertEqual(shown(self.registered(f"{PHONE};expires=0", call_id="a")), [])
        self.assertEqual(self.registered(f"{PHONE};expires=0", call_id="a").status, 200)
        self.finish()

    def test_equal_uris(self) -> None:
        """Contacts are compared as URIs, not as text (10.3 step 7)."""
        self.serve()
        self.registered("<sip:%61lice@HOST.example>")
        self.registered("<sip:alice@host.example;lr>")
        self.assertEqual(self.uris(), ["sip:alice@host.example;lr"])
        self.finish()

    def test_other_requests(self) -> None:
        """Other methods, and a REGISTER within a dialog, are not the registrar's."""
        self.serve()
        self.send("MESSAGE")
        self.assertEqual(self.answer_to("MESSAGE").status, 405)
        self.register(PHONE, to=f"<sip:alice@{US}>;tag=1")
        self.assertEqual(self.answer_to("REGISTER").status, 481)
        self.send("OPTIONS")
        self.assertIn("REGISTER", self.answer_to("OPTIONS").allow)
        ack = self.peer.request("ACK", f"sip:{US}", cseq=1)
        self.peer.send(ack, (US, 5060))
        self.peer.send(self.peer.reply(ack, 200).to_bytes(), (US, 5060))
        self.finish()


class PermissionTests(RegistrarCase):
    """Steps 1 to 5: domain, who, whom."""

    def test_domain(self) -> None:
        """Another domain, in the Request-URI or in To, is 404; case does not matter."""
        self.serve(domains=["Example.com"])
        self.refused(404, "registrar-domain", PHONE)
        self.refused(404, "registrar-domain", PHONE, uri="sip:example.com")
        self.refused(404, "registrar-domain", PHONE, uri="tel:+123")
        response = self.registered(PHONE, uri="sip:EXAMPLE.com", to="<sip:alice@example.com>")
        self.assertEqual(response.status, 200)
        self.finish()

    def test_nobody(self) -> None:
        """An address of record without a user, or with one that is no text, is 404."""
        self.serve()
        self.refused(404, "registrar-user", PHONE, to=f"<sip:{US}>")
        self.refused(404, "registrar-user", PHONE, to=f"<sip:{'x' * 300}@{US}>")
        self.refused(404, "registrar-user", PHONE, to=f"<sip:a%00@{US}>")
        self.finish()

    def test_own_name(self) -> None:
        """An endpoint registers the user of its name, escapes resolved, and nobody else: 403."""
        self.serve()
        self.assertEqual(self.registered(PHONE, user="%61lice").status, 200)
        self.refused(403, "registrar-forbidden", PHONE, user="bob")
        self.refused(403, "registrar-forbidden", user="bob")
        self.assertEqual(self.uris("bob"), [])
        self.finish()

    def test_aors(self) -> None:
        """An endpoint that names users registers these and not its own name."""
        self.serve(endpoint=Endpoint("desk", aors=frozenset({"alice", "sales"})))
        self.assertEqual(self.registered(PHONE, user="sales").status, 200)
        self.refused(403, "registrar-forbidden", PHONE, user="desk")
        self.finish()

    def test_proven(self) -> None:
        """Of an endpoint with several users each registers himself, and nobody else."""
        phones = Endpoint("phones", digest_users=frozenset({"alice", "bob"}))
        self.serve(endpoint=phones, proven="alice")
        self.assertEqual(self.registered(PHONE).status, 200)
        self.refused(403, "registrar-forbidden", PHONE, user="bob")
        self.refused(403, "registrar-forbidden", PHONE, user="phones")
        self.finish()

    def test_digest(self) -> None:
        """A REGISTER is challenged, and the user of its credentials is the one that counts."""
        self.serve()
        users = UserStore()
        for user in ("alice", "bob"):
            users.add(user, "pbx", "secret")
        phones = Endpoint("phones", digest_users=frozenset({"alice", "bob"}))
        portal = Portal(EndpointRealm([phones]), [HA1Checker([users])])
        self.box.core.gates = (DigestGate(portal, "pbx"),)
        logins = DigestCredentials((Login("pbx", "alice", "secret"),))
        for user, status in (("alice", 200), ("bob", 403)):
            request = self.register(PHONE, user=user, call_id=user)
            challenged = self.answer_to("REGISTER")
            self.assertEqual(challenged.status, 401)
            [answer] = answer_challenges(logins, request, challenged)["Authorization"]
            response = self.registered(
                PHONE, user=user, call_id=user, headers=[("Authorization", answer)]
            )
            self.assertEqual(response.status, status)
        self.box.core.gates = ()
        self.finish()

    def test_anonymous(self) -> None:
        """Who was not identified may not register, not even a user of that name."""
        self.serve(endpoint=ANONYMOUS)
        self.refused(403, "registrar-forbidden", PHONE)
        self.refused(403, "registrar-forbidden", PHONE, user="anonymous")
        self.finish()

    def test_anybody(self) -> None:
        """When that was allowed, he may."""
        self.serve(endpoint=ANONYMOUS, admits_anybody=True)
        self.assertEqual(self.registered(PHONE).status, 200)
        self.finish()

    def test_require(self) -> None:
        """An extension that is not known is 420 (step 2); path and outbound are known."""
        self.serve()
        response = self.registered(PHONE, headers=[("Require", "path, gruu")])
        self.assertEqual((response.status, response.headers.get("Unsupported")), (420, "gruu"))
        self.finish()


class ContactTests(RegistrarCase):
    """Steps 6 and 7: the contacts."""

    def test_wildcard(self) -> None:
        """Contact * with Expires 0 removes all (10.2.2)."""
        self.serve()
        self.registered(PHONE, "<sip:two@192.0.2.9>", call_id="a")
        response = self.registered("*", headers=[("Expires", "0")], call_id="b")
        self.assertEqual((response.status, shown(response), self.uris()), (200, [], []))
        self.finish()

    def test_bad_wildcard(self) -> None:
        """A * with another contact, or without Expires 0, is 400 and changes nothing."""
        self.serve()
        self.registered(PHONE)
        zero = [("Expires", "0")]
        self.refused(400, "registrar-wildcard", "*")
        self.refused(400, "registrar-wildcard", "*", headers=[("Expires", "1")])
        self.refused(400, "registrar-wildcard", "*", PHONE, headers=zero)
        self.assertEqual(len(self.uris()), 1)
        self.finish()

    def test_brief(self) -> None:
        """Less than the least is 423 with Min-Expires (10.3 step 7), and nothing changes."""
        self.serve()
        response = self.refused(
            423, "registrar-brief", "<sip:two@192.0.2.9>", f"{PHONE};expires=59"
        )
        self.assertEqual(response.headers.get("Min-Expires"), "60")
        self.assertEqual(self.uris(), [])
        self.finish()

    def test_order(self) -> None:
        """Of one Call-ID an older CSeq fails, for one contact and for all (steps 6 and 7)."""
        self.serve()
        self.registered(PHONE, call_id="a", cseq=7)
        self.refused(500, "registrar-order", f"{PHONE};expires=0", call_id="a", cseq=6)
        self.net.run_for(40)
        self.refused(500, "registrar-order", f"{PHONE};expires=0", call_id="a", cseq=7)
        zero = [("Expires", "0")]
        self.refused(500, "registrar-order", "*", headers=zero, call_id="a", cseq=5)
        self.assertEqual(len(self.uris()), 1)
        self.assertEqual(self.registered(f"{PHONE};expires=0", call_id="b", cseq=1).status, 200)
        self.finish()

    def test_as_a_whole(self) -> None:
        """When one contact cannot be changed none is (step 7: committed as a whole)."""
        self.serve()
        self.registered(PHONE, call_id="a", cseq=7)
        self.refused(500, "registrar-order", "<sip:new@192.0.2.9>", PHONE, call_id="a", cseq=3)
        self.assertEqual(self.uris(), [f"sip:alice@{PEER}"])
        self.finish()

    def test_twice_in_one(self) -> None:
        """A contact that stands twice in one REGISTER counts as it stands last."""
        self.serve()
        response = self.registered(f"{PHONE};expires=100", f"{PHONE};expires=200")
        self.assertEqual(shown(response), [(f"sip:alice@{PEER}", "200")])
        self.finish()

    def test_broken(self) -> None:
        """What nobody could be called at, or was never written properly, is 400."""
        self.serve()
        for contact in (
            "<tel:+123>",
            "<mailto:a@b>",
            f"{PHONE};q=7",
            f"<sip:{'x' * 1100}@192.0.2.9>",
        ):
            self.refused(400, "registrar-contact", contact)
        self.refused(400, "registrar-contact", PHONE, call_id="x" * 600)
        self.refused(400, "bad-uri", "<sip:@>")
        self.assertEqual(self.uris(), [])
        self.finish()

    def test_too_many(self) -> None:
        """A user has a limit of contacts; one that goes makes room in the same request."""
        self.serve(limits=Limits(max_contacts=2))
        one, two, three = (f"<sip:{number}@{PEER}>" for number in "123")
        self.registered(one, two, call_id="a")
        self.refused(403, "registrar-contacts-full", three, call_id="b")
        response = self.registered(f"{one};expires=0", three, call_id="c")
        self.assertEqual([uri for uri, _ in shown(response)], [f"sip:2@{PEER}", f"sip:3@{PEER}"])
        self.finish()

    def test_full(self) -> None:
        """All users together have one too: 503 with Retry-After; those who go are welcome."""
        everybody = Endpoint("trunk", aors=frozenset({"a", "b", "c"}))
        self.serve(endpoint=everybody, limits=Limits(max_bindings=2))
        self.registered(PHONE, user="a")
        self.registered(PHONE, user="b")
        response = self.refused(503, "registrar-full", PHONE, user="c")
        self.assertTrue(response.retry_after)
        self.registered(f"{PHONE};expires=0", user="a")
        self.assertEqual(self.registered(PHONE, user="c").status, 200)
        self.finish()

    def test_expired_make_room(self) -> None:
        """What has expired does not count, though nobody has thrown it away yet."""
        everybody = Endpoint("trunk", aors=frozenset({"a", "b"}))
        self.serve(endpoint=everybody, limits=Limits(min_expires=1, max_bindings=1))
        self.net.run_for(PURGE_PERIOD + 1)
        self.registered(f"{PHONE};expires=10", user="a")
        self.net.run_for(11)
        self.assertEqual(self.registered(PHONE, user="b").status, 200)
        self.refused(503, "registrar-full", PHONE, user="a")
        self.finish()


class WayTests(RegistrarCase):
    """Path, flows and RFC 5626: by which way a binding is reached."""

    def test_source(self) -> None:
        """A contact on the host that sent it is called there; the way is noted."""
        self.serve()
        self.registered(PHONE, headers=[("User-Agent", "Phone \x01 1")])
        (binding,) = self.bindings()
        self.assertEqual(binding.source, Source("UDP", "udp:5060", (PEER, 5060)))
        self.assertEqual((binding.is_pinned, binding.user_agent), (False, "Phone ? 1"))
        self.finish()

    def test_nat(self) -> None:
        """A contact on another host than the sender's is behind a NAT."""
        self.serve()
        self.registered("<sip:alice@10.0.0.7:5062>")
        self.assertTrue(self.bindings()[0].is_pinned)
        self.finish()

    def test_nat_is_kept_open(self) -> None:
        """The way of a phone behind a NAT is kept open as long as it is registered."""
        self.serve()
        keep = self.box.core.keep_alives
        self.registered("<sip:alice@10.0.0.7:5062>;expires=200")
        self.net.run_for(190)
        pings = [event for event in self.net.trace if event.data == b"\r\n\r\n"]
        self.assertGreaterEqual(len(pings), 6)
        self.registered("<sip:alice@10.0.0.7:5062>;expires=200")
        self.net.run_for(190)
        self.assertEqual(len(keep), 1)
        self.net.run_for(10 + PURGE_PERIOD)
        self.assertEqual(len(keep), 0)
        self.registered("<sip:alice@10.0.0.7:5062>", call_id="a")
        self.registered("<sip:alice@10.0.0.7:5062>;expires=0", call_id="a")
        self.assertEqual(len(keep), 0)
        self.registered(PHONE)
        self.assertEqual(len(keep), 0)
        self.finish()

    def test_path(self) -> None:
        """Path is kept, and told in the answer (RFC 3327 5.3); the source is the proxy's."""
        self.serve()
        path = [("Path", "<sip:p2.example;lr>, <sip:p1.example;lr>"), ("Supported", "path")]
        response = self.registered("<sip:alice@10.0.0.7>", headers=path)
        self.assertEqual(
            response.headers.get_all("Path"), ["<sip:p2.example;lr>", "<sip:p1.example;lr>"]
        )
        (binding,) = self.bindings()
        self.assertEqual(len(binding.path), 2)
        self.assertEqual((binding.source, binding.is_pinned), (None, False))
        self.finish()

    def test_bad_path(self) -> None:
        """A Path that no request can take is 400."""
        self.serve()
        for path in ("<sip:p.example>", "<tel:+123>", f"<sip:{'x' * 2100}@p.example;lr>"):
            self.refused(400, "registrar-path", PHONE, headers=[("Path", path)])
        self.finish()

    def test_instances(self) -> None:
        """One instance with the same reg-id replaces its contact; another flow is another one."""
        self.serve()
        for port, reg_id in ((1, 1), (2, 2), (3, 1)):
            response = self.registered(
                f"<sip:alice@{PEER}:{port}>;{URN};reg-id={reg_id}",
                headers=[("Supported", "outbound, path")],
                call_id=str(port),
            )
            self.assertEqual(response.headers.get("Require"), "outbound")
        self.assertEqual(self.uris(), [f"sip:alice@{PEER}:2", f"sip:alice@{PEER}:3"])
        self.assertTrue(all(binding.is_outbound for binding in self.bindings()))
        self.assertTrue(all(binding.is_pinned for binding in self.bindings()))
        self.assertIsNone(response.headers.get("Flow-Timer"))
        self.finish()

    def test_outbound_is_not_asked_for(self) -> None:
        """Without "outbound" in Supported the instance counts, but nothing is promised."""
        self.serve()
        response = self.registered(f"{PHONE};{URN};reg-id=1")
        self.assertIsNone(response.headers.get("Require"))
        self.registered(f"<sip:alice@{PEER}:6000>;{URN};reg-id=1")
        self.assertEqual(self.uris(), [f"sip:alice@{PEER}:6000"])
        self.finish()

    def test_several_with_reg_id(self) -> None:
        """A REGISTER with reg-id has one contact only (RFC 5626 section 6)."""
        self.serve()
        self.refused(400, "registrar-outbound", f"{PHONE};{URN};reg-id=1", "<sip:b@192.0.2.9>")
        self.finish()

    def test_first_hop(self) -> None:
        """Behind a first proxy without "ob" outbound cannot be: 439; with it, it is."""
        self.serve()
        contact = f"{PHONE};{URN};reg-id=1"
        asks = ("Supported", "outbound, path")
        self.refused(
            439, "registrar-first-hop", contact, headers=[asks, ("Path", "<sip:p.example;lr>")]
        )
        proxied = self.peer.request("REGISTER", f"sip:{US}", to=f"<sip:alice@{US}>")
        for name, value in (("Contact", contact), asks):
            proxied.headers.set(name, value)
        proxied.headers.add("Via", "SIP/2.0/UDP 10.0.0.7;branch=z9hG4bK1")
        self.peer.send(proxied, (US, 5060))
        self.assertEqual(self.answer_to("REGISTER").status, 439)
        response = self.registered(contact, headers=[asks, ("Path", "<sip:p.example;lr;ob>")])
        self.assertEqual(response.headers.get("Require"), "outbound")
        self.finish()


class StoreTests(RegistrarCase):
    """The answer waits for the store."""

    def test_one_after_the_other(self) -> None:
        """Two requests of a user are done in order, one of another user meanwhile."""
        everybody = Endpoint("trunk", aors=frozenset({"alice", "bob"}))
        self.serve(store=SlowStore(), endpoint=everybody)
        self.register("<sip:1@192.0.2.9>", call_id="1")
        self.register("<sip:2@192.0.2.9>", call_id="2")
        self.register("<sip:3@192.0.2.9>", user="bob", call_id="3")
        self.net.run_for(0.1)
        waiting = [name for name, _ in self.store.pending]
        self.assertEqual(waiting, ["find alice", "find bob"])
        done = []
        while self.store.pending:
            done.append(self.store.answer())
        self.net.run_for(0.1)
        self.assertEqual(done.count("replace alice"), 2)
        self.assertLess(done.index("replace alice"), len(done) - done[::-1].index("find alice"))
        answers = [self.answer_to("REGISTER") for _ in range(3)]
        self.assertEqual({len(answer.contacts) for answer in answers}, {1, 2})
        self.assertEqual(self.registrar._locks, {})
        self.finish()

    def test_no_answer_before_it_is_stored(self) -> None:
        """Nothing is said until the store has said that it is done."""
        self.serve(store=SlowStore())
        self.register(PHONE)
        self.net.run_for(0.1)
        self.assertEqual(self.store.answer(), "find alice")
        self.peer.expect_silence(1)
        self.assertEqual(self.store.answer(), "replace alice")
        self.assertEqual(self.answer_to("REGISTER").status, 200)
        self.finish()

    def test_failure(self) -> None:
        """A store that fails costs a 500 and a line in the log (10.3 step 7)."""
        self.serve(store=SlowStore())
        self.store.error = OSError("disk full")
        self.refused(500, "registrar-store", PHONE)
        self.store.error = None
        self.register(PHONE)
        self.net.run_for(0.1)
        self.store.answer()
        self.store.answer()
        self.assertEqual(self.answer_to("REGISTER").status, 200)
        self.finish(failures=1)

    def test_silence(self) -> None:
        """A store that never answers costs a 500 in time, and the next request gets its turn."""
        self.serve(store=SlowStore())
        self.register(PHONE, call_id="1")
        self.net.run_for(1)
        self.register(PHONE, call_id="2")
        self.assertEqual(self.answer_to("REGISTER", STORE_LIMIT + 1).status, 500)
        self.store.answer()
        self.assertEqual(self.store.answer(), "find alice")
        self.store.answer()
        self.assertEqual(self.answer_to("REGISTER").status, 200)
        self.finish()

    def test_purge_fails(self) -> None:
        """Expired bindings are forgotten later when the store cannot do it now."""
        self.serve(store=SlowStore())
        self.store.error = OSError("disk full")
        self.net.run_for(PURGE_PERIOD + 1)
        self.store.error = None
        self.finish(failures=1)

    def test_too_many_wait(self) -> None:
        """No more than a number of requests wait for the store: 503."""
        self.serve(store=SlowStore())
        self.registrar._waiting = MAX_WAITING
        response = self.refused(503, "registrar-busy", PHONE)
        self.assertTrue(response.retry_after)
        self.registrar._waiting = 0
        self.finish()


class CopyTests(RegistrarCase):
    """Copies of a REGISTER."""

    def test_lost_answer(self) -> None:
        """A copy of the request gets the same answer again, and is done once."""
        self.serve()
        request: Request = self.register(PHONE)
        first = self.answer_to("REGISTER")
        self.peer.send(request.to_bytes(), (US, 5060))
        self.net.run_for(0.1)
        self.assertEqual(self.peer.count(200), 2)
        self.assertEqual(self.peer.received[-1].headers.get("To"), first.headers.get("To"))
        self.assertEqual(self.box.core.counters.registrations_accepted, 1)
        self.finish()

    def test_two_phones(self) -> None:
        """Two phones of one user are two bindings, each with its own way."""
        self.serve()
        other = ScriptedPeer(self.net.host("192.0.2.10", name="other"))
        self.registered(PHONE)
        request = other.request(
            "REGISTER", f"sip:{US}", to=f"<sip:alice@{US}>", headers={"Contact": "<sip:b@10.1.1.1>"}
        )
        other.send(request, (US, 5060))
        other.expect(200)
        self.assertEqual([binding.is_pinned for binding in self.bindings()], [False, True])
        self.assertEqual(self.bindings()[1].expires, WALL + 3600 + 0.03)
        self.finish()
