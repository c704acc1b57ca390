# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The keys that transactions are found by (:rfc:`3261#section-17.1.3` and 17.2.3).

A key is a tuple of plain values. A server transaction of an RFC 3261 peer has ``(branch, sent-by,
method)``, that of an RFC 2543 peer, whose branch lacks the magic cookie, the longer one of
:func:`legacy_key`. A client transaction has ``(branch, method)``. An ACK has the key of its INVITE.
"""

from __future__ import annotations

from typing import TypeAlias

from sipsess.flow import Flow
from sipsess.ids import MAGIC_COOKIE
from sipsess.message import Request

Key: TypeAlias = tuple[str | int | None, ...]

_COOKIE = MAGIC_COOKIE.lower()
_COOKIE_LENGTH = len(MAGIC_COOKIE)

#: What may be left out of a sent-by, by transport (:rfc:`3261#section-18.1.1`,
#: :rfc:`7118#section-7`).
_DEFAULT_PORTS = {"TLS": ":5061", "WS": ":80", "WSS": ":443"}


def has_cookie(branch: str | None) -> bool:
    """Return whether an RFC 3261 element made this branch (:rfc:`3261#section-8.1.1.7`)."""
    return branch is not None and branch[:_COOKIE_LENGTH].lower() == _COOKIE


def server_key(branch: str, sent_by: str, method: str, flow: Flow) -> Key:
    """
    Return the key of a server transaction of an RFC 3261 peer.

    :param sent_by: of the top Via, in lower case.
    :param flow: where the request came from; it says which port is the default.
    """
    # RFC 3261 17.2.3: "a.example" and "a.example:5060" are the same sent-by.
    host = sent_by.removesuffix(_DEFAULT_PORTS.get(flow.transport, ":5060"))
    return (branch, host, "INVITE" if method == "ACK" else method)


def request_key(request: Request, flow: Flow, method: str | None = None) -> Key:
    """
    Return the key of the server transaction that a request belongs to.

    :param method: instead of the request's: the INVITE that a CANCEL means.
    :raises MessageError: when a header that is needed is broken; a validated request has none.
    """
    via = request.via
    method = method or request.method
    branch = via.branch
    if branch is not None and has_cookie(branch):
        return server_key(branch, via.sent_by, method, flow)
    return legacy_key(request, method)


def legacy_key(request: Request, method: str) -> Key:
    """
    Return the key of a server transaction of an RFC 2543 peer (:rfc:`3261#section-17.2.3`).

    The To tag is left out for INVITE, as that of its ACK is ours. Of the top Via only what the peer
    wrote counts, not the ``received`` and ``rport`` that we add.
    """
    via = request.via
    method = "INVITE" if method == "ACK" else method
    return (
        "",
        method,
        request.uri,
        None if method == "INVITE" else request.to_tag,
        request.from_tag,
        request.call_id,
        request.cseq.number,
        via.transport,
        via.sent_by,
        via.branch,
    )


def merge_key(request: Request) -> Key | None:
    """
    Return what merged requests have in common, ``None`` within dialogs.

    That is From tag, Call-ID and CSeq (:rfc:`3261#section-8.2.2.2`).
    """
    if request.to_tag is not None:
        return None
    return (request.from_tag, request.call_id, request.cseq.number, request.method)
