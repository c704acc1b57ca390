# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""``sipsess doctor`` and media engines: which of them answer."""

from __future__ import annotations

import socket
import threading

from twisted.trial.unittest import SynchronousTestCase

from sipsess.config.model import MediaTable
from sipsess.config.values import SocketAddress
from sipsess.doctor import OK, WRONG, Machine, examine_engines, machine
from sipsess.engine.bencode import encode


class EngineTests(SynchronousTestCase):
    """One engine on a loopback address."""

    def examine(self, answer: bytes | None) -> tuple[str, str]:
        """Return level and text for an engine that answers so, or is not there."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as engine:
            engine.bind(("127.0.0.1", 0))
            engine.settimeout(5)
            port = engine.getsockname()[1]

            def serve() -> None:
                _, caller = engine.recvfrom(1000)
                engine.sendto(answer or b"", caller)

            thread = threading.Thread(target=serve)
            if answer is None:
                engine.close()
            else:
                thread.start()
                self.addCleanup(thread.join)
            table = MediaTable(engine="rtpengine", addresses=(SocketAddress("127.0.0.1", port),))
            [found] = examine_engines(Machine(), table)
            if answer is not None:
                thread.join()
        text = found.text.replace(str(port), "PORT")
        self.assertEqual(bool(found.advice), found.level == WRONG)
        return found.level, text

    def test_answers(self) -> None:
        """It is there; something else is; nobody is."""
        where = "rtpengine at 127.0.0.1:PORT"
        pong = b"doctor " + encode({"result": "pong"})
        self.assertEqual(self.examine(pong), (OK, f"{where} answers"))
        wrong = self.examine(b"HTTP/1.1 400")
        self.assertEqual(wrong, (WRONG, f"{where}: answers, but is no rtpengine"))
        self.assertEqual(self.examine(None), (WRONG, f"{where}: Connection refused"))

    def test_silence(self) -> None:
        """Who says nothing is not waited for for long."""
        self.patch(machine, "ENGINE_TIMEOUT", 0.001)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
            mute.bind(("127.0.0.1", 0))
            said = Machine().ping_engine(*mute.getsockname())
        self.assertEqual(said, "does not answer")

    def test_ipv6(self) -> None:
        """An address may be one of IPv6; nobody is there."""
        self.assertNotEqual(Machine().ping_engine("::1", 1), "")

    def test_none(self) -> None:
        """Without engines there is nothing to say."""
        self.assertEqual(list(examine_engines(Machine(), None)), [])
