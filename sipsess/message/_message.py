# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Requests and responses.

Theory of operation
    A parsed message is its start line, its raw headers and its body, nothing more. Each typed
    accessor (:attr:`Message.via`, :attr:`Message.cseq`...) reads its header at first use and keeps
    the value until a header changes; it raises :class:`MessageError` when the peer wrote nonsense.
    :meth:`Message.validate` asks for all that every element needs, so that after it those accessors
        cannot
    fail. A message that nobody changed leaves byte for byte as it came.

    :meth:`Message.to_bytes` freezes: what was sent, or is about to be, is not changed behind the
        back of
    the transaction that sends it again. :meth:`Message.copy` gives one that can be changed.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, TypeVar

from sipsess.errors import FrozenMessageError, HeaderValueError
from sipsess.message._errors import MessageError
from sipsess.message._headers import Headers
from sipsess.message._lex import check_text, check_token, has_uri_breaker, split_list
from sipsess.message._uri import SIPURI, URI, parse_uri
from sipsess.message._values import CSeq, NameAddr, Via, parse_date, read_number
from sipsess.message.limits import MAX_MAX_FORWARDS, MAX_SECONDS, MAX_VALUES
from sipsess.status import reason_phrase

_M = TypeVar("_M", bound="Message")

#: Headers that must stand in each message (:rfc:`3261#section-8.1.1`), in the order they are
#: checked. Max-Forwards is not among them: elements of RFC 2543 do not send it.
_MANDATORY = (
    ("via", "Via"),
    ("from", "From"),
    ("to", "To"),
    ("call-id", "Call-ID"),
    ("cseq", "CSeq"),
)
_SINGLE = ("From", "To", "Call-ID", "CSeq", "Max-Forwards")


class Message:
    """What requests and responses have in common."""

    __slots__ = ("_body", "_source", "_wire", "headers")

    #: Whether it is a :class:`Request`.
    is_request: ClassVar[bool]

    def __init__(self, headers: Headers | None = None, body: bytes = b"") -> None:
        #: The headers; change them only before :meth:`to_bytes`.
        self.headers = Headers() if headers is None else headers
        self._body = body
        self._source: bytes | None = None
        self._wire: bytes | None = None

    @property
    def body(self) -> bytes:
        """The body, as bytes; set it with :meth:`set_body`."""
        return self._body

    def set_body(self, content_type: str, body: bytes) -> None:
        """
        Set the body and its Content-Type; an empty type removes both.

        :raises FrozenMessageError: the message was serialised.
        """
        if content_type:
            self.headers.set("Content-Type", content_type)
        else:
            self.headers.remove("Content-Type")
            body = b""
        self._change()
        self._body = body

    # -- typed views of headers ------------------------------------------------------------------

    @property
    def via(self) -> Via:
        """
        The top Via.

        :raises MessageError: it is missing or broken.
        """
        cache = self.headers.cache
        via: Via | None = cache.get("top-via")
        if via is None:
            via = cache["top-via"] = Via.parse(split_list(self._need("Via"))[0])
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
        self.headers.replace_first("Via", str(via))
        self.headers.cache["top-via"] = via

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
        return self._address("From").tag

    @property
    def to_tag(self) -> str | None:
        """
        The To header's tag; ``None`` outside a dialog.

        :raises MessageError: To is missing or broken.
        """
        return self._address("To").tag

    @property
    def call_id(self) -> str:
        """
        The Call-ID, byte for byte.

        :raises MessageError: it is missing, empty or holds white space.
        """
        cached: str | None = self.headers.cache.get("call-id")
        if cached is None:
            cached = self._need("Call-ID")
            if len(cached.split()) != 1:
                raise MessageError("bad-call-id", f"{cached!r} is no Call-ID")
            self.headers.cache["call-id"] = cached
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
        text = self.headers.get("Content-Type")
        if text is None:
            return None
        kind, slash, subtype = text.partition(";")[0].partition("/")
        return f"{kind.strip()}{slash}{subtype.strip()}".lower()

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

    # -- checks and bytes ------------------------------------------------------------------------

    def validate(self) -> None:
        """
        Check what every element needs: Via, From, To, Call-ID, CSeq and Max-Forwards.

        :raises MessageError: one is missing, broken or stands twice; its ``message`` is this one.
        """
        try:
            self._validate()
        except MessageError as error:
            error.message = self._as_partial()
            raise

    def _validate(self) -> None:
        for key, name in _MANDATORY:
            if key not in self.headers:
                raise MessageError("missing-header", f"there is no {name} header")
        for name in _SINGLE:
            if self.headers.count(name) > 1:
                raise MessageError("duplicate-header", f"there is more than one {name} header")
        self.via.branch  # noqa: B018 - parses, and that is the check
        self._address("From")
        self._address("To")
        self.call_id  # noqa: B018
        self.cseq  # noqa: B018
        self.max_forwards  # noqa: B018

    def _as_partial(self) -> Request | Response:
        raise NotImplementedError

    @property
    def is_frozen(self) -> bool:
        """Whether :meth:`to_bytes` was called."""
        return self._wire is not None

    def to_bytes(self) -> bytes:
        """
        Return the wire form with a right Content-Length, and freeze the message.

        What was parsed and not changed leaves as it came.
        """
        wire = self._wire
        if wire is None:
            if self._source is not None and not self.headers.is_changed:
                wire = self._source
            else:
                wire = self._serialise()
            self._wire = wire
            self.headers.freeze()
        return wire

    def _serialise(self) -> bytes:
        headers = self.headers
        length = str(len(self._body))
        if headers.get("Content-Length") != length or headers.count("Content-Length") != 1:
            headers.set("Content-Length", length)
        text = f"{self._start_line()}\r\n{headers.to_text()}\r\n"
        return text.encode("utf-8", "surrogateescape") + self._body

    def _start_line(self) -> str:
        raise NotImplementedError

    def _copy_into(self, twin: _M) -> _M:
        twin._body = self._body
        if not self.headers.is_changed:
            twin._source = self._source
        return twin

    def _change(self) -> None:
        if self._wire is not None:
            raise FrozenMessageError("the message was serialised; change a copy() of it")
        self._source = None

    # -- helpers ---------------------------------------------------------------------------------

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


