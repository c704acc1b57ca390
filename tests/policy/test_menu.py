# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of the applications playback and menu."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.application import Application
from sipsess.applications.echo import EchoApplication
from sipsess.applications.menu import MenuApplication
from sipsess.applications.menu_options import MenuKey, MenuOptions
from sipsess.applications.playback import PlaybackApplication, PlaybackOptions
from sipsess.applications.reject import RejectApplication
from sipsess.call import Call
from sipsess.endpoint import ANONYMOUS
from sipsess.interfaces import IApplication, IConfigurableApplication
from sipsess.media import load_sound
from sipsess.pattern import compile_pattern
from sipsess.routing import GROUPS, Route, Router
from sipsess.testing import Agent, CallPair

#: A second of the sound of each name, so that what is played can be told by its length.
BEEP, GOODBYE, HELLO = (len(load_sound(name)) / 16000 for name in ("beep", "goodbye", "hello"))


class Groups(Application):
    """Notes what the groups of its route have matched."""

    name = "groups"

    def __init__(self) -> None:
        self.found: list[dict[str, str]] = []

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        self.found.append(dict(call.groups))


class PlaybackTests(SynchronousTestCase):
    """An announcement."""

    def play(self, how: PlaybackOptions) -> float:
        """Return how long a call takes, from the answer to its end."""
        pair = CallPair(application=PlaybackApplication().with_options(how))
        placed = pair.dial()
        pair.net.run_until(lambda: placed.outcome)
        self.assertEqual(placed.outcome, (200, "OK"))
        begun = pair.net.seconds()
        pair.net.run_until(lambda: placed.is_over)
        length = pair.net.seconds() - begun
        pair.settle()
        return length

    def test_play(self) -> None:
        """It plays the sound as often as it was told, and hangs up."""
        self.assertApproximates(self.play(PlaybackOptions("beep")), BEEP, 0.2)
        self.assertApproximates(self.play(PlaybackOptions("beep", 4)), 4 * BEEP, 0.2)

    def test_senseless(self) -> None:
        """A number that makes no sense, and a sound that is not there, are refused."""
        for how, text in (
            (PlaybackOptions(times=0), "times is 1 to 1000, not 0"),
            (PlaybackOptions(times=1001), "times is 1 to 1000, not 1001"),
            (PlaybackOptions("nowhere"), "nowhere.wav: is none of the sounds of sipsess"),
        ):
            error = self.assertRaises(ValueError, PlaybackApplication().with_options, how)
            self.assertEqual(str(error), text)


class MenuCase(SynchronousTestCase):
    """A call to a menu."""

    def start(self, *routes: Route, **options: object) -> None:
        """
        Call a menu, and wait for its answer.

        :param routes: that its keys may lead to.
        """
        how = MenuOptions(**{"prompt": "beep", **options})  # type: ignore[arg-type]
        self.menu = MenuApplication().with_options(how)
        self.pair = CallPair(application=self.menu)
        self.net = self.pair.net
        self.pair.callee.manager.router = Router(routes, self.menu)
        self.placed = self.pair.dial()
        self.net.run_until(lambda: self.placed.outcome)
        session = self.placed.callee
        assert session is not None
        self.session = session

    def press(self, digits: str, seconds: float = 1.0) -> None:
        """Press keys, and let time pass."""
        self.placed.phone.send_digits(digits)
        self.net.run_for(seconds)

    def finish(self) -> list[str]:
        """Hang up if need be, and return what the menu has noted."""
        if not self.placed.is_over:
            self.placed.hang_up()
        self.pair.settle()
        return self.noted()

    def noted(self) -> list[str]:
        """Return what the menu has noted in the record of the call."""
        lines = [line.split(maxsplit=2) for line in self.session.record.lines()]
        return [line[2] for line in lines if line[1] == "menu"]


