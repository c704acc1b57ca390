# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A script that places a call: python place_call.py sip:echo@127.0.0.1 12#

It presses the keys, waits a moment, hangs up, and writes how the call ended.
"""

import sys

from twisted.internet.task import react

from sipsess.sdphandlers.audio import AudioHandler
from sipsess.server import SIPServer
from sipsess.session import SessionEnded


async def call_somebody(reactor, uri, keys, listen="udp:0:interface=127.0.0.1"):
    """Place the call; return a line that says how it went."""
    async with SIPServer(reactor, listen=[listen], handlers=[AudioHandler()]) as sip:
        try:
            call = await sip.dial(uri, timeout=30)
            await call.send_digits(keys)
            await call.wait(1)
            await call.hangup("done")
            return str(await call.ended)
        except SessionEnded as error:
            return str(error.reason)


async def main(reactor, uri="sip:echo@127.0.0.1", keys="12#"):
    """Run from the command line."""
    sys.stdout.write(await call_somebody(reactor, uri, keys) + "\n")


if __name__ == "__main__":
    react(main, sys.argv[1:])
