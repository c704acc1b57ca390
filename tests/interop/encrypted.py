# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Calls with a telephone that speaks encrypted only, whichever way it gets its keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from sipsess.applications.echo import EchoApplication
from sipsess.endpoint import ANONYMOUS
from sipsess.media import read_wav
from sipsess.session import Session

from .peers import Baresip, sip_port, until
from .sounds import THEIRS, has_tone
from .test_baresip import BaresipTestCase


class EncryptedTestCase(BaresipTestCase):
    """Calls the echo from the telephone, and the telephone."""

    #: What an endpoint says of it.
    encryption: Literal["sdes", "dtls"]
    #: How URIs go on after the port.
    suffix = ""

    async def encrypted_phone(self) -> Baresip:
        """Start the telephone."""
        raise NotImplementedError

    def uri_of(self, phone: Baresip) -> str:
        """Return where it is called."""
        return phone.uri

    async def encrypted(self, session: Session) -> None:
        """Wait until the call's record says so."""
        await until(
            lambda: "SRTP with A" in "\n".join(session.record.lines()),
            lambda: "\n".join(session.record.lines()),
        )

    async def check_calls(self) -> None:
        """Let the telephone call, hear its echo, put us on hold and take us back."""
        phone = await self.encrypted_phone()
        server = self.serve(EchoApplication())
        uri = f"sip:echo@127.0.0.1:{sip_port(server)}{self.suffix}"
        await phone.control.command("dial", uri)
        await phone.control.expect("CALL_ESTABLISHED")
        [session] = server.manager.sessions
        await self.encrypted(session)
        await self.hears(phone, THEIRS)
        audio = session.channel.audio if session.channel else None
        assert audio is not None
        await phone.control.command("hold")
        await until(lambda: audio.direction == "recvonly", phone.process.tail)
        await phone.control.command("resume")
        await until(lambda: audio.direction == "sendrecv", phone.process.tail)
        before = audio.packets_received
        await until(
            lambda: audio.packets_received > before + 20,
            lambda: f"nothing after the hold: {audio.statistics()}\n{phone.process.tail()}",
        )
        await phone.control.command("hangup")
        await self.quiet(server)

    async def check_called(self) -> None:
        """Call the telephone, and hear what it says."""
        phone = await self.encrypted_phone()
        server = self.serve(EchoApplication())
        endpoint = replace(ANONYMOUS, media_encryption=self.encryption)
        call = await server.dial(self.uri_of(phone), endpoint=endpoint)
        await self.encrypted(call.session)
        recording = await call.record(self.folder / "heard.wav", max_seconds=1.0)
        self.assertTrue(has_tone(read_wav(recording.path), THEIRS))
        await call.hangup()
        await phone.control.expect("CALL_CLOSED")
