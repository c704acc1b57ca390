# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that asks the caller for a key: a voice menu, made of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zope.interface import implementer

from sipsess.application import Application, Reject
from sipsess.call import Call
from sipsess.interfaces import IApplication, IConfigurableApplication
from sipsess.media.telephone_event import DIGITS
from sipsess.routing import GROUPS
from sipsess.session.incoming import SETUP_LIMIT

from .dial import target_of
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


@implementer(IConfigurableApplication)
class MenuApplication(Application):
    """
    Plays a prompt, and does what the key says.

    :param how: the table.
    """

    name = "menu"
    options = MenuOptions

    def __init__(self, how: MenuOptions = MenuOptions()) -> None:
        self.how = how

    def with_options(self, options: MenuOptions) -> MenuApplication:
        """See :meth:`.IConfigurableApplication.with_options`."""
        check(options)
        return MenuApplication(options)

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        if not call.is_answered:
            await call.answer()
        chosen: IApplication | None = self
        # One menu after another, and not one within another: a caller may go round all day.
        while isinstance(chosen, MenuApplication):
            chosen = await chosen.ask(call)
        if chosen is not None:
            await chosen.handle(call)

    async def ask(self, call: Call) -> IApplication | None:
        """Ask until a key leads out of the menu; return who goes on, or ``None`` at the end."""
        how, failures = self.how, 0
        while failures < how.attempts:
            prompt = how.prompt
            digit = await call.read_digits(1, timeout=how.timeout, terminators="", prompt=prompt)
            call.session.note("menu", f"key {digit}" if digit else "no key")
            key = how.keys.get(digit)
            if key is not None and key.play:
                await call.play(key.play)
            if key is not None and key.hangup:
                return None
            if key is not None and key.route:
                found = find_route(call, key.route)
                if found is not None:
                    return found
            elif key is not None and key.dial:
                if await self._connect(call, key.dial):
                    return None
            elif key is not None:
                failures = 0
                continue
            failures += 1
            if digit and how.invalid:
                await call.play(how.invalid)
        if how.farewell:
            await call.play(how.farewell)
        return None

    async def _connect(self, call: Call, target: str) -> bool:
        """Call somebody and join the two; ``False`` when nobody answers."""
        try:
            leg = await call.dial(target_of(call, target), timeout=self.how.ringing)
        except Reject as error:
            call.session.note("menu", f"{target}: {error}")
            return False
        await call.bridge(leg)
        return True


def find_route(call: Call, user: str) -> IApplication | None:
    """Return the application that the peer of a call gets when it dials a user, if any."""
    session = call.session
    found = session.manager.router.find(user, session.endpoint)
    allowed = session.endpoint.applications
    if found is None or (allowed and found.application.name not in allowed):
        session.note("menu", f"no route to {user}")
        return None
    if GROUPS in call.cookies:
        call.cookies.remove(GROUPS)
    call.cookies.add(GROUPS, found.groups)
    return found.application


def check(options: MenuOptions) -> None:
    """
    Check the table of a menu.

    :raises ValueError: with what is wrong with it.
    """
    if not 0 < options.timeout <= SETUP_LIMIT or not 0 < options.ringing <= SETUP_LIMIT:
        raise ValueError(f"timeout and ringing are more than 0, and at most {SETUP_LIMIT:.0f}")
    if not 1 <= options.attempts <= 100:
        raise ValueError(f"attempts is 1 to 100, not {options.attempts}")
    sounds = [options.prompt, options.invalid, options.farewell]
    for digit, key in options.keys.items():
        if len(digit) != 1 or digit not in DIGITS:
            raise ValueError(f"keys: {digit!r} is none of {' '.join(DIGITS)}")
        if bool(key.route) + bool(key.dial) + key.hangup > 1:
            raise ValueError(f"keys: {digit!r} has more than one of route, dial and hangup")
        sounds.append(key.play)
    for sound in filter(None, sounds):
        check_sound(sound)
