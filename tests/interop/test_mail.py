# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Mails about voice messages, to a relay on a loopback address."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed  # noqa: TID251  it is a real one
from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.tcp import Connection
from twisted.mail.smtp import SMTP, IMessage, IMessageDelivery, SMTPClientError, SMTPFactory, User
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from sipsess import mail
from sipsess.applications.mailbox import VoiceMessage
from sipsess.applications.voicemail_options import MailOptions

#: Turns of the reactor within which a connection that was ended is gone.
MAX_TURNS = 10_000


reactor: Any = installed


@implementer(IMessage, IMessageDelivery)
class Relay:
    """Takes every mail."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.rcpt: list[str] = []

    def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> bytes:
        """Add the line that relays add."""
        return b"Received: by a test"

    def validateFrom(self, helo: Any, origin: Any) -> Any:
        """Take mail from everybody."""
        return origin

    def validateTo(self, user: User) -> Any:
        """Take mail for everybody."""
        self.rcpt.append(str(user.dest))
        return lambda: self

    def lineReceived(self, line: bytes) -> None:
        """Take a line of a mail."""
        self.lines.append(line)

    def eomReceived(self) -> Deferred[None]:
        """Take the end of a mail."""
        return succeed(None)

    def connectionLost(self) -> None:
        """Hear that no end comes."""

    @property
    def message(self) -> Message:
        """The mail that came."""
        return message_from_bytes(b"\n".join(self.lines))


class RelayFactory(SMTPFactory):
    """Makes connections to one relay."""

    def __init__(self, relay: Relay) -> None:
        SMTPFactory.__init__(self)
        self.relay = relay

    def buildProtocol(self, address: Any) -> SMTP:
        """Let all connections be to it."""
        protocol: SMTP = SMTPFactory.buildProtocol(self, address)
        protocol.delivery = self.relay
        return protocol


class MailTests(TestCase):
    """Mails that a relay takes, or not."""

    def setUp(self) -> None:
        """Start a relay."""
        self.relay = Relay()
        self.listen(RelayFactory(self.relay))

    def listen(self, factory: Any) -> None:
        """Let the mails go to a port of our own."""
        self.port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        number = self.port.getHost().port
        self.options = MailOptions("pbx@example.com", "anna@example.com", port=number)

    async def send(self, caller: str = "sip:bert@example.com") -> None:
        """Send a mail, and wait until its connection is closed at both ends."""
        path = Path(self.mktemp())
        path.write_bytes(b"RIFF and so on")
        message = VoiceMessage(path, "anna", caller, 4.0)
        try:
            await mail.send_voice_message(self.options, message)
        finally:
            for _ in range(MAX_TURNS):
                if not any(isinstance(item, Connection) for item in reactor.getReaders()):
                    break
                await deferLater(reactor, 0)

    async def test_mail(self) -> None:
        """The relay gets a mail with the message; what a caller writes makes no header."""
        await self.send("sip:bert@example.com\nBcc: x@y.z")
        found = self.relay.message
        self.assertEqual(self.relay.rcpt, ["anna@example.com"])
        self.assertEqual(found["Subject"], "Voice message for anna, 4 s")
        self.assertEqual((found["From"], found["To"]), ("pbx@example.com", "anna@example.com"))
        self.assertIsNone(found["Bcc"])
        text, sound = list(found.walk())[1:]
        self.assertIn("From: sip:bert@example.comBcc: x@y.z", str(text.get_payload()))
        self.assertEqual(sound.get_content_type(), "audio/wav")
        self.assertEqual(sound.get_payload(decode=True), b"RIFF and so on")

    async def test_large_message(self) -> None:
        """A message that is too large stays where it is; the mail says where."""
        self.patch(mail, "MAX_ATTACHMENT", 5)
        await self.send()
        self.assertFalse(self.relay.message.is_multipart())
        self.assertIn("File: ", str(self.relay.message.get_payload()))

    async def test_no_relay(self) -> None:
        """Without a relay it fails."""
        await self.port.stopListening()
        await self.assertFailure(Deferred.fromCoroutine(self.send()), SMTPClientError)

    async def test_silent_relay(self) -> None:
        """A relay that says nothing is given up."""
        self.patch(mail, "TIMEOUT", 0.05)
        self.listen(Factory.forProtocol(Protocol))
        await self.assertFailure(Deferred.fromCoroutine(self.send()), TimeoutError)
