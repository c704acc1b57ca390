# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""We call SIPp, and do in our calls what telephones do; see ``scenarios/uas_*.xml``."""

from __future__ import annotations

from typing import Any

from sipsess.call import Call
from sipsess.endpoint import DigestCredentials, Endpoint, Login
from sipsess.server import SIPServer
from sipsess.session import Session, SessionEnded
from sipsess.supplements.session_timer import get_timer

from .desk import Desk, encoding_of
from .peers import sip_port, until
from .sipp import LOSSY, TOLERANT, ScenarioTestCase


def place(server: SIPServer, uri: str, **how: Any) -> Session:
    """Place a call as :meth:`.SIPServer.dial` cannot; see :meth:`.DialogManager.dial`."""
    address = ("127.0.0.1", int(uri.partition(";")[0].rpartition(":")[2]))
    kind = server.listeners[0].kind
    flow = server.flow_for(kind, address) or server.connections.open_flow(kind, address, "")
    assert flow is not None
    return server.manager.dial(uri, flow, **how)


class CallingTestCase(ScenarioTestCase):
    """Has a server that calls."""

    def setUp(self) -> None:
        """Start the server."""
        super().setUp()
        self.server = self.serve_all()

    async def until_ended(self, uri: str) -> None:
        """Call, and let SIPp do the rest."""
        call = await self.server.dial(uri)
        await call.ended


class OfferTests(CallingTestCase):
    """Offers in INVITE and re-INVITE."""

    async def test_reinvite(self) -> None:
        """Our re-INVITE changes nothing, SIPp's the media and our target (RFC 3261 14)."""

        async def story(uri: str) -> None:
            call = await self.server.dial(uri)
            response = await call.session.send_reinvite()
            self.assertEqual(response.status, 200)
            await until(lambda: encoding_of(call) == "PCMA", lambda: encoding_of(call))
            await call.hangup()

        await self.called(self.server, "uas_reinvite.xml", story)

    async def hold(self, answer: str, held: str) -> None:
        """Hold SIPp and take it back."""

        async def story(uri: str) -> None:
            call = await self.server.dial(uri)
            assert call.audio is not None
            await call.hold()
            self.assertEqual(call.audio.direction, held)
            await call.resume()
            self.assertEqual(call.audio.direction, "sendrecv")
            await call.hangup()

        await self.called(self.server, "uas_hold.xml", story, answer=answer)

    async def test_hold_answered_by_recvonly(self) -> None:
        """Whom we hold may listen (RFC 3264 8.4)."""
        await self.hold("recvonly", "sendonly")

    async def test_hold_answered_by_inactive(self) -> None:
        """Whom we hold may not even listen (RFC 3264 6.1)."""
        await self.hold("inactive", "inactive")

    async def held(self, direction: str, answer: str, address: str = "127.0.0.1") -> None:
        """Let SIPp hold us and take us back."""
        await self.called(
            self.server,
            "uas_held.xml",
            self.until_ended,
            direction=direction,
            answer=answer,
            address=address,
        )

    async def test_held_by_sendonly(self) -> None:
        """Who is held by sendonly still listens (RFC 3264 8.4)."""
        await self.held("sendonly", "recvonly")

    async def test_held_by_inactive(self) -> None:
        """Who is held by inactive does not even listen (RFC 3264 8.4)."""
        await self.held("inactive", "inactive")

    async def test_held_by_address(self) -> None:
        """To c=0.0.0.0 nothing is sent (RFC 3264 8.4)."""
        await self.held("sendrecv", "recvonly", "0.0.0.0")

    async def test_late_offer(self) -> None:
        """Our ACK answers the offer of a 200 (RFC 3261 13.2.1)."""

        async def story(uri: str) -> None:
            session = place(self.server, uri, offered_media=())
            await session.invite_client.answered
            self.assertEqual(encoding_of(self.server.manager.make_call(session)), "PCMA")
            session.terminate()

        await self.called(self.server, "uas_late_offer.xml", story)


