# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A script that connects two people: python click_to_call.py sip:me@127.0.0.1 sip:echo@127.0.0.1

It calls the first one; when he answers it calls the second one for him, joins them until one hangs
up, and writes how that went.
"""

import sys

from twisted.internet.task import react

from sipsess.call import DialFailed
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.server import SIPServer
from sipsess.session import SessionEnded


async def connect(reactor, first, second, listen="udp:0:interface=127.0.0.1"):
    """Connect them; return a line that says how it went."""
    async with SIPServer(reactor, listen=[listen], handlers=[AudioHandler()]) as sip:
        try:
            call = await sip.dial(first, timeout=30)
            leg = await call.dial(second, timeout=30)
            return str(await call.bridge(leg))
        except SessionEnded as error:
            return f"{first}: {error.reason}"
        except DialFailed as failure:
            return f"{second}: {failure}"


async def main(reactor, first="sip:me@127.0.0.1", second="sip:echo@127.0.0.1"):
    """Run from the command line."""
    sys.stdout.write(await connect(reactor, first, second) + "\n")


if __name__ == "__main__":
    react(main, sys.argv[1:])
