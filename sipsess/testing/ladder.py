# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Ladder diagrams: who said what to whom, and when.

A pure formatter. SIP messages show their start line, RTP and RTCP are folded into counts. Two
parties stand left and right::

      INVITE sip:hello@192.0.2.1  ------------------------->   0.000
                                  <------------- 180 Ringing   0.004
                                  <------------------ 200 OK   0.212   audio PCMU 192.0.2.1:14002
      ACK sip:hello@192.0.2.1     ------------------------->   0.213
      RTP x 50                    ~~~~~~~~~~~~~~~~~~~~~~~~~>   0.230 to 1.210

An arrow that ends in ``x`` was lost. More than two parties get a column each::

      alice                     proxy                     bob
      |-- INVITE sip:bob@b ---->|                         |   0.000
      |                         |-- INVITE sip:bob@b ---->|   0.010
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sipsess.flow import Address, format_host

#: Characters of the left column and of the arrow.
_LEFT = 28
_ARROW = 27

#: Characters from one party's line to the next, when there are more than two.
_COLUMN = 32

#: The formats of RFC 3551 that people meet without an rtpmap.
_STATIC_FORMATS = {"0": "PCMU", "3": "GSM", "8": "PCMA", "9": "G722", "18": "G729"}

_FATES = {"lost": "lost", "duplicated": "copy", "refused": "refused", "in flight": "in flight"}


class Step(NamedTuple):
    """One datagram or message on its way."""

    #: Seconds; when it was sent.
    time: float
    source: Address
    target: Address
    data: bytes
    #: ``"delivered"``, ``"duplicated"``, ``"lost"``, ``"refused"`` or ``"in flight"``.
    fate: str = "delivered"


class _Row(NamedTuple):
    """One line of the diagram, before it is laid out."""

    label: str
    source: str
    target: str
    stroke: str
    head: str
    times: list[float]
    note: str


def format_ladder(steps: Iterable[Step], names: Mapping[str, str] | None = None) -> str:
    """
    Draw a ladder.

    :param steps: what was sent, in order of time.
    :param names: what to call a host, by its address; SDP shows addresses all the same.
    :return: the lines, without one at the end; ``"(nothing was sent)"`` when there is no step.
    """
    rows = _fold(steps, _Parties(names or {}))
    parties = list(dict.fromkeys(party for row in rows for party in (row.source, row.target)))
    if not rows:
        return "(nothing was sent)"
    if len(parties) == 2:
        left, right = parties
        head = f"  {left:<{_LEFT}}{right:>{_ARROW}}"
        return "\n".join([head, *(_two_sided(row, left) for row in rows)])
    head = "".join(f"{party:<{_COLUMN}}" for party in parties)
    return "\n".join([f"  {head}".rstrip(), *(_in_columns(row, parties) for row in rows)])