class EarlyTests(CallingTestCase):
    """Reliable provisional responses and early UPDATE."""

    async def test_prack(self) -> None:
        """Each reliable response is acknowledged, and the 183 makes early media (RFC 3262 4, 5)."""

        async def story(uri: str) -> None:
            call = await self.server.dial(uri)
            self.assertIsNotNone(call.audio)
            await call.hangup()

        await self.called(self.server, "uas_prack.xml", story)

    async def test_prack_demanded(self) -> None:
        """We require them for an endpoint that demands them (RFC 3262 4)."""

        async def story(uri: str) -> None:
            strict = Endpoint("strict", reliable="required")
            session = place(self.server, uri, endpoint=strict)
            with self.assertRaises(SessionEnded) as caught:
                await session.invite_client.answered
            self.assertEqual(caught.exception.reason.status, 420)

        await self.called(self.server, "uas_prack_demanded.xml", story)

    async def test_prack_late_offer(self) -> None:
        """Our PRACK answers the offer of a 183 (RFC 3262 5)."""

        async def story(uri: str) -> None:
            session = place(self.server, uri, offered_media=())
            await session.invite_client.answered
            self.assertEqual(encoding_of(self.server.manager.make_call(session)), "PCMA")
            session.terminate()

        await self.called(self.server, "uas_prack_late_offer.xml", story)

    async def test_update(self) -> None:
        """Both sides change the media, before the call is answered and afterwards (RFC 3311 5)."""

        async def story(uri: str) -> None:
            session = place(self.server, uri)
            response = await session.send_update(with_offer=True)
            self.assertEqual((response.status, session.is_answered), (200, False))
            await session.invite_client.answered
            call = self.server.manager.make_call(session)
            assert call.audio is not None
            self.assertEqual(encoding_of(call), "PCMA")
            await session.send_update()
            audio = call.audio
            await until(lambda: audio.direction == "recvonly", lambda: audio.direction)
            await call.hangup()

        await self.called(self.server, "uas_update.xml", story)


class TimerTests(CallingTestCase):
    """Session timers: what is agreed, and refreshes that come early."""

    async def test_we_refresh(self) -> None:
        """We ask for as much as a 422 wants, and refresh (RFC 4028 7.3, 7.4)."""

        async def story(uri: str) -> None:
            call = await self.server.dial(uri, headers={"Session-Expires": "90"})
            await call.session.refresh()
            timer = get_timer(call.session)
            assert timer is not None
            self.assertEqual((str(timer.current), timer.is_refresher), ("120", True))
            await call.hangup()

        await self.called(self.server, "uas_timer.xml", story)

    async def test_callee_refreshes(self) -> None:
        """SIPp refreshes, when it asked for the timer itself (RFC 4028 9)."""
        await self.called(self.server, "uas_timer_callee.xml", self.until_ended)


class RaceTests(CallingTestCase):
    """Requests that cross each other on the way, and answers."""

    async def test_glare(self) -> None:
        """Two re-INVITEs cross, and both pass in the end (RFC 3261 14.1)."""

        async def story(uri: str) -> None:
            call = await self.server.dial(uri)
            response = await call.session.send_reinvite()
            self.assertEqual((response.status, encoding_of(call)), (200, "PCMA"))
            await call.hangup()

        await self.called(self.server, "uas_glare.xml", story)

    async def give_up(self, uri: str) -> None:
        """Call, and hang up before anybody answers."""
        with self.assertRaises(SessionEnded):
            await self.server.dial(uri, timeout=0.2)

    async def test_cancel(self) -> None:
        """We cancel what rings (RFC 3261 9.1)."""
        await self.called(self.server, "uas_cancel.xml", self.give_up)

    async def test_cancel_late(self) -> None:
        """We cancel no INVITE that nothing has come to yet (RFC 3261 9.1)."""
        await self.called(self.server, "uas_cancel_late.xml", self.give_up)

    async def test_cancel_too_late(self) -> None:
        """We hang up what is answered while we cancel it (RFC 5407 3.1.2)."""
        await self.called(self.server, "uas_cancel_too_late.xml", self.give_up)

    async def test_fork(self) -> None:
        """Of two who answer, the second is hung up (RFC 3261 13.2.2.4)."""
        await self.called(self.server, "uas_fork.xml", self.until_ended)


