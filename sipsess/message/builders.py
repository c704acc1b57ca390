# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Messages that follow from others: responses, ACK and CANCEL; and new requests."""

from __future__ import annotations

from collections.abc import Iterable

from sipsess.errors import HeaderValueError
from sipsess.message._errors import MessageError
from sipsess.message._lex import check_token
from sipsess.message._message import Request, Response
from sipsess.message._uri import URI
from sipsess.message._values import NameAddr, Via
from sipsess.message.limits import MAX_CSEQ, MAX_MAX_FORWARDS


def build_request(
    method: str,
    uri: str | URI,
    *,
    via: Via | str | None = None,
    from_: NameAddr | str,
    to: NameAddr | str,
    call_id: str,
    cseq: int,
    max_forwards: int = 70,
    route_set: Iterable[NameAddr | str] = (),
) -> Request:
    """
    Build a request with all that :rfc:`3261#section-8.1.1` demands; Contact and body are added
    later.

    :param via: ``None`` when it is stamped later, from the flow.
    :param route_set: written as Route headers in this order, nothing else; the strict router's
        exchange with the Request-URI (:rfc:`3261#section-12.2.1.1`) is the dialog's.
    :raises HeaderValueError: a part cannot be written.
    """
    if not 0 <= cseq <= MAX_CSEQ:
        raise HeaderValueError(f"{cseq} is no CSeq number")
    if not 0 <= max_forwards <= MAX_MAX_FORWARDS:
        raise HeaderValueError(f"{max_forwards} is no Max-Forwards")
    if len(call_id.split()) != 1:
        raise HeaderValueError(f"{call_id!r} is no Call-ID")
    request = Request(method, str(uri))
    headers = request.headers
    if via is not None:
        headers.add("Via", str(via))
    headers.add("Max-Forwards", str(max_forwards))
    for route in route_set:
        headers.add("Route", str(route))
    headers.add("From", str(from_))
    headers.add("To", str(to))
    headers.add("Call-ID", call_id)
    headers.add("CSeq", f"{cseq} {method}")
    return request


def build_response(
    request: Request, status: int, reason: str | None = None, *, to_tag: str | None = None
) -> Response:
    """
    Build a response (:rfc:`3261#section-8.2.6`); what the request lacks, a broken one, is left out.

    Via, From, To, Call-ID and CSeq are copied as they came; Record-Route too for 101 to 299
    (:rfc:`3261#section-12.1.1`), and Timestamp for 100.

    :param to_tag: added to To unless the request has one.
    :raises HeaderValueError: the tag is no token, or the reason phrase holds a line break.
    """
    response = Response(status, reason)
    headers = response.headers
    repeated = ("Via", "Record-Route") if 100 < status < 300 else ("Via",)
    headers.copy_from(request.headers, *repeated)
    headers.copy_from(request.headers, "From", "To", "Call-ID", "CSeq", top_only=True)
    if to_tag is not None and "To" in headers and not _has_to_tag(request):
        headers.extend_first("To", f";tag={check_token(to_tag, 'tag')}")
    if status == 100:
        headers.copy_from(request.headers, "Timestamp")
    return response


def build_ack(invite: Request, response: Response) -> Request:
    """
    Build the ACK of a non-2xx final response (:rfc:`3261#section-17.1.1.3`).

    It has the INVITE's Request-URI, top Via, From, Call-ID, CSeq number and Routes, and the
    response's To.

    :raises MessageError: the INVITE has no CSeq that can be read.
    """
    ack = _build_like(invite, "ACK")
    ack.headers.copy_from(response.headers, "To", top_only=True)
    return ack


def build_cancel(invite: Request) -> Request:
    """
    Build the CANCEL of an INVITE (:rfc:`3261#section-9.1`), with one Via, the INVITE's top one.

    :raises MessageError: the INVITE has no CSeq that can be read.
    """
    cancel = _build_like(invite, "CANCEL")
    cancel.headers.copy_from(invite.headers, "To", top_only=True)
    return cancel


def _build_like(invite: Request, method: str) -> Request:
    request = Request(method, invite.uri)
    headers = request.headers
    headers.add("Via", str(invite.via))
    headers.add("Max-Forwards", "70")
    headers.copy_from(invite.headers, "Route")
    headers.copy_from(invite.headers, "From", top_only=True)
    headers.copy_from(invite.headers, "Call-ID", top_only=True)
    headers.add("CSeq", f"{invite.cseq.number} {method}")
    return request


def _has_to_tag(request: Request) -> bool:
    try:
        return request.to_tag is not None
    except MessageError:
        return True
