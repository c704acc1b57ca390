# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that asks the caller for a key: a voice menu, made of a table."""

from __future__ import annotations

from zope.interface import implementer

from sipsess.application import Application, Reject
from sipsess.call import Call
from sipsess.interfaces import IApplication, IConfigurableApplication

from .handover import find_route
from .menu_options import MenuOptions
from .targets import target_of


@implementer(IConfigurableApplication)
class MenuApplication(Application):
    """
    Plays a prompt, and does what the key says.

    :param how: the table.
    """

    name = "menu"
    options = MenuOptions

    def __init__(self, how: MenuOptions | None = None) -> None:
        self.how = how or MenuOptions()

    def with_options(self, options: MenuOptions) -> MenuApplication:
        """See :meth:`.IConfigurableApplication.with_options`."""
        options.check()
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
                call.session.note("menu", f"no route to {key.route}")
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
