# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
SIP messages: from bytes to requests and responses, and back (:rfc:`3261#section-7`).

>>> message = parse(datagram)
>>> message.validate()
>>> message.via.branch, message.cseq.number
"""

from __future__ import annotations

from sipsess.message._errors import REASONS, MessageError
from sipsess.message._headers import Headers, header_key
from sipsess.message._message import Message, Request, Response
from sipsess.message._params import Params, URIParams
from sipsess.message._parser import parse
from sipsess.message._peek import Peek, peek
from sipsess.message._uri import SIPURI, URI, OtherURI, TelURI, escape_user, parse_uri
from sipsess.message._values import CSeq, NameAddr, Via
from sipsess.message.builders import build_ack, build_cancel, build_request, build_response
from sipsess.message.framing import PING, PONG, StreamFramer

__all__ = [
    "PING",
    "PONG",
    "REASONS",
    "SIPURI",
    "URI",
    "CSeq",
    "Headers",
    "Message",
    "MessageError",
    "NameAddr",
    "OtherURI",
    "Params",
    "Peek",
    "Request",
    "Response",
    "StreamFramer",
    "TelURI",
    "URIParams",
    "Via",
    "build_ack",
    "build_cancel",
    "build_request",
    "build_response",
    "escape_user",
    "header_key",
    "parse",
    "parse_uri",
    "peek",
]
