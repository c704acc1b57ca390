# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Requests and responses.

Theory of operation
    A parsed message is its start line, its raw headers and its body, nothing more. Each typed
    accessor (``via``, ``cseq``...) reads its header at first use and keeps the value until a header
    changes; it raises :class:`MessageError` when the peer wrote nonsense. ``validate`` asks for all
    that every element needs, so that after it those accessors cannot fail. A message that nobody
    changed leaves byte for byte as it came.

    ``to_bytes`` freezes: what was sent, or is about to be, is not changed behind the back of the
    transaction that sends it again. ``copy`` gives one that can be changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

from sipsess.errors import FrozenMessageError, HeaderValueError
from sipsess.message._errors import MessageError
from sipsess.message._headers import Headers
from sipsess.message._lex import check_text, check_token, has_uri_breaker
from sipsess.message._uri import SIPURI, URI, is_usual_uri, parse_uri
from sipsess.message._values import CSeq, read_call_id, read_tag, read_top_via
from sipsess.message._views import HeaderViews
from sipsess.status import reason_phrase

_M = TypeVar("_M", bound="Message")

#: Headers that must stand in each message (:rfc:`3261#section-8.1.1`), in the order they are
#: checked; and the view that reads each, and how. Max-Forwards is not among them: elements of
#: RFC 2543 do not send it.
_MANDATORY: tuple[tuple[str, str, str, Callable[[str], object]], ...] = (
    ("via", "Via", "top-via", read_top_via),
    ("from", "From", "from-tag", read_tag),
    ("to", "To", "to-tag", read_tag),
    ("call-id", "Call-ID", "call-id", read_call_id),
    ("cseq", "CSeq", "cseq", CSeq.parse),
)
_MANDATORY_KEYS = frozenset(key for key, *_ in _MANDATORY)
_SINGLE = ("From", "To", "Call-ID", "CSeq", "Max-Forwards")


class Message(HeaderViews):
    """What requests and responses have in common."""

    __slots__ = ("_body", "_source", "_wire")

    #: Whether it is a :class:`Request`.
    is_request: ClassVar[bool]

    def __init__(self, headers: Headers | None = None, body: bytes = b"") -> None:
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
        headers = self.headers
        keys = headers.keys()
        if not keys >= _MANDATORY_KEYS:
            name = next(name for key, name, *_ in _MANDATORY if key not in keys)
            raise MessageError("missing-header", f"there is no {name} header")
        if len(keys) < len(headers):
            for name in _SINGLE:
                if headers.count(name) > 1:
                    raise MessageError("duplicate-header", f"there is more than one {name} header")
        cache = headers.cache
        for key, _, view, read in _MANDATORY:
            if view not in cache:
                cache[view] = read(headers.get(key) or "")
        self.max_forwards  # noqa: B018 - parses, and that is the check

    def _as_partial(self) -> Request | Response:
        raise NotImplementedError

    @property
    def source(self) -> bytes | None:
        """The bytes that were received; ``None`` for a message that was made or changed here."""
        return self._source

    @property
    def size(self) -> int:
        """How many bytes were received; 0 for a message that was made here."""
        return 0 if self._source is None else len(self._source)

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


class Request(Message):
    """
    A request.

    :param method: a token, case-sensitive.
    :param uri: the Request-URI as it is to be written.
    :raises HeaderValueError: the method is no token, or the URI holds white space.
    """

    __slots__ = ("_request_uri", "_uri", "attempt", "method")

    is_request: ClassVar[bool] = True

    def __init__(
        self, method: str, uri: str, headers: Headers | None = None, body: bytes = b""
    ) -> None:
        super().__init__(headers, body)
        #: The method, such as ``"INVITE"``; never changed.
        self.method = check_token(method, "method")
        self._uri = _check_uri(uri)
        self._request_uri: URI | None = None
        #: How often this request was tried before, with other headers; not on the wire.
        self.attempt = 0

    @classmethod
    def _parsed(cls, method: str, uri: str, headers: Headers) -> Request:
        """Make a request of what the parser has read, good or bad."""
        request = cls.__new__(cls)
        request.headers = headers
        request._body = b""
        request._source = request._wire = request._request_uri = None
        request.method = method
        request._uri = uri
        request.attempt = 0
        return request

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
        twin = self._copy_into(Request._parsed(self.method, self._uri, self.headers.copy()))
        twin.attempt = self.attempt
        return twin

    def _validate(self) -> None:
        super()._validate()
        if self.cseq.method != self.method:
            raise MessageError(
                "cseq-method-mismatch", f"{self.method} request with CSeq {self.cseq}"
            )
        if is_usual_uri(self._uri):
            return
        uri = self.request_uri
        # RFC 3261 19.1.1: headers are not allowed in the Request-URI.
        if isinstance(uri, SIPURI) and uri.headers:
            raise MessageError("bad-request-uri", "the Request-URI carries headers")

    def _as_partial(self) -> Request:
        return self

    def _start_line(self) -> str:
        return f"{self.method} {self._uri} SIP/2.0"

    def __repr__(self) -> str:
        return f"<Request {self.method} {self._uri}>"


class Response(Message):
    """
    A response.

    :param status: 100 to 699.
    :param reason: the reason phrase; ``None`` takes the usual one.
    :raises HeaderValueError: the status is out of range, or the reason holds CR, LF or NUL.
    """

    __slots__ = ("reason", "status")

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
        #: The status code, 100 to 699; never changed.
        self.status = status
        #: The reason phrase; may be empty, and is never changed.
        self.reason = reason_phrase(status) if reason is None else check_text(reason)

    def copy(self) -> Response:
        """Return a copy that can be changed."""
        return self._copy_into(Response(self.status, self.reason, self.headers.copy()))

    def _as_partial(self) -> Response:
        return self

    def _start_line(self) -> str:
        return f"SIP/2.0 {self.status} {self.reason}"

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason}>"


def _check_uri(uri: str) -> str:
    check_text(uri)
    if not uri or has_uri_breaker(uri):
        raise HeaderValueError(f"{uri!r} is no Request-URI")
    return uri
