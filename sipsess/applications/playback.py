# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that plays a sound and hangs up: an announcement."""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from sipsess.application import Application
from sipsess.call import Call, load
from sipsess.interfaces import IConfigurableApplication
from sipsess.media import WAVError

#: More often nobody listens; a call that says nothing else shall end some time.
MAX_TIMES = 1000


@dataclass(frozen=True, slots=True)
class PlaybackOptions:
    """The options of a route to ``playback``."""

    #: What is played: the name of a shipped sound, or a WAV file with its suffix.
    sound: str = "hello"
    #: How often, 1 to 1000.
    times: int = 1


@implementer(IConfigurableApplication)
class PlaybackApplication(Application):
    """
    Answers, plays a sound some times, and hangs up.

    :param how: what is played, and how often.
    """

    name = "playback"
    options = PlaybackOptions

    def __init__(self, how: PlaybackOptions = PlaybackOptions()) -> None:
        self.how = how

    def with_options(self, options: PlaybackOptions) -> PlaybackApplication:
        """See :meth:`.IConfigurableApplication.with_options`."""
        if not 1 <= options.times <= MAX_TIMES:
            raise ValueError(f"times is 1 to {MAX_TIMES}, not {options.times}")
        check_sound(options.sound)
        return PlaybackApplication(options)

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        if not call.is_answered:
            await call.answer()
        for _ in range(self.how.times):
            await call.play(self.how.sound)


def check_sound(sound: str) -> None:
    """
    Check that a sound of somebody's options can be played.

    :raises ValueError: with what is wrong with it.
    """
    try:
        load(sound)
    except WAVError as error:
        raise ValueError(str(error)) from error
