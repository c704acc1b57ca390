# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of what the perimeter is made of: access lists, buckets, sources, and bans."""

from __future__ import annotations

from unittest.mock import Mock, patch

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from sipsess.defence import AccessList, Bans, DefenceSettings, NetworkSet, bans, sources
from sipsess.defence.bucket import Bucket
from sipsess.defence.sources import Source, Sources
from sipsess.errors import LocalError
from sipsess.flow import source_key


class AccessTests(SynchronousTestCase):
    """Access lists."""

    def test_everybody(self) -> None:
        """Without rules everybody is allowed."""
        self.assertTrue(AccessList(()).allows("192.0.2.1"))

    def test_first_match(self) -> None:
        """The first rule that matches decides; who matches none is allowed."""
        rules = AccessList(["allow 192.0.2.7", "deny 192.0.2.0/24", "deny 2001:db8::/32"])
        for host, verdict in (
            ("192.0.2.7", True),
            ("192.0.2.8", False),
            ("198.51.100.1", True),
            ("2001:db8::1", False),
            ("2001:db9::1", True),
        ):
            self.assertIs(rules.allows(host), verdict, host)

    def test_all(self) -> None:
        """``all`` is everybody, of both IP versions."""
        rules = AccessList(["allow 192.0.2.0/24", "deny all"])
        self.assertTrue(rules.allows("192.0.2.1"))
        self.assertFalse(rules.allows("198.51.100.1"))
        self.assertFalse(rules.allows("2001:db8::1"))

    def test_mistakes(self) -> None:
        """What cannot be read says how it is written."""
        for rule, pattern in (
            ("forbid 192.0.2.1", "allow NETWORK or deny NETWORK"),
            ("deny", "no network"),
            ("deny example.com", "write 10.0.0.0/8"),
        ):
            error = self.assertRaises(LocalError, AccessList, [rule])
            self.assertIn(pattern, str(error))

    def test_networks(self) -> None:
        """A set of networks holds addresses of both versions."""
        networks = NetworkSet(["127.0.0.0/8", "::1/128"])
        self.assertIn("127.1.2.3", networks)
        self.assertIn("::1", networks)
        self.assertNotIn("::2", networks)

    def test_no_address(self) -> None:
        """What is no address is in no network, and every rule passes it by."""
        for host in ("18446744073709551616.0.2.3", "a:b", ""):
            self.assertNotIn(host, NetworkSet(["0.0.0.0/0", "::/0"]))
            self.assertTrue(AccessList(["deny all"]).allows(host))


class SettingsTests(SynchronousTestCase):
    """What can be chosen."""

    def test_mistakes(self) -> None:
        """All that makes no sense is told at once, each with its field."""
        error = self.assertRaises(
            LocalError,
            DefenceSettings,
            trusted=("127.0.0.0/8", "example.com"),
            access=("deny all", "block 192.0.2.1"),
            scanner_agents=("",),
            calls_per_second=-1.0,
            unproven_bytes=-1,
        )
        faults = str(error).split(", and ")
        fields = [fault.partition(": ")[0] for fault in faults]
        self.assertEqual(fields, ["trusted", "access", "scanner_agents", "calls_per_second"])
        self.assertIn("'block 192.0.2.1' is no rule", str(error))
        self.assertIn("-1 is less than nothing", str(error))


class BucketTests(SynchronousTestCase):
    """Leaky buckets."""

    def test_leaks(self) -> None:
        """What was put in goes by the rate, down to nothing."""
        bucket = Bucket(10.0)
        self.assertEqual(bucket.add(5.0, 1.0, 10.0), 5.0)
        self.assertEqual(bucket.look(1.0, 12.0), 3.0)
        self.assertEqual(bucket.look(1.0, 100.0), 0.0)

    def test_limit(self) -> None:
        """What does not fit is not put in."""
        bucket = Bucket(0.0)
        self.assertTrue(bucket.put(3.0, 1.0, 3.0, 0.0))
        self.assertFalse(bucket.put(1.0, 1.0, 3.0, 0.5))
        self.assertTrue(bucket.put(1.0, 1.0, 3.0, 1.0))

    def test_below_zero(self) -> None:
        """More can be taken out than is there, down to a floor; that does not leak."""
        bucket = Bucket(0.0)
        bucket.take(10.0, -4.0)
        self.assertEqual(bucket.look(1.0, 50.0), -4.0)


