# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What peers may do with a connection: how it is cut, how slow, how much, and what is no SIP."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogLevel

from sipsess.transport import connections, stream
from tests.shell.streams import RawPeer, StreamCase, options


class FramingTests(StreamCase):
    """Messages out of a connection (:rfc:`3261#section-18.3`)."""

    def test_one_message(self) -> None:
        """A request is answered on its connection."""
        peer = self.connect()
        self.assertTrue(self.say(peer, options()).startswith(b"SIP/2.0 200 OK\r\n"))
        self.assertIsNone(peer.lost)

    def test_byte_by_byte(self) -> None:
        """It does not matter how small the pieces are."""
        peer = self.connect()
        for number in range(len(options())):
            peer.write(options()[number : number + 1])
        self.net.run_for(1)
        self.assertEqual(peer.statuses, [b"200"])

    def test_many_in_one_piece(self) -> None:
        """Several messages in one piece, and one that ends in the next, are all answered."""
        peer = self.connect()
        data = b"".join(options(number) for number in range(5))
        self.say(peer, data[:-10])
        self.assertEqual(peer.statuses, [b"200"] * 4)
        self.say(peer, data[-10:])
        self.assertEqual(peer.statuses, [b"200"] * 5)

    def test_ping(self) -> None:
        """A double line break is answered with a single one, be it cut (RFC 5626 3.5.1)."""
        peer = self.connect()
        self.assertEqual(self.say(peer, b"\r\n\r\n"), b"\r\n")
        self.assertEqual(self.say(peer, b"\r\n"), b"")
        self.assertEqual(self.say(peer, b"\r\n"), b"\r\n")
        self.assertTrue(self.say(peer, b"\r\n" + options() + b"\r\n").startswith(b"SIP/2.0 200"))
        self.assertIsNone(peer.lost)

    def test_missing_length(self) -> None:
        """Without Content-Length the answer is 400, and the connection is over (18.3)."""
        peer = self.connect()
        answer = self.say(peer, options().replace(b"Content-Length: 0\r\n", b""))
        self.assertTrue(answer.startswith(b"SIP/2.0 400 "), answer)
        self.assertIsNotNone(peer.lost)
        self.assertEqual(self.refusals(), {"missing-content-length": 1})

    def test_too_large(self) -> None:
        """What is larger than any message is answered 513 and not read."""
        peer = self.connect()
        answer = self.say(peer, options().replace(b"Length: 0", b"Length: 99999999"))
        self.assertTrue(answer.startswith(b"SIP/2.0 513 "), answer)
        self.assertIsNotNone(peer.lost)

    def test_no_sip(self) -> None:
        """Who speaks something else hears nothing; it is counted, and not logged."""
        for data in (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST /x HTTP/1.0\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\x00" * 40,
            b"SSH-2.0-OpenSSH_9.2\r\n",
        ):
            peer = self.connect()
            self.assertEqual(self.say(peer, data), b"", data)
            self.assertIsNotNone(peer.lost, data)
        self.assertEqual(self.refusals(), {"bad-start-line": 5})

    def test_what_follows_the_end_is_dropped(self) -> None:
        """Nothing is read on a connection that is being closed."""
        peer = self.connect()
        self.say(peer, b"GET / HTTP/1.1\r\n\r\n" + options())
        self.assertEqual(peer.statuses, [])


