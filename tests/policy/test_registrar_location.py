# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Which way a binding is called, and in which order the bindings of a user are."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sipsess.errors import TransportError
from sipsess.flow import Flow
from sipsess.registrar import Binding, Source
from sipsess.registrar.location import (
    FlowGoneError,
    PhoneFinder,
    Target,
    group_by_q,
    request_uri_of,
)

US = ("192.0.2.1", 5060)
NAT = Flow("UDP", US, ("203.0.113.9", 40000), "udp:5060")
NAMED = Flow("UDP", US, ("192.0.2.7", 5060), "udp:5060")
URN = '+sip.instance="<urn:uuid:1>"'


def binding(contact: str = "<sip:alice@10.0.0.7>", q: str = "") -> Binding:
    """Return a binding."""
    return Binding("alice", f"{contact};q={q}" if q else contact, 100.0, "call", 1)


class WayTests(SynchronousTestCase):
    """RFC 3261 16.6, RFC 3327 5.5, RFC 5626 5.3."""

    def setUp(self) -> None:
        """Know one flow, and how to resolve everything."""
        self.flows: dict[Source, Flow] = {Source.of(NAT): NAT}
        self.resolved: list[str] = []
        self.error: TransportError | None = None

    async def _resolve(self, uri: str) -> Flow:
        self.resolved.append(uri)
        if self.error is not None:
            raise self.error
        return NAMED

    def find(self, *phone: Binding) -> Deferred[Target]:
        """Return where a phone is called."""
        finder = PhoneFinder(self.flows.get, self._resolve)
        return Deferred.fromCoroutine(finder.find(phone))

    def test_plain(self) -> None:
        """A Contact that leads there is resolved."""
        target = self.successResultOf(self.find(binding("<sip:alice@192.0.2.7>")))
        self.assertEqual(target, Target("sip:alice@192.0.2.7", NAMED))
        self.assertEqual(self.resolved, ["sip:alice@192.0.2.7"])

    def test_path(self) -> None:
        """A Path becomes the Route, and its first hop is where the INVITE goes."""
        path = ("<sip:p2.example;lr>", "<sip:p1.example;lr>")
        target = self.successResultOf(self.find(replace(binding(), path=path)))
        self.assertEqual(target, Target("sip:alice@10.0.0.7", NAMED, path))
        self.assertEqual(self.resolved, ["sip:p2.example;lr"])

    def test_pinned(self) -> None:
        """Behind a NAT the way of the REGISTER is taken, within the call too."""
        pinned = replace(binding(), source=Source.of(NAT), is_pinned=True)
        target = self.successResultOf(self.find(pinned))
        self.assertEqual(target, Target("sip:alice@10.0.0.7", NAT, is_pinned=True))

    def test_pinned_flow_is_gone(self) -> None:
        """When it is gone the Contact is tried; but not when outbound was agreed."""
        self.flows.clear()
        pinned = replace(binding(), source=Source.of(NAT), is_pinned=True)
        target = self.successResultOf(self.find(pinned))
        self.assertEqual(target, Target("sip:alice@10.0.0.7", NAMED))
        self.failureResultOf(self.find(replace(pinned, is_outbound=True)), FlowGoneError)

    def test_next_flow(self) -> None:
        """When the latest flow of a phone is gone, the one before is taken."""
        gone = replace(binding(), source=Source("TCP", "tcp:5060", ("1.1.1.1", 1)), is_pinned=True)
        gone = replace(gone, is_outbound=True)
        alive = replace(gone, source=Source.of(NAT))
        target = self.successResultOf(self.find(gone, alive))
        self.assertEqual(target.flow, NAT)

    def test_nowhere(self) -> None:
        """What cannot be resolved is an error of the transport; so is a phone without bindings."""
        self.error = TransportError("no such name")
        failure = self.failureResultOf(self.find(binding()), TransportError)
        self.assertEqual(str(failure.value), "no such name")
        self.failureResultOf(self.find(), TransportError)

    def test_request_uri(self) -> None:
        """What a Request-URI may not hold goes away (19.1.1); all else stays as written."""
        for contact, uri in (
            ("sip:%61@HOST;x=1", "sip:%61@HOST;x=1"),
            ("sip:a@b;method=INFO;lr?Subject=x", "sip:a@b;lr"),
            ("tel:+1-2", "tel:+1-2"),
        ):
            self.assertEqual(request_uri_of(contact), uri)


class OrderTests(SynchronousTestCase):
    """Groups by q, and flows by instance."""

    def test_groups(self) -> None:
        """Equal q rings together, higher q first; without q it is 1."""
        one, two, three = binding("<sip:1@h>", "0.5"), binding("<sip:2@h>"), binding("<sip:3@h>")
        four = binding("<sip:4@h>", "0.5")
        self.assertEqual(group_by_q([one, two, three, four]), [[[two], [three]], [[one], [four]]])
        self.assertEqual(group_by_q([]), [])

    def test_instances(self) -> None:
        """The flows of an instance are one phone, the latest first."""
        old, other = binding(f"<sip:1@h>;{URN};reg-id=1"), binding("<sip:2@h>")
        new = binding(f"<sip:1@h>;{URN};reg-id=2")
        self.assertEqual(group_by_q([old, other, new]), [[[new, old], [other]]])
