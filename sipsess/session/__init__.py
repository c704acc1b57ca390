# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Sessions: one INVITE dialog with its media, its plugins and what they keep with it."""

from .chain import Chain
from .cookies import Cookies
from .handlers import order_handlers
from .identity import Identity
from .media_change import MediaChange
from .negotiation import MediaNegotiation
from .passthrough import Passthrough, pass_media
from .reason import EndReason, SessionEnded
from .session import Session
from .stream import LocalDescription, SessionStream

__all__ = [
    "Chain",
    "Cookies",
    "EndReason",
    "Identity",
    "LocalDescription",
    "MediaChange",
    "MediaNegotiation",
    "Passthrough",
    "Session",
    "SessionEnded",
    "SessionStream",
    "order_handlers",
    "pass_media",
]
