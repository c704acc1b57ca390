# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that takes messages: greeting, beep, a file in a box, and a mail about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sipsess.application import Application, Reject
from sipsess.call import Call
from sipsess.interfaces import IConfigurableApplication
from sipsess.media.telephone_event import DIGITS
from sipsess.tally import Tally

from .mailbox import NAME, BoxError, Mailbox
from .playback import check_sound

#: The longest message that can be wanted, in seconds.
MAX_SECONDS = 3600.0

_log = Logger()


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


@dataclass(frozen=True, slots=True)
class VoiceMessage:
    """A message that was taken."""

    #: The WAV file.
    path: Path
    #: The name of the box.
    box: str
    #: The URI of who has spoken, as he says.
    caller: str
    #: How long it is.
    seconds: float


#: Sends a mail about a message.
SendMail = Callable[[MailOptions, VoiceMessage], Deferred[None]]


@implementer(IConfigurableApplication)
class VoicemailApplication(Application):
    """
    Takes a message; a subclass may do more with it in :meth:`on_message`.

    :param send_mail: sends the mail that options may ask for.
    :param how: the options.
    """

    name = "voicemail"
    options = VoicemailOptions

    def __init__(
        self, send_mail: SendMail | None = None, how: VoicemailOptions = VoicemailOptions()
    ) -> None:
        self.how = how
        self.send_mail = send_mail
        #: Messages that are being taken, by box.
        self.busy = Tally()

    def with_options(self, options: VoicemailOptions) -> VoicemailApplication:
        """See :meth:`.IConfigurableApplication.with_options`."""
        check(options)
        if options.mail is not None and self.send_mail is None:
            raise ValueError("mail: nothing here sends mail")
        return type(self)(self.send_mail, options)

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        box = self._open(call)
        self.busy.add(box.path.name)
        try:
            if not call.is_answered:
                await call.answer()
            if self.how.greeting:
                await call.play(self.how.greeting)
            await call.play("beep")
            await self._take(call, box)
        finally:
            self.busy.remove(box.path.name)
        await call.play("goodbye")

    def on_message(self, message: VoiceMessage) -> Deferred[None]:
        """
        Do something with a message; the call may be over.

        :return: fires when it is done; what it fails with is logged.
        """
        mail = self.how.mail
        if mail is None or self.send_mail is None:
            return succeed(None)
        return self.send_mail(mail, message)

    def _open(self, call: Call) -> Mailbox:
        """
        Return the box of a call.

        :raises Reject: when it takes no message (480), or there can be none (404).
        """
        how = self.how
        if how.directory is None:
            # Nobody has said yet that strangers may write to this disk.
            raise Reject(404)
        try:
            box = Mailbox(how.directory, how.box or call.dialled)
        except BoxError:
            raise Reject(404) from None
        try:
            box.open(how.max_boxes, how.min_free)
        except BoxError as error:
            call.session.note("voicemail", str(error))
            raise Reject(480) from None
        if len(box.messages) + self.busy[box.path.name] >= how.max_messages:
            raise Reject(480, "Mailbox Full")
        return box

    async def _take(self, call: Call, box: Mailbox) -> None:
        """Record; whoever hangs up has said what he wanted to say."""
        how, part = self.how, box.begin()
        try:
            await call.record(part, max_seconds=how.max_seconds, stop_on=how.end_keys)
        finally:
            self._keep(call, box, part)

    def _keep(self, call: Call, box: Mailbox, part: Path) -> None:
        try:
            found = box.finish(part, call.caller_user, self.how.min_seconds)
        except BoxError as error:
            call.session.note("voicemail", str(error))
            return
        if found is None:
            call.session.note("voicemail", "nothing was said")
            return
        path, seconds = found
        call.session.note("voicemail", f"{seconds:.1f} s in {path}")
        message = VoiceMessage(path, box.path.name, call.caller, seconds)
        maybeDeferred(self.on_message, message).addErrback(_failed, path)


def check(options: VoicemailOptions) -> None:
    """
    Check the options of a route.

    :raises ValueError: with what is wrong with them.
    """
    if options.directory is None:
        raise ValueError("directory is needed")
    if not 0 <= options.min_seconds < options.max_seconds <= MAX_SECONDS:
        raise ValueError(
            f"min_seconds is less than max_seconds, and that is at most {MAX_SECONDS:.0f}"
        )
    if options.box and not NAME.fullmatch(options.box):
        raise ValueError("box is letters, digits and + . _ - and begins with none of . _ -")
    if not set(options.end_keys) <= set(DIGITS):
        raise ValueError(f"end_keys are of {' '.join(DIGITS)}")
    if min(options.max_messages, options.max_boxes) < 1 or options.min_free < 0:
        raise ValueError("max_messages and max_boxes are at least 1, and min_free is at least 0")
    if options.greeting:
        check_sound(options.greeting)


def _failed(failure: Failure, path: Path) -> None:
    """Log that nobody was told; the message is kept all the same."""
    error = failure.getErrorMessage()
    _log.warn("nobody was told of the message {path}: {error}", path=path, error=error)