class LimitTests(StreamCase):
    """Whatever a peer can delay or pile up has a limit."""

    def assert_ended(self, peer: RawPeer, reason_code: str, limit: float) -> None:
        """Expect the end, not before the limit and soon after it."""
        self.net.run_for(limit - 3)
        self.assertIsNone(peer.lost)
        self.net.run_for(5)
        self.assertIsNotNone(peer.lost)
        self.assertEqual(self.refusals(), {reason_code: 1})

    def test_silent(self) -> None:
        """Who connects and says nothing, or only pings, is gone after a while."""
        peer = self.connect()
        self.say(peer, b"\r\n\r\n")
        self.assert_ended(peer, "connection-silent", stream.SILENCE_LIMIT)

    def test_slow(self) -> None:
        """A message must be whole in time, however steadily it drips."""
        peer = self.connect()
        self.say(peer, options())
        for number in range(15):
            self.say(peer, options(2)[number : number + 1], 1.0)
        self.assertIsNone(peer.lost)
        self.assert_ended(peer, "connection-slow", stream.MESSAGE_LIMIT - 15)

    def test_each_message_has_its_time(self) -> None:
        """The time of a message begins with its first byte, not with the one before it."""
        peer = self.connect()
        for number in range(4):
            self.say(peer, options(number) + options(number + 1)[:20], 12)
            self.say(peer, options(number + 1)[20:], 12)
        self.assertIsNone(peer.lost)

    def test_idle(self) -> None:
        """A connection that no call uses ends when nothing comes for long; a ping keeps it."""
        peer = self.connect()
        self.say(peer, options())
        self.net.run_for(stream.IDLE_LIMIT - 10)
        self.say(peer, b"\r\n\r\n")
        self.assert_ended(peer, "connection-idle", stream.IDLE_LIMIT)

    def test_not_reading(self) -> None:
        """Who asks and asks, and never reads, is gone when too much waits for him."""
        peer = self.connect()
        peer.wire.pauseProducing()
        for number in range(1500):
            peer.write(options(number))
            if number % 50 == 0:
                self.net.run_for(0.1)
        self.net.run_for(1)
        self.assertEqual(len(self.server.connections), 0)
        self.assertEqual(self.refusals()["connection-not-reading"], 1)
        peer.wire.resumeProducing()

    def test_not_reading_for_long(self) -> None:
        """Who leaves unread what is sent to him is gone after a while, even if it is little."""
        peer = self.connect()
        peer.wire.pauseProducing()
        for number in range(300):
            peer.write(options(number))
        self.net.run_for(stream.WRITE_LIMIT - 3)
        self.assertEqual(len(self.server.connections), 1)
        self.net.run_for(5)
        self.assertEqual(len(self.server.connections), 0)
        self.assertEqual(self.refusals(), {"connection-not-reading": 1})
        peer.wire.resumeProducing()

    def test_slow_but_reading(self) -> None:
        """Who reads late, but in time, gets everything."""
        peer = self.connect()
        peer.wire.pauseProducing()
        for number in range(300):
            peer.write(options(number))
        self.net.run_for(stream.WRITE_LIMIT - 10)
        peer.wire.resumeProducing()
        self.net.run_for(10)
        peer.wire.pauseProducing()
        self.net.run_for(stream.WRITE_LIMIT)
        peer.wire.resumeProducing()
        self.assertEqual(len(peer.statuses), 300)
        self.assertEqual(self.refusals(), {})

    def test_too_many(self) -> None:
        """There are not more connections than there may be, in all and of one host."""
        self.server.connections.max_per_peer = 3
        self.server.connections.max_connections = 4
        peers = [self.connect() for _ in range(5)]
        self.assertEqual([peer.lost is None for peer in peers], [True] * 3 + [False] * 2)
        carol = self.net.host("192.0.2.3", name="carol")
        others = [self.connect(carol) for _ in range(2)]
        self.assertEqual([peer.lost is None for peer in others], [True, False])
        self.assertEqual(self.refusals(), {"peer-connections-full": 2, "connections-full": 1})
        peers[0].wire.loseConnection()
        self.net.run_for(1)
        self.assertIsNone(self.connect(carol).lost)

    def test_many_addresses(self) -> None:
        """In IPv6 the addresses of one network of 64 bits count as one host."""
        self.server.connections.max_per_peer = 2
        hosts = [self.net.host(f"2001:db8:1::{number}") for number in range(1, 4)]
        peers = [self.connect(host, to="2001:db8::1") for host in hosts]
        self.assertEqual([peer.lost is None for peer in peers], [True, True, False])
        other = self.net.host("2001:db8:2::1")
        self.assertIsNone(self.connect(other, to="2001:db8::1").lost)

    def test_banned(self) -> None:
        """Who is banned cannot connect, others can."""
        banned = {"192.0.2.2": "banned"}
        self.patch(self.server.core, "refusal_of_host", banned.get)
        self.assertIsNotNone(self.connect().lost)
        self.assertEqual(self.refusals(), {"banned": 1})
        self.assertIsNone(self.connect(self.net.host("192.0.2.3", name="carol")).lost)

    def test_a_bug_of_ours(self) -> None:
        """What the core raises is logged once a minute, and the connection goes on."""

        def fail(*args: Any) -> None:
            raise ZeroDivisionError

        peer = self.connect()
        patch = self.patch(self.server.core, "receive_message", fail)
        self.say(peer, options(1))
        self.say(peer, options(2))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.server.connections.failures, 2)
        self.net.run_for(connections.REPORT_INTERVAL)
        self.say(peer, options(3))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        patch.restore()
        self.say(peer, options(4))
        self.assertEqual(peer.statuses, [b"200"])
        self.events[:] = [item for item in self.events if item["log_level"] < LogLevel.critical]


class StopTests(StreamCase):
    """The end of the server."""

    def test_polite(self) -> None:
        """Connections are closed, and no new ones taken, when the server stops."""
        peer = self.connect()
        self.say(peer, options())
        self.stop(self.server)
        self.assertIsNotNone(peer.lost)

    def test_who_does_not_read(self) -> None:
        """A peer that does not read what is left for him is not waited for long."""
        peer = self.connect()
        peer.wire.pauseProducing()
        self.say(peer, options())
        stopping = self.server.stopService()
        self.net.run_for(connections.STOP_LIMIT + 0.2)
        self.successResultOf(stopping)
        self.assertEqual(len(self.server.connections), 0)
        peer.wire.resumeProducing()

    def test_restart(self) -> None:
        """A server that was stopped takes connections again."""
        self.stop(self.server)
        self.server.startService()
        self.say(peer := self.connect(), options())
        self.assertEqual(peer.statuses, [b"200"])
