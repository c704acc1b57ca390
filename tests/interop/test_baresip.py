# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""baresip, a telephone, calls our server and is called by it; both hear each other."""

from __future__ import annotations

import os
import pathlib

from twisted.internet.defer import Deferred

from sipsess.application import Application
from sipsess.applications.echo import EchoApplication
from sipsess.applications.hello import HelloApplication
from sipsess.call import Call
from sipsess.media import PCMU, load_digit, load_sound, read_wav
from sipsess.media.codecs import SAMPLE_RATE
from sipsess.server import SIPServer
from tests.pure.signals import rms
from tests.pure.speech import correlation, find_delay

from .desk import Desk
from .peers import Baresip, Capture, PeerTestCase, sip_port, start_baresip, until
from .sounds import OURS, SPEECH, THEIRS, has_tone, write_speech, write_tone
from .tools import ROOT, free_port, phone_command
from .users import PASSWORD, make_digest_gate

#: Seconds between the three pieces of what is said that are compared.
TALK = 300 if os.environ.get("SIPSESS_LONG") else 3


def contains(heard: bytes, said: bytes, share: float = 0.9) -> bool:
    """Tell whether that share of what was said was heard: to the bit, as G.711 carries it."""
    got, wanted = PCMU.encode(heard[: len(heard) & ~1]), PCMU.encode(said)
    length = SAMPLE_RATE // 10
    pieces = [wanted[at : at + length] for at in range(0, len(wanted) - length, length)]
    # Silence is found everywhere.
    pieces = [piece for piece in pieces if len(set(piece)) > 8]
    return sum(piece in got for piece in pieces) >= share * len(pieces) > 0


class Keys(Application):
    """Keeps the keys that are pressed; at ``#`` it says a tone until it may hang up."""

    name = "keys"

    def __init__(self) -> None:
        self.digits = ""
        self.leave: Deferred[None] = Deferred()

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        await call.answer()
        while not self.digits.endswith("#"):
            self.digits += await call.read_digits(1, timeout=60, terminators="")
        playing = call.play_tone((OURS,), 60.0)
        await self.leave
        playing.addErrback(lambda failure: None).cancel()


class BaresipTestCase(PeerTestCase):
    """Has a telephone that says a tone."""

    async def start_phone(self, password: str = "", speaks: pathlib.Path | None = None) -> Baresip:
        """Start the telephone."""
        self.require("baresip")
        path = speaks or write_tone(self.folder)
        return await start_baresip(self, path, password=password)

    async def dial(self, phone: Baresip, server: SIPServer, user: str) -> None:
        """Let the telephone call the server."""
        await phone.control.command("dial", f"sip:{user}@127.0.0.1:{sip_port(server)}")
        await phone.control.expect("CALL_ESTABLISHED")

    async def hears(self, phone: Baresip, frequency: float) -> None:
        """Wait until the telephone hears a tone."""
        await until(
            lambda: has_tone(phone.heard(), frequency),
            lambda: f"no {frequency} Hz in {len(phone.heard())} bytes:\n{phone.process.tail()}",
        )

    async def press(self, phone: Baresip, key: str) -> None:
        """Press a key of the telephone."""
        await phone.control.command("sndcode", key)


