# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The benchmarks run: what they measure still works. No figure is judged here."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from types import SimpleNamespace
from unittest import mock

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from benchmarks import (
    __main__,
    call,
    concurrency,
    environments,
    flood,
    held,
    media,
    micro,
    overload,
    plots,
    rate,
    rtp,
)
from benchmarks.caller import Caller
from benchmarks.environments import MissingError
from benchmarks.limits import LIMITS
from benchmarks.plan import FULL, GATE, SHORT
from benchmarks.results import Curve, Figure, Limit, Margin, Report, format_figure, format_judgement
from benchmarks.servers import SERVERS, Launch, Place, launch_floor, launch_ours
from benchmarks.system import running

from .peers import PeerTestCase
from .tools import ROOT, Statistics, free_port


def report_with(*figures: Figure) -> tuple[Report, list[str]]:
    """Return a report that has figures already, and the list that its lines go to."""
    lines: list[str] = []
    report = Report(lines.append)
    for figure in figures:
        report.add(figure)
    lines.clear()
    return report, lines


class MediaTests(SynchronousTestCase):
    """What is said of the times at which packets came."""

    def test_jitters(self) -> None:
        """By how much the time between two packets is not what their numbers say."""
        found = media.jitters([(5, 1.0), (6, 1.021), (9, 1.081), (10, 1.098)])
        for value, expected in zip(found, (1.0, 0.0, 3.0), strict=True):
            self.assertAlmostEqual(value, expected)

    def test_late(self) -> None:
        """A packet is late that came a frame or more behind its place."""
        even = [(number, number * 0.02) for number in range(9)]
        self.assertEqual(media.count_late(even), 0)
        behind = [(number, when + 0.025 * (number == 4)) for number, when in even]
        self.assertEqual(media.count_late(behind), 1)
        nearly = [(number, when + 0.015 * (number == 4)) for number, when in even]
        self.assertEqual(media.count_late(nearly), 0)


class ResultTests(SynchronousTestCase):
    """Figures, ratios and limits."""

    def test_figure(self) -> None:
        """The table shows median, lowest and highest; JSON has every round."""
        figure = Figure("name", "us", (3.0, 1.0, 20.0), "a remark")
        words = format_figure(figure).split()
        self.assertEqual(words, ["name", "3.000", "1.000", "20.0", "us", "a", "remark"])
        data = json.loads(json.dumps(figure.as_dict()))
        self.assertEqual((data["median"], data["rounds"]), (3.0, [3.0, 1.0, 20.0]))

    def test_ratio_is_taken_in_each_round(self) -> None:
        """A machine that becomes slower within the run does not move the ratio."""
        report, _ = report_with(
            Figure("ours", "us", (20.0, 40.0, 60.0)), Figure("floor", "us", (10.0, 20.0, 30.0))
        )
        limit = Limit("to the floor", "ours", 2.5, "floor", Margin(3.0, "a reason"))
        (judgement,) = report.judge([limit])
        self.assertEqual(judgement.rounds, (2.0, 2.0, 2.0))
        self.assertTrue(judgement.is_on_target)
        self.assertFalse(judgement.is_failure)
        self.assertIn("target 2.5 reached, gate 3", format_judgement(judgement))

    def test_ratio_of_different_rounds(self) -> None:
        """Figures that were not measured in turns are compared by their medians."""
        report, _ = report_with(Figure("a", "us", (1.0, 3.0, 9.0)), Figure("b", "us", (6.0,)))
        (judgement,) = report.judge([Limit("a to b", "a", 0.4, "b", Margin(0.45, "a reason"))])
        self.assertEqual(judgement.value, 0.5)
        self.assertTrue(judgement.is_failure)

    def test_limit_of_one_figure(self) -> None:
        """Without a denominator the figure itself is limited; without a margin nothing fails."""
        report, _ = report_with(Figure("memory", "kB", (9.0,)))
        (judgement,) = report.judge([Limit("memory", "memory", 8.0)])
        self.assertFalse(judgement.is_on_target or judgement.is_failure)
        self.assertIn("target 8 missed", format_judgement(judgement))

    def test_what_was_not_measured(self) -> None:
        """A limit whose figures are not there is not judged."""
        report, _ = report_with(Figure("a", "us", (1.0,)))
        limits = [Limit("x", "x", 1.0), Limit("a to x", "a", 1.0, "x")]
        self.assertEqual(report.judge(limits), [])

    def test_names_of_limits(self) -> None:
        """Each limit names figures by group, and each margin lies above its target."""
        groups = {*__main__.GROUPS, *__main__.MEASURED_BY}
        for limit in LIMITS:
            self.assertIn(limit.numerator.partition(":")[0], groups)
            if limit.margin is not None:
                self.assertGreaterEqual(limit.margin.value, limit.target, limit.name)

    def test_names_of_peers(self) -> None:
        """Each plan names peers and groups that there are."""
        for plan in (FULL, SHORT, GATE):
            self.assertLessEqual({*plan.peers, *plan.concurrency}, set(SERVERS))
            self.assertLessEqual(set(plan.groups), set(__main__.GROUPS))


