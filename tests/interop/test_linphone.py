# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""linphone, a telephone of others than baresip's makers, is called by our server and calls it."""

from __future__ import annotations

from dataclasses import replace

from sipsess.applications.echo import EchoApplication
from sipsess.applications.hello import HelloApplication
from sipsess.call import Call
from sipsess.endpoint import ANONYMOUS, AnonymousGate
from sipsess.media import read_wav
from sipsess.message.digest import Authorization
from sipsess.server import SIPServer

from .desk import Desk
from .linphone import Linphone, start_answerer, start_linphone
from .peers import PeerTestCase, sip_port, until
from .sounds import THEIRS, has_tone, write_tone
from .users import PASSWORD, make_digest_gate


class LinphoneTestCase(PeerTestCase):
    """Listens to the telephone."""

    async def says_tone(self, call: Call) -> None:
        """Check that the telephone's tone is what we hear."""
        path = (await call.record(self.folder / "recorded.wav", max_seconds=1.0)).path
        self.assertTrue(has_tone(read_wav(path), THEIRS))


class AnswererTests(LinphoneTestCase):
    """The telephone of ``lp-auto-answer``."""

    async def test_answer_and_audio(self) -> None:
        """It answers with a description of its own, only speaks, and we hear it."""
        _, uri = await start_answerer(self, write_tone(self.folder))
        server = self.serve_all()
        call = await server.dial(uri)
        assert call.audio is not None
        self.assertEqual((call.audio.direction, call.audio.codec.encoding), ("recvonly", "PCMU"))
        await self.says_tone(call)
        await call.hangup()
        await self.quiet(server)


class CalledTests(LinphoneTestCase):
    """We call the telephone."""

    async def test_hold_keys_and_audio(self) -> None:
        """It knows that we hold it and take it back, hears our keys, and is heard."""
        phone = await start_linphone(self)
        server = self.serve_all()
        call = await server.dial(phone.uri)
        assert call.audio is not None
        await call.hold()
        await phone.expect("PausedByRemote")
        self.assertEqual(call.audio.direction, "sendonly")
        before = phone.mark()
        await call.resume()
        await phone.expect("StreamsRunning", before)
        self.assertEqual(call.audio.direction, "sendrecv")
        await call.send_digits("5#")
        await phone.process.expect(r"Tone: 5\n[^?]*Tone: #\n", before)
        await phone.command(f"incall-player-start {write_tone(self.folder)} 1")
        await self.says_tone(call)
        await call.hangup()
        await phone.expect("End")
        await self.quiet(server)


class CallingTests(LinphoneTestCase):
    """The telephone calls."""

    async def test_password(self) -> None:
        """It answers the better one of two challenges (RFC 8760 2.4)."""
        phone = await start_linphone(self, PASSWORD)
        server = self.serve_all(EchoApplication(), gates=[make_digest_gate("linphone")])
        await phone.call(server)
        self.assertEqual(server.core.counters.refused, {"digest-missing": 1})
        (session,) = server.manager.sessions
        given = Authorization.parse(session.invite.headers.get("Authorization") or "")
        self.assertEqual(given.algorithm, "SHA-256")
        session.terminate()
        await phone.expect("End")
        await self.quiet(server)

    async def test_hold_and_keys(self) -> None:
        """It holds us and takes us back, and presses the key that ends the call."""
        phone = await start_linphone(self)
        server = self.serve_all(HelloApplication())
        await phone.call(server)
        [session] = server.manager.sessions
        audio = session.channel.audio if session.channel else None
        assert audio is not None
        await phone.command("call-pause 1", "Paused")
        self.assertEqual(audio.direction, "recvonly")
        await phone.command("call-resume 1", "StreamsRunning")
        self.assertEqual(audio.direction, "sendrecv")
        await phone.command("dtmf #", "End")
        await self.quiet(server)


class TonesTests(LinphoneTestCase):
    """The telephone is answered without RTP events."""

    async def test_keys(self) -> None:
        """It presses its keys as tones then, and they are heard."""
        phone = await start_linphone(self)
        gate = AnonymousGate(replace(ANONYMOUS, dtmf="inband"))
        desk = Desk()
        server = self.serve_all(desk, gates=[gate])
        await phone.call(server)
        call = await desk.answered()
        assert call.audio is not None
        self.assertFalse(call.audio.has_events)
        for key in "19*3":
            reading = call.read_digits(1, timeout=10.0)
            await phone.command(f"dtmf {key}")
            self.assertEqual(await reading, key)
        await call.hangup()
        await self.quiet(server)


class TransferTests(LinphoneTestCase):
    """Calls are transferred, by the telephone and by us."""

    async def calling(self, desk: Desk) -> tuple[Linphone, SIPServer, Call]:
        """Let the telephone call a server; return our call, too."""
        phone = await start_linphone(self)
        server = self.serve_all(desk)
        await phone.call(server)
        return phone, server, await desk.answered()

    async def test_telephone_transfers_us(self) -> None:
        """It sends us to another server: our application goes on with that one."""
        phone, server, call = await self.calling(Desk())
        other = self.serve_all(EchoApplication())
        target = f"sip:echo@127.0.0.1:{sip_port(other)}"
        await phone.command(f"call-transfer 1 {target}", "End")
        self.assertEqual((call.callee, call.is_answered), (target, True))
        self.assertEqual(len(other.manager.sessions), 1)
        await call.hangup()
        await self.quiet(server)
        await self.quiet(other)

    async def test_we_transfer_the_telephone(self) -> None:
        """We send it to another server, which it calls."""
        phone, server, call = await self.calling(Desk())
        desk = Desk()
        other = self.serve_all(desk)
        outcome = await call.transfer(f"sip:desk@127.0.0.1:{sip_port(other)}")
        self.assertEqual(outcome.status, 200)
        await self.quiet(server)
        call = await desk.answered()
        self.assertEqual(call.caller, "sip:linphone@127.0.0.1")
        await phone.command("terminate 2")
        await self.quiet(other)

    async def test_we_connect_the_telephone(self) -> None:
        """We connect it with the peer of another call of ours, in our place (RFC 5589 7)."""
        _, server, first = await self.calling(Desk())
        desk = Desk()
        other = self.serve_all(desk)
        second = await server.dial(f"sip:desk@127.0.0.1:{sip_port(other)}")
        outcome = await first.transfer(replaces=second)
        self.assertEqual(outcome.status, 200)
        await self.quiet(server)
        [call] = desk.calls
        await until(lambda: "Replaces" in call.request.headers, lambda: "it was not replaced")
        self.assertEqual(call.caller, "sip:linphone@127.0.0.1")
        await call.hangup()
        await self.quiet(other)
