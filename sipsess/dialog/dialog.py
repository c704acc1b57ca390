# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The dialog: what two user agents must remember to talk in order (:rfc:`3261#section-12`).

A dialog knows nothing of transactions, media or time. It is made from the message that creates it,
builds the requests of this side, checks the order of the peer's, and follows the remote target.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from sipsess.errors import DialogStateError, RemoteError
from sipsess.message import (
    SIPURI,
    NameAddr,
    Request,
    Response,
    build_request,
)
from sipsess.transaction.keys import has_cookie

#: Call-ID, local tag, remote tag (:rfc:`3261#section-12`).
DialogId: TypeAlias = tuple[str, str, str]

EARLY = "EARLY"
CONFIRMED = "CONFIRMED"
TERMINATED = "TERMINATED"

#: Where a CSeq of our own begins; any number below 2**31 is right (:rfc:`3261#section-8.1.1.5`).
FIRST_CSEQ = 1

REASONS: dict[str, str] = {
    "cseq-too-low": "a request of a dialog has a CSeq that is not above the last one",
    "contact-missing": "a message that makes or refreshes a dialog has no usable Contact",
}


class CSeqError(RemoteError):
    """A request came out of order; it is answered 500 (:rfc:`3261#section-12.2.2`)."""

    status_hint = 500


class Dialog:
    """
    One dialog, seen from this side.

    Make it with :meth:`as_uas` or :meth:`as_uac`.
    """

    __slots__ = (
        "call_id",
        "is_call_id_owner",
        "local",
        "local_seq",
        "local_tag",
        "remote",
        "remote_seq",
        "remote_tag",
        "remote_target",
        "route_set",
        "state",
    )

    def __init__(
        self,
        *,
        call_id: str,
        local: str,
        local_tag: str,
        remote: str,
        remote_tag: str,
        local_seq: int,
        remote_seq: int | None,
        remote_target: str,
        route_set: tuple[str, ...],
        is_call_id_owner: bool,
    ) -> None:
        self.call_id = call_id
        #: The From value of our requests, with its tag.
        self.local = local
        self.local_tag = local_tag
        #: The To value of our requests, with its tag.
        self.remote = remote
        #: Empty for a peer of :rfc:`2543` that gave none.
        self.remote_tag = remote_tag
        #: The CSeq number of our last request.
        self.local_seq = local_seq
        #: The CSeq number of the peer's last request, ``None`` before its first.
        self.remote_seq = remote_seq
        #: The URI of the peer's last Contact, as written.
        self.remote_target = remote_target
        #: Route values in the order in which our requests list them.
        self.route_set = route_set
        #: Whether we chose the Call-ID: it decides who waits longer after glare (14.1).
        self.is_call_id_owner = is_call_id_owner
        self.state = EARLY

    @classmethod
    def as_uas(cls, request: Request, local_tag: str) -> Dialog:
        """
        Return the early dialog that answering ``request`` makes (:rfc:`3261#section-12.1.1`).

        :raises RemoteError: ``contact-missing``.
        """
        return cls(
            call_id=request.call_id,
            local=f"{request.to};tag={local_tag}",
            local_tag=local_tag,
            remote=str(request.from_),
            remote_tag=request.from_tag or "",
            local_seq=FIRST_CSEQ - 1,
            remote_seq=request.cseq.number,
            remote_target=_target_of(request),
            route_set=_recorded_route(request),
            is_call_id_owner=False,
        )

    @classmethod
    def as_uac(cls, request: Request, response: Response) -> Dialog:
        """
        Return the early dialog that ``response`` to our ``request`` made (12.1.2).

        A 2xx ends the INVITE whatever else it holds, so this never fails: a Contact that is missing
        (12.1.1 demands one) or cannot be used is the Request-URI, a Record-Route that cannot be
        read is none.
        """
        return cls(
            call_id=request.call_id,
            local=str(request.from_),
            local_tag=request.from_tag or "",
            remote=str(response.to),
            remote_tag=response.to_tag or "",
            local_seq=request.cseq.number,
            remote_seq=None,
            remote_target=_usable_contact(response) or request.uri,
            route_set=_usable_route(response),
            is_call_id_owner=True,
        )

    @property
    def id(self) -> DialogId:
        """The dialog's key: Call-ID, local tag, remote tag."""
        return (self.call_id, self.local_tag, self.remote_tag)

    def build_request(self, method: str) -> Request:
        """
        Return a new request within the dialog, CSeq counted up (:rfc:`3261#section-12.2.1.1`).

        Via and Contact are stamped by who sends it.

        :raises DialogStateError: when the dialog is over.
        """
        if self.state == TERMINATED:
            raise DialogStateError(f"the dialog {self.call_id} is over; no {method} can be sent")
        self.local_seq += 1
        return self._build(method, self.local_seq)

    def build_ack(self, cseq_number: int) -> Request:
        """Return the ACK of the 2xx to our INVITE of that CSeq number (13.2.2.4)."""
        return self._build("ACK", cseq_number)

    def _build(self, method: str, cseq_number: int) -> Request:
        uri, routes = self._routing()
        return build_request(
            method,
            uri,
            from_=self.local,
            to=self.remote,
            call_id=self.call_id,
            cseq=cseq_number,
            route_set=routes,
        )

    def _routing(self) -> tuple[str, tuple[str, ...]]:
        """Return Request-URI and Route values; a strict router first gets the old way."""
        routes = self.route_set
        if not routes:
            return self.remote_target, ()
        first = NameAddr.parse(routes[0]).parsed_uri
        if isinstance(first, SIPURI) and "lr" not in first.params:
            # RFC 3261 12.2.1.1: the strict router is the Request-URI, the target goes last.
            # What a Request-URI may not hold (19.1.1) goes away: headers and the method parameter.
            bare = replace(first, params=first.params.without("method"), headers=())
            return str(bare), (*routes[1:], f"<{self.remote_target}>")
        return self.remote_target, routes

    def next_hop(self) -> str:
        """Return the URI that the next request is sent to: the first route, else the target."""
        if self.route_set:
            return NameAddr.parse(self.route_set[0]).uri
        return self.remote_target

    def accept_request(self, request: Request) -> None:
        """
        Note a request of the peer, ACK and CANCEL apart (:rfc:`3261#section-12.2.2`).

        :raises CSeqError: when its number is not above the last one; gaps are fine.
        """
        number = request.cseq.number
        if self.remote_seq is not None and number <= self.remote_seq:
            raise CSeqError(
                "cseq-too-low", f"CSeq {number} came after CSeq {self.remote_seq} of this dialog"
            )
        self.remote_seq = number

    def refresh_target(self, message: Request | Response) -> None:
        """Follow the Contact of a target refresh, when it has a usable one (12.2.1.2, 12.2.2)."""
        self.remote_target = _usable_contact(message) or self.remote_target

    def confirm(self, response: Response | None = None) -> None:
        """
        Move from early to confirmed.

        :param response: as UAC the 2xx, whose Record-Route and Contact replace those of the
            provisional response (13.2.2.4); ``None`` as UAS.
        """
        if response is not None:
            self.route_set = _usable_route(response)
            self.refresh_target(response)
        self.state = CONFIRMED

    def terminate(self) -> None:
        """End the dialog; no request can be built any more."""
        self.state = TERMINATED