class GateTests(SynchronousTestCase):
    """What the gate makes of the limits."""

    def setUp(self) -> None:
        """Let one ratio be over its margin."""
        self.report, self.lines = report_with(Figure("rtp: ours", "us", (9.0,)))
        self.limit = Limit("echo", "rtp: ours", 2.0, None, Margin(3.0, "a reason"))
        self.measured: list[str] = []
        self.patch(__main__, "LIMITS", (self.limit,))

    def measure(self, value: float) -> Callable[[object], None]:
        """Return what measures ``value`` instead of the RTP group."""

        def run(_: object) -> None:
            self.measured.append("rtp")
            self.report.add(Figure("rtp: ours", "us", (value,)))

        return run

    def judge(self, value: float) -> int:
        """Return the exit status when the second attempt gives ``value``."""
        self.patch(__main__, "GROUPS", {"micro": self.fail, "rtp": self.measure(value)})
        run = __main__.Run(GATE, [], Place(pathlib.Path(), pathlib.Path()), self.report)
        again = __main__.measure_again(run, self.report.judge([self.limit]))
        return __main__.conclude(self.report, again)

    def test_second_attempt_passes(self) -> None:
        """What is over its margin is measured once more, nothing else is; then it may pass."""
        self.assertEqual(self.judge(1.0), 0)
        self.assertEqual(self.measured, ["rtp"])

    def test_second_attempt_fails(self) -> None:
        """What is over its margin twice fails the gate."""
        self.assertEqual(self.judge(8.0), 1)
        self.assertIn("FAILED: echo is 8.00, the margin 3: a reason", self.lines)

    def test_nothing_is_over(self) -> None:
        """When all is well nothing is measured again."""
        self.report.add(Figure("rtp: ours", "us", (1.0,)))
        self.assertEqual(self.judge(8.0), 0)
        self.assertEqual(self.measured, [])


class RateTests(SynchronousTestCase):
    """The search for the highest clean rate, without processes."""

    def search(self, limit: int, start: int) -> tuple[float, list[rate.Step]]:
        """Search for ``limit``; return what was found, and the steps."""

        def try_rate(server: object, place: object, number: int, seconds: int) -> rate.Step:
            return rate.Step(number, number <= limit, 100.0)

        self.patch(rate, "try_rate", try_rate)
        place = Place(pathlib.Path(), pathlib.Path())
        steps = rate.search(SERVERS["floor"], place, start, 1)
        return max((step.rate for step in steps if step.is_clean), default=0), steps

    def test_search(self) -> None:
        """From below and from above it comes near the rate, and no step is clean that is not."""
        for start in (50, 300, 2000):
            found, steps = self.search(500, start)
            self.assertTrue(500 / 1.08 <= found <= 500, found)
            self.assertLess(len(steps), 30)

    def test_dirty_step_is_tried_again(self) -> None:
        """Whatever is not clean is tried twice."""
        _, steps = self.search(500, 600)
        self.assertEqual([step.rate for step in steps[:2]], [600, 600])

    def test_too_fast_for_us(self) -> None:
        """The search ends where the load generator ends."""
        found, _ = self.search(100_000, 300)
        self.assertTrue(rate.CAP / 1.4 < found <= rate.CAP)

    def test_never_clean(self) -> None:
        """A server that is never clean ends the search, too."""
        self.assertEqual(self.search(0, 300)[0], 0)


