# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""SIPp calls our server, and does in its calls what telephones do; see ``scenarios/uac_*.xml``."""

from __future__ import annotations

from typing import Literal

from zope.interface import implementer

from sipsess import overload
from sipsess.application import Application
from sipsess.applications.early import EarlyApplication
from sipsess.applications.echo import EchoApplication
from sipsess.applications.reject import RejectApplication
from sipsess.applications.ring import RingApplication
from sipsess.call import Call
from sipsess.core import Admission
from sipsess.endpoint import Endpoint
from sipsess.interfaces import IRequestGate
from sipsess.supplement import Verdict

from .desk import Desk
from .peers import sip_port, until
from .sipp import LOSSY, TOLERANT, ScenarioTestCase
from .users import make_digest_gate


class Reader(Application):
    """Keeps two keys."""

    name = "reader"
    digits = ""

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        await call.answer()
        self.digits = await call.read_digits(2, timeout=60, terminators="")
        await call.ended


@implementer(IRequestGate)
class Policy:
    """
    Lets everybody in.

    :param reliable: what is asked of everybody, as in :class:`.Endpoint`.
    """

    name = "policy"

    def __init__(self, reliable: Literal["no", "supported", "required"]) -> None:
        self._endpoint = Endpoint("everybody", reliable=reliable)

    def admit(self, admission: Admission) -> Verdict:
        """See :meth:`.IRequestGate.admit`."""
        admission.endpoint = self._endpoint
        return Verdict.CONTINUE


class OfferTests(ScenarioTestCase):
    """Offers in INVITE and re-INVITE."""

    async def test_reinvite(self) -> None:
        """The media and the target of our requests change (RFC 3261 14.2)."""
        desk = Desk()

        async def hang_up() -> None:
            call = await desk.heard("PCMA")
            await call.hangup()

        await self.calls(self.serve_all(desk), "uac_reinvite.xml", hang_up)

    async def hold(self, direction: str, answer: str, address: str = "127.0.0.1") -> None:
        """Let SIPp hold us and take us back."""
        server = self.serve_all(EchoApplication())
        await self.calls(
            server, "uac_hold.xml", direction=direction, answer=answer, address=address
        )

    async def test_hold_by_sendonly(self) -> None:
        """Who is held by sendonly still listens (RFC 3264 8.4)."""
        await self.hold("sendonly", "recvonly")

    async def test_hold_by_inactive(self) -> None:
        """Who is held by inactive does not even listen (RFC 3264 8.4)."""
        await self.hold("inactive", "inactive")

    async def test_hold_by_address(self) -> None:
        """To c=0.0.0.0 nothing is sent (RFC 3264 8.4)."""
        await self.hold("sendrecv", "recvonly", "0.0.0.0")

    async def test_late_offer(self) -> None:
        """An INVITE or re-INVITE without offer gets ours (RFC 3261 13.2.1, 14.2)."""
        await self.calls(self.serve_all(EchoApplication()), "uac_late_offer.xml")

    async def test_late_offer_unanswered(self) -> None:
        """An ACK without the answer that is due ends the call (RFC 3261 13.2.1)."""
        await self.calls(self.serve_all(EchoApplication()), "uac_late_offer_unanswered.xml")


