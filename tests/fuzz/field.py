# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A field: people who call each other, and somebody between them who says what nobody should.

The people are those of a :class:`~tests.sim.scene.Scene`, with all that is shipped. While they do
what comes into their minds, each message between them may be followed, or replaced, by relatives
and mutations of it, to either side, with the addresses of the right people; and strangers send
mutated messages of the corpus. After each batch all must be as if nothing had been.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from sipsess.errors import LocalError
from sipsess.trace import RecordBook
from tests.fuzz.wiretap import Wiretap
from tests.sim.scene import ADDRESSES, DEFENCE, LINKS, Reliability, Scene, Setting
from tests.sim.stories import LONG_ENOUGH

#: Lines that may be logged in a batch: each place may say a few a minute.
MAX_LINES = 20
#: Records of calls that are kept here, so that memory is level soon.
KEPT_RECORDS = 20


@implementer(ILogObserver)
class Lines:
    """Counts what is logged."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, event: LogEvent) -> None:
        """Count what a log file would hold of us."""
        if event["log_level"] >= LogLevel.info and event["log_namespace"].startswith("sipsess"):
            self.count += 1


class Field:
    """
    The people of one seed.

    :param seed: of everything.
    :param corpus: what strangers mutate.
    """

    def __init__(self, seed: int, corpus: Sequence[bytes]) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)
        self.scene = Scene(
            Setting(
                link=rng.choice(("clean", "jittery", "wild")),
                seed=seed,
                reliable=(rng.choice(_RELIABLE), rng.choice(_RELIABLE)),
                describing=rng.choice((0.0, 0.0, 0.3)),
                thinking=rng.choice((0.0, 0.0, 0.3)),
                deferring=rng.choice((0.0, 0.5)),
                is_timed=rng.random() < 0.5,
                has_update=rng.random() < 0.8,
                defence=rng.choice((None, DEFENCE)),
            )
        )
        self.net = self.scene.net
        self.tap = Wiretap(self.net, rng, corpus, sorted(ADDRESSES.values()))
        self.lines = Lines()
        globalLogPublisher.addObserver(self.lines)
        for person in self.scene.people.values():
            person.manager.records = RecordBook(KEPT_RECORDS)

    @property
    def fed(self) -> int:
        """How many mutated datagrams were fed."""
        return self.tap.fed

    def close(self) -> None:
        """Listen to the log no more."""
        self.scene.close()
        globalLogPublisher.removeObserver(self.lines)

    # -- what the people do ----------------------------------------------------------------

    def _act(self) -> None:
        """Let somebody do something, if he can."""
        rng, scene = self.rng, self.scene
        talking, ringing = scene.talking, scene.ringing
        try:
            if ringing and rng.random() < 0.7:
                rng.choice(_RINGING)(scene, rng.choice(ringing))
            elif talking and rng.random() < 0.75:
                rng.choice(_TALKING)(scene, rng.choice(talking))
            else:
                self._dial()
        except LocalError:
            # Not now; a method that is asked for says so.
            pass

    def _dial(self) -> None:
        rng = self.rng
        name, other = rng.sample(sorted(ADDRESSES), 2)
        user = rng.choice(("puppet", "puppet", "answering", "answering", "ringing", "busy"))
        media = rng.choice((("audio",), ("audio",), ("audio", "video"), ()))
        self.scene.dial(name, other, user=user, media=media)

    # -- a batch ---------------------------------------------------------------------------

    def batch(self, count: int) -> None:
        """
        Feed about so many mutated datagrams, and check what must hold.

        :raises AssertionError: with what does not, and the seed.
        """
        self.tap.quota = count
        self.lines.count = 0
        while self.tap.quota > 0:
            self._act()
            for _ in range(self.rng.randint(0, 4)):
                self.tap.stranger()
            self.net.run_for(self.rng.choice((0.01, 0.1, 0.5, 2.0)))
        self._check(self._faults)
        self._rest()
        self._check(self._leftovers)
        self._check(self._good_call)
        self._rest()
        self._check(self._leftovers)
        self._forget()

    def _rest(self) -> None:
        """Let everybody hang up, and all timers and bans end: by UDP these last ten minutes."""
        self.net.link = LINKS["clean"]
        self.net.run_for(5.0)
        for _ in range(3):
            for person in self.scene.people.values():
                for session in person.sessions:
                    session.terminate()
            self.net.run_for(LONG_ENOUGH)

    def _check(self, find: Callable[[], list[str]]) -> None:
        faults = find()
        if faults:
            text = "\n".join(f"  - {fault}" for fault in faults)
            raise AssertionError(f"seed {self.seed}, after {self.fed} datagrams:\n{text}")

    def _faults(self) -> list[str]:
        """Return what must never be, whatever anybody sends."""
        faults = [f"logged: {text}" for text in self.scene.errors.texts]
        if self.lines.count > MAX_LINES:
            faults.append(f"{self.lines.count} lines were logged")
        for name, person in self.scene.people.items():
            counters = person.core.counters
            if "internal-error" in counters.refused:
                faults.append(f"{name} counted an internal error")
            if counters.plugin_errors:
                faults.append(f"{name} counted {counters.plugin_errors} plugin errors")
            faults += [
                f"{listener} caught something" for listener in person.listeners if listener.failures
            ]
        return faults

    def _leftovers(self) -> list[str]:
        return self._faults() + self.net.leftovers()

    def _good_call(self) -> list[str]:
        """Place a good call, which must work."""
        session = self.scene.people["alice"].dial(f"sip:answering@{ADDRESSES['bob']}")
        outcome: list[object] = []
        session.invite_client.answered.addBoth(outcome.append)
        self.net.run_for(10.0)
        if not outcome or isinstance(outcome[0], Failure):
            return [f"a good call failed: {outcome}\n{self.net.ladder()[-3000:]}"]
        if not session.is_answered:
            return ["a good call did not last"]
        return []

    def _forget(self) -> None:
        """Forget what the scene has noted, so that memory can be compared."""
        self.net.trace.clear()
        self.scene.forget()


_RELIABLE: tuple[Reliability, ...] = ("no", "supported", "required")

_RINGING: tuple[Callable[[Scene, str], object], ...] = (
    *(Scene.ring, Scene.progress, Scene.answer, Scene.answer, Scene.answer, Scene.reject),
    *(Scene.redirect, Scene.hang_up, Scene.update),
)

_TALKING: tuple[Callable[[Scene, str], object], ...] = (
    *(Scene.hold, Scene.unhold, Scene.reinvite, Scene.add_video, Scene.drop_video, Scene.update),
    *(Scene.press, Scene.speak, Scene.transfer, Scene.consult, Scene.join, Scene.hang_up),
    lambda scene, name: scene.update(name, with_offer=True),
)
