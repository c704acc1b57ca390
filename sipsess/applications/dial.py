# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that calls somebody else, and joins the two: a back-to-back user agent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from zope.interface import implementer

from sipsess.application import Application, Reject
from sipsess.call import Call
from sipsess.interfaces import IConfigurableApplication, IMediaPolicy
from sipsess.message import SIPURI, escape_user
from sipsess.session import MediaNegotiation, Session, pass_media
from sipsess.session.incoming import SETUP_LIMIT

#: The target that is the user who is called, at the phones that he has registered.
REGISTERED = "registered"
_FIELD = re.compile(r"\{(\w+)\}")


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


def choose_media(session: Session, way: str) -> MediaNegotiation | None:
    """
    Return who negotiates the media of a call that is to be bridged.

    :param way: as :attr:`DialOptions.media` says.
    :return: ``None`` for the SDP handlers.
    """
    engine = session.manager.media_engine
    if way == "passthrough":
        return pass_media(session)
    if way == "relay" or engine is None:
        if way == "engine":
            session.note("no media engine", "this server relays the media")
        return None
    return pass_media(session, engine)


def check_target(target: str) -> None:
    """
    Check a template of whom to call.

    :raises ValueError: when it is none.
    """
    known = target.partition(":")[0] in ("sip", "sips", "tel", "user")
    if target != REGISTERED and not known:
        raise ValueError('target is "registered", "user:NAME" or a URI')


def target_of(call: Call, template: str) -> str:
    """
    Return whom to call for a call.

    :raises Reject: when the call does not say it (404).
    """
    uri = call.request.request_uri
    user = uri.user_text if isinstance(uri, SIPURI) else call.dialled
    if template == REGISTERED:
        if not user:
            raise Reject(404)
        return f"user:{user}"
    values = {**call.groups, "dialled": user or ""}

    def fill(match: re.Match[str]) -> str:
        if not values.get(match[1]):
            raise Reject(404)
        return escape_user(values[match[1]])

    return _FIELD.sub(fill, template)
