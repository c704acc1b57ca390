# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The scenarios themselves: each says what it shows, is played, and can fail."""

from __future__ import annotations

import pathlib
import re
from xml.etree import ElementTree

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sipsess.applications.echo import EchoApplication

from .sipp import SCENARIOS, ScenarioTestCase

#: All of them, by name.
TEXTS = {path.name: path.read_text() for path in sorted(SCENARIOS.iterdir())}


class FileTests(SynchronousTestCase):
    """What is written in them."""

    def test_purpose(self) -> None:
        """Each begins with a comment that names the sections of the RFCs."""
        for name, text in TEXTS.items():
            comment = text.split("<!--")[2].partition("-->")[0]
            self.assertRegex(comment, r"RFC\s+\d{4}\s+(appendix )?[\dA-F]", name)

    def test_played(self) -> None:
        """Each is played by a test, in the role that its name says."""
        here = pathlib.Path(__file__)
        proxied = here.with_name("test_kamailio.py").read_text()
        modules = {
            **{"uac": "test_sipp_calls", "uas": "test_sipp_called", "reg": "test_registrar"},
            **{"b2b": "test_sipp_bridge"},
        }
        for role, module in modules.items():
            text = here.with_name(f"{module}.py").read_text()
            played = set(re.findall(rf"\b{role}_\w+\.xml", text + proxied))
            self.assertEqual(played, {name for name in TEXTS if name.startswith(role)})
        self.assertEqual([name for name in TEXTS if name[:3] not in modules], [])

    def test_checks(self) -> None:
        """Checks stand where a message is received: elsewhere they fail no call."""
        for name, text in TEXTS.items():
            root = ElementTree.fromstring(text)
            checks = root.findall(".//*[@check_it]") + root.findall(".//*[@check_it_inverse]")
            received = [item for item in root.iterfind("recv/action/ereg") if item in checks]
            self.assertEqual(len(received), len(checks), name)


class FailureTests(ScenarioTestCase):
    """What does not go as it is written."""

    async def test_scenario_fails(self) -> None:
        """SIPp's failure is the test's, with all its messages, and our story ends."""
        server = self.serve_all(EchoApplication())
        ended: list[str] = []

        async def story() -> None:
            await server.manager.stop()  # from now on it refuses calls
            never: Deferred[None] = Deferred()
            try:
                await never
            finally:
                ended.append("story")

        with self.assertRaises(AssertionError) as caught:
            await self.calls(server, "uac_cancel.xml", story)
        self.assertRegex(str(caught.exception), r"(?s)ended with 1\n.*SIP/2.0 503 .*unexpected")
        self.assertEqual(ended, ["story"])

    async def test_story_fails(self) -> None:
        """So is our own, when SIPp has nothing to complain about."""
        server = self.serve_all(EchoApplication())

        async def story() -> None:
            raise ValueError("this side is not content")

        with self.assertRaisesRegex(AssertionError, "(?s)ended with 0\n.*side is not content"):
            await self.calls(server, "uac_options.xml", story)
