# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The records of DTLS (:rfc:`6347#section-4.1`).

::

    byte 0       type: 20 change cipher spec, 21 alert, 22 handshake, 23 data
    bytes 1-2    version
    bytes 3-4    epoch, 0 until the keys are there
    bytes 5-10   sequence number
    bytes 11-12  length of what follows
"""

from __future__ import annotations

from collections.abc import Iterator

_HEADER = 13
_HANDSHAKE = 22

#: Bytes of a datagram of ours: what every way carries, and what browsers take.
MTU = 1200


def split(data: bytes) -> Iterator[bytes]:
    """Yield the records of some bytes; what is cut off at the end is none."""
    start = 0
    while start + _HEADER <= len(data):
        end = start + _HEADER + int.from_bytes(data[start + 11 : start + _HEADER])
        if end > len(data):
            return
        yield data[start:end]
        start = end


def pack(data: bytes) -> list[bytes]:
    """Return datagrams for some records: each holds whole ones, as many as fit."""
    datagrams: list[bytes] = []
    for record in split(data):
        if datagrams and len(datagrams[-1]) + len(record) <= MTU:
            datagrams[-1] += record
        else:
            datagrams.append(record)
    return datagrams


def messages(data: bytes) -> Iterator[bytes]:
    """
    Yield what tells the handshake messages in a datagram apart.

    :return: message number and offset of each fragment (:rfc:`6347#section-4.2.2`); of an encrypted
        one, which hides them, its epoch.
    """
    for record in split(data):
        if record[0] == _HANDSHAKE:
            epoch = record[3:5]
            is_clear = epoch == b"\0\0"
            yield record[17:22] if is_clear else epoch