class _Parties:
    """Says whose an address is: a host's, unless two parties share a host."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._media: dict[Address, Address] = {}
        self._ports: dict[str, set[int]] = {}

    def learn(self, steps: list[Step]) -> None:
        """Note the SIP ports of each host, and who owns which media port."""
        for step in steps:
            if _start_line(step.data) is None:
                continue
            for host, port in (step.source, step.target):
                self._ports.setdefault(host, set()).add(port)
            media = _media(step.data)
            if media is not None:
                self._media[media[1], media[2]] = step.source

    def name(self, address: Address) -> str:
        """Return the name of the party that owns an address."""
        host, port = self._media.get(address) or self._media.get(_rtp_port(address)) or address
        name = self._names.get(host, format_host(host))
        return name if len(self._ports.get(host, ())) < 2 else f"{name}:{port}"


def _rtp_port(address: Address) -> Address:
    """Return the RTP address that goes with an RTCP one (RFC 3550 section 11)."""
    return address[0], address[1] - 1


def _fold(steps: Iterable[Step], parties: _Parties) -> list[_Row]:
    """Make a row of each SIP message, and one of each run of packets."""
    steps = list(steps)
    parties.learn(steps)
    rows: list[_Row] = []
    runs: dict[tuple[str, ...], _Row] = {}
    for step in steps:
        source, target = parties.name(step.source), parties.name(step.target)
        head = "x" if step.fate == "lost" else ""
        line = _start_line(step.data)
        if line is not None:
            runs.clear()
            note = "   ".join(part for part in (_FATES.get(step.fate), _note(step.data)) if part)
            rows.append(_Row(line, source, target, "-", head, [step.time], note))
            continue
        label, stroke = _packet_label(step.data)
        key = (label, source, target, step.fate)
        if key not in runs:
            note = _FATES.get(step.fate, "")
            runs[key] = _Row(label, source, target, stroke, head, [], note)
            rows.append(runs[key])
        runs[key].times.append(step.time)
    return rows


def _start_line(data: bytes) -> str | None:
    """Return what a SIP message says in its first line, or ``None`` for anything else."""
    line = data[:1024].lstrip(b"\r\n").split(b"\r\n", 1)[0].decode("utf-8", "replace")
    if line.startswith("SIP/2.0 "):
        return _printable(line[8:])
    if line.endswith(" SIP/2.0"):
        return _printable(line[:-8])
    return None


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _packet_label(data: bytes) -> tuple[str, str]:
    """Return the label and the stroke of what is not SIP."""
    if not data.strip(b"\r\n\0"):
        return "keep-alive", "-"
    if len(data) >= 8 and data[0] >> 6 == 2:
        # RFC 5761 section 4: packet types 192 to 223 are RTCP.
        return ("RTCP" if 192 <= data[1] <= 223 else "RTP"), "~"
    return f"{len(data)} bytes", "-"


def _note(data: bytes) -> str:
    """Return what else is worth a word: the first stream, and why it ended."""
    parts = []
    media = _media(data)
    if media is not None:
        kind, host, port, codec = media
        parts.append(f"{kind} {codec} {format_host(host)}:{port}")
    for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        if line[:7].lower() == b"reason:":
            parts.append("Reason: " + _printable(line[7:].strip().decode("utf-8", "replace")))
    return "   ".join(parts)


def _media(data: bytes) -> tuple[str, str, int, str] | None:
    """Return kind, host, port and first codec of the first stream in an SDP body."""
    body = data.partition(b"\r\n\r\n")[2]
    if not body.startswith(b"v=0"):
        return None
    host, kind, port, codec = "?", "", -1, ""
    for line in body.decode("utf-8", "replace").splitlines():
        words = line[2:].split()
        if line.startswith("c=") and len(words) == 3:
            host = words[2]
        elif line.startswith("m=") and len(words) > 3:
            if kind:
                break
            kind, codec = words[0], words[3]
            port = int(words[1]) if words[1].isdecimal() else -1
        elif kind and line.startswith(f"a=rtpmap:{codec} ") and len(words) > 1:
            codec = words[1].partition("/")[0]
    return (kind, host, port, _STATIC_FORMATS.get(codec, codec)) if kind else None


def _label(row: _Row) -> str:
    return (
        row.label
        if row.stroke == "-" and len(row.times) == 1
        else f"{row.label} x {len(row.times)}"
    )


def _times(row: _Row) -> str:
    first, last = row.times[0], row.times[-1]
    span = f"{first:7.3f}" if first == last else f"{first:7.3f} to {last:.3f}"
    return f"{span}   {row.note}" if row.note else span


def _two_sided(row: _Row, left: str) -> str:
    label = _label(row)
    if row.source == left:
        if len(label) >= _LEFT:
            label = label[: _LEFT - 4] + "..."
        arrow = row.stroke * (_ARROW - 1) + (row.head or ">")
        return f"  {label:<{_LEFT}}{arrow} {_times(row)}"
    if len(label) > _ARROW - 5 and not label[0].isdigit():
        label = label.partition(" ")[0]  # the method says enough
    label = label[: _ARROW - 5]
    shaft = row.stroke * (_ARROW - 2 - len(label))
    return f"  {'':<{_LEFT}}{row.head or '<'}{shaft} {label} {_times(row)}"


def _in_columns(row: _Row, parties: list[str]) -> str:
    source, target = parties.index(row.source), parties.index(row.target)
    cells = list(("|" + " " * (_COLUMN - 1)) * (len(parties) - 1) + "|")
    label = _label(row)
    if source == target:
        return f"  {''.join(cells)} {_times(row)}   {label} (to itself)"
    start, end = sorted((source * _COLUMN, target * _COLUMN))
    room = end - start - 7
    label = label if len(label) <= room else label[: room - 3] + "..."
    shaft = row.stroke * 2 + f" {label} " + row.stroke * (room - len(label) + 1)
    head = row.head or (">" if source < target else "<")
    cells[start + 1 : end] = shaft + head if source < target else head + shaft
    return f"  {''.join(cells)} {_times(row)}"
