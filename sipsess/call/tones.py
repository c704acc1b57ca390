# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Hears the keys of a peer who presses them as tones, while somebody reads keys.

A peer with RTP events is not listened to, nor one whose endpoint says ``info`` or ``none``: that
costs a hundredth of a processor, and speech is mistaken for a key once in a blue moon. Some peers
send a key twice, as a tone and by INFO. So a key that comes in another way ends the listening for
the rest of the call, and is no second one right after its tone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.media import Listening
from sipsess.media.inband import KeyDetector

if TYPE_CHECKING:
    from .call import Call

#: Seconds after a tone in which the same key, told in another way, is the same press.
SAME_PRESS = 0.5


class Tones:
    """
    The keys of one call that are heard as tones.

    :param call: whose they are.
    """

    __slots__ = ("_call", "_is_needless", "_key", "_listening", "_when")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._listening: Listening | None = None
        #: Whether the peer has shown a better way.
        self._is_needless = False
        #: The last key that was heard, and when.
        self._key = ""
        self._when = 0.0

    def begin(self) -> None:
        """Listen, if the peer may press keys as tones."""
        stream = self._call.audio
        assert stream is not None, "who reads has looked"
        if self._is_needless:
            return
        mode = self._call.session.endpoint.dtmf
        if mode == "inband" or (mode == "rfc4733" and not stream.has_events):
            self._listening = stream.listen(KeyDetector(self._press).hear)

    def end(self) -> None:
        """Listen no more, until somebody reads again. Idempotent."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.stop()

    def is_repeated(self, key: str) -> bool:
        """Hear of a key that came in another way; tell whether its tone was heard just now."""
        self._is_needless = True
        self.end()
        passed = self._call.session.core.turn.now - self._when
        is_same, self._key = key == self._key and passed < SAME_PRESS, ""
        return is_same

    def _press(self, key: str) -> None:
        turn = self._call.session.core.turn
        with turn:
            self._key, self._when = key, turn.now
            self._call.keypad.add(key)