class EnvironmentTests(SynchronousTestCase):
    """Peers that are not there."""

    def setUp(self) -> None:
        """Use a folder of our own."""
        self.folder = pathlib.Path(self.mktemp())
        self.folder.mkdir()

    def test_program_is_missing(self) -> None:
        """A peer that is not installed is left out, with a line that says what to install."""
        self.patch(shutil, "which", lambda program: None)
        report, lines = report_with()
        place = Place(self.folder, self.folder)
        found = __main__.find_servers(["kamailio", "sipp"], place, report)
        self.assertEqual(found, [])
        self.assertIn("apt-get install kamailio", lines[0])
        self.assertIn("apt-get install sip-tester", lines[1])

    def test_package_cannot_be_installed(self) -> None:
        """A package that cannot be fetched is left out, with pip's last line."""
        self.patch(venv, "create", lambda folder, **options: None)
        done = SimpleNamespace(returncode=1, stderr="first\nERROR: no network\n")
        self.patch(subprocess, "run", lambda command, **options: done)
        with self.assertRaisesRegex(MissingError, "pip install sippy==1 failed: ERROR: no network"):
            environments.python_with("sippy==1", self.folder)

    def test_environment_is_kept(self) -> None:
        """An environment is made once, and again when its installation did not end."""
        made: list[object] = []

        def create(folder: pathlib.Path, **options: object) -> None:
            made.append(folder)
            folder.mkdir()

        self.patch(venv, "create", create)
        done = SimpleNamespace(returncode=0, stderr="")
        self.patch(subprocess, "run", lambda command, **options: done)
        first = environments.python_with("sippy==1", self.folder)
        self.assertEqual(environments.python_with("sippy==1", self.folder), first)
        self.assertEqual(len(made), 1)

    def test_plots_are_missing(self) -> None:
        """Without matplotlib a line says how to get it."""
        with mock.patch.dict(sys.modules, {"matplotlib": None}):
            self.assertRaisesRegex(MissingError, r"pip install 'sipsess\[bench\]'", plots.check)

    def test_plots(self) -> None:
        """Each plot of which there are curves is a small file."""
        if importlib.util.find_spec("matplotlib") is None:
            raise SkipTest("matplotlib is not installed: pip install 'sipsess[bench]'")
        report, _ = report_with()
        report.add_curve(Curve("rate: ours", "x", "y", ((1.0, 2.0), (2.0, 3.0))))
        (path,) = plots.draw(report, self.folder / "plots")
        self.assertEqual(path.name, "cost-against-rate.svg")
        self.assertLess(path.stat().st_size, 20_000)