class MenuTests(MenuCase):
    """What keys do."""

    def test_interfaces(self) -> None:
        """Both are configurable applications."""
        for application in (MenuApplication(), PlaybackApplication()):
            verifyObject(IApplication, application)
            verifyObject(IConfigurableApplication, application)

    def test_route(self) -> None:
        """A key goes on with another route, as if its user had been dialled."""
        self.start(Route(EchoApplication(), user="9"), keys={"1": MenuKey(route="9")})
        self.press("1")
        audio = self.session.channel and self.session.channel.audio
        assert audio is not None
        self.assertTrue(audio.echo)
        self.assertEqual(self.finish(), ["key 1"])

    def test_answered_already(self) -> None:
        """What comes behind a menu takes the call as it is: answered."""
        route = Route(PlaybackApplication(PlaybackOptions("beep")), user="9")
        self.start(route, keys={"1": MenuKey(route="9")})
        self.press("1", BEEP - 0.1)
        self.assertFalse(self.placed.is_over)
        self.net.run_for(0.5)
        self.assertTrue(self.placed.is_over)
        self.finish()

    def test_groups(self) -> None:
        """The route's groups are the call's, whatever the menu's own route has matched."""
        groups = Groups()
        route = Route(groups, pattern=compile_pattern("8(?P<room>..)"))
        for before in ({}, {"x": "y"}):
            self.start(route, keys={"1": MenuKey(route="801")})
            if before:
                self.session.cookies.add(GROUPS, before)
            self.press("1")
            self.assertTrue(self.placed.is_over)
            self.finish()
        self.assertEqual(groups.found, [{"room": "01"}] * 2)

    def test_menu_within_a_menu(self) -> None:
        """A key leads to another menu, and from there back, as often as the caller likes."""
        back = MenuOptions(prompt="beep", keys={"0": MenuKey(route="main")})
        inner = MenuApplication().with_options(back)
        self.start(Route(inner, user="inner"), keys={"1": MenuKey(route="inner")})
        router = self.pair.callee.manager.router
        main = Route(self.menu, user="main")
        self.pair.callee.manager.router = Router([*router.routes, main], self.menu)
        for _ in range(20):
            self.press("1")
            self.press("0")
        self.assertFalse(self.placed.is_over)
        self.assertEqual(self.finish(), ["key 1", "key 0"] * 20)

    def test_hang_up(self) -> None:
        """A key plays something and ends the call."""
        self.start(keys={"#": MenuKey(play="goodbye", hangup=True)})
        self.press("#", GOODBYE - 0.2)
        self.assertFalse(self.placed.is_over)
        self.net.run_for(0.8)
        self.assertTrue(self.placed.is_over)
        self.finish()

    def test_play_and_repeat(self) -> None:
        """A key that only plays, or does nothing, leads back to the prompt, and is no failure."""
        keys = {"1": MenuKey(play="beep"), "*": MenuKey()}
        self.start(keys=keys, attempts=1)
        for digit in "1*1*":
            self.press(digit, 2)
        self.assertFalse(self.placed.is_over)
        self.assertEqual(self.finish(), ["key 1", "key *"] * 2)

    def test_nobody_there(self) -> None:
        """After some time-outs it says goodbye and hangs up."""
        self.start(timeout=2.0, attempts=3)
        begun = self.net.seconds()
        self.net.run_until(lambda: self.placed.is_over)
        length = self.net.seconds() - begun
        self.assertApproximates(length, 3 * (BEEP + 2) + GOODBYE, 0.4)
        self.assertEqual(self.finish(), ["no key"] * 3)

    def test_wrong_keys(self) -> None:
        """A wrong key is a failure, and is told; without a farewell there is none."""
        self.start(attempts=2, invalid="hello", farewell="")
        self.press("5", HELLO - 0.5)
        self.assertFalse(self.placed.is_over)
        self.net.run_for(1)
        self.press("6", HELLO + 1)
        self.assertTrue(self.placed.is_over)
        self.assertEqual(self.finish(), ["key 5", "key 6"])

    def test_no_such_route(self) -> None:
        """A route that is not there is a failure; so is one that the endpoint may not have."""
        self.start(attempts=2, farewell="", keys={"1": MenuKey(route="9")})
        self.pair.callee.manager.router = Router([Route(RejectApplication(), user="x")])
        self.press("1")
        self.assertFalse(self.placed.is_over)
        self.pair.callee.manager.router = Router([Route(RejectApplication(), user="9")])
        self.session.endpoint = replace(ANONYMOUS, applications=frozenset({"menu"}))
        self.press("1")
        self.assertTrue(self.placed.is_over)
        self.assertEqual(self.finish(), ["key 1", "no route to 9"] * 2)

    def test_refusal_behind_a_menu(self) -> None:
        """An application that refuses ends a call that was answered."""
        self.start(Route(RejectApplication(), user="9"), keys={"1": MenuKey(route="9")})
        self.press("1")
        self.assertTrue(self.placed.is_over)
        self.finish()


class DialTests(MenuCase):
    """Keys that call somebody."""

    def start_with(self, application: Application) -> None:
        """Call a menu whose key 1 calls a third agent with that application."""
        self.start(attempts=2, farewell="", keys={"1": MenuKey(dial="sip:desk@192.0.2.3")})
        Agent(
            self.net.host("192.0.2.3", name="desk"),
            applications=[application],
            application=application.name,
        )

    def test_dial(self) -> None:
        """A key calls somebody, and joins the two; both hear when one hangs up."""
        self.start_with(EchoApplication())
        self.press("1")
        self.assertIsNotNone(self.session.channel and self.session.channel.joined)
        self.assertEqual(self.finish(), ["key 1"])

    def test_refused(self) -> None:
        """When nobody answers, the menu goes on."""
        self.start_with(RejectApplication())
        self.press("1", 2)
        self.assertFalse(self.placed.is_over)
        self.press("1", 2)
        self.assertTrue(self.placed.is_over)
        text = "sip:desk@192.0.2.3: 603 Decline"
        self.assertEqual(self.finish(), ["key 1", text] * 2)


class CheckTests(SynchronousTestCase):
    """Tables that make no sense."""

    def test_senseless(self) -> None:
        """Each mistake is said in a sentence."""
        key = MenuKey()
        for how, text in (
            (MenuOptions(timeout=0), "timeout and ringing are more than 0, and at most 180"),
            (MenuOptions(ringing=181), "timeout and ringing are more than 0, and at most 180"),
            (MenuOptions(attempts=0), "attempts is 1 to 100, not 0"),
            (
                MenuOptions(keys={"12": key}),
                "keys: '12' is none of 0 1 2 3 4 5 6 7 8 9 * # A B C D",
            ),
            (MenuOptions(keys={"": key}), "keys: '' is none of 0 1 2 3 4 5 6 7 8 9 * # A B C D"),
            (
                MenuOptions(keys={"1": MenuKey(dial="sip:a@b", hangup=True)}),
                "keys: '1' has more than one of route, dial and hangup",
            ),
            (MenuOptions(keys={"1": MenuKey(play="x")}), "x.wav: is none of the sounds of sipsess"),
            (MenuOptions(prompt="x"), "x.wav: is none of the sounds of sipsess"),
        ):
            error = self.assertRaises(ValueError, MenuApplication().with_options, how)
            self.assertEqual(str(error), text)
