# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Bindings: where a user can be reached, until when, and by which way (:rfc:`3261#section-10`)."""

from __future__ import annotations

from dataclasses import dataclass

from sipsess.flow import Address, Flow
from sipsess.message import NameAddr
from sipsess.message.register import read_identity, read_q

#: The q value of a contact that gives none, in thousandths.
DEFAULT_Q = 1000


@dataclass(frozen=True, slots=True)
class Source:
    """The way that a REGISTER came, as it can be written down and found again."""

    transport: str
    #: The name of our listener.
    listener: str
    remote: Address
    #: The connection's number, 0 for datagrams; after a restart there is no such connection.
    serial: int = 0

    @classmethod
    def of(cls, flow: Flow) -> Source:
        """Return the way of a flow."""
        return cls(flow.transport, flow.listener, flow.remote, flow.serial)


@dataclass(frozen=True, slots=True)
class Binding:
    """One contact of a user."""

    #: The user part of the address of record, its escapes resolved.
    user: str
    #: The Contact value as it is shown: the URI and all parameters but ``expires``.
    contact: str
    #: When it ends, in seconds of the wall clock.
    expires: float
    #: Of the REGISTER that made it or refreshed it last.
    call_id: str
    cseq: int
    #: The values of Path, which become Routes (:rfc:`3327`).
    path: tuple[str, ...] = ()
    #: The way it came, when no proxy stood between.
    source: Source | None = None
    #: Whether calls take that way first: the contact itself may lead nowhere.
    is_pinned: bool = False
    #: Whether that was agreed, and nothing else may be tried (:rfc:`5626`).
    is_outbound: bool = False
    #: What the phone calls itself.
    user_agent: str = ""
    #: The name of the endpoint that it is.
    endpoint: str = ""

    @property
    def address(self) -> NameAddr:
        """The Contact's parts."""
        return NameAddr.parse(self.contact)

    @property
    def uri(self) -> str:
        """The Contact's URI, as written."""
        return self.address.uri

    @property
    def q(self) -> int:
        """How much the user prefers it, in thousandths."""
        q = read_q(self.address)
        return DEFAULT_Q if q is None else q

    @property
    def identity(self) -> tuple[str, int]:
        """The instance that registered, empty when it has no name; and its ``reg-id``."""
        return read_identity(self.address)

    def is_same(self, other: NameAddr) -> bool:
        """
        Tell whether a Contact of a REGISTER means this binding.

        Those of an instance are told apart by it and by ``reg-id`` (:rfc:`5626#section-6`), all
        others by their URIs (10.3).
        """
        identity = self.identity
        if identity[0] or "+sip.instance" in other.params:
            return identity == read_identity(other)
        return self.address.parsed_uri == other.parsed_uri

    def seconds_left(self, now: float) -> int:
        """Return for how long it is valid yet, at least 1."""
        return max(1, round(self.expires - now))
