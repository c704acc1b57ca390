# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""One kind of peer, how it is known, and how it is treated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, TypeAlias

from zope.interface import implementer

from sipsess.dialog.reliable import OPTION_TAG
from sipsess.errors import LocalError

# The types of the fields are read when the program runs: the configuration file has them as keys.
from sipsess.interfaces import ICredentials, IEndpoint
from sipsess.message.session_expires import ABSOLUTE_MINIMUM

#: Option tags, by whether 100rel and session timers are withheld.
_WITHHELD = {
    (False, False): frozenset[str](),
    (True, False): frozenset({OPTION_TAG}),
    (False, True): frozenset({"timer"}),
    (True, True): frozenset({OPTION_TAG, "timer"}),
}

#: Networks and addresses whose text is remembered in its parsed form.
_MAX_TEXTS = 4096

Network: TypeAlias = IPv4Network | IPv6Network

#: The least seconds of silence that may end a call: shorter gaps are a network's, not a far end's.
MIN_AUDIO_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """A header that tells a peer; its value may be a secret that two servers share."""

    #: In any case.
    name: str
    #: The whole value; it is never printed.
    value: str = field(repr=False)


@implementer(IEndpoint)
@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    How a kind of peer is known, and how it is treated.

    All that the fields for knowing it say must hold together: an endpoint with ``networks`` and
    ``users`` is one of these users, who calls from one of these networks.

    :raises LocalError: when a field makes no sense.
    """

    #: Unique; for people, logs and counters.
    name: str
    #: Whether it may assert identities (:rfc:`3325`).
    is_trusted: bool = False
    #: Reliable provisional responses (:rfc:`3262`): never used, used where they help, or demanded.
    reliable: Literal["no", "supported", "required"] = "supported"
    #: How often a call to it follows a redirection (3xx), all Contacts together; 0 for never.
    max_redirects: int = 5
    #: Answers its challenges (401, 407); ``None`` takes them as refusals.
    credentials: ICredentials | None = None

    _: KW_ONLY

    # -- how it is known -------------------------------------------------------------------

    #: Where its requests come from, such as ``192.0.2.0/24`` or one address; empty for anywhere.
    networks: tuple[str, ...] = ()
    #: The user parts that its From may have, or P-Preferred-Identity of who calls anonymously;
    #: empty for any.
    users: frozenset[str] = frozenset()
    #: Headers that its requests have, each with this value.
    headers: tuple[HeaderMatch, ...] = ()
    #: Over what its requests come; empty for any.
    transports: frozenset[Literal["UDP", "TCP", "TLS", "WS", "WSS"]] = frozenset()
    #: The users that it may be, as a digest proves; with any, each request outside a dialog needs
    #: the proof (401).
    digest_users: frozenset[str] = frozenset()

    # -- what it may do --------------------------------------------------------------------

    #: The users that it may register (:rfc:`3261#section-10.3`), and that each of its digest users
    #: may; ``None`` for the user that has proven to be it, or without proof the one of its name.
    aors: frozenset[str] | None = None

    # -- who calls, and who is called ------------------------------------------------------

    #: Whether calls of who does not want to be known are taken; if not, 433 (:rfc:`5079`).
    accepts_anonymous: bool = True
    #: How it is told who calls, whatever From says: asserted (P-Asserted-Identity), as a wish
    #: (P-Preferred-Identity), as older gateways want it (Remote-Party-ID), or not at all. Assert
    #: only to whom is bound to keep it, and to honour Privacy (:rfc:`3325#section-2.4`).
    sends_identity: Literal["no", "pai", "ppi", "rpid"] = "no"
    #: How it is told whom a call was for before it was sent on: History-Info (:rfc:`7044`),
    #: Diversion (:rfc:`5806`), or not at all.
    sends_history: Literal["no", "history-info", "diversion"] = "no"

    # -- its calls -------------------------------------------------------------------------

    #: The applications that its calls may have; empty for all. Others are not there for it (404).
    applications: frozenset[str] = frozenset()
    #: Calls at a time, in both directions together; ``None`` for the limits of the server alone.
    max_calls: int | None = None
    #: The codecs of its calls, by name: ``PCMU``, ``PCMA``, ``L16/8000`` and ``L16/16000``;
    #: ``G722`` and ``OPUS``, which need an extra and are left out without it; and those of plugins.
    #: Our offers have this order, our answers that of the offer (:rfc:`3264#section-6.1`).
    codecs: tuple[str, ...] = ("PCMU", "PCMA")
    #: How keys are pressed: as RTP events (:rfc:`4733`), or by INFO or tones when it knows no
    #: events; by INFO alone; by tones alone; or not at all, and its own are not heard either. Tones
    #: of its own are heard where it presses keys so, while somebody reads them.
    dtmf: Literal["rfc4733", "info", "inband", "none"] = "rfc4733"
    #: Seconds without any RTP packet from it after which its call is ended; 0 for never. Hold, and
    #: what comes before the answer, do not count. A telephone that suppresses silence sends
    #: nothing while nobody speaks.
    audio_timeout: float = 0.0
    #: How audio is encrypted in our offers, which is demanded of its offers as well: not at all, by
    #: SRTP with keys in the session description (SDES, :rfc:`4568`), or with keys by DTLS as
    #: browsers have it (:rfc:`5763`). What it offers encrypted is answered so in any case.
    media_encryption: Literal["no", "sdes", "dtls"] = "no"
    #: Whether keys for SRTP may travel in signalling without TLS, where everybody on the way reads
    #: them.
    accepts_clear_keys: bool = False
    #: Session timers (:rfc:`4028`): never, when it wants one, or asked for in each call.
    session_timer: Literal["no", "accept", "request"] = "accept"
    #: Seconds that are asked for; ``None`` for what the supplement says.
    session_interval: int | None = None
    #: Seconds below which an interval is refused (422); ``None`` for what the supplement says.
    session_minimum: int | None = None

    def __post_init__(self) -> None:
        """
        Check the fields.

        :raises LocalError: when one makes no sense.
        """
        if not self.name or not self.name.isprintable():
            raise LocalError(f"an endpoint needs a name of printable letters, not {self.name!r}")
        for fault in self._faults():
            raise LocalError(f"endpoint {self.name!r}: {fault}")

    def _faults(self) -> Iterator[str]:
        """Yield what is wrong with the fields, beyond what their types say."""
        for text in self.networks:
            try:
                parse_network(text)
            except ValueError as error:
                yield str(error)
        if not self.codecs:
            yield "codecs are one at least"
        for seconds in (self.session_interval, self.session_minimum):
            if seconds is not None and seconds < ABSOLUTE_MINIMUM:
                yield f"a session timer has {ABSOLUTE_MINIMUM} seconds at least, not {seconds}"
        if self.audio_timeout and not self.audio_timeout >= MIN_AUDIO_TIMEOUT:
            yield f"audio_timeout is 0 or {MIN_AUDIO_TIMEOUT:g} s at least"
        if self.max_calls is not None and self.max_calls < 0:
            yield f"max_calls is {self.max_calls}; 0 is the least"

    @property
    def withheld(self) -> frozenset[str]:
        """The option tags that are not supported towards it, whatever plugins can do."""
        return _WITHHELD[self.reliable == "no", self.session_timer == "no"]

    @property
    def is_told_apart(self) -> bool:
        """Whether it says anything of how it is known."""
        return bool(
            self.networks or self.users or self.headers or self.transports or self.digest_users
        )

    @property
    def is_shown(self) -> bool:
        """Whether its requests show who it is: by where they come from, or by a header."""
        return bool(self.networks or self.headers)

    @property
    def is_claimed(self) -> bool:
        """Whether anybody could say to be this one: its users, and nothing that shows it."""
        return bool(self.users) and not (self.networks or self.headers or self.digest_users)

    def is_within(self, host: str) -> bool:
        """Tell whether ``host``, an IP address, is one where its requests come from."""
        return not self.networks or find_network(self.networks, host) is not None

    def may_register(self, user: str, proven: str | None = None) -> bool:
        """
        Tell whether it may say where a user is reached.

        :param proven: the user that has proven to be it.
        """
        return user == (proven or self.name) if self.aors is None else user in self.aors


@lru_cache(maxsize=_MAX_TEXTS)
def parse_network(text: str) -> Network:
    """
    Read a network, or one address.

    :raises ValueError: when it is none; the text says why.
    """
    return ip_network(text)


@lru_cache(maxsize=_MAX_TEXTS)
def _parse_address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    # A listener for both versions sees IPv4 peers as ::ffff:192.0.2.1.
    return getattr(address, "ipv4_mapped", None) or address


def find_network(networks: tuple[str, ...], host: str) -> Network | None:
    """Return the smallest of some networks that an IP address is in, or ``None``."""
    address = _parse_address(host)
    if address is None:
        return None
    found = [network for network in map(parse_network, networks) if address in network]
    return max(found, key=lambda network: network.prefixlen, default=None)
