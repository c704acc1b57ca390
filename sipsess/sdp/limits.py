# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""How much a peer may send in one session description, each number with its reason."""

from __future__ import annotations

#: Bytes of one body: no UDP datagram holds more; the largest bodies seen (browsers with many
#: candidates) have about 30 000.
MAX_BYTES = 65_535

#: Lines of one body. A browser's audio call has 130, a large conference some 1 500; each costs an
#: object.
MAX_LINES = 4096

#: m= lines of one body. A call has one to three; each costs a stream with its handler, and slots of
#: a session are never given back (:rfc:`3264#section-8`).
MAX_MEDIA = 64

#: Digits of the numbers in an o= line: 64-bit numbers have 20, and a longer one is no number of a
#: session.
MAX_DIGITS = 20

#: A port of :rfc:`768`; larger numbers do not fit its header field.
MAX_PORT = 65_535

#: Ports in one m= line (``m=video 49170/2``): as many as there are pairs of ports.
MAX_PORT_COUNT = 32_767

#: A payload type has seven bits (:rfc:`3550#section-5.1`).
MAX_PAYLOAD_TYPE = 127

#: Blocks of lines that are kept to be shared among calls: more than a server meets, since devices
#: of one model write the same. A peer that sends ever new ones makes us keep some 3 MB.
MAX_SHARED_BLOCKS = 256

#: Lines and characters of a block that is shared: that of an audio call without ICE has about ten
#: and 300; with ICE every call has its own.
MAX_SHARED_LINES = 24
MAX_SHARED_CHARACTERS = 1024
