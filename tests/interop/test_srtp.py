# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""baresip encrypts its audio, with keys in SDP over TLS, calls us and is called."""

from __future__ import annotations

from dataclasses import replace

from sipsess.applications.echo import EchoApplication
from sipsess.endpoint import ANONYMOUS
from sipsess.media import read_wav
from sipsess.session import Session
from tests.certificates import names

from .peers import Baresip, sip_port, start_baresip, until
from .secure import SecureTestCase
from .sounds import THEIRS, has_tone, write_tone
from .test_baresip import BaresipTestCase

#: What baresip calls SDES that it insists on.
MANDATORY = "srtp-mand"


class SDESTests(SecureTestCase, BaresipTestCase):
    """Keys in session descriptions (RFC 4568)."""

    async def secure_phone(self) -> Baresip:
        """Start a telephone with a certificate that speaks encrypted only."""
        self.require("baresip")
        certificate, key = self.authority.issue("phone", names(addresses=["127.0.0.1"]))
        pem = self.folder / "phone-both.pem"
        with open(certificate) as first, open(key) as second:
            pem.write_text(first.read() + second.read())
        speaks = write_tone(self.folder)
        return await start_baresip(self, speaks, pem=str(pem), encryption=MANDATORY)

    def assert_encrypted(self, session: Session) -> None:
        """Check that the call's record says so."""
        self.assertIn("SRTP with A", "\n".join(session.record.lines()))

    async def test_calls(self) -> None:
        """The telephone calls, hears its echo, puts us on hold and takes us back."""
        phone = await self.secure_phone()
        server = self.serve(EchoApplication())
        uri = f"sip:echo@127.0.0.1:{sip_port(server)};transport=tls"
        await phone.control.command("dial", uri)
        await phone.control.expect("CALL_ESTABLISHED")
        [session] = server.manager.sessions
        self.assert_encrypted(session)
        await self.hears(phone, THEIRS)
        for command in ("hold", "resume"):
            await phone.control.command(command)
        audio = session.channel.audio if session.channel else None
        assert audio is not None
        before = audio.packets_received
        await until(
            lambda: audio.packets_received > before + 20 and audio.direction == "sendrecv",
            lambda: f"nothing after the hold: {audio.statistics()}\n{phone.process.tail()}",
        )
        await phone.control.command("hangup")
        await self.quiet(server)

    async def test_called(self) -> None:
        """We call the telephone, and hear what it says."""
        phone = await self.secure_phone()
        server = self.serve(EchoApplication())
        endpoint = replace(ANONYMOUS, media_encryption="sdes")
        uri = f"sip:phone@127.0.0.1:{phone.port + 1};transport=tls"
        call = await server.dial(uri, endpoint=endpoint)
        self.assert_encrypted(call.session)
        recording = await call.record(self.folder / "heard.wav", max_seconds=1.0)
        self.assertTrue(has_tone(read_wav(recording.path), THEIRS))
        await call.hangup()
        await phone.control.expect("CALL_CLOSED")