class EarlyTests(ScenarioTestCase):
    """Reliable provisional responses and early UPDATE."""

    async def test_prack(self) -> None:
        """The 183 brings the answer, and the 200 waits for its PRACK (RFC 3262 3, 5)."""
        await self.calls(self.serve_all(EarlyApplication(0.1)), "uac_prack.xml")

    async def test_prack_late_offer(self) -> None:
        """The 183 brings the offer, and its PRACK the answer (RFC 3262 5)."""
        await self.calls(self.serve_all(EarlyApplication(0.1)), "uac_prack_late_offer.xml")

    async def test_prack_demanded(self) -> None:
        """An endpoint may demand them (RFC 3262 3)."""
        server = self.serve_all(RingApplication(0.1), gates=[Policy("required")])
        await self.calls(server, "uac_prack_demanded.xml")

    async def test_prack_refused(self) -> None:
        """An endpoint may have none (RFC 3261 8.2.2.3)."""
        server = self.serve_all(EarlyApplication(0.1), gates=[Policy("no")])
        await self.calls(server, "uac_prack_refused.xml")

    async def test_update(self) -> None:
        """The media change before the call is answered, and afterwards (RFC 3311 5.2)."""
        desk = Desk(is_early=True)

        async def answer() -> None:
            await desk.heard("PCMA")
            desk.go.callback(None)

        await self.calls(self.serve_all(desk), "uac_update.xml", answer)

    async def test_update_too_early(self) -> None:
        """An UPDATE with an offer must wait while another offer is open (RFC 3311 5.2)."""
        await self.calls(self.serve_all(RingApplication(30)), "uac_update_too_early.xml")


class TimerTests(ScenarioTestCase):
    """Session timers: what is agreed, and refreshes that come early."""

    async def test_caller_refreshes(self) -> None:
        """What is too short is refused; what is agreed stays with each refresh (RFC 4028 6, 9)."""
        await self.calls(self.serve_all(EchoApplication()), "uac_timer.xml")

    async def test_we_refresh(self) -> None:
        """We refresh when the caller does not want to (RFC 4028 9)."""
        desk = Desk()

        async def refresh() -> None:
            call = await desk.answered()
            await call.session.refresh()

        await self.calls(self.serve_all(desk), "uac_timer_callee.xml", refresh)


class RaceTests(ScenarioTestCase):
    """Requests that cross each other on the way."""

    async def test_glare(self) -> None:
        """Two re-INVITEs cross, and both pass in the end (RFC 3261 14.1)."""
        desk = Desk()

        async def reinvite() -> None:
            call = await desk.answered()
            response = await call.session.send_reinvite()
            self.assertEqual(response.status, 200)

        await self.calls(self.serve_all(desk), "uac_glare.xml", reinvite)

    async def test_cancel(self) -> None:
        """A CANCEL ends what rings (RFC 3261 9.2)."""
        await self.calls(self.serve_all(RingApplication(30)), "uac_cancel.xml")

    async def test_cancel_at_once(self) -> None:
        """So does one that comes with its INVITE (RFC 5407 appendix C)."""
        server = self.serve_all(RingApplication(30))
        await self.calls(server, "uac_cancel_at_once.xml", options=TOLERANT)

    async def test_cancel_too_late(self) -> None:
        """One that crosses the 200 ends nothing (RFC 3261 9.2)."""
        await self.calls(self.serve_all(EchoApplication()), "uac_cancel_too_late.xml")


