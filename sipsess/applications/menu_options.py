# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The options of the application ``menu``: a table of keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sipsess.media.telephone_event import DIGITS
from sipsess.session.incoming import SETUP_LIMIT

from .playback import check_sound


@dataclass(frozen=True, slots=True)
class MenuKey:
    """What a key does; with none of ``route``, ``dial`` and ``hangup`` the menu begins anew."""

    #: A sound that is played first.
    play: str = ""
    #: A user whose route the call goes on with, as if it had been dialled.
    route: str = ""
    #: Whom to call and to join: as ``target`` of ``dial``.
    dial: str = ""
    #: Whether it ends the call.
    hangup: bool = False


@dataclass(frozen=True, slots=True)
class MenuOptions:
    """The options of a route to ``menu``."""

    #: What is played until a key is pressed: a shipped sound, or a WAV file with its suffix.
    prompt: str = "hello"
    #: What each key does: ``play`` a sound, then ``route`` to another user, ``dial`` somebody, or
    #: ``hangup``; when it says none of these three, the menu begins anew.
    keys: Mapping[str, MenuKey] = field(default_factory=dict)
    #: Seconds of patience for a key after the prompt.
    timeout: float = 5.0
    #: How often in a row there may be no key, or one that leads nowhere.
    attempts: int = 3
    #: What is played after a key that leads nowhere.
    invalid: str = ""
    #: What is played before the menu hangs up for want of a key.
    farewell: str = "goodbye"
    #: Seconds that somebody may ring whom a key dials.
    ringing: float = 30.0

    def check(self) -> None:
        """
        Check them.

        :raises ValueError: with what is wrong with them.
        """
        if not 0 < self.timeout <= SETUP_LIMIT or not 0 < self.ringing <= SETUP_LIMIT:
            raise ValueError(f"timeout and ringing are more than 0, and at most {SETUP_LIMIT:.0f}")
        if not 1 <= self.attempts <= 100:
            raise ValueError(f"attempts is 1 to 100, not {self.attempts}")
        sounds = [self.prompt, self.invalid, self.farewell]
        for digit, key in self.keys.items():
            if len(digit) != 1 or digit not in DIGITS:
                raise ValueError(f"keys: {digit!r} is none of {' '.join(DIGITS)}")
            if bool(key.route) + bool(key.dial) + key.hangup > 1:
                raise ValueError(f"keys: {digit!r} has more than one of route, dial and hangup")
            sounds.append(key.play)
        for sound in filter(None, sounds):
            check_sound(sound)
