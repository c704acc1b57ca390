# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""baresip encrypts its audio, with keys in SDP over TLS, calls us and is called."""

from __future__ import annotations

from .encrypted import EncryptedTestCase
from .peers import Baresip, start_baresip
from .secure import SecureTestCase
from .sounds import write_tone

#: What baresip calls SDES that it insists on.
MANDATORY = "srtp-mand"


class SDESTests(SecureTestCase, EncryptedTestCase):
    """Keys in session descriptions (RFC 4568)."""

    encryption = "sdes"
    suffix = ";transport=tls"

    async def encrypted_phone(self) -> Baresip:
        """Start a telephone with a certificate that speaks encrypted only."""
        self.require("baresip")
        pem = str(self.issue_pem("phone"))
        return await start_baresip(self, write_tone(self.folder), pem=pem, encryption=MANDATORY)

    def uri_of(self, phone: Baresip) -> str:
        """It listens for TLS on the port beside."""
        return f"sip:phone@127.0.0.1:{phone.port + 1}{self.suffix}"

    async def test_calls(self) -> None:
        """The telephone calls, hears its echo, puts us on hold and takes us back."""
        await self.check_calls()

    async def test_called(self) -> None:
        """We call the telephone, and hear what it says."""
        await self.check_called()