class TransferTests(ScenarioTestCase):
    """REFER and Replaces."""

    async def test_blind(self) -> None:
        """We call whom the caller wants us to call, and our application goes on (RFC 5589 6)."""
        desk = Desk()
        other = self.serve_all(EchoApplication())
        target = self.target_of(other)
        server = self.serve_all(desk)

        async def talk() -> None:
            call = await desk.answered()
            await until(lambda: not call.session.is_callee, lambda: "the call has not moved")
            self.assertEqual(call.callee, f"sip:service@{target.partition(';')[0]}")
            await call.session.when_confirmed()
            # SIPp hangs up when it has heard of that.
            await until(lambda: len(server.manager.sessions) == 1, lambda: "SIPp is still there")
            await call.hangup()

        await self.calls(server, "uac_refer.xml", talk, target=target)
        await self.quiet(other)

    async def test_blind_by_us(self) -> None:
        """We let the caller call somebody else, and hang up then (RFC 5589 6)."""
        desk = Desk()

        async def transfer() -> None:
            call = await desk.answered()
            outcome = await call.transfer("sip:carol@127.0.0.1:5080")
            self.assertEqual(outcome.status, 200)

        await self.calls(self.serve_all(desk), "uac_transferred.xml", transfer)

    async def test_refused(self) -> None:
        """The caller hears that the target has refused, and the call goes on (RFC 5589 6)."""
        other = self.serve_all(RejectApplication())
        target = self.target_of(other)
        await self.calls(self.serve_all(Desk()), "uac_refer_refused.xml", target=target)
        await self.quiet(other)

    async def test_attended(self) -> None:
        """Two calls of SIPp become one between us and ourselves (RFC 5589 7)."""
        desk = Desk()
        server = self.serve_all(desk)

        async def talk() -> None:
            # Each of the two applications has a call still, and it is the same one.
            await until(
                lambda: (
                    len(server.manager.sessions) == len(desk.calls) == 2
                    and len({call.session.call_id for call in desk.calls}) == 1
                ),
                lambda: f"{desk.calls}",
            )
            await desk.calls[0].hangup()

        target = self.target_of(server)
        options = ("-cid_str", "%u-%p")
        await self.calls(server, "uac_refer_attended.xml", talk, options=options, target=target)

    async def test_replaces(self) -> None:
        """A new call takes the place of the old one (RFC 3891 3)."""
        desk = Desk()
        server = self.serve_all(desk)
        await self.calls(server, "uac_replaces.xml", options=("-cid_str", "%u-%p"))
        self.assertEqual(len(desk.calls), 1, "the application must go on in the new call")
        self.assertEqual(desk.calls[0].request.headers.get("Require"), "replaces")


class OtherRequestTests(ScenarioTestCase):
    """INFO, OPTIONS, and methods that nobody knows."""

    async def test_info(self) -> None:
        """Keys are taken; what nobody takes is refused (RFC 6086 4.2.2)."""
        reader = Reader()
        await self.calls(self.serve_all(reader), "uac_info.xml")
        self.assertEqual(reader.digits, "5#")

    async def test_options(self) -> None:
        """We say what we can; an unknown method is refused (RFC 3261 11.2, 8.2.1)."""
        await self.calls(self.serve_all(EchoApplication()), "uac_options.xml")


class LossTests(ScenarioTestCase):
    """A bad network."""

    async def test_loss(self) -> None:
        """No call fails when every twentieth message is lost (RFC 3261 17.1, 13.3.1.4)."""
        # What waits because this machine has something else to do is not refused.
        self.patch(overload, "INTERVAL", 3600.0)
        server = self.serve_all(EchoApplication())
        await self.calls(server, "uac_lossy.xml", options=("-m", "100", "-r", "50", *LOSSY))
        self.assertGreater(self.count_repeated(server), 0, "nothing was lost")


class ProcessTests(ScenarioTestCase):
    """A server with all that it has when it is started from the command line."""

    async def test_twistd(self) -> None:
        """``twistd sipsess`` takes the same calls, keeps nothing of them, and ends with 0."""
        control = str(self.folder / "control.sock")
        server, port = await self.start_server("--control", control)
        for user, scenario in (
            ("echo", "uac_info.xml"),
            ("echo", "uac_late_offer.xml"),
            ("echo", "uac_options.xml"),
            ("echo", "uac_timer.xml"),
            ("early", "uac_prack.xml"),
            ("ring", "uac_cancel.xml"),
        ):
            await self.calls_port(port, scenario, options=("-s", user))
        await self.check_nothing_left(server, port, control)
        self.assertEqual(await server.stop(), 0, server.tail())
        self.assertNotIn("Traceback", server.output)


class DigestTests(ScenarioTestCase):
    """Passwords."""

    async def test_password(self) -> None:
        """Who knows the password may call; SIPp speaks MD5 (RFC 3261 22)."""
        server = self.serve_all(EchoApplication(), gates=[make_digest_gate("bob", ["MD5"])])
        # Of itself it would leave the user out of the digest's URI.
        uri = f"service@127.0.0.1:{sip_port(server)}"
        await self.calls(server, "uac_digest.xml", options=("-auth_uri", uri))
        self.assertEqual(server.core.counters.refused, {"digest-missing": 1})
