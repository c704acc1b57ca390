# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that takes messages: greeting, beep, a file in a box, and a mail about it."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from sipsess.application import Application, Reject
from sipsess.call import Call
from sipsess.interfaces import IConfigurableApplication
from sipsess.tally import Tally

from .mailbox import BoxError, Mailbox, VoiceMessage, note_untold
from .voicemail_options import SendMail, VoicemailOptions


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
        self, send_mail: SendMail | None = None, how: VoicemailOptions | None = None
    ) -> None:
        self.send_mail = send_mail
        self.how = how or VoicemailOptions()
        #: Messages that are being taken, by box.
        self.busy = Tally()

    def with_options(self, options: VoicemailOptions) -> VoicemailApplication:
        """See :meth:`.IConfigurableApplication.with_options`."""
        options.check(can_mail=self.send_mail is not None)
        return type(self)(self.send_mail, options)

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        box = self.how.open_box(call)
        if len(box.messages) + self.busy[box.path.name] >= self.how.max_messages:
            raise Reject(480, "Mailbox Full")
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

    async def _take(self, call: Call, box: Mailbox) -> None:
        """Record; whoever hangs up has said what he wanted to say."""
        how, part = self.how, box.begin()
        try:
            await call.record(part, max_seconds=how.max_seconds, stop_on=how.end_keys)
        finally:
            self._keep(call, box, part)

    def _keep(self, call: Call, box: Mailbox, part: Path) -> None:
        try:
            message = box.finish(part, call.caller, call.caller_user, self.how.min_seconds)
        except BoxError as error:
            call.session.note("voicemail", str(error))
            return
        if message is None:
            call.session.note("voicemail", "nothing was said")
            return
        call.session.note("voicemail", f"{message.seconds:.1f} s in {message.path}")
        maybeDeferred(self.on_message, message).addErrback(note_untold, call, message)
