# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""``sipsess doctor`` and encrypted audio: whether the extras are there that it needs."""

from __future__ import annotations

from typing import Literal

from twisted.trial.unittest import SynchronousTestCase

from sipsess import dtls, srtp
from sipsess.doctor import NOTE, OK, WRONG, examine_encryption
from sipsess.endpoint import Endpoint
from sipsess.transport.listen import ListenSpec


class EncryptionTests(SynchronousTestCase):
    """Endpoints that encrypt, and listeners for browsers."""

    def examine(
        self, *encryptions: Literal["no", "sdes", "dtls"], transport: str = "UDP"
    ) -> list[tuple[str, str]]:
        """Return levels and advice."""
        endpoints = [Endpoint(name, media_encryption=name) for name in encryptions]
        found = examine_encryption(endpoints, [ListenSpec(transport, 5060)])
        return [(item.level, item.advice) for item in found]

    def remove(self) -> None:
        """Take the extras away."""
        for module in (srtp, dtls):
            self.patch(module, "is_available", lambda: False)

    def test_nothing_to_say(self) -> None:
        """Who encrypts nothing needs nothing."""
        self.assertEqual(self.examine("no"), [])
        self.assertEqual(self.examine("no", transport="WS"), [])
        self.remove()
        self.assertEqual(self.examine("no"), [])

    def test_installed(self) -> None:
        """What is there is good."""
        self.assertEqual(self.examine("sdes", "dtls", transport="WSS"), [(OK, "")] * 2)

    def test_missing(self) -> None:
        """What is missing is named, and so is the extra."""
        self.remove()
        found = [(WRONG, "install sipsess[srtp]"), (WRONG, "install sipsess[webrtc]")]
        self.assertEqual(self.examine("sdes", "dtls", transport="WS"), found)

    def test_browsers(self) -> None:
        """A listener for browsers alone may be meant for their signalling."""
        self.remove()
        for transport in ("WS", "WSS"):
            found = self.examine("no", transport=transport)
            self.assertEqual(found, [(NOTE, "install sipsess[webrtc]")])
