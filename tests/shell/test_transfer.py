# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A transfer of a whole server, with the shipped plugins: its resolver finds the way."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.applications.echo import EchoApplication
from sipsess.plugins import sipsess_builtin
from sipsess.server import SIPServer
from sipsess.testing import ScriptedPeer, VirtualNetwork


class TransferTests(SynchronousTestCase):
    """A server is transferred by its peer."""

    def setUp(self) -> None:
        """Start the server and two peers, and let one call."""
        self.net = VirtualNetwork()
        self.server = SIPServer(
            self.net.host("192.0.2.1", name="server"),
            supplements=[sipsess_builtin.refer, sipsess_builtin.replaces],
            applications=[EchoApplication()],
            application="echo",
        )
        self.server.startService()
        self.peer = ScriptedPeer(self.net.host("192.0.2.9", name="peer"))
        self.other = ScriptedPeer(self.net.host("192.0.2.8", name="other"))
        self.peer.send(self.peer.invite("sip:echo@192.0.2.1"))
        self.answer = self.peer.expect(200)
        self.peer.ack(self.answer)

    def tearDown(self) -> None:
        """Stop, and check that nothing is left."""
        stopping = self.server.stopService()
        self.net.run_for(40)
        self.successResultOf(stopping)
        self.net.assert_quiet()

    def refer(self, uri: str) -> None:
        """Send a REFER."""
        headers = {"Refer-To": f"<{uri}>"}
        self.peer.send(self.peer.request_within(self.answer, "REFER", headers=headers))

    def test_transfer(self) -> None:
        """The new call goes to the address of Refer-To, and the old one may end."""
        self.refer("sip:other@192.0.2.8")
        self.peer.expect(202)
        self.peer.reply(self.peer.expect("NOTIFY"), 200)
        invite = self.other.expect("INVITE")
        self.other.reply(invite, 200)
        self.other.expect("ACK")
        self.peer.reply(self.peer.expect("NOTIFY"), 200)
        self.peer.bye(self.answer)
        self.net.run_for(1)
        (session,) = self.server.manager.sessions
        self.assertEqual((session.call_id, session.runner.name), (invite.call_id, "echo"))
        self.other.bye(invite)
        self.net.run_for(1)

    def test_what_leads_nowhere_is_refused(self) -> None:
        """A URI that cannot be reached from here is no target: 404."""
        self.refer("sips:other@192.0.2.8")
        self.peer.expect(404)
        self.peer.bye(self.answer)
        self.net.run_for(1)
