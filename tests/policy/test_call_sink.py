# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of the sink: what a program writes is heard in time, in order, and within bounds."""

from __future__ import annotations

from collections.abc import Callable

from sipsess.call import AudioSink
from sipsess.call.sink import MAX_MARKS, MAX_WAITING
from sipsess.errors import DialogStateError, LocalError
from sipsess.media import PCMU, tone
from sipsess.session import SessionEnded
from tests.policy.calls import TENTH, CallTestCase, answer
from tests.pure.signals import amplitude

#: One frame.
FRAME = TENTH[:320]
SECOND = TENTH * 10


class SinkTests(CallTestCase):
    """A caller who writes, and a callee who hears."""

    def setUp(self) -> None:
        """Open a sink on a call that stands."""
        self.start(answer)
        self.heard = self.hear()
        self.sink = self.caller.audio_out()

    def pcm(self) -> bytes:
        """Return all that was heard."""
        return b"".join(pcm for _, pcm in self.heard)

    def test_write(self) -> None:
        """What is written is heard, in order, one frame each 20 ms; an idle sink costs nothing."""
        self.successResultOf(self.sink.write(TENTH))
        self.successResultOf(self.sink.write(TENTH[::-1]))
        self.assertEqual(self.sink.waiting, 0.2)
        self.net.run_for(1)
        self.assertEqual(self.pcm(), PCMU.decode(PCMU.encode(TENTH + TENTH[::-1])))
        times = [when for when, _ in self.heard]
        self.assertAlmostEqual(times[-1] - times[0], 0.18)
        self.assertEqual((self.sink.waiting, self.sink.played), (0, 0.2))
        self.assertEqual(self.caller.waits, {})
        self.successResultOf(self.sink.write(FRAME))
        self.net.run_for(1)
        self.assertEqual(len(self.heard), 11)
        self.hang_up()

    def test_rate(self) -> None:
        """What is written at another rate is converted, and lasts as long."""
        sink = self.caller.audio_out(16000)
        sink.write(tone.generate([440.0], 0.5, rate=16000))
        self.assertEqual(sink.waiting, 0.5)
        self.net.run_for(1)
        self.assertEqual((len(self.heard), sink.played), (25, 0.5))
        self.assertGreater(amplitude(self.pcm()[3200:], 440), 1000)
        self.assertRaises(LocalError, self.caller.audio_out, 1)
        self.hang_up()

    def test_nothing(self) -> None:
        """Writing nothing is fine, and sends nothing."""
        self.successResultOf(self.sink.write(b""))
        self.assertEqual(self.caller.waits, {})
        self.hang_up()

    def test_small_pieces(self) -> None:
        """Pieces that are no frames are joined without a gap."""
        for at in range(0, 3200, 100):
            self.sink.write((TENTH * 2)[at : at + 100])
        self.net.run_for(1)
        self.assertEqual(self.pcm(), PCMU.decode(PCMU.encode(TENTH * 2)))
        self.hang_up()

    def test_rest_of_a_frame(self) -> None:
        """Half a frame waits for its rest, but not for ever: then silence fills it up."""
        self.sink.write(FRAME[:160])
        self.net.run_for(0.05)
        self.assertEqual(self.heard, [])
        self.sink.write(FRAME[160:] + FRAME[:160])
        self.net.run_for(0.05)
        self.assertEqual(self.pcm(), PCMU.decode(PCMU.encode(FRAME)))
        self.net.run_for(0.2)
        self.assertEqual(self.pcm(), PCMU.decode(PCMU.encode(FRAME + FRAME[:160] + bytes(160))))
        self.hang_up()

    def test_marked_rest(self) -> None:
        """After a mark nothing is waited for."""
        self.sink.write(FRAME[:160])
        mark = self.outcome(self.sink.mark())
        self.net.run_for(0.05)
        self.assertEqual((len(self.heard), mark), (1, [True]))
        self.hang_up()

    def test_mark_within_a_frame(self) -> None:
        """A mark cuts no frame: what follows it is heard without a gap."""
        self.sink.write(FRAME[:160])
        mark = self.outcome(self.sink.mark())
        self.sink.write(FRAME[160:])
        self.net.run_for(0.05)
        self.assertEqual(self.pcm(), PCMU.decode(PCMU.encode(FRAME)))
        self.assertEqual(mark, [True])
        self.hang_up()

    def test_marks(self) -> None:
        """Marks fire in order, when what was written before them has been sent."""
        order: list[tuple[int, float]] = []
        begin = self.net.seconds()

        def note(index: int) -> Callable[[bool], None]:
            return lambda done: order.append((index, round(self.net.seconds() - begin, 2)))

        self.sink.mark().addCallback(note(0))
        for index in (1, 2, 3):
            self.sink.write(TENTH)
            self.sink.mark().addCallback(note(index))
        self.net.run_for(1)
        self.assertEqual([index for index, _ in order], [0, 1, 2, 3])
        for index, when in order:
            self.assert_near(when, index / 10)
        self.hang_up()

    def test_back_pressure(self) -> None:
        """Who has written more than a second waits until less than that is left."""
        first = self.outcome(self.sink.write(SECOND))
        second = self.outcome(self.sink.write(TENTH))
        self.assertEqual((first, second), ([], []))
        self.net.run_for(0.08)
        self.assertEqual((first, second), ([], []))
        self.net.run_for(0.06)
        self.assertEqual((first, second), ([None], [None]))
        self.sink.clear()
        self.hang_up()

    def test_clear(self) -> None:
        """Clearing drops what waits within a frame, and tells marks and writers."""
        writer = self.outcome(self.sink.write(SECOND * 2))
        mark = self.outcome(self.sink.mark())
        self.net.run_for(0.1)
        count = self.sent
        self.assertAlmostEqual(self.sink.clear(), 2 - count / 50, places=1)
        self.assertEqual((writer, mark), ([None], [False]))
        self.net.run_for(0.5)
        self.assertEqual(self.sent, count)
        self.assertEqual(self.sink.clear(), 0)
        self.sink.write(FRAME)
        self.net.run_for(0.5)
        self.assertEqual(self.sent, count + 1)
        self.hang_up()

    def test_call_is_cleared(self) -> None:
        """Clearing the call clears its sinks too; they take more afterwards."""
        self.sink.write(SECOND[:-160])
        mark = self.outcome(self.sink.mark())
        self.net.run_for(0.1)
        self.assertEqual(self.caller.clear(), 1)
        self.assertEqual((mark, self.sink.waiting), ([False], 0))
        again = self.outcome(self.sink.mark())
        self.net.run_for(0.1)
        self.assertEqual(again, [True])
        self.hang_up()

    def test_mark_is_answered_by_writing(self) -> None:
        """What a mark resumes may write more, and that is heard without a gap."""
        self.sink.write(FRAME)
        self.sink.mark().addCallback(lambda _: self.sink.write(FRAME))
        self.net.run_for(0.2)
        times = [when for when, _ in self.heard]
        self.assertEqual(len(times), 2)
        self.assertAlmostEqual(times[1] - times[0], 0.02)
        self.hang_up()

    def test_other_sounds(self) -> None:
        """Other sounds are heard when the sink is empty, and not before."""
        self.sink.write(TENTH)
        beep = self.outcome(self.caller.play(TENTH))
        self.net.run_for(0.11)
        self.assertEqual(beep, [])
        self.net.run_for(0.12)
        self.assertEqual(beep, [True])
        self.hang_up()

    def test_close(self) -> None:
        """A closed sink says what it has, and takes no more."""
        self.sink.write(TENTH + FRAME[:160])
        closed = self.outcome(self.sink.close())
        self.assertRaises(DialogStateError, self.sink.write, FRAME)
        self.assertRaises(DialogStateError, self.sink.mark)
        self.successResultOf(self.sink.close())
        self.assertEqual(closed, [])
        self.net.run_for(0.2)
        self.assertEqual((closed, len(self.heard)), ([True], 6))
        self.hang_up()

    def test_close_idle(self) -> None:
        """Closing a sink that has nothing to say is done at once."""
        self.assertIs(self.successResultOf(self.sink.close()), True)
        self.assertTrue(self.sink.is_closed)
        self.hang_up()

    def test_half_samples(self) -> None:
        """Half samples are the program's mistake."""
        self.assertRaises(LocalError, self.sink.write, b"\0")
        self.hang_up()

    def test_bounds(self) -> None:
        """Neither audio nor marks may wait without bound."""
        self.sink.write(SECOND * int(MAX_WAITING))
        self.assertRaises(LocalError, self.sink.write, FRAME)
        for _ in range(MAX_MARKS):
            self.sink.mark()
        self.assertRaises(LocalError, self.sink.mark)
        self.sink.clear()
        self.hang_up()

    def test_call_ends(self) -> None:
        """Marks and writers fail with the end of the call, and writing raises."""
        writer = self.outcome(self.sink.write(SECOND * 2))
        mark = self.outcome(self.sink.mark())
        self.placed.hang_up_callee()
        self.net.run_for(1)
        for (error,) in (writer, mark):
            self.assertIsInstance(error.value, SessionEnded)
        self.assertRaises(SessionEnded, self.sink.write, FRAME)
        self.assertRaises(SessionEnded, self.caller.audio_out)
        self.assertEqual((self.sink.clear(), self.caller.waits), (0, {}))
        self.hang_up()

    def test_no_audio(self) -> None:
        """A call that loses its audio fails what is written; the marks are told."""
        self.sink.write(FRAME)
        mark = self.outcome(self.sink.mark())
        assert self.caller.audio is not None
        self.caller.audio.close()
        self.assertEqual(mark, [False])
        self.assertRaises(DialogStateError, self.sink.write, FRAME)
        self.hang_up()

    def test_another_peer(self) -> None:
        """When the call moves, what waits is dropped; the new peer hears what is written then."""
        self.sink.write(SECOND * 10)
        mark = self.outcome(self.sink.mark())
        self.move()
        self.assertEqual(mark, [False])
        heard = self.hear()
        self.sink.write(TENTH)
        self.net.run_for(0.5)
        self.assertEqual(len(heard), 5)
        self.hang_up()

    def test_two_sinks(self) -> None:
        """Two sinks of a call are heard one after the other."""
        other = self.caller.audio_out()
        self.assertIsInstance(other, AudioSink)
        self.sink.write(TENTH)
        other.write(TENTH[::-1])
        self.net.run_for(1)
        self.assertEqual(self.pcm(), PCMU.decode(PCMU.encode(TENTH + TENTH[::-1])))
        self.hang_up()
