# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Whom an application calls for a call, and where the media of the two go."""

from __future__ import annotations

import re

from sipsess.application import Reject
from sipsess.call import Call
from sipsess.message import SIPURI, escape_user
from sipsess.session import MediaNegotiation, Session, pass_media

#: The target that is the user who is called, at the phones that he has registered.
REGISTERED = "registered"
_FIELD = re.compile(r"\{(\w+)\}")


def choose_media(session: Session, way: str) -> MediaNegotiation | None:
    """
    Return who negotiates the media of a call that is to be bridged.

    :param way: as the option ``media`` of ``dial`` says.
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
