# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that calls somebody else, and joins the two: a back-to-back user agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zope.interface import implementer

from sipsess.application import Application
from sipsess.call import Call
from sipsess.interfaces import IConfigurableApplication, IMediaPolicy
from sipsess.session import MediaNegotiation, Session
from sipsess.session.incoming import SETUP_LIMIT

from .targets import REGISTERED, check_target, choose_media, target_of


@dataclass(frozen=True, slots=True)
class DialOptions:
    """The options of a route to ``dial``."""

    #: Whom to call: a URI, in which ``{dialled}`` is the user who was dialled, and other names in
    #: braces are the groups of the route's pattern; ``user:NAME`` for one who has registered here;
    #: or ``registered`` for the one who was dialled.
    target: str = REGISTERED
    #: Seconds that it may ring.
    timeout: float = 30.0
    #: Whether the caller hears what comes before the answer.
    early_media: bool = True
    #: Where media go: ``relay`` through this server, ``passthrough`` from peer to peer, ``engine``
    #: through the media engine; ``usual`` is the engine where there is one, else this server.
    media: Literal["usual", "relay", "passthrough", "engine"] = "usual"


@implementer(IConfigurableApplication, IMediaPolicy)
class DialApplication(Application):
    """
    Calls the target, answers when it has answered, and joins the two until one hangs up.

    :param how: whom to call, and for how long.
    """

    name = "dial"
    options = DialOptions

    def __init__(self, how: DialOptions = DialOptions()) -> None:
        self.how = how

    def with_options(self, options: DialOptions) -> DialApplication:
        """See :meth:`.IConfigurableApplication.with_options`."""
        if not 0 < options.timeout <= SETUP_LIMIT:
            raise ValueError(f"timeout is more than 0, and at most {SETUP_LIMIT:.0f}")
        check_target(options.target)
        return DialApplication(options)

    def make_media(self, session: Session) -> MediaNegotiation | None:
        """See :meth:`.IMediaPolicy.make_media`."""
        return choose_media(session, self.how.media)

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        how = self.how
        target = target_of(call, how.target)
        leg = await call.dial(target, timeout=how.timeout, early_media=how.early_media)
        if not call.is_answered:
            await call.answer()
        await call.bridge(leg)
