# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Stories that hypothesis makes up about Alice and Bob, and what must hold in each of them.

The same stories are told each time, so that nothing fails by chance; ``SIPSESS_LONG=1`` tells many
more, and other ones each time. ``SIPSESS_STORIES`` says another number. A story that ends badly is
printed, as short as hypothesis can make it: it belongs into
:class:`tests.sim.test_found_stories.FoundStoriesTests`.
"""

from __future__ import annotations

import os
import sys
from typing import ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from sipsess.machine import recording
from tests.cells import Place, load_tables
from tests.sim.scene import LINKS, Scene, Setting
from tests.sim.test_cells import UNREACHED
from tests.sim.weather import KINDS

IS_LONG = bool(os.environ.get("SIPSESS_LONG"))
#: How many stories are told.
STORIES = int(os.environ.get("SIPSESS_STORIES", "20000" if IS_LONG else "700"))
#: How long a story is, in steps.
STEPS = 40

NAMES = st.sampled_from(["alice", "bob"])
RELIABLE = st.sampled_from([None, True, False])
#: What is called for, nothing for a late offer.
MEDIA = st.sampled_from([("audio",), (), ("audio", "video")])
#: What Carol does.
CAROLS = st.sampled_from(["answering", "ringing", "busy"])
#: Seconds that somebody, or something, takes: mostly none.
TIMES = st.sampled_from([0.0, 0.0, 0.0, 0.3, 3.0])
#: Seconds that a datagram takes longer; with those of the link less than T4, for which a
#: transaction waits for the last copy.
DELAYS = st.sampled_from([0.03, 0.3, 0.7, 2.0, 3.0])
SETTINGS = st.builds(
    Setting,
    link=st.sampled_from(["clean", *sorted(LINKS)]),
    seed=st.integers(0, 1000),
    reliable=st.sampled_from(
        [
            *([("supported", "supported")] * 3),
            *(("no", "supported"), ("supported", "no")),
            *(("required", "supported"), ("supported", "required")),
        ]
    ),
    describing=TIMES,
    thinking=TIMES,
    deferring=TIMES,
    is_timed=st.booleans(),
    has_update=st.sampled_from([True, True, False]),
    is_stopped=st.booleans(),
    video=st.sampled_from([("alice", "bob", "carol"), ("alice",), ("bob",)]),
)

#: Cells of which somebody says that no message leads to them.
OUT_OF_REACH = {place for places in UNREACHED.values() for place in places}

#: Who holds a call, and who holds one that he has not answered.
TALKERS = st.runner().flatmap(lambda machine: st.sampled_from(machine.scene.talking))
RINGERS = st.runner().flatmap(lambda machine: st.sampled_from(machine.scene.ringing))


class CallStories(RuleBasedStateMachine):
    """What Alice and Bob may do, and the network to them."""

    #: The cells of the state tables that this story has met.
    seen: ClassVar[set[Place]] = set()
    scene: Scene

    @initialize(
        setting=SETTINGS,
        beginning=st.sampled_from(["nothing", "dialled", "early", "talking", "talking", "talking"]),
        media=MEDIA,
    )
    def begin(self, setting: Setting, beginning: str, media: tuple[str, ...]) -> None:
        """Begin with nothing, or in the middle of a call."""
        self.seen.clear()
        scene = self.scene = Scene(setting)
        if beginning == "nothing":
            return
        scene.dial("alice", "bob", media=media)
        if beginning == "dialled":
            return
        scene.wait_until(lambda: "bob" in scene.ringing)
        if beginning == "early":
            scene.progress("bob")
            scene.wait(1.0)
        else:
            scene.answer("bob")
            scene.wait(10.0)

    def _talks(self) -> bool:
        return bool(self.scene.talking)

    def _rings(self) -> bool:
        return bool(self.scene.ringing)

    @precondition(lambda self: len(self.scene.talking) < 2)
    @rule(name=NAMES, media=MEDIA)
    def dial(self, name: str, media: tuple[str, ...]) -> None:
        """Somebody calls the other one."""
        self.scene.dial(name, "bob" if name == "alice" else "alice", media=media)

    @precondition(_rings)
    @rule(name=RINGERS, status=st.sampled_from([180, 181, 183]), reliable=RELIABLE)
    def ring(self, name: str, status: int, reliable: bool | None) -> None:
        """Somebody lets it ring."""
        self.scene.ring(name, status, reliable)

    @precondition(_rings)
    @rule(name=RINGERS, reliable=RELIABLE)
    def progress(self, name: str, reliable: bool | None) -> None:
        """Somebody begins early media."""
        self.scene.progress(name, reliable)

    @precondition(_rings)
    @rule(name=RINGERS)
    def answer(self, name: str) -> None:
        """Somebody answers."""
        self.scene.answer(name)

    @precondition(_rings)
    @rule(name=RINGERS, status=st.sampled_from([486, 603]))
    def reject(self, name: str, status: int) -> None:
        """Somebody refuses."""
        self.scene.reject(name, status)

    @precondition(_rings)
    @rule(name=RINGERS, user=CAROLS)
    def redirect(self, name: str, user: str) -> None:
        """Somebody names Carol instead."""
        self.scene.redirect(name, user)

    @precondition(_talks)
    @rule(name=TALKERS)
    def hang_up(self, name: str) -> None:
        """Somebody hangs up."""
        self.scene.hang_up(name)

    @precondition(_talks)
    @rule(name=TALKERS)
    def hold(self, name: str) -> None:
        """Somebody puts the other one on hold."""
        self.scene.hold(name)

    @precondition(_talks)
    @rule(name=TALKERS)
    def unhold(self, name: str) -> None:
        """Somebody takes the other one back."""
        self.scene.unhold(name)

    @precondition(_talks)
    @rule(name=TALKERS)
    def reinvite(self, name: str) -> None:
        """Somebody sends a re-INVITE."""
        self.scene.reinvite(name)

    @precondition(_talks)
    @rule(name=TALKERS, is_more=st.booleans())
    def video(self, name: str, is_more: bool) -> None:
        """Somebody wants to be seen, or not any more."""
        if is_more:
            self.scene.add_video(name)
        else:
            self.scene.drop_video(name)

    @precondition(_talks)
    @rule(name=TALKERS, with_offer=st.booleans())
    def update(self, name: str, with_offer: bool) -> None:
        """Somebody sends an UPDATE."""
        self.scene.update(name, with_offer=with_offer)

    @precondition(_talks)
    @rule(name=TALKERS)
    def press(self, name: str) -> None:
        """Somebody presses a key."""
        self.scene.press(name)

    @precondition(_talks)
    @rule(name=TALKERS, is_silent=st.booleans())
    def speak(self, name: str, is_silent: bool) -> None:
        """Somebody says something, or thinks about it."""
        if is_silent:
            self.scene.think(name)
        else:
            self.scene.speak(name)

    @precondition(_talks)
    @rule(
        name=TALKERS,
        user=CAROLS,
        is_vetoed=st.booleans(),
    )
    def transfer(self, name: str, user: str, is_vetoed: bool) -> None:
        """Somebody transfers the other one to Carol."""
        self.scene.transfer(name, user, is_vetoed=is_vetoed)

    @precondition(_talks)
    @rule(name=TALKERS, is_done=st.booleans())
    def consult(self, name: str, is_done: bool) -> None:
        """Somebody calls Carol as well, or lets her and the other one talk."""
        if is_done:
            self.scene.join(name)
        elif len(self.scene.talking) < 3:
            self.scene.consult(name)

    @rule(name=NAMES, kind=st.sampled_from(KINDS))
    def lose(self, name: str, kind: str) -> None:
        """A datagram is lost."""
        self.scene.lose(name, kind)

    @rule(name=NAMES, kind=st.sampled_from(KINDS), seconds=DELAYS, is_double=st.booleans())
    def delay(self, name: str, kind: str, seconds: float, is_double: bool) -> None:
        """A datagram is late, or comes again."""
        if is_double:
            self.scene.double(name, kind, seconds)
        else:
            self.scene.delay(name, kind, seconds)

    @rule()
    def cut_or_heal(self) -> None:
        """The network is cut, or mended."""
        if self.scene.is_cut:
            self.scene.heal()
        else:
            self.scene.cut()

    @rule(seconds=st.sampled_from([0.005, 0.015, 0.1, 0.6, 2.5]))
    def wait(self, seconds: float) -> None:
        """A little time passes."""
        self.scene.wait(seconds)

    @rule(seconds=st.sampled_from([10.0, 40.0, 100.0]))
    def wait_long(self, seconds: float) -> None:
        """Much time passes."""
        self.scene.wait(seconds)

    @rule()
    def wait_for_datagram(self) -> None:
        """Time passes until something arrives."""
        self.scene.wait_for_datagram()

    @invariant()
    def check(self) -> None:
        """All is well."""
        if hasattr(self, "scene"):
            self.scene.check()
        reached = sorted(OUT_OF_REACH & self.seen)
        assert not reached, f"these cells can be met after all: {reached}"

    def teardown(self) -> None:
        """All is well in the end."""
        if hasattr(self, "scene"):
            (self.scene.finish if sys.exc_info()[0] is None else self.scene.close)()


class StoryTests(SynchronousTestCase):
    """Made-up stories."""

    def test_stories(self) -> None:
        """Whatever people do and the network does to them, what must hold holds."""
        with recording(load_tables()) as CallStories.seen:
            self._tell()

    def _tell(self) -> None:
        try:
            run_state_machine_as_test(
                CallStories,
                settings=settings(
                    max_examples=STORIES,
                    stateful_step_count=STEPS,
                    deadline=None,
                    database=None,
                    derandomize=not IS_LONG,
                    report_multiple_bugs=False,
                    phases=(Phase.generate, Phase.shrink),
                    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
                ),
            )
        except Exception as error:
            notes = "\n".join(getattr(error, "__notes__", ()))
            story = [line for line in notes.splitlines() if line != "state.check()"]
            raise AssertionError("\n".join([*story, str(error)])) from error
