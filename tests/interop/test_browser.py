# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
JsSIP in a browser registers, calls the echo and hears itself, and is called, over WebSocket.

Both are heavy: without ``SIPSESS_LONG`` there is no such test. It is not skipped, as the gate may
skip no test with a real peer.
"""

from __future__ import annotations

import json
import os
from array import array
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from sipsess.applications.echo import EchoApplication
from sipsess.endpoint import Endpoint
from sipsess.endpoint.identify import IdentifyGate
from sipsess.media import read_wav
from sipsess.registrar import RegistrarOptions
from sipsess.server import SIPServer

from .peers import PeerTestCase, reactor, sip_port

#: Energy of what is heard, as browsers count it (totalAudioEnergy of the statistics of WebRTC):
#: the square of the level, full scale being 1, times seconds. The fake microphone of Chromium
#: beeps once a second, and gives 0.1 per beep; silence gives 0.
ENERGY = 0.05
#: The least sample that the beep has when it is heard by us.
LOUD = 5000

#: Registers, calls the echo and listens until it has some energy; again after a hold and a restart
#: of ICE; hangs up, reports how that went, and answers who calls.
PAGE = """<!DOCTYPE html><meta charset="utf-8"><script src="jssip.js"></script><script>
const report = (outcome) => fetch("/outcome", {method: "POST", body: JSON.stringify(outcome)});
const phone = new JsSIP.UA({
  sockets: [new JsSIP.WebSocketInterface("ws://127.0.0.1:PORT")],
  uri: "sip:browser@127.0.0.1", register: true,
});
// What comes back would be taken for an echo, and suppressed.
const media = {
  audio: {echoCancellation: false, noiseSuppression: false, autoGainControl: false},
  video: false,
};
async function statistics(session) {
  const found = {};
  for (const item of (await session.connection.getStats()).values()) {
    if (item.type === "inbound-rtp" && item.kind === "audio") {
      Object.assign(found, {
        energy: item.totalAudioEnergy, received: item.packetsReceived, lost: item.packetsLost,
      });
    } else if (item.type === "remote-inbound-rtp") {
      found.roundTrips = item.roundTripTimeMeasurements;
    } else if (item.type === "transport") {
      Object.assign(found, {
        dtls: item.dtlsState, srtp: item.srtpCipher, role: item.iceRole,
        local: item.iceLocalUsernameFragment,
      });
    }
  }
  return found;
}
// Waits until that is true of the statistics, or for ten seconds.
async function until(session, isTrue) {
  for (let turn = 0; turn < 50; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    if (isTrue(await statistics(session))) return true;
  }
  return false;
}
// Waits until as much more is heard as one beep.
async function listen(session) {
  const before = (await statistics(session)).energy || 0;
  return until(session, ({energy}) => energy > before + ENERGY);
}
const done = (start) => new Promise((resolve) => start(() => resolve(true)) || resolve(false));
async function run(session) {
  const loudspeaker = new Audio();
  loudspeaker.srcObject = new MediaStream(
    session.connection.getReceivers().map((receiver) => receiver.track));
  await loudspeaker.play();
  const heard = [await listen(session)];
  await done((next) => session.hold({}, next));
  await done((next) => session.unhold({}, next));
  heard.push(await listen(session));
  const before = (await statistics(session)).local;
  await done((next) => session.renegotiate({rtcOfferConstraints: {iceRestart: true}}, next));
  heard.push(await listen(session));
  const reported = await until(session, ({roundTrips}) => roundTrips > 0);
  const outcome = {heard, before, reported, ...await statistics(session)};
  session.terminate();
  report(outcome);
}
phone.on("disconnected", (event) => report({error: "disconnected: " + event.reason}));
phone.on("registrationFailed", (event) => report({error: "not registered: " + event.cause}));
phone.on("newRTCSession", ({originator, session}) => {
  if (originator === "remote") session.answer({mediaConstraints: media});
});
phone.on("registered", () => {
  const session = phone.call("sip:echo@127.0.0.1", {
    mediaConstraints: media,
    eventHandlers: {
      failed: (event) => report({
        cause: event.cause, originator: event.originator,
        status: event.message && event.message.status_code,
        warning: event.message && event.message.getHeader("Warning"),
      }),
      confirmed: () => run(session).catch((error) => report({error: String(error)})),
    },
  });
});
phone.start();
</script>
"""


def loudest(pcm: bytes) -> int:
    """Return the loudest sample."""
    return max(map(abs, array("h", pcm)))


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
        (RFC 8827), after a hold and a restart of ICE as well; and we call it and hear it.
        """
        script = await self.bundle()
        page = Endpoint(
            "page",
            networks=("127.0.0.0/8",),
            aors=frozenset({"browser"}),
            media_encryption="dtls",
        )
        server = SIPServer(
            reactor,
            ["ws:0:interface=127.0.0.1"],
            applications=[EchoApplication()],
            application="echo",
            gates=[IdentifyGate([page])],
        )
        server.manager.core.endpoints = {page.name: page}
        server.users.add_registrar(RegistrarOptions())
        server.startService()
        self.addCleanup(self._stop, server)
        url, told = self.serve_page(script, sip_port(server))
        fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        fake.append("--autoplay-policy=no-user-gesture-required")
        profile = f"--user-data-dir={self.folder / 'profile'}"
        browser = self.start("chromium", ["chromium", *quiet, *fake, profile, url])
        outcome = await told.addTimeout(60, reactor)
        self.assertEqual(outcome.get("heard"), [True] * 3, f"{outcome}\n{browser.tail()}")
        self.assertEqual((outcome["dtls"], outcome["role"]), ("connected", "controlling"), outcome)
        self.assertNotEqual(outcome["local"], outcome["before"])
        self.assertTrue(outcome["reported"], outcome)
        call = await server.users.dial("browser")
        recording = await call.record(self.folder / "heard.wav", max_seconds=2.0)
        self.assertGreater(loudest(read_wav(recording.path)), LOUD)
        await call.hangup()
        await browser.stop()
        await self.quiet(server)


if not os.environ.get("SIPSESS_LONG"):
    del BrowserTests
