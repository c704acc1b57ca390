# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The Reason header (:rfc:`3326`): why a request was sent, or a response given.

::

    Reason: Q.850;cause=16;text="Normal call clearing", SIP;cause=200

A peer may write what it likes there, and nothing depends on it: what cannot be read is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from sipsess.message._errors import MessageError
from sipsess.message._headers import Headers
from sipsess.message._lex import check_token, is_token, quote
from sipsess.message._params import Params
from sipsess.message._values import read_number

#: Values that are read; there is one for each protocol, and two protocols in use.
MAX_REASONS = 8
#: Longer texts are cut: they end up in records and logs.
MAX_TEXT = 200

#: What the causes of Q.850 that SIP networks send mean, in the words of the ITU.
Q850_TEXTS = {
    1: "Unallocated number",
    2: "No route to network",
    3: "No route to destination",
    16: "Normal call clearing",
    17: "User busy",
    18: "No user responding",
    19: "No answer from user",
    20: "Subscriber absent",
    21: "Call rejected",
    22: "Number changed",
    25: "Exchange routing error",
    26: "Non-selected user clearing",
    27: "Destination out of order",
    28: "Invalid number format",
    31: "Normal, unspecified",
    34: "No circuit available",
    38: "Network out of order",
    41: "Temporary failure",
    42: "Switching equipment congestion",
    63: "Service or option not available",
    65: "Bearer capability not implemented",
    79: "Service or option not implemented",
    88: "Incompatible destination",
    102: "Recovery on timer expiry",
    127: "Interworking, unspecified",
}

#: SIP status to cause of Q.850 (:rfc:`3398#section-8.2.6.1`).
Q850_CAUSES = {
    400: 41,
    401: 21,
    402: 21,
    403: 21,
    404: 1,
    405: 63,
    406: 79,
    407: 21,
    408: 102,
    410: 22,
    413: 127,
    414: 127,
    415: 79,
    416: 127,
    420: 127,
    421: 127,
    423: 127,
    480: 18,
    481: 41,
    482: 25,
    483: 25,
    484: 28,
    485: 1,
    486: 17,
    500: 41,
    501: 79,
    502: 38,
    503: 41,
    504: 102,
    505: 127,
    513: 127,
    600: 17,
    603: 21,
    604: 1,
}


@dataclass(frozen=True, slots=True)
class Reason:
    """
    One value of a Reason header.

    ``str()`` is the wire form, :meth:`describe` one for people.
    """

    #: ``"SIP"``, ``"Q.850"`` or another one, as written.
    protocol: str
    #: The status or cause; ``None`` when absent or no number.
    cause: int | None = None
    #: For people; may be empty.
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> Reason:
        """
        Read one value.

        :raises MessageError: the protocol is no token, or a parameter cannot be read.
        """
        protocol, _, rest = text.partition(";")
        protocol = protocol.strip(" \t")
        if not is_token(protocol):
            raise MessageError("bad-parameter", f"{protocol[:80]!r} is no protocol of a Reason")
        params = Params.parse(rest) if rest else Params()
        cause = read_number(params.get("cause") or "", 999)
        return cls(protocol, cause, (params.get("text") or "")[:MAX_TEXT])

    @classmethod
    def q850(cls, cause: int) -> Reason:
        """Return the value of a cause of Q.850, with its usual text."""
        return cls("Q.850", cause, Q850_TEXTS.get(cause, ""))

    def describe(self) -> str:
        """Return it for people: ``"Q.850 17 User busy"``."""
        text = self.text
        if not text and self.protocol.upper() == "Q.850":
            text = Q850_TEXTS.get(self.cause or 0, "")
        number = "" if self.cause is None else str(self.cause)
        return " ".join(part for part in (self.protocol, number, text) if part)

    def __str__(self) -> str:
        """
        The wire form.

        :raises HeaderValueError: something of it cannot be written.
        """
        check_token(self.protocol, "protocol")
        cause = "" if self.cause is None else f";cause={self.cause}"
        return f"{self.protocol}{cause}" + (f";text={quote(self.text)}" if self.text else "")


def parse_reasons(headers: Headers) -> tuple[Reason, ...]:
    """Return the Reason values of a message, without those that cannot be read."""
    if "Reason" not in headers:
        return ()
    found = []
    for value in headers.values("Reason")[:MAX_REASONS]:
        try:
            found.append(Reason.parse(value))
        except MessageError:
            continue
    return tuple(found)