class TransferTests(CallingTestCase):
    """REFER and Replaces."""

    async def test_blind(self) -> None:
        """We hear that SIPp has called somebody else, and hang up (RFC 5589 6)."""

        async def story(uri: str) -> None:
            call = await self.server.dial(uri)
            outcome = await call.transfer("sip:carol@127.0.0.1:5080")
            self.assertEqual(outcome.status, 200)

        await self.called(self.server, "uas_refer.xml", story)

    async def test_blind_by_callee(self) -> None:
        """We call whom the callee wants us to call (RFC 5589 6)."""
        desk = Desk()
        other = self.serve_all(desk)

        async def story(uri: str) -> None:
            call = await self.server.dial(uri)
            moved = await desk.answered()
            self.assertEqual(moved.dialled, "carol")
            # SIPp hangs up when it has heard of that.
            await until(lambda: len(self.server.manager.sessions) == 1, lambda: "SIPp is there")
            self.assertEqual(call.session.call_id, moved.session.call_id)
            await call.hangup()

        target = self.target_of(other)
        await self.called(self.server, "uas_transfers.xml", story, target=target)
        await self.quiet(other)

    async def test_refused(self) -> None:
        """We hear what refused the transfer, SIPp or its target; the call goes on (RFC 5589 6)."""

        async def story(uri: str) -> None:
            call = await self.server.dial(uri)
            outcomes = [await call.transfer("sip:carol@127.0.0.1:5080") for _ in range(2)]
            self.assertEqual([outcome.status for outcome in outcomes], [603, 486])
            await call.ended

        await self.called(self.server, "uas_refer_refused.xml", story)

    def serve_target(self, desk: Desk) -> SIPServer:
        """Start the server whose call SIPp shall replace; SIPp leaves no connection for another."""
        server = self.serve_all(desk)
        if self.transport != "UDP":
            self.server = server
        return server

    async def test_attended(self) -> None:
        """SIPp calls the peer of another call of ours in our place (RFC 5589 7)."""
        desk = Desk()
        other = self.serve_target(desk)
        port = str(sip_port(other))
        calls: list[Call] = []

        async def story(uri: str) -> None:
            calls.append(await self.server.dial(uri))
            calls.append(await self.server.dial(f"sip:desk@{self.target_of(other)}"))
            outcome = await calls[0].transfer(replaces=calls[1])
            self.assertEqual(outcome.status, 200)
            [call] = desk.calls
            self.assertIn("Replaces", call.request.headers)
            for each in (*calls, call):
                await each.ended

        await self.called(
            self.server, "uas_refer_attended.xml", story, target="127.0.0.1", target_port=port
        )
        await self.quiet(other)


class OtherRequestTests(CallingTestCase):
    """INFO and OPTIONS."""

    async def test_info(self) -> None:
        """Keys go by INFO where RTP events are not taken (RFC 4733), and come so."""

        async def story(uri: str) -> None:
            call = await self.server.dial(uri)
            await call.send_digits("1#")
            self.assertEqual(await call.read_digits(1, timeout=5), "9")
            await call.hangup()

        await self.called(self.server, "uas_info.xml", story)

    async def test_options(self) -> None:
        """Each side says what it can (RFC 3261 11.2)."""

        async def story(uri: str) -> None:
            call = await self.server.dial(uri)
            response = await call.session.send_request("OPTIONS")
            self.assertEqual(response.status, 200)
            await call.ended

        await self.called(self.server, "uas_options.xml", story)


class LossTests(CallingTestCase):
    """A bad network."""

    async def test_loss(self) -> None:
        """No call fails when every twentieth message is lost (RFC 3261 17.2, 13.3.1.4)."""

        async def story(uri: str) -> None:
            for deferred in [self.server.dial(uri) for _ in range(100)]:
                call = await deferred
                await call.hangup()

        options = ("-m", "100", *LOSSY, *TOLERANT)
        await self.called(self.server, "uas_lossy.xml", story, options=options)
        self.assertGreater(self.count_repeated(self.server), 0, "nothing was lost")


class DigestTests(CallingTestCase):
    """Passwords."""

    async def test_password(self) -> None:
        """SIPp finds our answer right, with and without a quality of protection (RFC 3261 22.4)."""
        credentials = DigestCredentials((Login("pbx", "bob", "zanzibar"),))
        endpoint = Endpoint("pbx", credentials=credentials)

        async def story(uri: str) -> None:
            call = await self.server.dial(uri, endpoint=endpoint)
            await call.hangup()

        for challenge in ('algorithm=MD5, qop="auth"', "algorithm=MD5", 'qop="auth-int"'):
            await self.called(self.server, "uas_digest.xml", story, challenge=challenge)
