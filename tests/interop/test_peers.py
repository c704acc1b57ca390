# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The harness itself: it waits for what is promised, ends what it started, and skips aloud."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections import deque

from twisted.trial.unittest import SkipTest

from . import peers, tools
from .peers import Peer, PeerTestCase
from .tools import Statistics, cpu_seconds, free_port, peak_memory, read_statistics, udp_ports

#: Says that it is there, and does not mind SIGTERM.
STUBBORN = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("here", flush=True)
sys.stdin.read()
signal.pause()
"""


class ProcessTests(PeerTestCase):
    """Processes start, are heard and end."""

    def run_python(self, program: str) -> Peer:
        """Start a Python program."""
        return self.start("python", [sys.executable, "-c", program])

    async def test_status_and_output(self) -> None:
        """Output and error output are kept, and the exit status is told."""
        peer = self.run_python("import sys; print('one'); print('two', file=sys.stderr); exit(3)")
        found = await peer.expect("t(w)o")
        self.assertEqual(found[1], "w")
        self.assertEqual(await peer.ended(), 3)
        self.assertEqual(peer.printed, "one\n")
        self.assertEqual(sorted(peer.output.split()), ["one", "two"])

    async def test_stubborn_process_is_killed(self) -> None:
        """A process that ignores SIGTERM is killed, and stopping it again is harmless."""
        peer = self.run_python(STUBBORN)
        peer.kill_after = 0.2
        await peer.expect("here")
        self.assertEqual(await peer.stop(), -signal.SIGKILL)
        self.assertEqual(await peer.stop(), -signal.SIGKILL)

    async def test_early_end_is_told(self) -> None:
        """Waiting for output of a process that ends fails, with what it did print."""
        peer = self.run_python("print('not this')")
        with self.assertRaisesRegex(AssertionError, "ended before 'that':\nnot this"):
            await peer.expect("that")

    async def test_input_and_home(self) -> None:
        """A process may have a home of its own, and be told what to do."""
        program = "import os; print(os.environ['HOME'], input())"
        command = [sys.executable, "-c", program]
        peer = self.start("python", command, home=self.folder, reads=True)
        peer.write("what to do\n")
        self.assertEqual(await peer.ended(), 0)
        self.assertEqual(peer.printed, f"{self.folder} what to do\n")

    async def test_patience_has_an_end(self) -> None:
        """What never comes is waited for until the patience is over."""
        self.patch(peers, "PATIENCE", 0.3)
        peer = self.run_python(STUBBORN)
        peer.kill_after = 0.1
        with self.assertRaisesRegex(AssertionError, "python did not print 'that'"):
            await peer.expect("that")
        with self.assertRaisesRegex(AssertionError, "python never listened on 1:"):
            await peer.bound(1)
        with self.assertRaisesRegex(AssertionError, "python did not end"):
            await peer.ended(0.1)

    def test_missing_peer(self) -> None:
        """A missing peer skips with advice, and fails where CI is set."""
        self.patch(os, "environ", {"PATH": "/nowhere"})
        with self.assertRaisesRegex(SkipTest, "apt-get install sip-tester"):
            self.require("sipp")
        os.environ["CI"] = "true"
        with self.assertRaisesRegex(AssertionError, "apt-get install baresip-core"):
            self.require("baresip")


class ToolTests(PeerTestCase):
    """What is read from the machine."""

    def test_free_ports(self) -> None:
        """A free port is even, and none is given twice to those who have yet to bind theirs."""
        ports = [free_port() for _ in range(30)]
        self.assertEqual([port for port in ports if port % 2], [])
        self.assertEqual(len(set(ports)), 30)

    def test_no_free_port(self) -> None:
        """There is none when all were given, or when one of the four is taken."""
        self.patch(tools, "_given", deque(tools.PORTS))
        with self.assertRaisesRegex(AssertionError, "no four free ports"):
            free_port()
        self.patch(tools, "_given", deque())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            port = free_port()
            other.bind(("127.0.0.1", port + 2))
            self.patch(tools, "PORTS", [port])
            tools._given.clear()
            with self.assertRaisesRegex(AssertionError, "no four free ports"):
                free_port()

    def test_udp_ports(self) -> None:
        """The UDP ports of a process are seen, of both IP versions, and of nobody none."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            self.assertIn(port, udp_ports(os.getpid()))
        self.assertNotIn(port, udp_ports(os.getpid()))
        self.assertEqual(udp_ports(2**22 + 1), set())

    def test_cpu_seconds(self) -> None:
        """The processor time of this process is near what it says itself."""
        own = cpu_seconds(os.getpid())
        self.assertLess(abs(own - sum(os.times()[:2])), 0.1)

    def test_cpu_seconds_of_children(self) -> None:
        """The processor time of a living child counts, too."""
        program = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); input()"
        command = [sys.executable, "-c", program]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe) as child:
            assert child.stdout is not None
            child.stdout.readline()
            self.assertGreater(cpu_seconds(os.getpid()) - sum(os.times()[:2]), 0.25)
            child.communicate(b"\n")

    def test_peak_memory(self) -> None:
        """The memory of this process is that of a Python program with Twisted in it."""
        self.assertTrue(10 < peak_memory(os.getpid()) < 4000)

    def test_statistics(self) -> None:
        """The last line of SIPp's statistics counts; no file and no line are failures."""
        path = self.folder / "statistics.csv"
        with self.assertRaisesRegex(AssertionError, "no statistics"):
            read_statistics(path)
        head = "SuccessfulCall(P);SuccessfulCall(C);FailedCall(C);Retransmissions(C)"
        path.write_text(f"{head}\n")
        with self.assertRaisesRegex(AssertionError, "no statistics"):
            read_statistics(path)
        path.write_text(f"{head}\n1;1;0;0\n4;5;6;7\n")
        self.assertEqual(read_statistics(path), Statistics(5, 6, 7))

    def test_folder(self) -> None:
        """The path of a test's folder is short enough for a Unix socket in it."""
        self.assertIsInstance(self.folder, pathlib.Path)
        self.assertLess(len(str(self.folder)), 60)
