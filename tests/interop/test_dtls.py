# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""baresip speaks as browsers do, by ICE and DTLS: it calls us and is called."""

from __future__ import annotations

from .encrypted import EncryptedTestCase
from .peers import WEB_ENCRYPTION, Baresip, start_baresip
from .sounds import write_tone


class DTLSTests(EncryptedTestCase):
    """Keys by DTLS, after ICE, with the full side of it (RFC 5763, 8445)."""

    encryption = "dtls"

    async def encrypted_phone(self) -> Baresip:
        """Start a telephone that speaks so."""
        self.require("baresip")
        return await start_baresip(self, write_tone(self.folder), encryption=WEB_ENCRYPTION)

    async def test_calls(self) -> None:
        """The telephone calls, hears its echo, puts us on hold and takes us back."""
        await self.check_calls()

    async def test_called(self) -> None:
        """We call the telephone, and hear what it says."""
        await self.check_called()
