# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What a transfer is made of: Refer-To (:rfc:`3515`), Replaces (:rfc:`3891`) and bodies of
``message/sipfrag`` (:rfc:`3420`) that tell the outcome.

::

    Refer-To: <sip:carol@192.0.2.3?Replaces=12345%40atlanta%3Bto-tag%3D1%3Bfrom-tag%3D2>
    Replaces: 12345@atlanta;to-tag=1;from-tag=2;early-only

    SIP/2.0 486 Busy Here
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sipsess.message._errors import MessageError
from sipsess.message._headers import Headers
from sipsess.message._lex import ALPHANUMERIC, check_text, has_control
from sipsess.message._params import Params, escape, unescape
from sipsess.message._uri import SIPURI
from sipsess.message._values import NameAddr, read_number

#: The body that tells what became of a transfer.
SIPFRAG = "message/sipfrag"
#: What needs no escape in a header of a URI (``hvalue``, :rfc:`3261#section-25.1`).
_HVALUE = ALPHANUMERIC + "-_.!~*'()[]/?:+$"
#: A longer reason phrase is cut: it ends up in records and logs.
_MAX_REASON = 200


@dataclass(frozen=True, slots=True)
class Replaces:
    """
    A Replaces value: the dialog whose place a new call takes, as the one who gets it sees it.

    ``str()`` is the wire form.
    """

    call_id: str
    #: The local tag of whoever receives the header.
    to_tag: str
    #: His peer's tag.
    from_tag: str
    #: Take the place only while the dialog is early.
    early_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Replaces:
        """
        Read a value.

        :raises MessageError: Call-ID or a tag is missing.
        """
        call_id, _, rest = text.partition(";")
        call_id = call_id.strip(" \t")
        params = Params.parse(rest) if rest else Params()
        to_tag, from_tag = params.get("to-tag"), params.get("from-tag")
        if not call_id or " " in call_id or has_control(call_id) or not to_tag or not from_tag:
            raise MessageError("bad-replaces", f"{text[:80]!r} names no dialog")
        return cls(call_id, to_tag, from_tag, "early-only" in params)

    def __str__(self) -> str:
        """
        The wire form.

        :raises HeaderValueError: something of it cannot be written.
        """
        flag = ";early-only" if self.early_only else ""
        text = f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{flag}"
        return check_text(text)


def get_replaces(headers: Headers) -> Replaces | None:
    """
    Return the Replaces of a request, or ``None``.

    :raises MessageError: there are several, one beside a Join, or it cannot be read.
    """
    if "Replaces" not in headers:
        return None
    values = headers.values("Replaces")
    if len(values) != 1 or "Join" in headers:
        # RFC 3891 3 and 4: more than one, or one that contradicts a Join (RFC 3911).
        raise MessageError("bad-replaces", "there is more than one Replaces or Join")
    return Replaces.parse(values[0])


@dataclass(frozen=True, slots=True)
class ReferTo:
    """Where a REFER leads."""

    #: To be called: without headers and ``method`` parameter, as a Request-URI must be.
    uri: SIPURI
    #: What shall be sent there: nearly always INVITE.
    method: str = "INVITE"
    #: Whose place the new call takes (attended transfer), or ``None``.
    replaces: Replaces | None = None

    @classmethod
    def parse(cls, text: str) -> ReferTo:
        """
        Read a Refer-To value; headers of the URI other than Replaces are left out.

        :raises MessageError: it cannot be read; its ``status`` is 416 for a URI of another scheme.
        """
        uri = NameAddr.parse(text).parsed_uri
        if not isinstance(uri, SIPURI):
            raise MessageError("bad-refer-to", "only a sip or sips URI can be called", 416)
        replaces = None
        for name, value in uri.headers:
            if unescape(name).lower() == "replaces":
                if replaces is not None:
                    raise MessageError("bad-replaces", "there is more than one Replaces")
                replaces = Replaces.parse(unescape(value))
        method = (uri.params.get("method") or "INVITE").upper()
        bare = replace(uri, params=uri.params.without("method"), headers=())
        return cls(bare, method, replaces)

    def __str__(self) -> str:
        """
        The wire form.

        :raises HeaderValueError: something of it cannot be written.
        """
        uri = self.uri
        if self.method != "INVITE":
            uri = replace(uri, params=uri.params.with_("method", self.method))
        if self.replaces is not None:
            uri = replace(uri, headers=(("Replaces", escape(str(self.replaces), _HVALUE)),))
        return f"<{uri}>"


def get_refer_to(headers: Headers) -> ReferTo:
    """
    Return the Refer-To of a REFER.

    :raises MessageError: there is not exactly one, or it cannot be read.
    """
    values = headers.values("Refer-To")
    if len(values) != 1:
        # RFC 3515 2.4.2
        raise MessageError("bad-refer-to", "a REFER has exactly one Refer-To")
    return ReferTo.parse(values[0])


@dataclass(frozen=True, slots=True)
class StatusLine:
    """
    The status line that begins a body of ``message/sipfrag``.

    ``str()`` is the line without its end.
    """

    status: int
    reason: str = ""

    @classmethod
    def parse(cls, body: bytes) -> StatusLine:
        """
        Read the first line of a body.

        :raises MessageError: it is no status line.
        """
        line = body.partition(b"\n")[0].rstrip(b"\r").decode("utf-8", "replace")
        version, _, rest = line.partition(" ")
        number, _, reason = rest.partition(" ")
        status = read_number(number, 699)
        if version.upper() != "SIP/2.0" or status is None or status < 100:
            raise MessageError("bad-sipfrag", "the body begins with no status line")
        return cls(status, reason[:_MAX_REASON])

    @property
    def is_success(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300

    def __str__(self) -> str:
        return f"SIP/2.0 {self.status} {self.reason}"

    def to_bytes(self) -> bytes:
        """Return a body of it."""
        return f"{check_text(str(self))}\r\n".encode()
