# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What tests with certificates on loopback have in common."""

from __future__ import annotations

import pathlib
from functools import cached_property

from sipsess.transport.files import TLSFiles, load_credentials
from sipsess.transport.tls import Credentials
from tests.certificates import Authority, names

from .peers import PeerTestCase


class SecureTestCase(PeerTestCase):
    """Has an authority, and servers that show its certificate."""

    transport = "TLS"

    @cached_property
    def authority(self) -> Authority:
        """Certifies everybody."""
        return Authority(self.folder)

    @cached_property
    def files(self) -> TLSFiles:
        """What servers, and tunnels, show and trust."""
        certificate, key = self.authority.issue("server", names(addresses=["127.0.0.1"]))
        return TLSFiles(certificate, key, self.authority.ca)

    @cached_property
    def credentials(self) -> Credentials:
        """The same, read."""
        return load_credentials(self.files)

    def issue_pem(self, name: str) -> pathlib.Path:
        """Return a file with a certificate for this machine, and its key."""
        pem = self.folder / f"{name}-both.pem"
        parts = self.authority.issue(name, names(addresses=["127.0.0.1"]))
        pem.write_text("".join(pathlib.Path(part).read_text() for part in parts))
        return pem

    def where(self) -> list[str]:
        """Listen with the certificate."""
        files = self.files
        spelled = f"cert={files.certificate}:key={files.key}:ca={files.ca}"
        return [f"tls:0:interface=127.0.0.1:{spelled}"]
