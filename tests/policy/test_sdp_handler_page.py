# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The how-to about SDP handlers: its files are saved as it says, and its test is run."""

from __future__ import annotations

import contextlib
import importlib
import pathlib
import sys
import unittest
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from sipsess.interfaces import ISDPHandler
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.testing import Agent, ScriptedPeer, VirtualNetwork
from sipsess.testing.pair import AnsweringApplication
from tests.source import ROOT
from tests.test_docs import snippets

PAGE = ROOT / "docs" / "writing-an-sdp-handler.rst"


def save(folder: pathlib.Path) -> list[str]:
    """Save the files of the page below a folder; return the name of each block."""
    names = []
    for language, code in snippets(PAGE):
        if language == "python":
            name = code.partition("\n")[0].removeprefix("# ").removeprefix("at the end of ")
            names.append(name)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("a", encoding="utf-8") as file:
                file.write(code + "\n\n\n")
    return names


@contextlib.contextmanager
def importable(*folders: pathlib.Path) -> Iterator[None]:
    """Let the files of some folders be imported, and forget them afterwards."""
    before = set(sys.modules)
    path = sys.path[:]
    sys.path[:0] = [str(folder) for folder in folders]
    try:
        yield
    finally:
        sys.path[:] = path
        for name in {"mirror", "test_mirror"} - before:
            sys.modules.pop(name, None)


class PageTests(SynchronousTestCase):
    """docs/writing-an-sdp-handler.rst."""

    def setUp(self) -> None:
        """Save its files."""
        self.folder = pathlib.Path(self.mktemp()).resolve()
        self.names = save(self.folder)

    def test_files(self) -> None:
        """The page has two files, one of them in two pieces."""
        self.assertEqual(self.names, ["plugins/mirror.py", "plugins/mirror.py", "test_mirror.py"])

    def test_its_test_passes(self) -> None:
        """The test of the page runs, and all of it passes."""
        with importable(self.folder, self.folder / "plugins"):
            module = importlib.import_module("test_mirror")
            suite = unittest.defaultTestLoader.loadTestsFromTestCase(module.MirrorTests)
            result = unittest.TestResult()
            suite.run(result)
        problems = "\n".join(text for _, text in result.errors + result.failures)
        self.assertEqual(problems, "")
        self.assertEqual(result.testsRun, 5)

    def test_our_own_offers(self) -> None:
        """The mirror is described again in our re-INVITE, and does not offer by itself."""
        with importable(self.folder / "plugins"):
            from mirror import mirror  # type: ignore[import-not-found]
        self.assertTrue(ISDPHandler.providedBy(mirror))
        net = VirtualNetwork()
        phone = ScriptedPeer(net.host("192.0.2.9"))
        agent = Agent(
            net.host("192.0.2.1"),
            handlers=[AudioHandler(), mirror],
            applications=[AnsweringApplication()],
            application="answer",
        )
        video = ["m=video 40002 RTP/AVP 96", "a=rtpmap:96 VP8/90000"]
        phone.send(phone.invite("sip:anybody@192.0.2.1", body=phone.sdp(extra=video)))
        phone.ack(phone.expect(200))
        net.run_for(0.1)
        (session,) = agent.sessions
        session.send_reinvite()
        invite = phone.expect("INVITE")
        self.assertIn(b"a=rtpmap:96 VP8/90000", invite.body)
        phone.reply(invite, 200, body=phone.sdp(extra=video))
        phone.expect("ACK")
        session.terminate()
        phone.reply(phone.expect("BYE"), 200)
        other = agent.dial("sip:phone@192.0.2.9", offered_media=("audio", "video"))
        invite = phone.expect("INVITE")
        self.assertNotIn(b"m=video", invite.body)
        other.terminate()
        net.run_for(200)

    def test_a_caller_who_gives_up(self) -> None:
        """While the patient mirror warms up a CANCEL ends everything, and nothing is left."""
        with importable(self.folder / "plugins"):
            from mirror import patient_mirror
        net = VirtualNetwork()
        phone = ScriptedPeer(net.host("192.0.2.9"))
        Agent(
            net.host("192.0.2.1"),
            handlers=[AudioHandler(), patient_mirror],
            applications=[AnsweringApplication()],
            application="answer",
        )
        offer = phone.sdp(extra=["m=video 40002 RTP/AVP 96"])
        invite = phone.invite("sip:anybody@192.0.2.1", body=offer)
        phone.send(invite)
        net.run_for(0.3)
        phone.cancel(invite)
        phone.ack(phone.expect(487))
        net.run_for(40)
        net.assert_quiet()

    def test_no_port(self) -> None:
        """When no port is free the mirror answers 503."""
        with importable(self.folder / "plugins"):
            from mirror import mirror
        net = VirtualNetwork()
        phone = ScriptedPeer(net.host("192.0.2.9"))
        Agent(
            net.host("192.0.2.1"),
            handlers=[AudioHandler(), mirror],
            applications=[AnsweringApplication()],
            application="answer",
            rtp_ports=(10000, 10001),
        )
        offer = phone.sdp(extra=["m=video 40002 RTP/AVP 96"])
        phone.send(phone.invite("sip:anybody@192.0.2.1", body=offer))
        phone.ack(phone.expect(503))
        net.run_for(40)
        net.assert_quiet()
