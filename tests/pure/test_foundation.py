# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests for the small modules that everything stands on: errors, flow, status, counters."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess import errors
from sipsess.counters import Counters
from sipsess.flow import Advertised, Flow, format_host, parse_networks
from sipsess.status import REASON_PHRASES, reason_phrase


class ErrorTests(SynchronousTestCase):
    """Errors say whose fault they are and what to answer."""

    def test_tree(self) -> None:
        """Our bugs and the peer's mistakes are never confused; all are SIPErrors."""
        local = {
            errors.IllegalTransition,
            errors.DialogStateError,
            errors.FrozenMessageError,
            errors.HeaderValueError,
            errors.PluginError,
            errors.CookieError,
            errors.NoPortsError,
        }
        for kind in local:
            self.assertTrue(issubclass(kind, errors.LocalError), kind)
        for kind in (errors.LocalError, errors.RemoteError, errors.Timeout, errors.TransportError):
            self.assertEqual(kind.__bases__, (errors.SIPError,))

    def test_status_hints(self) -> None:
        """RFC 3261 8.1.3.1: a timeout counts as 408, a transport error as 503; bugs are 500."""
        hints: dict[type[errors.SIPError], int | None] = {
            errors.SIPError: None,
            errors.LocalError: 500,
            errors.NoPortsError: 503,
            errors.RemoteError: 400,
            errors.Timeout: 408,
            errors.TransportError: 503,
        }
        for kind, hint in hints.items():
            self.assertEqual(kind.status_hint, hint)

    def test_illegal_transition(self) -> None:
        """An illegal transition names machine, state and event."""
        error = errors.IllegalTransition("INVITE_SERVER", "COMPLETED", "RESPOND_2XX")
        self.assertEqual(str(error), "INVITE_SERVER: RESPOND_2XX is illegal in state COMPLETED")
        self.assertEqual(
            (error.machine, error.state, error.event),
            ("INVITE_SERVER", "COMPLETED", "RESPOND_2XX"),
        )

    def test_remote_error(self) -> None:
        """A RemoteError has a code for the counters and a sentence for people."""
        error = errors.RemoteError("bad-thing", "the thing is bad")
        self.assertEqual(
            (error.reason_code, error.text, str(error)),
            ("bad-thing", "the thing is bad", "the thing is bad"),
        )


class FlowTests(SynchronousTestCase):
    """Flows."""

    def test_format_host(self) -> None:
        """RFC 3261 25.1: only IPv6 addresses get brackets."""
        for host, written in (
            ("192.0.2.1", "192.0.2.1"),
            ("a.example", "a.example"),
            ("2001:db8::1", "[2001:db8::1]"),
        ):
            self.assertEqual(format_host(host), written)

    def test_sent_by(self) -> None:
        """RFC 3261 18.1.1: the advertised host if there is one, and always the port."""
        plain = Flow("UDP", ("2001:db8::1", 5060), ("2001:db8::2", 5061))
        self.assertEqual((plain.host, plain.sent_by), ("2001:db8::1", "[2001:db8::1]:5060"))
        seen = Advertised("sip.example")
        public = Flow("UDP", ("10.0.0.1", 5070), ("192.0.2.2", 1), advertised=seen)
        self.assertEqual((public.host, public.sent_by), ("sip.example", "sip.example:5070"))

    def test_advertised_by_network(self) -> None:
        """Everybody sees the advertised host but those in a local network and on this machine."""
        networks = parse_networks(["10.0.0.0/8", "fd00::/8", "192.0.2.7"])
        seen = Advertised("203.0.113.5", networks)
        flow = Flow("UDP", ("10.0.0.1", 5060), ("192.0.2.2", 1), advertised=seen)
        for remote, host in (
            ("192.0.2.2", "203.0.113.5"),
            ("11.0.0.1", "203.0.113.5"),
            ("10.255.0.1", "10.0.0.1"),
            ("192.0.2.7", "10.0.0.1"),
            ("127.0.0.1", "10.0.0.1"),
            ("fd00::1", "10.0.0.1"),
            ("2001:db8::1", "203.0.113.5"),
            ("999.1.1.1", "203.0.113.5"),
        ):
            self.assertEqual(flow.to((remote, 5060)).host, host, remote)

    def test_networks(self) -> None:
        """What is no network is refused with what to write."""
        with self.assertRaisesRegex(errors.LocalError, "'ten' is no network; write 10.0.0.0/8"):
            parse_networks(["10.0.0.0/8", "ten"])

    def test_equality(self) -> None:
        """Equal flows are one key; each part, the connection's number too, tells them apart."""
        parts = ("TCP", ("192.0.2.1", 5060), ("192.0.2.2", 5060), "tcp:5060", None, True, 1)
        flow = Flow(*parts)
        self.assertEqual(len({flow, Flow(*parts)}), 1)
        others = ("TLS", ("192.0.2.1", 1), ("192.0.2.2", 1), "tcp:1", Advertised("a"), False, 2)
        for index, other in enumerate(others):
            changed = [*parts[:index], other, *parts[index + 1 :]]
            self.assertNotEqual(flow, Flow(*changed))  # type: ignore[arg-type]

    def test_to(self) -> None:
        """The flow to another peer differs in nothing else; to the same peer it is the same."""
        flow = Flow("UDP", ("192.0.2.1", 5060), ("192.0.2.2", 5060), "udp:5060", Advertised("a"))
        self.assertIs(flow.to(("192.0.2.2", 5060)), flow)
        self.assertEqual(
            flow.to(("192.0.2.3", 5062)),
            Flow("UDP", ("192.0.2.1", 5060), ("192.0.2.3", 5062), "udp:5060", Advertised("a")),
        )