class CallingTests(BaresipTestCase):
    """The telephone calls."""

    timeout = 6 * TALK + 90

    async def test_echo(self) -> None:
        """What the telephone says comes back, until it hangs up."""
        phone = await self.start_phone()
        server = self.serve(EchoApplication())
        await self.dial(phone, server, "echo")
        await self.hears(phone, THEIRS)
        await phone.control.command("hangup")
        await self.quiet(server)

    async def test_speech(self) -> None:
        """Speech comes back alike to 0.95, as loud, without drift; ten minutes in a long run."""
        phone = await self.start_phone(speaks=write_speech(self.folder, 2 * TALK + 5))
        server = self.serve(EchoApplication())
        await self.dial(phone, server, "echo")
        length, begin, step = SAMPLE_RATE, 2 * SAMPLE_RATE, TALK * 2 * SAMPLE_RATE
        end = begin + 2 * step + length
        await until(
            lambda: len(phone.heard()) >= end,
            lambda: f"only {len(phone.heard())} of {end} bytes were heard:\n{phone.process.tail()}",
            limit=2 * TALK + 30,
        )
        await phone.control.command("hangup")
        heard, said = phone.heard(), SPEECH + SPEECH
        places = []
        for at in range(begin, begin + 2 * step + 1, step):
            piece = heard[at : at + length]
            place = 2 * round(find_delay(piece[: length // 10], said, 5.0) * SAMPLE_RATE)
            self.assertGreater(correlation(piece, said[place : place + length]), 0.95, at)
            self.assertLess(abs(rms(piece) - rms(said[place : place + length])), 1.0)
            places.append((at - place) % len(SPEECH))
        # Between their recorder and their player the telephone may be a frame or two late, not we.
        self.assertLessEqual(max(places) - min(places), 4 * 320, places)
        await self.quiet(server)

    async def test_password(self) -> None:
        """It knows MD5, and gives up when another algorithm is offered besides (RFC 3261 22)."""
        phone = await self.start_phone(PASSWORD)
        server = self.serve(EchoApplication(), gates=[make_digest_gate("phone", ["MD5"])])
        await self.dial(phone, server, "echo")
        await self.hears(phone, THEIRS)
        await phone.control.command("hangup")
        await self.quiet(server)
        self.assertEqual(server.core.counters.refused, {"digest-missing": 1})

    async def test_keys(self) -> None:
        """The keys of the telephone reach the application, which speaks, and hangs up."""
        phone = await self.start_phone()
        application = Keys()
        server = self.serve(application)
        await self.dial(phone, server, "keys")
        for key in ("1", "9", "*", "#"):
            before = len(application.digits)
            await self.press(phone, key)
            await until(
                lambda before=before: len(application.digits) > before,  # type: ignore[misc]
                lambda: f"only {application.digits!r} arrived:\n{phone.process.tail()}",
            )
        self.assertEqual(application.digits, "19*#")
        await self.hears(phone, OURS)
        application.leave.callback(None)
        await phone.control.expect("CALL_CLOSED")
        await self.quiet(server)

    async def test_hello(self) -> None:
        """The greeting is heard to the bit, keys are said back, ``#`` ends the call."""
        phone = await self.start_phone()
        server = self.serve(HelloApplication())
        await self.dial(phone, server, "hello")
        for sound, key in ((load_sound("hello"), "5"), (load_digit("5"), "#")):
            await until(
                lambda sound=sound: contains(phone.heard(), sound),  # type: ignore[misc]
                lambda: f"it was not heard:\n{phone.process.tail()}",
            )
            await self.press(phone, key)
        await phone.control.expect("CALL_CLOSED")
        # Its last words wait in the telephone's jitter buffer when the BYE comes.
        self.assertTrue(contains(phone.heard(), load_sound("goodbye"), share=0.5))
        await self.quiet(server)

    async def test_hold(self) -> None:
        """The telephone puts us on hold and takes us back, by re-INVITE (RFC 3264 8.4)."""
        phone = await self.start_phone()
        server = self.serve(EchoApplication())
        await self.dial(phone, server, "echo")
        [session] = server.manager.sessions
        audio = session.channel.audio if session.channel else None
        assert audio is not None
        await self.hears(phone, THEIRS)
        for command, directions in (("hold", ("recvonly", "inactive")), ("resume", ("sendrecv",))):
            await phone.control.command(command)
            await until(
                lambda directions=directions: audio.direction in directions,  # type: ignore[misc]
                lambda: f"the direction is {audio.direction}:\n{phone.process.tail()}",
            )
        await self.hears(phone, THEIRS)
        await phone.control.command("hangup")
        await self.quiet(server)


class CalledTests(BaresipTestCase):
    """We call the telephone."""

    async def test_both_hear_each_other(self) -> None:
        """The telephone answers; it hears our tone, we record its tone, and we hang up."""
        phone = await self.start_phone()
        server = self.serve()
        call = await server.dial(phone.uri, timeout=20)
        recording = call.record(self.folder / "recorded.wav", max_seconds=1.5)
        playing = call.play_tone((OURS,), 60.0)
        await self.hears(phone, OURS)
        path = (await recording).path
        self.assertTrue(has_tone(read_wav(path), THEIRS))
        playing.addErrback(lambda failure: None).cancel()
        await call.hangup()
        await phone.control.expect("CALL_CLOSED")
        await self.quiet(server)

    async def test_command(self) -> None:
        """``sipsess call`` calls the telephone, presses keys there and saves what it hears."""
        telephone = await self.start_phone()
        saved = self.folder / "saved.wav"
        options = ("--dtmf", "12#", "--save", str(saved), "--duration", "3")
        phone = self.start("sipsess call", phone_command(telephone.uri, *options), ROOT)
        self.assertEqual(await phone.ended(), 0, phone.tail())
        self.assertRegex(phone.printed, r"answered, .* heard [23]\.\d s of audio")
        await telephone.control.expect("CALL_CLOSED")
        keys = [event.get("param") for event in telephone.control.told("CALL_DTMF_START")]
        self.assertEqual(keys, ["1", "2", "#"])
        self.assertTrue(has_tone(read_wav(saved), THEIRS))


class TransferTests(BaresipTestCase):
    """Calls are transferred, by the telephone and by us."""

    async def test_telephone_transfers_us(self) -> None:
        """The telephone sends us to another server: our application goes on with that one."""
        phone = await self.start_phone()
        desk = Desk()
        server, other = self.serve_all(desk), self.serve_all(EchoApplication())
        await self.dial(phone, server, "desk")
        target = f"sip:echo@127.0.0.1:{sip_port(other)}"
        await phone.control.command("transfer", target)
        await phone.control.expect("CALL_CLOSED")
        call = await desk.answered()
        self.assertEqual(call.callee, target)
        self.assertEqual(len(other.manager.sessions), 1)
        await call.hangup()
        await self.quiet(server)
        await self.quiet(other)

    async def test_we_transfer_the_telephone(self) -> None:
        """We send the telephone to another server, which it hears then."""
        phone = await self.start_phone()
        desk = Desk()
        server, other = self.serve_all(desk), self.serve_all(EchoApplication())
        await self.dial(phone, server, "desk")
        call = await desk.answered()
        outcome = await call.transfer(f"sip:echo@127.0.0.1:{sip_port(other)}")
        self.assertEqual(outcome.status, 200)
        await self.quiet(server)
        await self.hears(phone, THEIRS)
        [session] = other.manager.sessions
        session.terminate()
        await self.quiet(other)


class CaptureTests(BaresipTestCase):
    """tshark looks on."""

    async def test_nothing_malformed(self) -> None:
        """An independent reader understands all that we send in a call with sound and keys."""
        self.require("baresip", "tshark")
        phone = await self.start_phone()
        media = free_port()
        server = self.serve(EchoApplication(), rtp_ports=(media, media))
        port = sip_port(server)
        capture = Capture(self, port, f"udp port {port} or udp port {media}")
        await capture.begin()
        await self.dial(phone, server, "echo")
        await self.hears(phone, THEIRS)
        await self.press(phone, "7")
        # The echo of the key comes back after the key.
        await phone.control.expect("CALL_DTMF_END")
        await phone.control.command("hangup")
        await self.quiet(server)
        await capture.end()
        sent = f"udp.srcport == {port} && sip.Status-Code"
        statuses = await capture.read(sent, "sip.Status-Code", "sip.CSeq.method")
        self.assertEqual(statuses[-1], ["200", "BYE"])
        self.assertIn(["200", "INVITE"], statuses)
        for way in (f"udp.srcport == {media}", f"udp.dstport == {media}"):
            self.assertGreater(len(await capture.read(f"rtp.p_type == 0 && {way}", "rtp.seq")), 20)
        keys = f"rtpevent.event_id == 7 && udp.srcport == {media}"
        self.assertTrue(await capture.read(keys, "rtp.seq"))
        self.assertEqual(await capture.problems(port, media), [])
