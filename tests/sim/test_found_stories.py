# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Stories that once ended badly, each as short as it can be told."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.sim.scene import Scene, Setting
from tests.sim.weather import kind_of


def sent(scene: Scene, kind: str) -> int:
    """Return how many datagrams of a kind were sent."""
    return sum(kind_of(event.data) == kind for event in scene.net.trace if event.target[1] == 5060)


class FoundStoriesTests(SynchronousTestCase):
    """Alice calls Bob, and something happens."""

    def _begin(
        self,
        setting: Setting | None = None,
        *,
        media: tuple[str, ...] = ("audio",),
        act: Callable[[Scene, str], object] | None = None,
    ) -> Scene:
        """Let Alice call Bob, and Bob act when it has reached him."""
        scene = Scene(setting)
        scene.dial("alice", "bob", media=media)
        scene.wait_until(lambda: "bob" in scene.ringing)
        if act is not None:
            act(scene, "bob")
            scene.wait()
        return scene

    def _talk(self, setting: Setting | None = None) -> Scene:
        """Let Alice and Bob talk, and some time pass."""
        scene = self._begin(setting, act=Scene.answer)
        scene.wait(10.0)
        return scene

    # -- the dialog that the caller does not know ------------------------------------------

    def test_info_before_any_response(self) -> None:
        """Bob cannot send INFO before he has sent a response with his tag (12.1)."""
        scene = self._begin()
        self.assertIsNone(scene.press("bob"))
        scene.ring("bob")
        self.assertIsNotNone(scene.press("bob"))
        scene.finish()

    def test_info_overtakes_ringing(self) -> None:
        """The 180 is lost, Alice answers Bob's INFO 481: that does not end the call."""
        scene = self._begin()
        scene.lose("bob", "1xx")
        scene.ring("bob")
        info = scene.press("bob")
        scene.wait()
        assert info is not None
        self.assertEqual(info.statuses, [481])
        scene.answer("bob")
        scene.wait()
        self.assertEqual(scene.talking, ["alice", "bob"])
        scene.finish()

    def test_info_overtakes_the_answer(self) -> None:
        """The same when the 200 is late."""
        scene = self._begin()
        scene.delay("bob", "2xx", 0.3)
        scene.answer("bob")
        scene.press("bob")
        scene.wait()
        self.assertEqual(scene.talking, ["alice", "bob"])
        scene.finish()

    def test_info_overtakes_the_answer_and_its_refusal_the_ack(self) -> None:
        """The same when the call stands already where the 481 arrives."""
        scene = self._begin()
        scene.delay("bob", "2xx", 0.05)
        scene.delay("alice", "refusal", 0.3)
        scene.answer("bob")
        scene.press("bob")
        scene.wait()
        self.assertEqual(scene.talking, ["alice", "bob"])
        scene.finish()

    def test_unanswered_info_before_the_answer(self) -> None:
        """Nobody answers Bob's INFO while it rings: the INVITE is still his to answer."""
        scene = self._begin(act=Scene.ring)
        scene.cut()
        scene.press("bob")
        scene.wait(40.0)
        scene.heal()
        scene.answer("bob")
        scene.wait()
        self.assertEqual(scene.talking, ["alice", "bob"])
        scene.finish()

    def test_update_overtakes_ringing(self) -> None:
        """The 180 is lost, Alice answers Bob's UPDATE 481: that does not end the call."""
        scene = self._begin()
        scene.lose("bob", "1xx")
        scene.ring("bob")
        update = scene.update("bob")
        scene.wait()
        assert update is not None
        self.assertEqual(update.statuses, [481])
        scene.answer("bob")
        scene.wait()
        self.assertEqual(scene.talking, ["alice", "bob"])
        scene.finish()

    def test_unanswered_update_before_the_answer(self) -> None:
        """Nobody answers Bob's UPDATE while it rings; the next one may go."""
        scene = self._begin(act=Scene.ring)
        scene.cut()
        lost = scene.update("bob")
        scene.wait(40.0)
        scene.heal()
        update = scene.update("bob")
        scene.wait()
        assert lost is not None and update is not None
        self.assertEqual((lost.statuses, update.statuses), ([408], [200]))
        scene.finish()

    # -- requests that arrive in another order ---------------------------------------------

    def test_prack_is_overtaken(self) -> None:
        """Alice's PRACK arrives after her UPDATE and is refused 500: she sends it again."""
        scene = self._begin(act=Scene.progress)
        scene.delay("alice", "PRACK", 0.1)
        scene.ring("bob", reliable=True)
        scene.wait_for_datagram()
        scene.update("alice")
        scene.wait(40.0)
        self.assertEqual(sent(scene, "refusal"), 1)
        scene.answer("bob")
        scene.wait()
        self.assertEqual(scene.talking, ["alice", "bob"])
        scene.finish()

    def test_hold_is_overtaken(self) -> None:
        """So is her re-INVITE by the key that she presses; and the hold comes to pass."""
        scene = self._talk()
        scene.delay("alice", "INVITE", 0.1)
        hold, info = scene.hold("alice"), scene.press("alice")
        scene.wait()
        assert hold is not None and info is not None
        self.assertEqual((hold.statuses, info.statuses), ([200], [200]))
        self.assertEqual(sent(scene, "refusal"), 1)
        scene.finish()

    def test_many_keys_and_somebody_slow(self) -> None:
        """Alice presses keys faster than Bob takes them; he refuses some, and none comes again."""
        scene = self._talk(Setting(thinking=3.0))
        for _ in range(12):
            scene.press("alice")
        scene.wait(100.0)
        keys = [promise for promise in scene.promises if promise.text == "INFO by alice"]
        statuses = [status for promise in keys for status in promise.statuses]
        self.assertEqual(statuses, [200] * 10 + [500] * 2)
        scene.finish()

    def test_hold_while_acks_are_late(self) -> None:
        """Bob holds and Alice still waits for ACKs of his: he comes again when she says so."""
        scene = self._talk()
        for _ in range(2):
            scene.delay("bob", "ACK", 0.4)
            scene.reinvite("bob")
            scene.wait(0.05)
        hold = scene.hold("bob")
        scene.wait(12.0)
        assert hold is not None
        self.assertEqual(hold.statuses, [200])
        self.assertEqual(scene.people["alice"].core.counters.refused["session-busy"], 1)
        scene.finish()

    # -- offers and answers ----------------------------------------------------------------

    def test_hung_up_before_the_offer_came(self) -> None:
        """Alice has hung up when Bob's offer comes in a 183: its PRACK declines it (3262 5)."""
        scene = self._begin(media=())
        scene.hang_up("alice")
        scene.progress("bob")
        scene.wait(0.015)
        prack = scene.net.trace[-2].data
        self.assertEqual(kind_of(prack), "PRACK")
        self.assertIn(b"\r\nm=audio 0 ", prack)
        scene.finish()

    def test_hold_while_an_update_is_thought_about(self) -> None:
        """Bob's hold waits for his answer to Alice's UPDATE (:rfc:`3311#section-5.1`)."""
        scene = self._talk(Setting(thinking=0.3, describing=0.3))
        update = scene.update("alice", with_offer=True)
        scene.wait(0.4)
        hold = scene.hold("bob")
        scene.wait(5.0)
        assert update is not None and hold is not None
        self.assertEqual((update.statuses, hold.statuses), ([200], [200]))
        scene.finish()

    def test_hold_that_nobody_answers(self) -> None:
        """
        Alice gets a 100 to her re-INVITE, and no more: she cancels it, and then hangs up.

        The client transaction waits without limit; her call had an open exchange for ever.
        """
        scene = self._talk(Setting(thinking=0.3))
        hold = scene.hold("alice")
        scene.wait(0.25)
        scene.cut()
        scene.wait(170.0)
        self.assertEqual(scene.talking, ["alice"])
        self.assertEqual(sent(scene, "CANCEL"), 0)
        scene.wait(20.0)
        self.assertEqual(scene.talking, ["alice"])
        self.assertGreater(sent(scene, "CANCEL"), 0)
        scene.wait(70.0)
        self.assertEqual(scene.talking, [])
        assert hold is not None
        self.assertEqual(hold.statuses, [408])
        scene.finish()

    def test_hold_while_another_hold_is_prepared(self) -> None:
        """Alice prepares her offer when Bob's comes: his goes first, and neither meets glare."""
        scene = self._talk(Setting(describing=0.5))
        bob = scene.hold("bob")
        scene.wait(0.3)
        alice = scene.hold("alice")
        scene.wait(5.0)
        assert alice is not None and bob is not None
        self.assertEqual((alice.statuses, bob.statuses), ([200], [200]))
        self.assertEqual(sent(scene, "refusal"), 0)
        scene.finish()

    def test_update_while_a_hold_is_prepared(self) -> None:
        """So does an UPDATE with an offer."""
        scene = self._talk(Setting(describing=0.5))
        update = scene.update("bob", with_offer=True)
        scene.wait(0.3)
        hold = scene.hold("alice")
        scene.wait(5.0)
        assert update is not None and hold is not None
        self.assertEqual((update.statuses, hold.statuses), ([200], [200]))
        self.assertEqual(sent(scene, "refusal"), 0)
        scene.finish()

    def test_redirected_after_an_offer(self) -> None:
        """Bob's early media is given up when he names Carol: its port was left open."""
        scene = self._begin(media=(), act=Scene.progress)
        scene.redirect("bob")
        scene.wait(5.0)
        self.assertEqual(scene.talking, ["alice", "carol"])
        scene.finish()

    def test_redirected_while_an_update_is_thought_about(self) -> None:
        """Bob names Carol when Alice has not answered his offer: it is nothing to the new call."""
        scene = self._begin(Setting(thinking=0.3), media=(), act=Scene.progress)
        scene.update("bob", with_offer=True)
        scene.redirect("bob")
        scene.wait(5.0)
        self.assertEqual(scene.talking, ["alice", "carol"])
        scene.finish()

    # -- reliable provisional responses ----------------------------------------------------

    def test_ringing_while_a_prack_is_thought_about(self) -> None:
        """Bob's next reliable response waits until the PRACK with Alice's answer is answered."""
        scene = self._begin(Setting(thinking=0.3), media=())
        scene.progress("bob")
        scene.wait(0.1)
        scene.ring("bob", reliable=True)
        scene.wait(0.1)
        self.assertEqual(sent(scene, "1xx"), 2)
        scene.wait(0.2)
        self.assertEqual(sent(scene, "1xx"), 3)
        scene.answer("bob")
        scene.wait(2.0)
        self.assertEqual(scene.talking, ["alice", "bob"])
        scene.finish()

    def test_reliable_responses_after_a_preview(self) -> None:
        """
        A preview, then reliable responses: the first of them has the answer, no later one has.

        A later one that had it was taken for the answer to Alice's UPDATE.
        """
        scene = self._begin(act=lambda scene, bob: scene.progress(bob, reliable=False))
        update = scene.update("alice", with_offer=True)
        scene.progress("bob")
        scene.progress("bob")
        scene.wait()
        with_answer = [b"m=audio" in event.data for event in scene.net.trace]
        kinds = [kind_of(event.data) for event in scene.net.trace]
        described = [is_so for is_so, kind in zip(with_answer, kinds, strict=True) if kind == "1xx"]
        self.assertEqual(described, [True, True, False])
        assert update is not None
        self.assertEqual(update.statuses, [200])
        scene.finish()

    def test_offers_in_a_prack_and_in_an_update(self) -> None:
        """Bob's UPDATE is thought about when Alice's offer could go with a PRACK: his goes first.

        It was refused, as her offer was being made.
        """
        setting = Setting(describing=3.0, thinking=3.0, has_update=False)
        scene = self._begin(setting, act=Scene.progress)
        scene.wait(2.5)
        scene.progress("bob")
        scene.progress("bob")
        hers = scene.update("alice", with_offer=True)
        his = scene.update("bob", with_offer=True)
        scene.wait(60.0)
        assert his is not None and hers is not None
        self.assertEqual(his.statuses, [200])
        scene.finish()

    # -- session timers --------------------------------------------------------------------

    def test_updates_cross_before_the_answer(self) -> None:
        """Both send UPDATE while it rings: the timer begins with the 200 to the INVITE."""
        scene = self._begin(Setting(is_timed=True), act=Scene.progress)
        scene.update("alice")
        scene.update("bob")
        scene.wait(100.0)
        scene.answer("bob")
        scene.wait(300.0)
        self.assertEqual(scene.talking, ["alice", "bob"])
        scene.finish()

    def test_update_is_answered_after_the_call(self) -> None:
        """Alice's early UPDATE, which asked for no timer, is answered after the call was."""
        scene = self._begin(Setting(is_timed=True, thinking=0.3), act=Scene.progress)
        scene.update("alice")
        scene.wait(0.1)
        scene.answer("bob")
        scene.wait(300.0)
        self.assertEqual(scene.talking, ["alice", "bob"])
        scene.finish()

    def test_update_overtakes_the_ack(self) -> None:
        """Alice's UPDATE left before she knew of the timer, and comes when Bob has begun it."""
        scene = self._begin(Setting(is_timed=True), act=Scene.ring)
        scene.delay("bob", "2xx", 0.1)
        scene.answer("bob")
        scene.update("alice")
        scene.wait(300.0)
        self.assertEqual(scene.talking, ["alice", "bob"])
        self.assertGreater(sent(scene, "UPDATE"), 1)
        scene.finish()

    def test_refresh_that_takes_its_time(self) -> None:
        """A refresh has begun when both would hang up; they wait for its end."""
        scene = self._begin(
            Setting(is_timed=True, has_update=False, describing=7.0, thinking=3.0),
            act=Scene.answer,
        )
        scene.wait(300.0)
        self.assertEqual(scene.talking, ["alice", "bob"])
        scene.finish()