class StatusTests(SynchronousTestCase):
    """Reason phrases."""

    def test_known(self) -> None:
        """RFC 3261 21: the registered phrases."""
        for status, phrase in ((100, "Trying"), (200, "OK"), (486, "Busy Here")):
            self.assertEqual(reason_phrase(status), phrase)

    def test_unknown(self) -> None:
        """RFC 3261 8.1.3.2: an unknown status is treated as its class."""
        for status, phrase in (
            (199 - 1, "Provisional"),
            (299, "OK"),
            (399, "Redirection"),
            (499, "Request Failure"),
            (599, "Server Failure"),
            (699, "Global Failure"),
        ):
            self.assertEqual(reason_phrase(status), phrase)

    @settings(deadline=None)
    @given(st.integers(100, 699))
    def test_every_status(self, status: int) -> None:
        """Each status has a phrase that can be written on one line."""
        phrase = reason_phrase(status)
        self.assertTrue(phrase.isprintable() and phrase == phrase.strip())

    def test_table(self) -> None:
        """The table holds SIP's statuses only, in order."""
        statuses = list(REASON_PHRASES)
        self.assertEqual(statuses, sorted(statuses))
        self.assertTrue(all(100 <= status <= 699 for status in statuses))


class CounterTests(SynchronousTestCase):
    """Counters."""

    def test_refuse(self) -> None:
        """Refusals are counted by reason code."""
        counters = Counters()
        for code in ("bad-via", "bad-via", "too-long"):
            counters.refuse(code)
        self.assertEqual(counters.refused, {"bad-via": 2, "too-long": 1})

    def test_own_dict(self) -> None:
        """Two cores do not share their refusals."""
        Counters().refuse("bad-via")
        self.assertEqual(Counters().refused, {})

    def test_as_dict(self) -> None:
        """All counters by name, all zero at first, fit for JSON."""
        counters = Counters()
        counters.rtp_sent += 3
        counters.refuse("bad-via")
        found = counters.as_dict()
        self.assertEqual((found.pop("rtp_sent"), found.pop("refused")), (3, {"bad-via": 1}))
        self.assertEqual(set(found.values()), {0})
        json.dumps(found)

    def test_unknown_name(self) -> None:
        """A counter that is not declared cannot be counted."""
        with self.assertRaises(AttributeError):
            Counters().typo = 1  # type: ignore[attr-defined]
