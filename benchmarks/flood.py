# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What a datagram costs that is no new call: a copy, rubbish, a message that belongs to nothing.

Each kind is sent at the same steady rate, in turns, and the server's processor time is divided by
the number of datagrams. What matters is the ratio to the INVITE of a new call: it says how much
more of the rest a server can be sent before it has no time for calls.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from benchmarks.caller import Caller
from benchmarks.messages import number_of, tag_of
from benchmarks.results import Report
from benchmarks.servers import Place, launch_ours
from benchmarks.system import running

#: Datagrams a second: slow enough that a busy machine has time for as many new calls.
RATE = 300

#: The figure that the others are compared with.
NEW_CALL = "flood: INVITE of a new call"

#: Returns so many datagrams; what has to happen before they can be sent has happened then.
Kind = Callable[[Caller, int], list[bytes]]


def _new_calls(caller: Caller, number: int) -> list[bytes]:
    return [caller.writer.invite(caller.next_number()) for _ in range(number)]


def _copies_of_invite(caller: Caller, number: int) -> list[bytes]:
    """Let one call ring: each copy of its INVITE gets its 180 again."""
    call = caller.next_number()
    invite = caller.writer.invite(call, user="alert")
    caller.send(invite)
    caller.expect(call, b"SIP/2.0 180")
    return [invite] * number


def _copies_of_bye(caller: Caller, number: int) -> list[bytes]:
    """End one call: each copy of its BYE gets its 200 again."""
    call, tag = caller.call()
    caller.hang_up(call, tag)
    return [caller.writer.bye(call, tag)] * number


def _no_sip(caller: Caller, number: int) -> list[bytes]:
    return [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: scanner %d\r\n\r\n" % number
    ] * number


def _without_cseq(caller: Caller, number: int) -> list[bytes]:
    invites = _new_calls(caller, number)
    return [invite.replace(b"CSeq: 1 INVITE\r\n", b"") for invite in invites]


_serial = count(1)


def _stray_responses(caller: Caller, number: int) -> list[bytes]:
    return [
        b"SIP/2.0 200 OK\r\n" + caller.writer.request(next(_serial), "BYE").partition(b"\r\n")[2]
        for _ in range(number)
    ]


def _stray_acks(caller: Caller, number: int) -> list[bytes]:
    return [caller.writer.ack(caller.next_number(), "nobody") for _ in range(number)]


def _stray_byes(caller: Caller, number: int) -> list[bytes]:
    return [caller.writer.bye(caller.next_number(), "nobody") for _ in range(number)]


#: The kinds of datagrams, by the name of their figure.
KINDS: dict[str, Kind] = {
    NEW_CALL: _new_calls,
    "flood: copy of an INVITE": _copies_of_invite,
    "flood: copy of a BYE": _copies_of_bye,
    "flood: no SIP at all": _no_sip,
    "flood: INVITE without CSeq": _without_cseq,
    "flood: response of no transaction": _stray_responses,
    "flood: ACK of no call": _stray_acks,
    "flood: BYE of no call": _stray_byes,
}


def run(report: Report, place: Place, *, number: int, rounds: int) -> None:
    """
    Measure.

    :param number: datagrams of each kind in a round; at most those that can be sent before the
        server repeats the first 200, half a second.
    """
    report.begin(f"flood: {RATE} datagrams/s to the server with RTP ports")
    costs: dict[str, list[float]] = {name: [] for name in KINDS}
    answers: dict[str, str] = {}
    launch = launch_ours(place)
    with running(launch, place.folder) as process, Caller(process.port) as caller:
        for _ in range(rounds + 1):
            for name, kind in KINDS.items():
                datagrams = kind(caller, number)
                caller.settle()
                begin = process.cpu()
                came = caller.pour(datagrams, RATE)
                costs[name].append((process.cpu() - begin) * 1e6 / number)
                answers[name] = _describe(came)
                if name == NEW_CALL:
                    _end(caller, came)
    for figures in costs.values():
        del figures[0]  # a round to warm up
    report.add_rounds("us", costs, answers)


def _end(caller: Caller, came: list[bytes]) -> None:
    """End the new calls, so that the next round finds the server as this one did."""
    for answer in came:
        if answer.startswith(b"SIP/2.0 200"):
            number, tag = number_of(answer), tag_of(answer)
            caller.send(caller.writer.ack(number, tag))
            caller.hang_up(number, tag)


def _describe(came: list[bytes]) -> str:
    """Say what came back."""
    found: dict[str, int] = {}
    for answer in came:
        status = answer[8:11].decode("ascii", "replace")
        found[status] = found.get(status, 0) + 1
    return ", ".join(f"{times} x {status}" for status, times in sorted(found.items())) or "silence"
