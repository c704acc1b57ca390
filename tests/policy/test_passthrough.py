# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Two calls whose media stay end to end: descriptions that go across, and every race."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.interfaces import IMediaEngine

from .engines import FakeEngine


class EngineTests(SynchronousTestCase):
    """Descriptions that go through a media engine on their way."""

    def test_fake(self) -> None:
        """The engine of these tests is one."""
        self.assertTrue(verifyObject(IMediaEngine, FakeEngine()))
