# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Media engines in the configuration file."""

from __future__ import annotations

from sipsess.config import ConfigError
from sipsess.transport.engine import EngineSpec

from .test_config_call_records import GREETING
from .test_config_deployment import DeploymentCase


class EngineTests(DeploymentCase):
    """The table ``[media]``."""

    def engine(self, text: str) -> EngineSpec | None:
        """Return the engines of a file."""
        return self.plan(text).engine

    def wrong(self, addresses: str) -> list[str]:
        """Return what is wrong with some addresses."""
        text = f"[media]\nengine = 'rtpengine'\naddresses = {addresses}"
        error = self.assertRaises(ConfigError, self.plan, text)
        return [mistake.text for mistake in error.mistakes]

    def test_none(self) -> None:
        """By default there is none."""
        self.assertIsNone(self.engine(""))

    def test_table(self) -> None:
        """Addresses, IPv6 in brackets, and options; one on this machine is the default."""
        text = """
            [media]
            engine = "rtpengine"
            addresses = ["192.0.2.1:2223", "[2001:DB8::1]:65535"]
            record = true
            transcode = ["PCMA"]
        """
        addresses = (("192.0.2.1", 2223), ("2001:db8::1", 65535))
        self.assertEqual(self.engine(text), EngineSpec(addresses, True, ("PCMA",)))
        default = self.engine("[media]\nengine = 'rtpengine'")
        self.assertEqual(default, EngineSpec((("127.0.0.1", 2223),)))

    def test_mistakes(self) -> None:
        """What is no address, comes twice, or is nothing at all."""
        for address in (
            *("", "2223", "localhost:2223", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "::1:2223"),
            *("127.0.0.1:65536", "[127.0.0.1]:2223", "[::1]", "[::1:2223", "127.0.0.1:123456"),
            *("127.0.0.1:+1", "127.0.0.1:\u0661"),
        ):
            [text] = self.wrong(f"['{address}']")
            self.assertIn("is an IP address and a port", text)
        self.assertEqual(
            self.wrong("['127.0.0.1:1', '127.0.0.1:1']"),
            ["127.0.0.1:1 stands here twice"],
        )
        self.assertEqual(self.wrong("[]"), ["there is no engine without an address"])

    def test_reload(self) -> None:
        """A change takes a restart."""
        deployment = self.deploy(GREETING)
        said = self.reload(deployment, "[media]\nengine = 'rtpengine'" + GREETING)
        self.assertIn("not changed before a restart: media", said)
        self.stop(deployment)
