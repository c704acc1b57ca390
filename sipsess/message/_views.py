# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The typed views of a message's headers: read at first use, kept until a header changes."""

from __future__ import annotations

from datetime import datetime

from sipsess.message._errors import MessageError
from sipsess.message._headers import Headers
from sipsess.message._lex import split_list
from sipsess.message._values import (
    CSeq,
    NameAddr,
    Via,
    parse_date,
    read_address_uri,
    read_call_id,
    read_number,
    read_tag,
    read_top_via,
)
from sipsess.message.limits import MAX_MAX_FORWARDS, MAX_SECONDS, MAX_VALUES

#: Max-Forwards as nearly everybody writes it.
_HOPS = {str(number): number for number in range(MAX_MAX_FORWARDS + 1)}


class HeaderViews:
    """What :class:`~sipsess.message.Message` says about its headers."""

    __slots__ = ("headers",)

    #: The headers; change them only before the message is serialised.
    headers: Headers

    @property
    def via(self) -> Via:
        """
        The top Via.

        :raises MessageError: it is missing or broken.
        """
        cache = self.headers.cache
        via: Via | None = cache.get("top-via")
        if via is None:
            via = cache["top-via"] = read_top_via(self._need("Via"))
        return via

    @property
    def vias(self) -> list[Via]:
        """
        All Vias, the top one first.

        :raises MessageError: one of them is broken, or there are too many.
        """
        cached: tuple[Via, ...] | None = self.headers.cache.get("via")
        if cached is None:
            cached = tuple([Via.parse(text) for text in self._split("Via")])
            self.headers.cache["via"] = cached
        return list(cached)

    def set_top_via(self, via: Via) -> None:
        """
        Replace the top Via, to stamp ``received`` and ``rport`` (:rfc:`3581#section-4`).

        :raises FrozenMessageError: the message was serialised.
        """
        headers = self.headers
        # What was read of the other headers stays: most requests are stamped.
        cache, headers.cache = headers.cache, {}
        headers.replace_first("Via", str(via))
        cache.pop("via", None)
        cache["top-via"] = via
        headers.cache = cache

    @property
    def from_(self) -> NameAddr:
        """
        The From header.

        :raises MessageError: it is missing or broken.
        """
        return self._address("From")

    @property
    def to(self) -> NameAddr:
        """
        The To header.

        :raises MessageError: it is missing or broken.
        """
        return self._address("To")

    @property
    def from_tag(self) -> str | None:
        """
        The From header's tag; ``None`` from an element of RFC 2543.

        :raises MessageError: From is missing or broken.
        """
        cache = self.headers.cache
        if "from-tag" not in cache:
            cache["from-tag"] = read_tag(self._need("From"))
        tag: str | None = cache["from-tag"]
        return tag

    @property
    def from_uri(self) -> str:
        """
        The From header's URI as written, for who needs nothing else of it.

        :raises MessageError: From is missing or broken.
        """
        return read_address_uri(self._need("From"))

    @property
    def to_uri(self) -> str:
        """
        The To header's URI as written.

        :raises MessageError: To is missing or broken.
        """
        return read_address_uri(self._need("To"))

    @property
    def to_tag(self) -> str | None:
        """
        The To header's tag; ``None`` outside a dialog.

        :raises MessageError: To is missing or broken.
        """
        cache = self.headers.cache
        if "to-tag" not in cache:
            cache["to-tag"] = read_tag(self._need("To"))
        tag: str | None = cache["to-tag"]
        return tag

    @property
    def call_id(self) -> str:
        """
        The Call-ID, byte for byte.

        :raises MessageError: it is missing, empty or holds white space.
        """
        cached: str | None = self.headers.cache.get("call-id")
        if cached is None:
            cached = self.headers.cache["call-id"] = read_call_id(self._need("Call-ID"))
        return cached

    @property
    def cseq(self) -> CSeq:
        """
        The CSeq.

        :raises MessageError: it is missing or broken.
        """
        cached: CSeq | None = self.headers.cache.get("cseq")
        if cached is None:
            cached = self.headers.cache["cseq"] = CSeq.parse(self._need("CSeq"))
        return cached

    @property
    def contact(self) -> NameAddr | None:
        """
        The first Contact, or ``None``.

        :raises MessageError: a Contact is broken.
        """
        contacts = self._addresses("Contact")
        return contacts[0] if contacts else None

    @property
    def contacts(self) -> list[NameAddr]:
        """
        All Contacts; one with the URI ``"*"`` is the wildcard of :rfc:`3261#section-10.2.2`.

        :raises MessageError: one of them is broken, or there are too many.
        """
        return list(self._addresses("Contact"))

    @property
    def routes(self) -> list[NameAddr]:
        """
        All Routes, in order.

        :raises MessageError: one of them is broken, or there are too many.
        """
        return list(self._addresses("Route"))

    @property
    def record_routes(self) -> list[NameAddr]:
        """
        All Record-Routes, in order.

        :raises MessageError: one of them is broken, or there are too many.
        """
        return list(self._addresses("Record-Route"))

    @property
    def max_forwards(self) -> int | None:
        """
        Max-Forwards, or ``None`` when absent.

        :raises MessageError: it is not a number from 0 to 255.
        """
        text = self.headers.get("Max-Forwards")
        if text is None:
            return None
        number = _HOPS.get(text)
        if number is None:
            number = read_number(text, MAX_MAX_FORWARDS)
        if number is None:
            raise MessageError("bad-max-forwards", f"{text!r} is no Max-Forwards")
        return number

    @property
    def require(self) -> frozenset[str]:
        """The option tags of Require, in lower case."""
        return self._tokens("Require", is_lower=True)

    @property
    def supported(self) -> frozenset[str]:
        """The option tags of Supported, in lower case."""
        return self._tokens("Supported", is_lower=True)

    @property
    def allow(self) -> frozenset[str]:
        """The methods of Allow, as written: methods are case-sensitive."""
        return self._tokens("Allow", is_lower=False)

    @property
    def content_type(self) -> str | None:
        """``"type/subtype"`` in lower case without parameters, or ``None`` when absent."""
        cache = self.headers.cache
        if "content-type" not in cache:
            text = self.headers.get("Content-Type")
            if text is not None:
                kind, slash, subtype = text.partition(";")[0].partition("/")
                text = f"{kind.strip()}{slash}{subtype.strip()}".lower()
            cache["content-type"] = text
        cached: str | None = cache["content-type"]
        return cached

    @property
    def retry_after(self) -> int | None:
        """
        The seconds of Retry-After (:rfc:`3261#section-20.33`), or ``None`` when absent.

        :raises MessageError: it does not begin with a number below 2**32.
        """
        text = self.headers.get("Retry-After")
        if text is None:
            return None
        number = text.partition(";")[0].partition("(")[0].strip()
        seconds = read_number(number, MAX_SECONDS)
        if seconds is None:
            raise MessageError("bad-retry-after", f"{text!r} is no Retry-After")
        return seconds

    @property
    def date(self) -> datetime | None:
        """
        Date, in UTC, or ``None`` when absent.

        :raises MessageError: it is not in SIP's format, which knows no other time zone than GMT.
        """
        text = self.headers.get("Date")
        return None if text is None else parse_date(text)

    def _need(self, name: str) -> str:
        value = self.headers.get(name)
        if value is None:
            raise MessageError("missing-header", f"there is no {name} header")
        return value

    def _split(self, name: str) -> list[str]:
        """Return the elements of a list header; empty ones stay, to be refused later."""
        values = [part for line in self.headers.get_all(name) for part in split_list(line)]
        if len(values) > MAX_VALUES:
            raise MessageError("too-many-values", f"more than {MAX_VALUES} values in {name}")
        return values

    def _address(self, name: str) -> NameAddr:
        cached: NameAddr | None = self.headers.cache.get(name)
        if cached is None:
            cached = self.headers.cache[name] = NameAddr.parse(self._need(name))
        return cached

    def _addresses(self, name: str) -> tuple[NameAddr, ...]:
        cached: tuple[NameAddr, ...] | None = self.headers.cache.get(name)
        if cached is None:
            cached = tuple([NameAddr.parse(text) for text in self._split(name)])
            self.headers.cache[name] = cached
        return cached

    def _tokens(self, name: str, *, is_lower: bool) -> frozenset[str]:
        cached: frozenset[str] | None = self.headers.cache.get(name)
        if cached is None:
            values = self.headers.values(name)
            cached = frozenset([value.lower() for value in values] if is_lower else values)
            self.headers.cache[name] = cached
        return cached
