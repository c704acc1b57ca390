# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
JsSIP in a browser registers, calls the echo and hears itself, and is called, over WebSocket.

Both are heavy: without ``SIPSESS_LONG`` there is no such test. It is not skipped, as the gate may
skip no test with a real peer.
"""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from sipsess.applications.echo import EchoApplication
from sipsess.registrar import RegistrarOptions
from sipsess.server import SIPServer
from sipsess.session import SessionEnded

from .peers import PeerTestCase, reactor, sip_port

#: Energy of what is heard, as browsers count it (totalAudioEnergy of the statistics of WebRTC):
#: the square of the level, full scale being 1, times seconds. The fake microphone of Chromium
#: beeps once a second, and gives 0.1 per beep; silence gives 0.
ENERGY = 0.05

#: Registers, calls, listens until the echo has some energy, hangs up and reports how that went;
#: is busy when it is called.
PAGE = """<!DOCTYPE html><meta charset="utf-8"><script src="jssip.js"></script><script>
const report = (outcome) => fetch("/outcome", {method: "POST", body: JSON.stringify(outcome)});
const phone = new JsSIP.UA({
  sockets: [new JsSIP.WebSocketInterface("ws://127.0.0.1:PORT")],
  uri: "sip:browser@127.0.0.1", register: true,
});
async function listen(session) {
  const outcome = {level: 0};
  const loudspeaker = new Audio();
  loudspeaker.srcObject = new MediaStream(
    session.connection.getReceivers().map((receiver) => receiver.track));
  await loudspeaker.play();
  for (let turn = 0; turn < 60; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    for (const item of (await session.connection.getStats()).values()) {
      if (item.type === "inbound-rtp" && item.kind === "audio") {
        outcome.energy = item.totalAudioEnergy;
        outcome.level = Math.max(outcome.level, item.audioLevel);
        outcome.received = item.packetsReceived;
        outcome.lost = item.packetsLost;
      } else if (item.type === "transport") {
        Object.assign(outcome, {
          dtls: item.dtlsState, srtp: item.srtpCipher, tls: item.tlsVersion, role: item.iceRole,
        });
      }
    }
    if (outcome.energy > ENERGY) break;
  }
  session.terminate();
  report(outcome);
}
phone.on("disconnected", (event) => report({error: "disconnected: " + event.reason}));
phone.on("registrationFailed", (event) => report({error: "not registered: " + event.cause}));
phone.on("newRTCSession", ({originator, session}) => {
  if (originator === "remote") session.terminate({status_code: 486});
});
phone.on("registered", () => {
  const session = phone.call("sip:echo@127.0.0.1", {
    // What comes back would be taken for an echo, and suppressed.
    mediaConstraints: {
      audio: {echoCancellation: false, noiseSuppression: false, autoGainControl: false},
      video: false,
    },
    eventHandlers: {
      failed: (event) => report({
        cause: event.cause, originator: event.originator,
        status: event.message && event.message.status_code,
        warning: event.message && event.message.getHeader("Warning"),
      }),
      confirmed: () => listen(session),
    },
  });
});
phone.start();
</script>
"""


class _Outcome(Resource):
    """Takes what the page reports."""

    isLeaf = True

    def __init__(self) -> None:
        Resource.__init__(self)
        self.told: Deferred[dict[str, Any]] = Deferred()

    def render_POST(self, request: Any) -> bytes:
        """See ``IResource``."""
        if not self.told.called:
            self.told.callback(json.loads(request.content.read()))
        return b""


class BrowserTests(PeerTestCase):
    """A softphone of the web."""

    timeout = 180

    def setUp(self) -> None:
        """Need what is heavy."""
        super().setUp()
        self.require("chromium", "npm")

    async def bundle(self) -> bytes:
        """Return JsSIP as one file."""
        (self.folder / "entry.mjs").write_text(
            'import JsSIP from "jssip"; globalThis.JsSIP = JsSIP;\n'
        )
        npm = self.start("npm", ["npm", "install", "--no-audit", "--no-fund", "jssip", "esbuild"])
        self.assertEqual(await npm.ended(120), 0, npm.tail())
        build = ["node_modules/.bin/esbuild", "entry.mjs", "--bundle", "--format=iife"]
        esbuild = self.start("esbuild", [*build, "--outfile=jssip.js"])
        self.assertEqual(await esbuild.ended(60), 0, esbuild.tail())
        return (self.folder / "jssip.js").read_bytes()

    def serve_page(self, script: bytes, port: int) -> tuple[str, Deferred[dict[str, Any]]]:
        """Serve the page; return its URL, and what it will report."""
        root, outcome = Resource(), _Outcome()
        page = PAGE.replace("PORT", str(port)).replace("ENERGY", str(ENERGY))
        root.putChild(b"", Data(page.encode(), "text/html"))
        root.putChild(b"jssip.js", Data(script, "text/javascript"))
        root.putChild(b"outcome", outcome)
        listening = reactor.listenTCP(0, Site(root), interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        return f"http://127.0.0.1:{listening.getHost().port}/", outcome.told

    async def test_call(self) -> None:
        """
        A browser calls the echo, by ICE, DTLS and SRTP, and what its microphone says comes back
        (RFC 8827); a call of ours reaches it.
        """
        script = await self.bundle()
        server = SIPServer(
            reactor,
            ["ws:0:interface=127.0.0.1"],
            applications=[EchoApplication()],
            application="echo",
        )
        server.users.add_registrar(RegistrarOptions(admits_anybody=True))
        server.startService()
        self.addCleanup(self._stop, server)
        url, told = self.serve_page(script, sip_port(server))
        fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        fake.append("--autoplay-policy=no-user-gesture-required")
        profile = f"--user-data-dir={self.folder / 'profile'}"
        browser = self.start("chromium", ["chromium", *quiet, *fake, profile, url])
        outcome = await told.addTimeout(60, reactor)
        self.assertGreater(outcome.get("energy", 0), ENERGY, f"{outcome}\n{browser.tail()}")
        self.assertEqual(outcome["dtls"], "connected", outcome)
        self.assertEqual(outcome["role"], "controlling", outcome)
        with self.assertRaisesRegex(SessionEnded, "486"):
            await server.users.dial("browser")
        await browser.stop()
        await self.quiet(server)


if not os.environ.get("SIPSESS_LONG"):
    del BrowserTests
