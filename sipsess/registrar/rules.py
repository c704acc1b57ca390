# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The rules of a registrar, without storage and time: what a REGISTER makes of a user's bindings.

Theory of operation
    :func:`read_registration` looks at the request alone; :meth:`Registration.apply` at what is
    stored, and returns all bindings of the user as they shall be. Either raises
    :class:`RegisterRefused`, and nothing has changed: a REGISTER is done as a whole or not at all
    (:rfc:`3261#section-10.3`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sipsess.errors import RemoteError
from sipsess.flow import Flow
from sipsess.message import SIPURI, NameAddr, Request
from sipsess.message.register import WILDCARD, read_expires, read_identity, read_q

from .binding import Binding, Source

#: Characters of a Contact; WebSocket clients and instances stay below 300.
MAX_CONTACT = 1024
#: Characters of all Path values; five proxies with tokens of their own fit.
MAX_PATH = 2048
#: Characters of a User-Agent that are kept.
MAX_USER_AGENT = 100
#: Characters of a Call-ID; it is kept with each binding.
MAX_CALL_ID = 512
#: Characters of the user of an address of record.
MAX_USER = 256

REASONS: dict[str, str] = {
    "registrar-domain": "a REGISTER is for a domain that is not served here (404)",
    "registrar-user": "a REGISTER names no user (404)",
    "registrar-forbidden": "an endpoint may not register that user (403)",
    "registrar-wildcard": "a Contact of * needs Expires 0 and no other Contact (400)",
    "registrar-contact": "a Contact that is registered is no SIP URI, or is too long (400)",
    "registrar-path": "a Path cannot be read, or is too long (400)",
    "registrar-order": "an older REGISTER came after a newer one of the same Call-ID (500)",
    "registrar-brief": "a contact would expire too soon (423)",
    "registrar-outbound": "several contacts in one REGISTER with reg-id (400)",
    "registrar-first-hop": "the first proxy does not know RFC 5626 (439)",
    "registrar-contacts-full": "a user has too many contacts (403)",
    "registrar-full": "there are too many bindings (503)",
    "registrar-busy": "too many REGISTER requests wait for the store (503)",
    "registrar-store": "the store of bindings failed (500)",
}


class RegisterRefused(RemoteError):
    """
    A REGISTER is refused, and changes nothing.

    :param headers: of the answer.
    """

    def __init__(
        self, reason_code: str, status: int, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason_code, text)
        self.status = status
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a registrar grants."""

    #: Seconds that a contact is valid whose REGISTER does not say.
    default_expires: int = 3600
    #: Fewer are refused (423); at most an hour (10.3), more than that no registrar may demand.
    min_expires: int = 60
    #: More are shortened.
    max_expires: int = 7200
    #: Contacts of one user: some phones, with two flows each, and what they left behind.
    max_contacts: int = 10
    #: Bindings in all; each costs about a kilobyte.
    max_bindings: int = 100_000

    def grant(self, asked: int | None) -> int:
        """
        Return how many seconds a contact gets.

        :raises RegisterRefused: 423, when it asks for fewer than may be.
        """
        if asked is None:
            return self.default_expires
        if 0 < asked < self.min_expires:
            raise RegisterRefused(
                "registrar-brief",
                423,
                f"at least {self.min_expires} s",
                {"Min-Expires": str(self.min_expires)},
            )
        return min(asked, self.max_expires)


@dataclass(frozen=True, slots=True)
class Registration:
    """What a REGISTER wants, as far as the request itself shows it to be sensible."""

    user: str
    #: The Contacts with the seconds that they are granted; 0 removes.
    changes: tuple[tuple[NameAddr, int], ...]
    #: Whether all of the user's bindings go (10.2.2).
    removes_all: bool
    call_id: str
    cseq: int
    path: tuple[str, ...]
    source: Source | None
    #: Whether :rfc:`5626` is used for its Contact.
    is_outbound: bool
    user_agent: str
    #: The name of the endpoint that sent it.
    endpoint: str

    @property
    def is_query(self) -> bool:
        """Whether it only asks for the bindings (10.2.3)."""
        return not self.changes and not self.removes_all

    def apply(self, bindings: Sequence[Binding], now: float, limits: Limits) -> tuple[Binding, ...]:
        """
        Return all bindings of the user as they are to be.

        :param bindings: those that are valid now.
        :param now: of the wall clock.
        :raises RegisterRefused: nothing changes.
        """
        if self.removes_all:
            for binding in bindings:
                self._check_order(binding)
            return ()
        result = list(bindings)
        for contact, seconds in self.changes:
            for binding in bindings:
                if binding.is_same(contact):
                    self._check_order(binding)
            result = [binding for binding in result if not binding.is_same(contact)]
            if seconds:
                result.append(self._bind(contact, now + seconds))
        if len(result) > max(limits.max_contacts, len(bindings)):
            raise RegisterRefused(
                "registrar-contacts-full", 403, f"at most {limits.max_contacts} contacts"
            )
        return tuple(result)

    def _check_order(self, binding: Binding) -> None:
        """Refuse a request that was overtaken by a later one (10.3, steps 6 and 7)."""
        if binding.call_id == self.call_id and binding.cseq >= self.cseq:
            raise RegisterRefused(
                "registrar-order", 500, f"CSeq {self.cseq} came after {binding.cseq}"
            )

    def _bind(self, contact: NameAddr, expires: float) -> Binding:
        shown = NameAddr(None, contact.uri, contact.params.without("expires"))
        return Binding(
            user=self.user,
            contact=str(shown),
            expires=expires,
            call_id=self.call_id,
            cseq=self.cseq,
            path=self.path,
            source=self.source,
            is_pinned=_needs_source(contact, self.source, is_outbound=self.is_outbound),
            is_outbound=self.is_outbound,
            user_agent=self.user_agent,
            endpoint=self.endpoint,
        )


def read_user(request: Request, domains: frozenset[str]) -> str:
    """
    Return the user whose bindings a REGISTER is about (10.3, steps 1 and 5).

    :param domains: that are served here, in lower case; none for any.
    :raises RegisterRefused: 404, for another domain or nobody.
    :raises RemoteError: when the Request-URI or To is no URI.
    """
    for uri in (request.request_uri, request.to.parsed_uri):
        is_served = isinstance(uri, SIPURI) and (not domains or uri.host.lower() in domains)
        if not is_served:
            raise RegisterRefused("registrar-domain", 404, "that domain is not served here")
    aor = request.to.parsed_uri
    user = aor.user_text if isinstance(aor, SIPURI) else None
    if not user or len(user) > MAX_USER or not user.isprintable():
        raise RegisterRefused("registrar-user", 404, "To names no user")
    return user


def read_registration(
    request: Request, flow: Flow, user: str, endpoint: str, limits: Limits
) -> Registration:
    """
    Return what a REGISTER wants (10.3, steps 6 and 7).

    :param flow: it came by.
    :param user: see :func:`read_user`.
    :param endpoint: the name of the one that sent it.
    :raises RegisterRefused: when it cannot be done whatever is stored.
    :raises RemoteError: when a Contact cannot be read.
    """
    contacts = request.contacts
    removes_all = any(contact.uri == WILDCARD for contact in contacts)
    if removes_all and (len(contacts) > 1 or read_expires(request.headers) != 0):
        raise RegisterRefused("registrar-wildcard", 400, "* needs Expires: 0 and nothing else")
    if len(request.call_id) > MAX_CALL_ID or not request.call_id.isprintable():
        raise RegisterRefused("registrar-contact", 400, "the Call-ID is too long, or no text")
    path = _read_path(request)
    is_direct = len(request.vias) == 1 and not path
    changes = (
        ()
        if removes_all
        else tuple(
            (_check_contact(contact), limits.grant(read_expires(request.headers, contact)))
            for contact in contacts
        )
    )
    return Registration(
        user=user,
        changes=changes,
        removes_all=removes_all,
        call_id=request.call_id,
        cseq=request.cseq.number,
        path=path,
        source=Source.of(flow) if is_direct else None,
        is_outbound=_uses_outbound(request, contacts, path),
        endpoint=endpoint,
        user_agent=_printable((request.headers.get("User-Agent") or "")[:MAX_USER_AGENT]),
    )


def _check_contact(contact: NameAddr) -> NameAddr:
    """Refuse a Contact at which nobody can be called."""
    text = str(contact)
    is_text = len(text) <= MAX_CONTACT and text.isprintable()
    if not is_text or not isinstance(contact.parsed_uri, SIPURI):
        raise RegisterRefused("registrar-contact", 400, "a Contact is no SIP URI, or too long")
    if "q" in contact.params and read_q(contact) is None:
        raise RegisterRefused("registrar-contact", 400, "a q value is none")
    return contact


def _read_path(request: Request) -> tuple[str, ...]:
    """Return the Path (:rfc:`3327`); each value must be a route that a request can take."""
    texts = tuple(request.headers.values("Path"))
    if sum(map(len, texts)) > MAX_PATH:
        raise RegisterRefused("registrar-path", 400, "the Path is too long")
    for text in texts:
        uri = NameAddr.parse(text).parsed_uri
        # RFC 3327 5.3: they become Routes; the way of strict routers is not taken here.
        if not text.isprintable() or not isinstance(uri, SIPURI) or "lr" not in uri.params:
            raise RegisterRefused("registrar-path", 400, "a Path value is no loose route")
    return texts


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _uses_outbound(request: Request, contacts: Sequence[NameAddr], path: Sequence[str]) -> bool:
    """
    Tell whether :rfc:`5626` is used (section 6).

    :raises RegisterRefused: when it is wanted and cannot be.
    """
    has_reg_id = any(read_identity(contact)[1] for contact in contacts if contact.uri != WILDCARD)
    if not has_reg_id:
        return False
    if len(contacts) > 1:
        raise RegisterRefused("registrar-outbound", 400, "reg-id needs a REGISTER of its own")
    if "outbound" not in request.supported | request.require:
        return False
    if len(request.vias) == 1 and not path:
        return True
    first = NameAddr.parse(path[-1]).parsed_uri if path else None
    if not isinstance(first, SIPURI) or "ob" not in first.params:
        raise RegisterRefused("registrar-first-hop", 439, "the first hop lacks outbound support")
    return True


def _needs_source(contact: NameAddr, source: Source | None, *, is_outbound: bool) -> bool:
    """
    Tell whether calls go back where the REGISTER came from.

    So it is when that was agreed; for all but UDP, as phones do not listen there; and when the
    Contact's host is not the one that sent the REGISTER: there is a NAT between, or nobody knows
    that name.
    """
    if source is None:
        return False
    if is_outbound or source.transport != "UDP":
        return True
    uri = contact.parsed_uri
    return isinstance(uri, SIPURI) and uri.host.lower() != source.remote[0].lower()
