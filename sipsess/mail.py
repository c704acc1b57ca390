# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Mails about voice messages, by way of a relay nearby."""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any

from twisted.internet.defer import Deferred

from sipsess.applications.mailbox import VoiceMessage
from sipsess.applications.voicemail_options import MailOptions

#: Seconds after which a relay that says nothing is given up.
TIMEOUT = 30.0
#: A message up to this size, in bytes, is attached; relays take no larger ones.
MAX_ATTACHMENT = 8 * 1024 * 1024


def send_voice_message(
    mail: MailOptions, message: VoiceMessage, reactor: Any = None
) -> Deferred[None]:
    """
    Send a mail about a voice message.

    :param mail: the relay and the addresses.
    :param reactor: the one that is installed when ``None``.
    :return: fires when the relay has taken it; fails when it has not.
    """
    # It is imported when somebody wants mail; and it imports the reactor.
    from twisted.mail.smtp import sendmail

    if reactor is None:
        from twisted.internet import reactor as installed  # noqa: TID251  it runs by now

        reactor = installed
    data = build(mail, message).as_bytes()
    sending = sendmail(mail.host, mail.sender, [mail.to], data, port=mail.port, reactor=reactor)
    sending.addTimeout(TIMEOUT, reactor)
    done: Deferred[None] = sending.addCallback(lambda _: None)
    return done


def build(mail: MailOptions, message: VoiceMessage) -> EmailMessage:
    """Return the mail about a voice message, with it when it is not too large."""
    built = EmailMessage()
    built["From"] = mail.sender
    built["To"] = mail.to
    built["Date"] = formatdate(localtime=True)
    built["Message-ID"] = make_msgid(domain="sipsess.invalid")
    # What the caller has written stays in one line.
    caller = "".join(letter for letter in message.caller if letter.isprintable())[:200]
    built["Subject"] = f"Voice message for {message.box}, {message.seconds:.0f} s"
    built.set_content(f"From: {caller}\nFile: {message.path}\n")
    if message.path.stat().st_size <= MAX_ATTACHMENT:
        data = message.path.read_bytes()
        built.add_attachment(data, maintype="audio", subtype="wav", filename=message.path.name)
    return built