class Request(Message):
    """
    A request.

    :param method: a token, case-sensitive.
    :param uri: the Request-URI as it is to be written.
    :raises HeaderValueError: the method is no token, or the URI holds white space.
    """

    __slots__ = ("_method", "_request_uri", "_uri", "attempt")

    is_request: ClassVar[bool] = True

    def __init__(
        self, method: str, uri: str, headers: Headers | None = None, body: bytes = b""
    ) -> None:
        super().__init__(headers, body)
        self._method = check_token(method, "method")
        self._uri = _check_uri(uri)
        self._request_uri: URI | None = None
        #: How often this request was tried before, with other headers; not on the wire.
        self.attempt = 0

    @classmethod
    def _parsed(cls, method: str, uri: str, headers: Headers) -> Request:
        """Make a request of what the parser has read, good or bad."""
        request = cls.__new__(cls)
        Message.__init__(request, headers)
        request._method = method
        request._uri = uri
        request._request_uri = None
        request.attempt = 0
        return request

    @property
    def method(self) -> str:
        """The method, such as ``"INVITE"``."""
        return self._method

    @property
    def uri(self) -> str:
        """The Request-URI as written."""
        return self._uri

    @uri.setter
    def uri(self, uri: str) -> None:
        _check_uri(uri)
        self._change()
        self._uri = uri
        self._request_uri = None

    @property
    def request_uri(self) -> URI:
        """
        The parts of the Request-URI.

        :raises MessageError: it is no URI.
        """
        parsed = self._request_uri
        if parsed is None:
            try:
                parsed = parse_uri(self._uri)
            except MessageError as error:
                raise MessageError("bad-request-uri", error.text) from None
            self._request_uri = parsed
        return parsed

    def copy(self) -> Request:
        """Return a copy that can be changed; its ``attempt`` is the same."""
        twin = self._copy_into(Request._parsed(self._method, self._uri, self.headers.copy()))
        twin.attempt = self.attempt
        return twin

    def _validate(self) -> None:
        super()._validate()
        if self.cseq.method != self._method:
            raise MessageError(
                "cseq-method-mismatch", f"{self._method} request with CSeq {self.cseq}"
            )
        uri = self.request_uri
        # RFC 3261 19.1.1: headers are not allowed in the Request-URI.
        if isinstance(uri, SIPURI) and uri.headers:
            raise MessageError("bad-request-uri", "the Request-URI carries headers")

    def _as_partial(self) -> Request:
        return self

    def _start_line(self) -> str:
        return f"{self._method} {self._uri} SIP/2.0"

    def __repr__(self) -> str:
        return f"<Request {self._method} {self._uri}>"


class Response(Message):
    """
    A response.

    :param status: 100 to 699.
    :param reason: the reason phrase; ``None`` takes the usual one.
    :raises HeaderValueError: the status is out of range, or the reason holds CR, LF or NUL.
    """

    __slots__ = ("_reason", "_status")

    is_request: ClassVar[bool] = False

    def __init__(
        self,
        status: int,
        reason: str | None = None,
        headers: Headers | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(headers, body)
        if not 100 <= status <= 699:
            raise HeaderValueError(f"{status} is no status code")
        self._status = status
        self._reason = reason_phrase(status) if reason is None else check_text(reason)

    @property
    def status(self) -> int:
        """The status code, 100 to 699."""
        return self._status

    @property
    def reason(self) -> str:
        """The reason phrase; may be empty."""
        return self._reason

    def copy(self) -> Response:
        """Return a copy that can be changed."""
        return self._copy_into(Response(self._status, self._reason, self.headers.copy()))

    def _as_partial(self) -> Response:
        return self

    def _start_line(self) -> str:
        return f"SIP/2.0 {self._status} {self._reason}"

    def __repr__(self) -> str:
        return f"<Response {self._status} {self._reason}>"


def _check_uri(uri: str) -> str:
    check_text(uri)
    if not uri or has_uri_breaker(uri):
        raise HeaderValueError(f"{uri!r} is no Request-URI")
    return uri
