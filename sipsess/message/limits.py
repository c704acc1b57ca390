# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""How much of a message this side looks at before it refuses; each bound with its reason."""

from __future__ import annotations

#: Bytes of a whole message: the largest UDP datagram, which every element must be able to receive
#: (:rfc:`3261#section-18.1.1`). Streams get the same bound so that a connection cannot fill the
#: memory.
MAX_MESSAGE = 65_535

#: Header lines of one message. A long path with Record-Route and History-Info stays below 60; each
#: line costs a tuple, so this bounds the objects that one datagram can make.
MAX_HEADERS = 128

#: Characters of the start line and of one header, continuation lines included. Identity and
#: Authorization stay below 4 KiB; the longest line of :rfc:`4475` has about 500.
MAX_LINE = 8_192

#: Values of one header that becomes objects (Via, Contact, Route, Record-Route), over all of its
#: lines. A path of 70 hops, the usual Max-Forwards, fits.
MAX_VALUES = 100

#: Parameters of one value or URI.
MAX_PARAMS = 64

#: The CSeq number is below 2**31 (:rfc:`3261#section-8.1.1.5`).
MAX_CSEQ = 2**31 - 1

#: Max-Forwards is a number from 0 to 255 (:rfc:`3261#section-20.22`).
MAX_MAX_FORWARDS = 255

#: Delta-seconds go up to 2**32 - 1 (:rfc:`3261#section-25.1`).
MAX_SECONDS = 2**32 - 1
