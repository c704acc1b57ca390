# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""baresip speaks as browsers do, by ICE and DTLS: it calls us and is called."""

from __future__ import annotations

from dataclasses import replace

from sipsess.applications.echo import EchoApplication
from sipsess.endpoint import ANONYMOUS
from sipsess.media import read_wav
from sipsess.session import Session

from .peers import WEB_ENCRYPTION, Baresip, sip_port, start_baresip, until
from .sounds import THEIRS, has_tone, write_tone
from .test_baresip import BaresipTestCase


class DTLSTests(BaresipTestCase):
    """Keys by DTLS, after ICE, with the full side of it (RFC 5763, 8445)."""

    async def web_phone(self) -> Baresip:
        """Start a telephone that speaks so."""
        self.require("baresip")
        return await start_baresip(self, write_tone(self.folder), encryption=WEB_ENCRYPTION)

    async def encrypted(self, session: Session) -> None:
        """Wait until the call's record says so."""
        await until(
            lambda: "SRTP with A" in "\n".join(session.record.lines()),
            lambda: "\n".join(session.record.lines()),
        )

    async def test_calls(self) -> None:
        """The telephone calls, hears its echo, puts us on hold and takes us back."""
        phone = await self.web_phone()
        server = self.serve(EchoApplication())
        await phone.control.command("dial", f"sip:echo@127.0.0.1:{sip_port(server)}")
        await phone.control.expect("CALL_ESTABLISHED")
        [session] = server.manager.sessions
        await self.encrypted(session)
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
        phone = await self.web_phone()
        server = self.serve(EchoApplication())
        endpoint = replace(ANONYMOUS, media_encryption="dtls")
        call = await server.dial(phone.uri, endpoint=endpoint)
        await self.encrypted(call.session)
        recording = await call.record(self.folder / "heard.wav", max_seconds=1.0)
        self.assertTrue(has_tone(read_wav(recording.path), THEIRS))
        await call.hangup()
        await phone.control.expect("CALL_CLOSED")
