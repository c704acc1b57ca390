# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A small voice menu: 1 records a message, 2 sends back what it hears, anything else says goodbye.

Call sip:voicebox@HOST. A key stops the prompt.
"""

import os
import tempfile

from sipsess.application import Application


class Voicebox(Application):
    """
    Plays a menu and does what the key says.

    :param folder: where messages are kept, one WAV file each.
    """

    name = "voicebox"

    def __init__(self, folder=None):
        self.folder = folder or tempfile.gettempdir()
        self.calls = 0

    async def handle(self, call):
        """Do one call. When the caller hangs up, this is cancelled where it waits."""
        self.calls += 1
        try:
            await call.answer()
            key = await call.read_digits(1, timeout=5, prompt="hello")
            if key == "1":
                await self.take_message(call)
            elif key == "2":
                await call.echo()
            await call.play("goodbye")
            await call.hangup("that was all")
        finally:
            self.calls -= 1

    async def take_message(self, call):
        """Record until # is pressed, or a minute is over."""
        await call.play("beep")
        file, path = tempfile.mkstemp(".wav", "message-", self.folder)
        os.close(file)
        recording = await call.record(path, max_seconds=60, stop_on="#")
        call.session.note("recorded", f"{recording.seconds:.1f} s in {recording.path}")


voicebox = Voicebox()
