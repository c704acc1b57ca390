# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Bodies of several parts, and parts that need not be understood (:rfc:`5621`)."""

from __future__ import annotations

from typing import Any

from sipsess.message.multipart import Part, build_multipart
from sipsess.session.bodies import SDP_TYPE
from tests.policy.sessions import Handler, SessionTestCase, audio

SDP = Part(SDP_TYPE, audio().encode())
OTHER = "application/vnd.example"


class BodyTests(SessionTestCase):
    """The session description is found wherever it stands."""

    def body(self, *parts: Part, kind: str = "mixed") -> dict[str, Any]:
        """Return the arguments that give a request or response a body of these parts."""
        return {
            "body": build_multipart(parts, "b1"),
            "content_type": f"multipart/{kind};boundary=b1",
        }

    def other(self, handling: str) -> Part:
        """Return a part of a type that nobody knows."""
        part = Part(OTHER, b"x")
        part.headers.set("Content-Type", OTHER)
        part.headers.set("Content-Disposition", f"render;handling={handling}")
        return part

    def test_offer_among_other_parts(self) -> None:
        """RFC 5621 8.3: an INVITE with SDP and an optional part is answered, mixed or related."""
        for kind in ("mixed", "related"):
            self.start()
            self.invite(**self.body(self.other("optional"), SDP, kind=kind))
            success = self.peer.expect(200)
            self.assertIn(b"m=audio 40000", success.body)
            self.peer.ack(success)
            self.peer.bye(success)
            self.finish()

    def test_part_that_must_be_understood(self) -> None:
        """RFC 3261 8.2.3: an unknown part without handling=optional: 415 with Accept."""
        self.start()
        self.invite(**self.body(SDP, self.other("required")))
        refusal = self.answer_to("INVITE")
        self.assertEqual((refusal.status, refusal.headers.get("Accept")), (415, SDP_TYPE))
        self.assertEqual(self.box.refused["unsupported-body"], 1)
        self.peer.ack(refusal)
        self.finish()

    def test_parts_that_cannot_be_read(self) -> None:
        """RFC 2046 5.1.1: a multipart without an end: 400, and nothing is left."""
        self.start()
        self.invite(body=b"--b1\r\n", content_type="multipart/mixed;boundary=b1")
        refusal = self.answer_to("INVITE")
        self.assertEqual(refusal.status, 400)
        self.assertEqual(self.box.refused["bad-multipart"], 1)
        self.peer.ack(refusal)
        self.finish()

    def test_encoded_body(self) -> None:
        """RFC 3261 8.2.3: an encoding that is not understood: 415 with Accept-Encoding."""
        self.start()
        self.invite(headers={"Content-Encoding": "gzip"})
        refusal = self.answer_to("INVITE")
        self.assertEqual(refusal.status, 415)
        self.assertEqual(refusal.headers.get("Accept-Encoding"), "identity")
        self.peer.ack(refusal)
        self.finish()

    def test_early_session_is_no_offer(self) -> None:
        """RFC 3959: SDP of another disposition is not the session's; the 200 brings our offer."""
        self.start()
        disposition = {"Content-Disposition": "early-session;handling=optional"}
        self.invite(body=audio(), headers=disposition)
        success = self.peer.expect(200)
        self.assertIn(b"m=audio 40000", success.body)
        self.peer.ack(success, body=audio())
        self.net.run_for(0.1)
        self.assertTrue(self.session.media.streams)
        self.peer.bye(success)
        self.finish()

    def test_reinvite(self) -> None:
        """Within a call the same rules hold, and a refusal keeps the call."""
        self.start()
        success = self.call()
        for parts, status in (
            (self.body(SDP, self.other("optional")), 200),
            (self.body(SDP, self.other("required")), 415),
            ({"body": b"x", "content_type": "multipart/mixed;boundary=b1"}, 400),
        ):
            self.request_within(success, "INVITE", **parts)
            answer = self.answer_to("INVITE")
            self.assertEqual(answer.status, status)
            self.peer.ack(answer)
            self.net.run_for(0.1)
            self.assertTrue(self.session.is_answered)
        self.peer.bye(success)
        self.finish()

    def test_answer_among_other_parts(self) -> None:
        """RFC 5621: the answer in a 200 and in an ACK may stand in one of several parts."""
        handler = Handler()
        self.start(handlers=[handler])
        session, invite = self.placed()
        self.peer.reply(invite, 200, **self.body(SDP, self.other("optional")))
        self.peer.expect("ACK")
        self.assertIn("apply", handler.log)
        self.hang_up(session)
        self.finish()

    def test_answer_that_cannot_be_read(self) -> None:
        """13.2.2.4: a 200 whose parts cannot be read is acknowledged, and the call hung up."""
        self.start()
        _, invite = self.placed()
        self.peer.reply(invite, 200, body=b"x", content_type="multipart/mixed;boundary=b1")
        self.peer.expect("ACK")
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()

    def test_late_offer_that_cannot_be_read(self) -> None:
        """The same when the 200 should have brought the offer."""
        self.start()
        _, invite = self.placed(offered_media=())
        self.peer.reply(invite, 200, body=b"x", content_type="multipart/mixed;boundary=b1")
        self.peer.expect("ACK")
        self.peer.reply(self.peer.expect("BYE"), 200)
        self.finish()
