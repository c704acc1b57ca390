# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The shipped supplement for the Reason header (:rfc:`3326`)."""

from __future__ import annotations

from sipsess.message import Request, Response
from sipsess.message.reason import Reason
from sipsess.session import EndReason, Session
from sipsess.session.reason import NETWORK, REMOTE
from sipsess.supplement import Retry, SessionSupplement
from sipsess.supplements.reason import ReasonSupplement, get_reasons
from tests.policy.agents import Box, ring
from tests.policy.sessions import Probe, SessionTestCase

BUSY = Reason("Q.850", 17, "User busy")


class Retrying(SessionSupplement):
    """Sends a request again that was refused with 499; it stands after the other supplement."""

    name = "retrying"
    priority = 990

    def incoming_response(self, session: Session, response: Response) -> Retry | None:
        """Retry."""
        return Retry() if response.status == 499 else None


class ReasonTestCase(SessionTestCase):
    """One box with the supplement, and a probe that keeps what was known at each end."""

    def start(self, *supplements: SessionSupplement, **kwargs: object) -> Box:
        """Begin anew."""
        self.ends: list[tuple[tuple[Reason, ...], EndReason | None]] = []
        probe = Probe(priority=1, session_end=self.note)
        return super().start(ReasonSupplement(), probe, *supplements, **kwargs)  # type: ignore[arg-type]

    def note(self, session: Session) -> None:
        """Keep what the peer said and why the session ended."""
        self.ends.append((get_reasons(session), session.end_reason))

    def reason_of(self, message: Request | Response) -> str | None:
        """Return a message's Reason."""
        return message.headers.get("Reason")


class ReceivedTests(ReasonTestCase):
    """What the peer says."""

    def test_bye(self) -> None:
        """RFC 3326 2: both values of a BYE are kept; in words they are the end reason."""
        self.start()
        success = self.call()
        call_id = success.call_id
        self.peer.bye(success, headers={"Reason": "Q.850;cause=16, SIP;cause=200;text=moved"})
        self.peer.expect(200)
        text = "Q.850 16 Normal call clearing, SIP 200 moved"
        kept = (Reason("Q.850", 16), Reason("SIP", 200, "moved"))
        self.assertEqual(self.ends, [(kept, EndReason(REMOTE, "BYE", text=text))])
        self.assertIn(text, self.lines(call_id))
        self.finish()

    def test_bye_without_or_with_a_bad_reason(self) -> None:
        """A Reason is optional, and nothing depends on one that cannot be read."""
        for headers in ({}, {"Reason": "a/b;;"}):
            self.start()
            self.peer.bye(self.call(), headers=headers)
            self.peer.expect(200)
            self.assertEqual(self.ends[0][0], ())
            self.finish()

    def test_cancel(self) -> None:
        """RFC 3326 3.1: "call completed elsewhere" in a CANCEL is known at the end."""
        self.start(play=ring)
        invite = self.invite()
        self.peer.expect(180)
        said = 'SIP;cause=200;text="Call completed elsewhere"'
        self.peer.cancel(invite, headers={"Reason": said})
        self.peer.ack(self.peer.expect(487))
        text = "SIP 200 Call completed elsewhere"
        kept = (Reason("SIP", 200, "Call completed elsewhere"),)
        self.assertEqual(self.ends, [(kept, EndReason(REMOTE, "CANCEL", text=text))])
        self.finish()

    def test_cancel_of_a_reinvite_ends_nothing(self) -> None:
        """A CANCEL that comes too late does not become the end reason."""
        self.start()
        invite = self.invite()
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.peer.cancel(invite, headers={"Reason": "SIP;cause=200"})
        self.net.run_for(0.1)
        self.peer.bye(success, headers={"Reason": "Q.850;cause=17"})
        self.peer.expect(200)
        self.net.run_for(0.1)
        end = self.ends[0][1]
        self.assertEqual(end, EndReason(REMOTE, "BYE", text="Q.850 17 User busy"))
        self.finish()

    def test_refusal_of_our_invite(self) -> None:
        """RFC 6432: the cause of the telephone network in a refusal is kept."""
        self.start()
        _, invite = self.placed()
        self.peer.reply(invite, 480, headers={"Reason": str(BUSY)})
        self.net.run_for(0.1)
        ((kept, end),) = self.ends
        self.assertEqual(kept, (BUSY,))
        self.assertEqual(end, EndReason(REMOTE, "INVITE", 480, "Temporarily Unavailable"))
        self.finish()

    def test_refusal_that_is_followed_by_another_attempt(self) -> None:
        """A refusal that was overcome does not say why the call ended; the last one does."""
        for status, kept in ((200, ()), (486, ()), (480, (BUSY,))):
            self.start(Retrying())
            session, invite = self.placed()
            self.peer.reply(invite, 499, headers={"Reason": "SIP;cause=499"})
            self.peer.expect("ACK")
            headers = {"Reason": str(BUSY)} if kept else {}
            self.peer.reply(self.peer.expect("INVITE"), status, headers=headers)
            self.peer.expect("ACK")
            if status == 200:
                self.hang_up(session)
            self.net.run_for(0.5)
            self.assertEqual(self.ends[0][0], kept)
            self.finish()


