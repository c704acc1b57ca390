# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the manager is given, what is registered later, and the calls that it places."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipsess.call import Call
from sipsess.errors import HeaderValueError, LocalError, PluginError
from sipsess.interfaces import IPrepareRequest, ISessionCreate, ISIPService
from sipsess.manager import DialogManager
from sipsess.message import Request
from sipsess.session import Session
from sipsess.supplement import Reject, SessionSupplement
from tests.policy.agents import PEER, US, BoxTestCase, SilentAudio


class Named(SessionSupplement):
    """A supplement that notes when a session begins."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.begun: list[Session] = []

    def session_begin(self, session: Session) -> None:
        """Note it."""
        self.begun.append(session)


class OtherAudio(SilentAudio):
    """A second handler of the same type."""

    name = "other"


@implementer(ISessionCreate, IPrepareRequest)
class Preparing(SessionSupplement):
    """Has a say before an INVITE leaves."""

    name = "preparing"

    def __init__(self, veto: Any = None, preparation: Any = None) -> None:
        self._veto = veto
        self._preparation = preparation

    def session_create(self, session: Session) -> Deferred[None] | None:
        """Do what the test says."""
        return self._do(self._veto)

    def prepare_request(self, session: Session, request: Request) -> Deferred[None] | None:
        """Change the request, and do what the test says."""
        request.headers.set("X-Prepared", "yes")
        return self._do(self._preparation)

    def _do(self, what: Any) -> Deferred[None] | None:
        if isinstance(what, Exception):
            raise what
        result: Deferred[None] | None = what
        return result


def _hang_up(session: Session) -> None:
    session.terminate()


class RegistrationTests(BoxTestCase):
    """Plugins that come and go."""

    def test_interface(self) -> None:
        """The manager is a service."""
        verifyObject(ISIPService, self.start().manager)

    def test_supplements(self) -> None:
        """One that is registered counts for the sessions that begin later, till it is taken out."""
        self.start(supplements=[Named("a")])
        manager = self.box.manager
        named = Named("b")
        self.peer.bye(self.call())
        manager.register_supplement(named)
        self.assertEqual([item.name for item in manager.chain.supplements], ["a", "b"])
        self.peer.bye(self.call())
        manager.unregister_supplement(named)
        self.peer.bye(self.call())
        self.assertEqual(len(named.begun), 1)
        self.finish()

    def test_supplement_twice(self) -> None:
        """Names are unique."""
        self.start(supplements=[Named("a")])
        error = self.assertRaises(LocalError, self.box.manager.register_supplement, Named("a"))
        self.assertIn("'a'", str(error))

    def test_handlers(self) -> None:
        """The same for SDP handlers, within their media type."""
        manager = self.start().manager
        other = OtherAudio()
        manager.register_sdp_handler(other, "audio")
        names = [item.name for item in manager.handlers["audio"]]
        self.assertEqual(sorted(names), ["other", "silent"])
        self.assertRaises(LocalError, manager.register_sdp_handler, OtherAudio())
        manager.unregister_sdp_handler(other)
        self.assertEqual([item.name for item in manager.handlers["audio"]], ["silent"])
        error = self.assertRaises(LocalError, manager.register_sdp_handler, other, "video")
        self.assertIn("video", str(error))

    def test_unknown_default_application(self) -> None:
        """The default must be there; the text says what is."""
        core = self.start().core
        error = self.assertRaises(LocalError, DialogManager, core, application="gone")
        self.assertEqual(str(error), "there is no application 'gone'; there are: none")

    def test_what_an_application_holds(self) -> None:
        """Without make_call it is a Call."""
        self.start()
        session = self.box.dial()
        self.assertIs(self.box.manager.make_call(session), session)
        self.box.manager._make_call = None
        self.assertIsInstance(self.box.manager.make_call(session), Call)
        self.peer.reply(self.peer.expect("INVITE"), 486)
        self.finish()


class DialTests(BoxTestCase):
    """Calls of ours, before the INVITE leaves."""

    def dial(self, supplement: SessionSupplement | None = None, **kwargs: Any) -> Session:
        """Place a call; its outcome is in ``self.outcome``."""
        self.start(supplements=[supplement] if supplement is not None else [])
        self.outcome: list[Any] = []
        flow = self.box.flow_to((PEER, 5060))
        session = self.box.manager.dial(f"sip:peer@{PEER}", flow, **kwargs)
        session.invite_client.answered.addBoth(self.outcome.append)
        return session

    def test_the_invite(self) -> None:
        """8.1.1, 13.2.1: what an INVITE of ours holds."""
        self.dial()
        invite = self.peer.expect("INVITE")
        self.assertEqual((invite.uri, invite.to.uri), (f"sip:peer@{PEER}", f"sip:peer@{PEER}"))
        self.assertEqual((invite.from_.uri, invite.to_tag), (f"sip:sipsess@{US}", None))
        self.assertEqual((invite.max_forwards, invite.cseq.number), (70, 1))
        self.assertIn("INVITE", invite.allow)
        self.assertEqual(invite.content_type, "application/sdp")
        assert invite.contact is not None
        self.assertEqual(invite.contact.uri, f"sip:{US}:5060")
        self.assertEqual(self.box.manager.leftovers()[0].split()[0], "session")
        self.peer.reply(invite, 486)
        self.finish()

    def test_from_and_headers(self) -> None:
        """The caller may say who he is, and add headers."""
        for text, uri in (("sip:me@here", "sip:me@here"), ('"Me" <sip:me@here>', "sip:me@here")):
            self.dial(from_=text, headers={"Subject": "test"})
            invite = self.peer.expect("INVITE")
            self.assertEqual((invite.from_.uri, invite.headers.get("Subject")), (uri, "test"))
            self.assertIsNotNone(invite.from_tag)
            self.peer.reply(invite, 486)
            self.finish()

    def test_what_cannot_be_written(self) -> None:
        """A line break in a header or URI is refused before anything exists."""
        self.start()
        dial, flow = self.box.manager.dial, self.box.flow_to((PEER, 5060))
        for uri, headers in (("sip:a@b", {"Subject": "a\r\nb"}), ("sip:a b", {})):
            self.assertRaises(HeaderValueError, dial, uri, flow, headers=headers)
        self.finish()

    def test_late_offer(self) -> None:
        """Without media the INVITE has no body."""
        self.dial(offered_media=())
        invite = self.peer.expect("INVITE")
        self.assertEqual((invite.body, invite.content_type), (b"", None))
        self.peer.reply(invite, 486)
        self.finish()

    def test_veto(self) -> None:
        """A veto: no session began, nothing was sent, who dialled hears why."""
        for veto, error in ((Reject(403), Reject), (ZeroDivisionError(), PluginError)):
            session = self.dial(Preparing(veto))
            self.net.run_for(1)
            self.assertIsInstance(self.outcome[0].value, error)
            self.assertTrue(session.is_over)
            self.assertEqual(self.peer.received, [])
            self.assertEqual(self.box.core.counters.sessions_begun, 0)
            self.net.run_for(40)
            self.flushLoggedErrors(ZeroDivisionError)
            self.finish()

    def test_veto_later(self) -> None:
        """The veto may take its time, and so may the end of the call meanwhile."""
        deferred: Deferred[None] = Deferred()
        self.dial(Preparing(deferred))
        self.peer.expect_silence(1)
        deferred.errback(Reject(403))
        self.assertEqual(self.outcome[0].value.status, 403)
        self.finish()
        deferred = Deferred()
        session = self.dial(Preparing(deferred))
        session.terminate()
        self.assertTrue(session.is_over)
        self.finish()

    def test_hung_up_by_who_has_the_veto(self) -> None:
        """A supplement that hangs up instead of raising has its will: no session begins."""
        preparing = Preparing()
        preparing.session_create = _hang_up  # type: ignore[method-assign]
        session = self.dial(preparing)
        self.assertTrue(session.is_over)
        self.assertEqual(self.box.core.counters.sessions_begun, 0)
        self.finish()

    def test_failure_after_the_hang_up(self) -> None:
        """What fails when the call is over already is nobody's affair."""

        def prepare(session: Session, request: Request) -> None:
            session.terminate()
            raise Reject(403)

        preparing = Preparing()
        preparing.prepare_request = prepare  # type: ignore[method-assign]
        session = self.dial(preparing)
        self.net.run_for(1)
        self.assertTrue(session.is_over)
        self.assertEqual(self.peer.received, [])
        self.finish()

    def test_preparation(self) -> None:
        """The INVITE leaves when all is prepared, with what the supplement wrote."""
        deferred: Deferred[None] = Deferred()
        self.dial(Preparing(None, deferred))
        self.peer.expect_silence(1)
        deferred.callback(None)
        invite = self.peer.expect("INVITE")
        self.assertEqual(invite.headers.get("X-Prepared"), "yes")
        self.peer.reply(invite, 486)
        self.finish()

    def test_preparation_fails(self) -> None:
        """Then the call is not made, and the session ends."""
        session = self.dial(Preparing(None, Reject(488)))
        self.net.run_for(1)
        self.assertEqual(self.outcome[0].value.status, 488)
        self.assertTrue(session.is_over)
        self.assertEqual(self.box.core.counters.sessions_ended, 1)
        self.finish()

    def test_hung_up_while_it_is_prepared(self) -> None:
        """No INVITE leaves for a call that nobody wants any more."""
        deferred: Deferred[None] = Deferred()
        session = self.dial(Preparing(None, deferred))
        self.net.run_for(1)
        session.terminate()
        self.net.run_for(1)
        self.assertTrue(session.is_over)
        self.assertEqual(self.peer.received, [])
        self.finish()

    def test_nobody_answers(self) -> None:
        """A call that only rings is cancelled after a while."""
        session = self.dial()
        invite = self.peer.expect("INVITE")
        self.peer.reply(invite, 180)
        self.net.run_for(181)
        self.peer.reply(self.peer.expect("CANCEL"), 200)
        self.peer.reply(invite, 487)
        self.peer.expect("ACK")
        self.assertIn("nobody answered", str(session.end_reason))
        self.finish()
