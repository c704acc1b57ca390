# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What can be wrong with a message, by reason code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.errors import RemoteError

if TYPE_CHECKING:
    from sipsess.message._message import Request, Response

#: Reason code to one sentence for people.
REASONS: dict[str, str] = {
    "bad-address": "A From, To, Contact, Route or Record-Route value cannot be read.",
    "bad-authorization": "Credentials are of another scheme than Digest, or lack a parameter.",
    "bad-call-id": "The Call-ID is empty or holds white space.",
    "bad-content-length": "Content-Length is not a plain decimal number.",
    "bad-challenge": "A challenge has no scheme, or parameters that cannot be read.",
    "bad-cseq": "CSeq is not a number below 2**31 and a method.",
    "bad-date": "Date is not in the one format that SIP allows, which always ends with GMT.",
    "bad-header-line": "A header line has no colon, or its name is not a token.",
    "bad-history": "An entry of History-Info has no index.",
    "bad-max-forwards": "Max-Forwards is not a number from 0 to 255.",
    "bad-multipart": "A body of several parts has no proper boundary, no end, or too many parts.",
    "bad-parameter": "A parameter is empty, has no proper name, or its value cannot be read.",
    "bad-refer-to": "A REFER has not exactly one Refer-To, or it leads to no sip or sips URI.",
    "bad-replaces": "There is more than one Replaces, or it names no dialog.",
    "bad-request-uri": "The Request-URI cannot be read, or carries headers, which is not allowed.",
    "bad-retry-after": "Retry-After does not begin with a number of seconds below 2**32.",
    "bad-session-expires": "Session-Expires or Min-SE does not begin with a number of seconds.",
    "bad-sipfrag": "A body of type message/sipfrag does not begin with a status line.",
    "bad-start-line": "The first line is neither a request line nor a status line.",
    "bad-uri": "A URI cannot be read.",
    "bad-version": "The message is of another SIP version than 2.0.",
    "bad-via": "A Via value cannot be read.",
    "bare-line-break": "The header part holds a CR or an LF that is not part of a CRLF.",
    "bare-nul": "The header part holds a NUL that is not escaped within a quoted string.",
    "body-too-short": "Content-Length announces more bytes than arrived.",
    "cseq-method-mismatch": "The method in CSeq is not the request's method.",
    "duplicate-header": "A header that may stand only once stands twice.",
    "duplicate-parameter": "A parameter stands twice in one value or URI.",
    "empty-message": "There is nothing but line breaks.",
    "line-too-long": "The start line or a header is longer than this side reads.",
    "message-too-large": "The message is larger than this side reads.",
    "missing-content-length": "A message on a stream has no Content-Length.",
    "missing-header": "A header that every message must have is missing.",
    "no-end-of-headers": "The empty line after the headers is missing.",
    "too-many-headers": "The message has more header lines than this side reads.",
    "too-many-parameters": "A value or URI has more parameters than this side reads.",
    "too-many-values": "A header has more values than this side reads.",
}


class MessageError(RemoteError):
    """
    A message, or a value in it, breaks the rules of SIP.

    :param reason_code: one of :data:`REASONS`.
    :param text: one sentence for people.
    :param status: what to answer when it was a request.
    :param message: what could be read of the message; for a request that has a Via, enough for
        :func:`~sipsess.message.build_response`.
    """

    def __init__(
        self,
        reason_code: str,
        text: str,
        status: int = 400,
        message: Request | Response | None = None,
    ) -> None:
        super().__init__(reason_code, text)
        self.status = status
        self.message = message
