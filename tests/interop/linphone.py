# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""linphone, another telephone: ``lp-auto-answer`` and ``linphone-daemon``, without a sound card."""

from __future__ import annotations

import pathlib

from sipsess.server import SIPServer

from .peers import Peer, PeerTestCase, sip_port
from .tools import free_port

#: It would prefer IPv6, and the host's first address to 127.0.0.1.
CONFIGURATION = """\
[sip]
sip_port={port}
sip_tcp_port=0
sip_tls_port=0
bind_address=127.0.0.1
contact=sip:linphone@127.0.0.1
guess_hostname=0
ipv6_migration_done=1
use_ipv6=0
[rtp]
bind_address=127.0.0.1
audio_rtp_port={media}
[auth_info_0]
username=linphone
passwd={password}
realm=pbx.example
"""


def make_home(test: PeerTestCase) -> pathlib.Path:
    """Make the folders that linphone wants to find in its user's home directory."""
    home = test.folder / "linphone"
    for name in (".local/share/linphone", ".config/linphone"):
        (home / name).mkdir(parents=True)
    return home


async def start_answerer(test: PeerTestCase, speaks: pathlib.Path) -> tuple[Peer, str]:
    """
    Start a telephone that answers every call.

    :param speaks: a WAV file that it says into its calls; it hears nothing.
    :return: the process, and what to call.
    """
    test.require("lp-auto-answer")
    port = free_port()
    uri = f"sip:127.0.0.1:{port}"
    command = ["lp-auto-answer", "--listening-uri", uri, "--media-file", str(speaks)]
    peer = test.start("lp-auto-answer", command, home=make_home(test))
    await peer.bound(port)
    return peer, uri


class Linphone:
    """
    A telephone that does what it is told.

    :param test: that it belongs to.
    :param password: with which it answers challenges of the realm ``pbx.example``.
    """

    def __init__(self, test: PeerTestCase, password: str) -> None:
        self.port = free_port()
        home = make_home(test)
        path = home / "linphonerc"
        ports = {"port": self.port, "media": free_port()}
        path.write_text(CONFIGURATION.format(**ports, password=password))
        command = ["linphone-daemon", "--config", str(path), "--auto-answer"]
        command += ["--disable-stats-events"]
        self.process = test.start("linphone-daemon", command, home=home, reads=True)

    @property
    def uri(self) -> str:
        """What to call."""
        return f"sip:linphone@127.0.0.1:{self.port}"

    def mark(self) -> int:
        """Return how much it has told; what it tells later is after that."""
        return len(self.process.output)

    async def call(self, server: SIPServer) -> None:
        """Let it call a server, which has nothing else to do."""
        await self.command(f"call sip:anybody@127.0.0.1:{sip_port(server)}", "StreamsRunning")

    async def command(self, text: str, event: str = "") -> None:
        """
        Let it do something.

        :param event: wait until its call is in that state, such as ``Paused``.
        :raises AssertionError: when it refuses.
        """
        begin = self.mark()
        self.process.write(f"{text}\n")
        found = await self.process.expect(r"Status: (\w+)\n(?:Reason: .*)?", begin)
        if found[1] != "Ok":
            raise AssertionError(f"linphone refused {text}: {found[0]}")
        if event:
            await self.expect(event, begin)

    async def expect(self, event: str, begin: int = 0) -> None:
        """Wait until a call of it comes into a state, after what it had told when."""
        await self.process.expect(f"Event: LinphoneCall{event}\n", begin)


async def start_linphone(test: PeerTestCase, password: str = "") -> Linphone:
    """Start a telephone that does what it is told."""
    test.require("linphone-daemon")
    phone = Linphone(test, password)
    await phone.process.bound(phone.port)
    return phone
