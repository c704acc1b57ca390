# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Endpoints and the gate that admits everybody."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from types import SimpleNamespace
from typing import cast

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.admission import Admission
from sipsess.endpoint import ANONYMOUS, AnonymousGate, Endpoint
from sipsess.interfaces import IRequestGate
from sipsess.supplement import Verdict


class EndpointTests(SynchronousTestCase):
    """Who is at the other end."""

    def test_nobody_is_trusted_by_default(self) -> None:
        """RFC 3325: an identity is believed only when someone said so."""
        self.assertFalse(Endpoint("x").is_trusted)
        self.assertEqual((ANONYMOUS.name, ANONYMOUS.is_trusted), ("anonymous", False))

    def test_it_is_a_value(self) -> None:
        """Sessions share it, so it cannot be changed."""
        self.assertEqual(Endpoint("x", True), Endpoint("x", is_trusted=True))
        self.assertRaises(FrozenInstanceError, setattr, ANONYMOUS, "is_trusted", True)

    def test_everybodys_endpoint(self) -> None:
        """The gate that admits everybody may give them another endpoint."""
        everybody = Endpoint("anonymous", dtmf="none")
        admission = SimpleNamespace(endpoint=None)
        AnonymousGate(everybody).admit(cast("Admission", admission))
        self.assertIs(admission.endpoint, everybody)

    def test_the_anonymous_gate(self) -> None:
        """It admits, and keeps the endpoint that a gate before it found."""
        gate = AnonymousGate()
        verifyObject(IRequestGate, gate)
        for before, after in ((None, ANONYMOUS), (Endpoint("x"), Endpoint("x"))):
            admission = SimpleNamespace(endpoint=before)
            self.assertIs(gate.admit(cast("Admission", admission)), Verdict.CONTINUE)
            self.assertEqual(admission.endpoint, after)