def check_dialog(request: Request) -> None:
    """
    Check that a dialog can be made of a request: :meth:`Dialog.as_uas` will not fail.

    :raises RemoteError: ``contact-missing``, or what is wrong with Contact or Record-Route.
    """
    _target_of(request)
    _recorded_route(request)


def contact_uri(message: Request | Response) -> str:
    """
    Return the URI of the Contact that makes a dialog: one ``sip:`` or ``sips:`` URI (8.1.1.8).

    :raises RemoteError: ``contact-missing`` when there is none.
    """
    contact = message.contact
    if contact is None or not isinstance(contact.parsed_uri, SIPURI):
        raise RemoteError("contact-missing", "the message needs a Contact with a SIP URI")
    return contact.uri


def _target_of(request: Request) -> str:
    """Return where the caller is reached: his Contact, or From when he only knows RFC 2543."""
    is_legacy = request.from_tag is None and not has_cookie(request.via.branch)
    if is_legacy and request.contact is None:
        return request.from_.uri
    return contact_uri(request)


def _usable_contact(message: Request | Response) -> str | None:
    try:
        return contact_uri(message)
    except RemoteError:
        return None


def _recorded_route(message: Request | Response) -> tuple[str, ...]:
    """Return the Record-Route in its order; each must be a URI, as our requests will need it."""
    routes = message.record_routes
    for route in routes:
        route.parsed_uri  # noqa: B018 - parses, and that is the check
    return tuple(str(route) for route in routes)


def _usable_route(response: Response) -> tuple[str, ...]:
    try:
        return _recorded_route(response)[::-1]
    except RemoteError:
        return ()
