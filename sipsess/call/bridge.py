# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Two calls that hear each other, until one of them ends.

Theory of operation
    Audio goes from one stream to the other packet by packet, in the turn in which it came, and is
    transcoded only when the codecs differ (:mod:`sipsess.media.relay`). A key is a key: whichever
    way one side sends it (RTP event, INFO, tone), the other gets it the way that it understands,
    pressed as long, once it is over.

    To both calls the bridge is something that they wait for. So it hears when it is decided that
    one ends, and hangs the other up for the same reasons, at once, though a BYE may wait for its
    answer; and when one moves to another peer (transfer, Replaces), it goes on with that one. Hold
    goes across, too (:mod:`sipsess.call.holding`). When the media were left to the peers
    (:mod:`sipsess.session.passthrough`) all of this is between them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sipsess.errors import DialogStateError, SIPError
from sipsess.media import AudioStream
from sipsess.media.telephone_event import MAX_PRESS, MIN_PRESS
from sipsess.session import EndReason

from .dial import end_with
from .holding import Side
from .keys import PRESS, pass_by_info
from .passing import NOTHING, HeaderPolicy
from .wait import Wait

if TYPE_CHECKING:
    from .call import Call


class Bridge:
    """
    Joins two calls.

    :param near: one of them.
    :param far: the other one.
    :param policy: which headers of the end of the one go along with that of the other.
    """

    __slots__ = ("_far", "_near", "_policy", "_result", "_sides", "_streams", "_waits")

    def __init__(self, near: Call, far: Call, policy: HeaderPolicy = NOTHING) -> None:
        self._near = near
        self._far = far
        self._policy = policy
        self._streams: tuple[AudioStream, ...] = ()
        self._waits: tuple[Wait, ...] = ()
        self._sides: dict[Call, Side] = {}
        self._result: Deferred[EndReason] = Deferred(self._cancelled)

    def start(self) -> Deferred[EndReason]:
        """
        Let them hear each other.

        :return: see :meth:`.Call.bridge`.
        :raises DialogStateError: when one is not answered, or has a bridge already.
        """
        calls = (self._near, self._far)
        if self._near is self._far:
            raise DialogStateError("a call cannot be joined with itself")
        for call in calls:
            if not call.is_answered:
                raise DialogStateError("only calls that were answered can be joined")
            if call.joined is not None:
                raise DialogStateError("the call is joined with another one already")
        if self._near.session.media.is_passed_on != self._far.session.media.is_passed_on:
            raise DialogStateError("the media of one pass through, those of the other do not")
        for call in calls:
            call.joined = self
            call.session.note("joined", f"with {self._other(call).session.call_id}")
        self._sides = {call: Side(call) for call in calls}
        for call in calls:
            self._sides[call].join(self._sides[self._other(call)])
        self._waits = tuple(Wait(call) for call in calls)
        for call, wait in zip(calls, self._waits, strict=True):
            wait.moved = partial(self.media_changed, call)
            wait.ending = partial(self._end, call)
            wait.deferred.addErrback(lambda _: None)
        # Nobody is told anything before both are known.
        self._sides[self._far].look()
        self.media_changed(self._near)
        return self._result

    def _other(self, call: Call) -> Call:
        return self._far if call is self._near else self._near

    def media_changed(self, call: Call) -> None:
        """Hear that the audio of one call was negotiated anew; the other side may have to know."""
        self._join()
        self._sides[call].look()
        self._sides[self._other(call)].tell()
        self._sides[call].tell()

    def _join(self) -> None:
        """Join the media that the calls have now."""
        self._part()
        self._near.session.media.join(self._far.session.media)
        near, far = self._near.audio, self._far.audio
        if near is not None and far is not None:
            near.on_packet, far.on_packet = far.forward, near.forward
            self._streams = (near, far)

    def _part(self) -> None:
        streams, self._streams = self._streams, ()
        for stream in streams:
            stream.on_packet = None

    def receive_digit(self, call: Call, digit: str, seconds: float | None) -> None:
        """Pass on a key that the peer of one call has pressed, as long as he did."""
        other = self._other(call)
        duration = PRESS if seconds is None else min(max(seconds, MIN_PRESS), MAX_PRESS)
        try:
            if other.session.media.is_passed_on:
                pass_by_info(other, digit, duration).addErrback(_ignore)
            else:
                other.send_digits(digit, duration).addErrback(_ignore)
        except SIPError as error:
            other.session.note("key lost", str(error))

    def _end(self, call: Call) -> None:
        """Hang the other one up, too, as soon as the end of one is decided."""
        end = call.session.reason_or_unknown()
        self._stop()
        end_with(self._other(call), call, self._policy)
        if not self._result.called:
            self._result.callback(end)

    def _cancelled(self, result: Deferred[EndReason]) -> None:
        """Part the calls; when one is just ending, so does the other."""
        self._stop()
        for call in (self._near, self._far):
            if call.is_ended:
                end_with(self._other(call), call, self._policy)

    def _stop(self) -> None:
        self._part()
        for side in self._sides.values():
            side.join(side)
        self._near.joined = self._far.joined = None
        for wait in self._waits:
            wait.let_go()


def bridge(near: Call, far: Call, policy: HeaderPolicy = NOTHING) -> Deferred[EndReason]:
    """Join two calls; see :meth:`.Call.bridge`."""
    return Bridge(near, far, policy).start()


def _ignore(failure: Failure) -> None:
    failure.trap(SIPError, CancelledError)