class MeasurementTests(PeerTestCase):
    """Each kind of figure is obtained once."""

    def setUp(self) -> None:
        """Make a place for servers, and a report."""
        super().setUp()
        self.place = Place(self.folder, self.folder)
        self.report, self.lines = report_with()

    def check(self, *names: str) -> None:
        """Check that the report has these figures, all above zero, and no complaint."""
        self.assertEqual(self.report.notes, [])
        self.assertEqual(set(names), set(self.report.figures))
        for figure in self.report.figures.values():
            self.assertGreater(figure.median, 0.0, figure.name)

    def test_micro(self) -> None:
        """Parsing, transactions and calls in process give figures, and leave nothing behind."""
        micro.run(self.report, rounds=1, scale=0.0)
        self.assertEqual(len(self.report.figures), 13)
        for figure in self.report.figures.values():
            self.assertGreater(figure.median, 0.0, figure.name)

    def test_call(self) -> None:
        """Both of ours and the reflector pass for a server with SIPp, and have a cost."""
        self.require("sipp")
        names = ["ours", "ours-portless", "floor"]
        servers = [SERVERS[name] for name in names]
        call.run(self.report, servers, self.place, seconds=1, rate=20, rounds=1, has_tail=False)
        self.check(*(f"call: {name}" for name in names))
        for figure in self.report.figures.values():
            self.assertIn("0 failed", figure.remark)

    def test_tail(self) -> None:
        """What a server does for its calls after the rounds is added to each round."""
        times = iter([0.0, 1.0, 3.0, 10.0])
        process = SimpleNamespace(port=1, cpu=lambda: next(times))
        self.patch(call, "place_calls", lambda *args: Statistics(10, 0, 0))
        subject = call.Subject(SERVERS["floor"], process)  # type: ignore[arg-type]
        subject.rounds = [subject.place(10, 10, self.place)]
        self.assertEqual(subject.rounds, [200_000.0])
        spent, _ = subject.spent_outside()
        self.assertEqual(spent, 8.0)
        subject.add_tail(spent)
        self.assertEqual(subject.rounds, [1_000_000.0])

    def test_portless(self) -> None:
        """Without ports the answer is the same but for the port, and no socket is opened."""
        answers = []
        for folders in ((), ("portless",)):
            launch = launch_ours(self.place, *folders)
            with running(launch, self.folder) as process, Caller(process.port) as caller:
                number = caller.next_number()
                caller.send(caller.writer.invite(number))
                answer = caller.expect(number, b"SIP/2.0 200")
                answers.append(answer.partition(b"m=audio ")[2].partition(b" ")[::2])
        self.assertEqual(answers[1][0], b"40000")
        self.assertNotEqual(answers[0][0], b"40000")
        self.assertEqual(answers[0][1], answers[1][1])

    def test_flood(self) -> None:
        """Each kind of datagram has a cost; copies and strays are answered as they should be."""
        flood.run(self.report, self.place, number=10, rounds=1)
        self.check(*flood.KINDS)
        remarks = {name: figure.remark for name, figure in self.report.figures.items()}
        self.assertEqual(remarks["flood: copy of an INVITE"], "10 x 180")
        self.assertEqual(remarks["flood: copy of a BYE"], "10 x 200")
        self.assertEqual(remarks["flood: BYE of no call"], "10 x 481")
        self.assertEqual(remarks["flood: no SIP at all"], "silence")

    def test_rtp(self) -> None:
        """Packets come back from the application and from the bare loop."""
        rtp.run(self.report, self.place, streams=2, frames=10, rounds=1)
        self.check("rtp: ours", "rtp: floor")
        for figure in self.report.figures.values():
            self.assertEqual(figure.remark, "20 of 20 packets came back")

    def test_media(self) -> None:
        """Every packet comes back, and when is known, from the application and the bare loop."""
        media.run(self.report, self.place, calls=3, seconds=1, rounds=1)
        figures = self.report.figures
        for name in ("ours", "floor"):
            self.assertGreaterEqual(figures.pop(f"media: {name}, late").median, 0)
        self.check(
            *("media: ours, jitter p99", "media: ours, calls a processor"),
            *("media: floor, jitter p99", "media: floor, calls a processor"),
        )
        remark = figures["media: ours, jitter p99"].remark
        self.assertEqual(remark, "0 packets did not come back")

    def test_held(self) -> None:
        """Calls that are held take memory, with ports more of it."""
        rows = [held.measure_apart(held.BLOCK, has_ports=has_ports) for has_ports in (False, True)]
        for row in rows:
            self.assertEqual(len(row.blocks), 1)
            self.assertGreater(row.held, row.before)
        self.assertGreater(rows[1].held - rows[1].before, rows[0].held - rows[0].before)

    def test_concurrency(self) -> None:
        """A real server holds calls, and its log says how long the collector paused."""
        self.patch(concurrency, "TAIL", 0.0)
        self.patch(concurrency, "IDLE", 0.1)
        servers = [SERVERS["ours"]]
        concurrency.run_servers(self.report, servers, self.place, {"ours": held.BLOCK})
        self.assertEqual(self.report.notes, [])
        self.assertIn("concurrency: ours, longest gc pause", self.report.figures)
        self.assertGreater(self.report.figures["concurrency: ours, held"].median, 0.0)

    def test_overload(self) -> None:
        """More calls than a server can take are offered; good ones and the recovery are found."""
        self.require("sipp")
        self.report.add(Figure("rate: floor", "calls/s", (50.0,)))
        overload.run(self.report, [SERVERS["floor"]], self.place, seconds=2)
        name = "overload: floor"
        self.check("rate: floor", f"{name}, good calls", f"{name}, kept", f"{name}, recovery")

    def test_overload_of_the_unknown(self) -> None:
        """What a server can take is looked for first; one that takes nothing is told."""
        self.patch(rate, "try_rate", lambda server, place, number, _: rate.Step(number, False, 0.0))
        overload.run(self.report, [SERVERS["floor"]], self.place, seconds=1)
        self.assertEqual(self.report.notes, ["overload: floor: no rate is clean"])

    def test_caller_gets_no_answer(self) -> None:
        """The caller says which answer did not come."""
        with Caller(free_port()) as caller:
            error = self.assertRaises(AssertionError, caller.call, limit=0.01)
        self.assertIn("call 1 got no 200", str(error))

    def test_server_that_ends(self) -> None:
        """A server that ends at once is told, with what it printed."""
        launch = Launch([sys.executable, "-c", "print('no')"], free_port())
        process = running(launch, self.folder)
        with self.assertRaisesRegex(AssertionError, "ended at once:\nno"), process:
            self.fail("it never ran")

    def test_streams_of_the_reflector(self) -> None:
        """The log of the reflector names as many ports as there shall be streams."""
        with running(launch_floor(self.place, 3), self.folder) as process:
            (line,) = [row for row in process.printed().splitlines() if row.startswith("rtp ports")]
        self.assertEqual(len(line.split()), 5)

    def test_help(self) -> None:
        """The command line explains itself."""
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        for option in ("--json FILE", "--plot DIR", "--peers A,B", "--gate", "--short"):
            self.assertIn(option, done.stdout)
