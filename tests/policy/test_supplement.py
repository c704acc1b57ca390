# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What plugin authors import."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.application import Application
from sipsess.errors import HeaderValueError, RemoteError
from sipsess.interfaces import IApplication, ISDPHandler, ISessionSupplement
from sipsess.sdphandler import SDPHandler, StreamVerdict
from sipsess.supplement import Reject, Retry, SessionSupplement
from tests.policy.sessions import Handler, Probe

NOTHING: Any = None


class BaseClassTests(SynchronousTestCase):
    """The base classes keep their promises."""

    def test_interfaces(self) -> None:
        """They, and the tests' own, provide their interfaces."""
        for item in (SessionSupplement(), Probe()):
            self.assertTrue(verifyObject(ISessionSupplement, item))
        for handler in (SDPHandler(), Handler()):
            self.assertTrue(verifyObject(ISDPHandler, handler))
        self.assertTrue(verifyObject(IApplication, Application()))

    def test_a_supplement_does_nothing(self) -> None:
        """No callback of the base class does anything."""
        idle = SessionSupplement()
        for callback in (idle.session_begin, idle.session_end, idle.session_destroy):
            callback(NOTHING)
        idle.outgoing_request(NOTHING, NOTHING)
        idle.outgoing_response(NOTHING, NOTHING)
        self.assertIsNone(idle.incoming_request(NOTHING, NOTHING))
        self.assertIsNone(idle.incoming_response(NOTHING, NOTHING))

    def test_a_handler_wants_nothing(self) -> None:
        """The base class claims and describes nothing."""
        idle = SDPHandler()
        no = StreamVerdict.NOT_HANDLED
        self.assertIs(idle.handle_incoming_sdp_stream_offer(NOTHING, NOTHING, NOTHING), no)
        self.assertIs(idle.create_outgoing_sdp_stream(NOTHING, NOTHING, NOTHING), no)
        for callback in (idle.apply_negotiated_sdp_stream, idle.stop_stream, idle.destroy_stream):
            callback(NOTHING, NOTHING)

    def test_an_application_is_not_available(self) -> None:
        """The base class refuses the call with 480."""
        with self.assertRaises(Reject) as caught:
            Application().handle(NOTHING).send(None)
        self.assertEqual(caught.exception.status, 480)


class RejectTests(SynchronousTestCase):
    """The refusal."""

    def test_values(self) -> None:
        """The reason phrase is the status's own when nothing is said."""
        self.assertEqual((Reject(403).reason, Reject(403, "No").reason), ("Forbidden", "No"))
        self.assertEqual(str(Reject(486)), "486 Busy Here")
        self.assertEqual(Reject(302, headers={"Contact": "x"}).headers, {"Contact": "x"})

    def test_what_cannot_be_sent_is_refused_where_it_is_made(self) -> None:
        """A status that refuses nothing, or text that would break the message."""
        for status in (200, 299, 700, 100):
            self.assertRaises(ValueError, Reject, status)
        self.assertRaises(HeaderValueError, Reject, 403, "a\r\nX-Evil: b")
        self.assertRaises(HeaderValueError, Reject, 403, None, {"X": "a\nb"})
        self.assertRaises(HeaderValueError, Reject, 403, None, {"X Y": "a"})


class RetryTests(SynchronousTestCase):
    """The next attempt."""

    def test_values(self) -> None:
        """Headers to set or remove, and another URI."""
        retry = Retry({"A": "1", "B": None}, uri="sip:x@y.example")
        self.assertEqual((retry.headers, retry.uri), ({"A": ("1",), "B": ()}, "sip:x@y.example"))

    def test_what_cannot_be_sent(self) -> None:
        """It is refused where it is made."""
        self.assertRaises(HeaderValueError, Retry, {"A": "1\n2"})
        self.assertRaises(RemoteError, Retry, uri="nonsense")