class SourceTests(SynchronousTestCase):
    """The tables of sources."""

    def setUp(self) -> None:
        """Make tables; hosts that begin with 10 are trusted."""
        self.made: list[str] = []
        self.sources = Sources(self.make, self.is_special)

    def is_special(self, host: str) -> bool:
        """Whether a host is a source of its own."""
        return host == "2001:db8::5"

    def make(self, key: str, host: str) -> Source:
        """Make a record."""
        self.made.append(host)
        source = Source(key, 0.0)
        source.is_trusted = host.startswith("10.")
        return source

    def test_key(self) -> None:
        """An IPv4 address, also one in IPv6 clothes, or the /64 of an IPv6 address."""
        self.assertEqual(source_key("192.0.2.1"), "192.0.2.1")
        self.assertEqual(source_key("::ffff:192.0.2.1"), "192.0.2.1")
        self.assertEqual(source_key("2001:db8::1"), "2001:db8::/64")
        self.assertEqual(source_key("2001:db8:0:0:ffff::"), "2001:db8::/64")
        self.assertEqual(source_key("a:b"), "a:b")

    def test_found_again(self) -> None:
        """A source is made once, whichever of its addresses speaks."""
        one = self.sources.find("2001:db8::1")
        self.assertIs(self.sources.find("2001:db8::2"), one)
        trusted = self.sources.find("10.0.0.1")
        self.assertIs(self.sources.find("10.0.0.1"), trusted)
        self.assertEqual(self.made, ["2001:db8::1", "10.0.0.1"])

    def test_special(self) -> None:
        """A host that is trusted or denied is a source of its own, whoever came before."""
        one = self.sources.find("2001:db8::1")
        self.assertIsNot(self.sources.find("2001:db8::5"), one)
        self.assertIs(self.sources.find("2001:db8::5"), self.sources.find("2001:db8::5"))
        self.assertIs(self.sources.find("2001:db8::2"), one)

    def test_limits(self) -> None:
        """A flood of invented addresses pushes out none that is proven, and fills no table."""
        with patch.multiple(sources, MAX_STRANGERS=10, MAX_PROVEN=5):
            self.sources = Sources(self.make, self.is_special)
            real = self.sources.find("192.0.2.1")
            self.sources.keep(real)
            for number in range(200):
                self.sources.find(f"198.51.100.{number}")
                self.sources.find(f"10.0.0.{number}")
            self.assertIs(self.sources.find("192.0.2.1"), real)
            self.assertLessEqual(len(self.sources), 2 * 10 + 5 + 5)


class BanTests(SynchronousTestCase):
    """How long bans last, and what is logged."""

    def setUp(self) -> None:
        """Listen to the log."""
        self.events: list[LogEvent] = []
        observer = Mock(side_effect=self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.bans = Bans(DefenceSettings())

    def seconds(self, now: float, transport: str = "UDP", key: str = "192.0.2.66") -> float:
        """Ban a source, and return for how long."""
        return self.bans.ban(key, key, "failures", transport, now) - now

    def test_line(self) -> None:
        """One line of a fixed form, at a level and in a namespace that stay."""
        self.bans.ban("2001:db8::/64", "2001:db8::7", "scanner", "UDP", 5.0)
        (event,) = self.events
        self.assertEqual(
            formatEvent(event),
            "ban address=2001:db8::7 seconds=60 reason=scanner transport=UDP count=1",
        )
        self.assertEqual(event["log_namespace"], "sipsess.defence.bans")
        self.assertEqual(event["log_level"].name, "warn")

    def test_growth(self) -> None:
        """Each lasts twice as long as the one before, up to a limit that is short for UDP."""
        now, lasted = 0.0, []
        for _ in range(6):
            lasted.append(self.seconds(now))
            now += 1000
        self.assertEqual(lasted, [60, 120, 240, 480, 600, 600])
        lasted = [self.seconds(now, "TCP", "192.0.2.67") for _ in range(13)]
        self.assertEqual(lasted[:2] + lasted[-2:], [60, 120, 3600, 3600])

    def test_memory(self) -> None:
        """A ban that is over for a day counts no more."""
        self.assertEqual(self.seconds(0.0), 60)
        self.assertEqual(self.seconds(60 + bans.MEMORY), 120)
        self.assertEqual(self.seconds(60 + 3 * bans.MEMORY), 60)

    def test_active(self) -> None:
        """Who is banned now, the one whose ban ends first before the others."""
        self.seconds(0.0, key="a")
        self.seconds(0.0, key="a")
        self.seconds(0.0, key="b")
        self.assertEqual([ban.address for ban in self.bans.active(10.0)], ["b", "a"])
        self.assertEqual([ban.address for ban in self.bans.active(60.0)], ["a"])
        self.assertEqual(self.bans.until("b"), 60.0)
        self.assertLess(self.bans.until("nobody"), 0.0)

    def test_table(self) -> None:
        """When it is full, those that are forgotten go, then the one that ends first."""
        with patch.object(bans, "MAX_BANS", 3):
            for key in "abc":
                self.seconds(0.0, key=key)
            self.seconds(0.0, key="a")
            self.seconds(1.0, key="d")
            self.assertEqual([ban.address for ban in self.bans.active(2.0)], ["c", "d", "a"])
            self.seconds(2 * bans.MEMORY, key="e")
            self.assertLess(self.bans.until("a"), 0.0)

    def test_full_log(self) -> None:
        """So many lines a minute are logged, whatever happens."""
        for number in range(200):
            self.seconds(number / 10, key=str(number))
        self.assertEqual(len(self.events), bans.MAX_LINES)
        self.seconds(60.0, key="later")
        self.assertEqual(len(self.events), bans.MAX_LINES + 1)
