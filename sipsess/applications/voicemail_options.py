# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The options of the application ``voicemail``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from twisted.internet.defer import Deferred

from sipsess.application import Reject
from sipsess.call import Call
from sipsess.media.telephone_event import DIGITS

from .mailbox import NAME, BoxError, Mailbox, NoBoxError, VoiceMessage
from .playback import check_sound

#: The longest message that can be wanted, in seconds.
MAX_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class MailOptions:
    """Who is told of messages, by way of which relay."""

    #: The address that the mail is from.
    sender: str
    #: The address that it goes to.
    to: str
    #: The relay, which takes mail from here without a password.
    host: str = "127.0.0.1"
    #: Its port.
    port: int = 25


@dataclass(frozen=True, slots=True)
class VoicemailOptions:
    """The options of a route to ``voicemail``."""

    #: Where the boxes are, a directory each. It is needed.
    directory: Path | None = None
    #: The box of all messages. [default: the user who is dialled, each with a box of its own]
    box: str = ""
    #: What is played before the beep: a shipped sound, or a WAV file with its suffix.
    greeting: str = ""
    #: How long a message may be.
    max_seconds: float = 120.0
    #: What is shorter is thrown away.
    min_seconds: float = 1.0
    #: The keys that end a message.
    end_keys: str = "#"
    #: How many messages a box takes; then callers get 480.
    max_messages: int = 50
    #: How many boxes there may be.
    max_boxes: int = 1000
    #: Bytes that stay free on the disk.
    min_free: int = 100_000_000
    #: A mail about each message, with it: ``{ sender = "...", to = "...", host = "127.0.0.1",
    #: port = 25 }``. [default: none]
    mail: MailOptions | None = None

    def check(self, can_mail: bool) -> None:
        """
        Check them.

        :param can_mail: whether there is something that sends mail.
        :raises ValueError: with what is wrong with them.
        """
        if self.directory is None:
            raise ValueError("directory is needed")
        if not 0 <= self.min_seconds < self.max_seconds <= MAX_SECONDS:
            raise ValueError(
                f"min_seconds is less than max_seconds, and that is at most {MAX_SECONDS:.0f}"
            )
        if self.box and not NAME.fullmatch(self.box):
            raise ValueError("box is letters, digits and + . _ - and begins with none of . _ -")
        if not set(self.end_keys) <= set(DIGITS):
            raise ValueError(f"end_keys are of {' '.join(DIGITS)}")
        if min(self.max_messages, self.max_boxes) < 1 or self.min_free < 0:
            raise ValueError(
                "max_messages and max_boxes are at least 1, and min_free is at least 0"
            )
        if self.mail is not None and not can_mail:
            raise ValueError("mail: nothing here sends mail")
        if self.greeting:
            check_sound(self.greeting)

    def open_box(self, call: Call) -> Mailbox:
        """
        Return the box for the message of a call.

        :raises Reject: when it takes no message (480), or there can be none (404).
        """
        if self.directory is None:
            # Nobody has said yet that strangers may write to this disk.
            raise Reject(404)
        try:
            box = Mailbox(self.directory, self.box or call.dialled)
            box.open(self.max_boxes, self.min_free)
        except NoBoxError:
            raise Reject(404) from None
        except BoxError as error:
            call.session.note("voicemail", str(error))
            raise Reject(480) from None
        return box


#: Sends a mail about a message.
SendMail: TypeAlias = Callable[[MailOptions, VoiceMessage], Deferred[None]]
