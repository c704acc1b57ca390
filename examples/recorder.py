# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
An application that connects a caller with somebody else, and records both of them in stereo.

Route numbers to it; its target may be a trunk, a queue or a user. The caller is on the left, in a
file named after the time and the Call-ID. Tell people that they are recorded.
"""

import tempfile
import time
from pathlib import Path

from sipsess.application import Application

#: Of one call, in seconds: a disk shall not be filled by a line that nobody hangs up.
LONGEST = 4 * 3600.0


class Recorder(Application):
    """Calls a target, joins it with the caller, and keeps what both say."""

    name = "recorder"

    def __init__(self, target="sip:echo@127.0.0.1", folder=None):
        self.target = target
        self.folder = Path(folder or tempfile.mkdtemp(prefix="recorded-"))

    async def handle(self, call):
        """Do one call. Who is not answered hears why; who hangs up ends the recording, too."""
        leg = await call.dial(self.target, timeout=30)
        await call.answer()
        name = "".join(letter if letter.isalnum() else "_" for letter in call.session.call_id)
        path = self.folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{name[:64]}.wav"
        recorded = call.record(path, stereo=True, max_seconds=LONGEST, stop_on="")
        call.session.note("recorded", str(path))
        try:
            await call.bridge(leg)
        finally:
            recorded.stop()


recorder = Recorder()