class SentTests(ReasonTestCase):
    """What this side says."""

    def test_bye(self) -> None:
        """RFC 3398 8.2.1: who hangs up says normal call clearing."""
        self.start()
        self.call()
        self.session.terminate()
        bye = self.peer.expect("BYE")
        self.assertEqual(self.reason_of(bye), 'Q.850;cause=16;text="Normal call clearing"')
        self.peer.reply(bye, 200)
        self.finish()

    def test_bye_after_a_lost_ack(self) -> None:
        """RFC 3398: when a timer has run out, the BYE says so."""
        self.start()
        self.invite()
        self.peer.expect(200)
        bye = self.peer.expect("BYE", 40)
        self.assertEqual(self.reason_of(bye), 'Q.850;cause=102;text="Recovery on timer expiry"')
        self.peer.reply(bye, 200)
        self.finish()

    def test_other_reasons_stay(self) -> None:
        """A Reason that the application or another supplement has set is left alone."""
        self.start()
        self.call()
        self.session.terminate(headers={"Reason": "SIP;cause=302"})
        bye = self.peer.expect("BYE")
        self.assertEqual(bye.headers.get_all("Reason"), ["SIP;cause=302"])
        self.peer.reply(bye, 200)
        self.finish()

    def test_cancel(self) -> None:
        """RFC 3326 1: a CANCEL says why, and so does the one of a call that nobody answers."""
        for give_up, reason in (
            (False, 'Q.850;cause=16;text="Normal call clearing"'),
            (True, 'SIP;cause=408;text="Request Timeout"'),
        ):
            self.start()
            session, invite = self.placed()
            self.peer.reply(invite, 180)
            self.net.run_for(0.1)
            (session.ending.give_up if give_up else session.terminate)()
            cancel = self.peer.expect("CANCEL")
            self.assertEqual(self.reason_of(cancel), reason)
            self.peer.reply(cancel, 200)
            self.peer.reply(invite, 487)
            self.finish()

    def test_refusals(self) -> None:
        """RFC 6432 and RFC 3398 8.2.6.1: a refusal says the cause; without a mapping, nothing."""
        for status, reason in (
            (486, 'Q.850;cause=17;text="User busy"'),
            (603, 'Q.850;cause=21;text="Call rejected"'),
            (488, None),
        ):
            self.start(play=ring)
            self.invite()
            self.peer.expect(180)
            self.session.terminate(status)
            refusal = self.answer_to("INVITE")
            self.assertEqual((refusal.status, self.reason_of(refusal)), (status, reason))
            self.peer.ack(refusal)
            self.finish()

    def test_refusal_of_a_reinvite(self) -> None:
        """A refusal that ends no call carries no cause."""
        self.start()
        success = self.call()
        self.request_within(success, "INVITE", body=b"x", content_type="text/x")
        refusal = self.answer_to("INVITE")
        self.assertEqual((refusal.status, self.reason_of(refusal)), (415, None))
        self.peer.ack(refusal)
        self.peer.bye(success)
        self.finish()

    def test_network_reasons_without_a_status(self) -> None:
        """The end reason of a session decides; its text for people stays here."""
        self.start()
        self.call()
        self.session.set_reason(EndReason(NETWORK, "BYE", 503, "no route"))
        self.session.terminate()
        bye = self.peer.expect("BYE")
        self.assertEqual(self.reason_of(bye), 'SIP;cause=503;text="Service Unavailable"')
        self.peer.reply(bye, 200)
        self.finish()
