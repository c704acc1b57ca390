# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""That a scene sees what is wrong in it."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from sipsess.testing import TraceEvent
from tests.sim.audit import faults_of
from tests.sim.promises import Promise
from tests.sim.scene import ADDRESSES, Scene
from tests.sim.weather import kind_of


class AuditTests(SynchronousTestCase):
    """The answers on a wire."""

    def _trace(self) -> list[TraceEvent]:
        scene = Scene()
        scene.dial("alice", "bob")
        scene.wait()
        scene.answer("bob")
        scene.wait()
        scene.hang_up("alice")
        scene.finish()
        return scene.net.trace

    def test_call(self) -> None:
        """A plain call has no faults."""
        self.assertEqual(faults_of(self._trace()), [])

    def test_no_answer(self) -> None:
        """A request that got no answer is one."""
        trace = [event for event in self._trace() if kind_of(event.data) != "2xx"]
        self.assertEqual(
            faults_of(trace),
            [f"{line} of 192.0.2.1 got 0 final answers []" for line in ("1 INVITE", "2 BYE")],
        )

    def test_two_answers(self) -> None:
        """A request that got two is one, and so is an answer that nobody here should give."""
        trace = self._trace()
        last = trace[-1]
        wrong = last.data.replace(b"200 OK", b"400 Bad Request")
        trace.append(TraceEvent(9.0, last.source, last.target, wrong, "delivered", 9.0))
        self.assertEqual(
            faults_of(trace),
            [
                "2 BYE of 192.0.2.1 got 2 final answers [200, 400]",
                "2 BYE of 192.0.2.1: 400 Bad Request",
            ],
        )


class SceneTests(SynchronousTestCase):
    """The people and their network."""

    def _talk(self) -> Scene:
        scene = Scene()
        scene.dial("alice", "bob")
        scene.wait()
        scene.answer("bob")
        scene.wait()
        return scene

    def _fault(self, scene: Scene) -> str:
        return str(self.assertRaises(AssertionError, scene.finish))

    def test_lost_and_late(self) -> None:
        """The first INVITE is lost, the second one late, and the third one arrives first."""
        scene = Scene()
        scene.lose("alice", "INVITE")
        scene.delay("alice", "INVITE", 2.0)
        scene.dial("alice", "bob")
        scene.wait(1.505)
        self.assertEqual(scene.talking, ["alice"])
        scene.wait_for_datagram()
        self.assertEqual(scene.ringing, ["bob"])
        scene.finish()
        self.assertEqual(scene.weather.losses, 1)

    def test_doubled(self) -> None:
        """A doubled INVITE makes one call."""
        scene = Scene()
        scene.double("alice", "INVITE", 0.3)
        scene.dial("alice", "bob")
        scene.wait()
        scene.finish()
        bob = scene.people["bob"]
        self.assertEqual(bob.core.counters.request_retransmissions_received, 1)

    def test_cut(self) -> None:
        """A call lives on when the network is cut for a while, and ends when it is for long."""
        for seconds, is_alive in ((3.0, True), (60.0, False)):
            scene = self._talk()
            scene.cut()
            scene.press("alice")
            scene.wait(seconds)
            scene.heal()
            scene.wait(5.0)
            self.assertEqual(scene.talking == ["alice", "bob"], is_alive)
            scene.finish()

    def test_transfer(self) -> None:
        """Alice transfers Bob to Carol, and is out of it."""
        scene = self._talk()
        scene.transfer("alice")
        scene.wait(5.0)
        self.assertEqual(scene.talking, ["bob", "carol"])
        scene.finish()

    def test_video(self) -> None:
        """Video comes and goes; what nobody closes is a fault."""
        scene = self._talk()
        scene.add_video("bob")
        scene.wait()
        self.assertEqual([len(video.open) for video in scene.videos.values()], [1, 1, 0])
        scene.drop_video("alice")
        scene.wait()
        self.assertEqual([len(video.open) for video in scene.videos.values()], [0, 0, 0])
        scene.videos["bob"].open.add(scene.session("bob").media.streams[0])  # type: ignore[arg-type]
        self.assertIn("video of bob is open", self._fault(scene))

    def test_disagreement(self) -> None:
        """Two sides that know another description of each other do not agree."""
        scene = self._talk()
        for attribute, fault in (("remote", "is known as"), ("local", "is known as")):
            machine = scene.session("alice").media.machine
            right = getattr(machine, attribute)
            wrong = right.copy()
            wrong.media[0].port = 9
            setattr(machine, attribute, wrong)
            error = self.assertRaises(AssertionError, scene.check)
            self.assertIn(fault, str(error))
            setattr(machine, attribute, right)
        stream = scene.session("bob").media.streams[0]
        assert stream is not None
        stream.wanted_direction = stream.active_direction = "sendonly"
        self.assertIn("and sendrecv (wanted: sendonly)", self._fault(scene))

    def test_nobody_has_ended_it(self) -> None:
        """A call that is over, and nobody knows why, is a fault."""
        scene = self._talk()
        scene.session("bob").terminate()
        self.assertIn("nobody has ended the call", self._fault(scene))

    def test_promises(self) -> None:
        """A Deferred that does not fire, or fails with what nobody expects, is a fault."""
        scene = self._talk()
        session = scene.session("alice")
        never: Deferred[None] = Deferred()
        scene.promises.append(Promise("never", session, never))
        self.assertIn("never waits still", self._fault(scene))
        never.callback(None)
        scene.promises.append(Promise("wrong", session, fail(ValueError("x"))))
        self.assertIn("wrong failed: ValueError('x')", self._fault(scene))

    def test_refusals(self) -> None:
        """What is refused for no good reason is a fault."""
        scene = self._talk()
        scene.people["bob"].core.counters.refuse("merged-request")
        self.assertIn("bob has refused: merged-request", self._fault(scene))

    def test_leftovers(self) -> None:
        """What is left in the end is a fault."""
        scene = self._talk()
        self.addCleanup(scene.people["carol"].ports.close)
        scene.people["carol"].ports.open(ADDRESSES["carol"], lambda *args: None)
        self.assertIn("carol: ", self._fault(scene))
