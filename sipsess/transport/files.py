# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Where certificates stand; read by :mod:`.tls` when TLS is wanted, which is an extra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sipsess.errors import LocalError

if TYPE_CHECKING:
    from sipsess.transport.tls import Credentials


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """The PEM files of one listener, or of a client."""

    #: Our certificate, with the intermediate ones after it; a client may have none.
    certificate: str = ""
    #: Its private key, without a passphrase.
    key: str = ""
    #: The authorities that far ends must be certified by; the system's when empty.
    ca: str = ""
    #: Whether who connects must show a certificate.
    verify: bool = False


def load_credentials(files: TLSFiles) -> Credentials:
    """
    Read certificates.

    :raises LocalError: when a file cannot be used, or the extra is absent.
    """
    try:
        from sipsess.transport.tls import Credentials
    except ImportError as error:
        raise LocalError(
            f"TLS needs more packages ({error.name} is missing): pip install 'sipsess[tls]'"
        ) from error
    return Credentials(files)
