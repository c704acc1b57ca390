# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What this side wants changed in the media, and how it is merged with what changes meanwhile."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sipsess.message import Request, Response
from sipsess.sdp import MediaDescription, parse
from sipsess.sdphandler import NegotiationFailed, StreamVerdict
from sipsess.session import LocalDescription, MediaChange, Session, SessionStream
from sipsess.session.media_change import NO_CHANGE, merge
from tests.policy.agents import PEER
from tests.policy.sessions import Handler, SessionTestCase


def stream(index: int, media_type: str = "audio") -> SessionStream:
    """Return a stream of a type."""
    return SessionStream(index, Handler(media_type=media_type))


def describe(session: Session, stream: SessionStream, sdp: LocalDescription) -> MediaDescription:
    """Describe a stream of our side, with the direction that is wanted."""
    port = 40000 + 2 * stream.index
    if stream.media_type == "audio":
        return sdp.media(
            "audio", port, "RTP/AVP", ["0"], attributes=[(stream.wanted_direction, None)]
        )
    attributes = [("rtpmap", "96 VP8/90000"), (stream.wanted_direction, None)]
    return sdp.media("video", port, "RTP/AVP", ["96"], attributes=attributes)


class MergeTests(SynchronousTestCase):
    """The merge alone."""

    def setUp(self) -> None:
        """Make two streams."""
        self.audio, self.video = stream(0), stream(1, "video")

    def test_nothing(self) -> None:
        """A wish that names nothing keeps all, also what is new and what is declined."""
        plan = merge([self.audio], NO_CHANGE, [self.audio, None, self.video])
        self.assertEqual(plan, ([self.audio, None, self.video], {}, []))

    def test_remove(self) -> None:
        """A stream is removed; one that is gone already needs nothing."""
        change = MediaChange(remove=(self.video,))
        both = [self.audio, self.video]
        self.assertEqual(merge(both, change, both).streams, [self.audio, None])
        self.assertEqual(merge(both, change, [self.audio, None]).streams, [self.audio, None])

    def test_direction(self) -> None:
        """All streams, those of the peer's too, or single ones; not what is removed or gone."""
        both = [self.audio, self.video]
        hold = MediaChange(direction="sendonly")
        held = {self.audio: "sendonly", self.video: "sendonly"}
        self.assertEqual(merge([self.audio], hold, both).directions, held)
        one = MediaChange(direction="sendonly", directions={self.video: "inactive"})
        self.assertEqual(
            merge(both, one, both).directions, {self.audio: "sendonly", self.video: "inactive"}
        )
        gone = MediaChange(directions={self.video: "inactive"})
        self.assertEqual(merge(both, gone, [self.audio, None]).directions, {})

    def test_add(self) -> None:
        """New streams; one that the peer has added meanwhile counts, an older one does not."""
        change = MediaChange(add=("video", "video"))
        self.assertEqual(merge([self.audio], change, [self.audio]).add, ["video", "video"])
        current = [self.audio, self.video]
        self.assertEqual(merge([self.audio], change, current).add, ["video"])
        self.assertEqual(merge(current, change, current).add, ["video", "video"])
        other = [self.audio, stream(1, "text")]
        self.assertEqual(merge([self.audio], change, other).add, ["video", "video"])


class ChangeTestCase(SessionTestCase):
    """A call between a peer and us, with handlers for audio and video."""

    def begin(self) -> Session:
        """Make the call."""
        self.audio = Handler(create=describe)
        self.video = Handler("video", media_type="video", create=describe)
        self.start(handlers=[self.audio, self.video])
        self.success = self.call()
        return self.session

    def body(self, *media: str, version: int = 2) -> str:
        """Return a description of the peer's with such m-lines."""
        head = f"v=0\r\no=peer 1 {version} IN IP4 {PEER}\r\ns=-\r\nc=IN IP4 {PEER}\r\nt=0 0\r\n"
        return head + "".join(f"m={line}\r\n" for line in media)

    def offered(self, message: Request | Response) -> list[str]:
        """Return the m-lines of a description of ours: type, whether it is on, direction."""
        return [
            f"{media.media} {'off' if media.is_declined else media.direction}"
            for media in parse(message.body).media
        ]

    def answer(self, *media: str) -> Request:
        """Answer the re-INVITE that comes next; return it."""
        invite = self.peer.expect("INVITE")
        self.peer.reply(invite, 200, body=self.body(*media), content_type="application/sdp")
        self.peer.expect("ACK")
        return invite

    def offer(self, *media: str, version: int = 2) -> Response:
        """Let the peer re-INVITE, and acknowledge the answer."""
        self.request_within(self.success, "INVITE", body=self.body(*media, version=version))
        found = self.answer_to("INVITE")
        if found.status == 200:
            self.peer.ack(found)
            self.net.run_for(0.1)
        return found

    def end(self, session: Session) -> None:
        """Hang up and look for what is left."""
        self.hang_up(session)
        self.finish()


class ChangeTests(ChangeTestCase):
    """Wishes that go at once."""

    def test_add(self) -> None:
        """A new stream gets an m-line at the end (RFC 3264 8.1)."""
        session = self.begin()
        done = session.send_reinvite(change=MediaChange(add=("video",)))
        invite = self.answer("audio 40000 RTP/AVP 0", "video 40002 RTP/AVP 96")
        self.assertEqual(self.offered(invite), ["audio sendrecv", "video sendrecv"])
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertEqual(self.video.log, ["create", "apply"])
        self.end(session)
        self.assertEqual(self.video.log, ["create", "apply", "stop", "destroy"])

    def test_remove_and_reuse(self) -> None:
        """A removed stream has port 0 and is destroyed; the next new one takes its place."""
        session = self.begin()
        session.send_reinvite(change=MediaChange(add=("video",)))
        self.answer("audio 40000 RTP/AVP 0", "video 40002 RTP/AVP 96")
        video = session.media.streams[1]
        assert video is not None
        session.send_reinvite(change=MediaChange(remove=(video,)))
        invite = self.answer("audio 40000 RTP/AVP 0", "video 0 RTP/AVP 96")
        self.assertEqual(self.offered(invite), ["audio sendrecv", "video off"])
        self.assertEqual(self.video.log[2:], ["stop", "destroy"])
        session.send_reinvite(change=MediaChange(add=("audio",)))
        invite = self.answer("audio 40000 RTP/AVP 0", "audio 40004 RTP/AVP 0")
        self.assertEqual(self.offered(invite), ["audio sendrecv", "audio sendrecv"])
        self.end(session)

    def test_refused(self) -> None:
        """All is as before when the INVITE is refused: streams, directions, and the next offer."""
        session = self.begin()
        (stream,) = session.media.streams
        assert stream is not None
        change = MediaChange(add=("video",), remove=(stream,), direction="sendonly")
        done = session.send_reinvite(change=change)
        invite = self.peer.expect("INVITE")
        self.assertEqual(self.offered(invite), ["audio off", "video sendrecv"])
        self.peer.reply(invite, 488)
        self.peer.expect("ACK")
        self.assertEqual(self.successResultOf(done).status, 488)
        self.assertEqual(session.media.streams, [stream])
        self.assertEqual(self.video.log, ["create", "destroy"])
        session.hold()
        self.peer.reply(self.peer.expect("INVITE"), 488)
        self.peer.expect("ACK")
        self.assertEqual(stream.wanted_direction, "sendrecv")
        self.end(session)

    def test_declined_by_the_peer(self) -> None:
        """A new stream that the peer does not want is destroyed."""
        session = self.begin()
        session.send_reinvite(change=MediaChange(add=("video",)))
        self.answer("audio 40000 RTP/AVP 0", "video 0 RTP/AVP 96")
        self.assertEqual(self.video.log, ["create", "destroy"])
        self.end(session)

    def test_nobody_has_any(self) -> None:
        """A stream that no handler can offer: nothing is sent, and the caller hears of it."""
        session = self.begin()
        for create in (lambda *args: StreamVerdict.NOT_HANDLED, None):
            self.video.create = create or self.fails
            done = session.send_reinvite(change=MediaChange(add=("video",)))
            self.failureResultOf(done, NegotiationFailed)
        missing = session.send_reinvite(change=MediaChange(add=("text",)))
        self.failureResultOf(missing, NegotiationFailed)
        self.net.run_for(1)
        self.assertEqual(self.peer.count("INVITE"), 0)
        self.assertEqual(len(session.media.streams), 1)
        self.end(session)

    def fails(self, *args: object) -> object:
        """Refuse to describe a stream."""
        raise NegotiationFailed("no camera")

    def test_update(self) -> None:
        """An UPDATE with an offer may change the media as well."""
        session = self.begin()
        change = MediaChange(directions={self.stream(session): "inactive"})
        done = session.send_update(with_offer=True, change=change)
        update = self.peer.expect("UPDATE")
        self.assertEqual(self.offered(update), ["audio inactive"])
        self.peer.reply(update, 200, body=self.body("audio 40000 RTP/AVP 0", "a=inactive"))
        self.net.run_for(0.1)
        self.assertEqual(self.successResultOf(done).status, 200)
        self.end(session)

    def stream(self, session: Session) -> SessionStream:
        """Return the first stream."""
        stream = session.media.streams[0]
        assert stream is not None
        return stream


class ThreeWayTests(ChangeTestCase):
    """Wishes that wait while the peer changes the media."""

    def glare(self, session: Session, change: MediaChange) -> Deferred[Response]:
        """Let our re-INVITE meet one of the peer's: both get 491 (RFC 3261 14.2)."""
        done = session.send_reinvite(change=change)
        invite = self.peer.expect("INVITE")
        self.request_within(self.success, "INVITE", body=self.body("audio 40010 RTP/AVP 0"))
        self.assertEqual(self.answer_to("INVITE").status, 491)
        self.peer.reply(invite, 491)
        self.peer.expect("ACK")
        return done

    def test_what_the_peer_adds_stays(self) -> None:
        """Our hold meets the peer's new video, which is kept, and held."""
        session = self.begin()
        done = self.glare(session, MediaChange(direction="sendonly"))
        video = "video 40002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000"
        answer = self.offer("audio 40000 RTP/AVP 0", video)
        # What we want and have not offered yet is in no answer.
        self.assertEqual(self.offered(answer), ["audio sendrecv", "video sendrecv"])
        invite = self.answer("audio 40000 RTP/AVP 0", video)
        self.assertEqual(self.offered(invite), ["audio sendonly", "video sendonly"])
        self.assertEqual(self.successResultOf(done).status, 200)
        self.end(session)

    def test_both_add_the_same(self) -> None:
        """Both want video: there is one video in the end."""
        session = self.begin()
        done = self.glare(session, MediaChange(add=("video",)))
        video = "video 40002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000"
        self.offer("audio 40000 RTP/AVP 0", video)
        invite = self.answer("audio 40000 RTP/AVP 0", video)
        self.assertEqual(self.offered(invite), ["audio sendrecv", "video sendrecv"])
        self.assertEqual(self.successResultOf(done).status, 200)
        self.end(session)

    def test_what_the_peer_removes_is_gone(self) -> None:
        """The peer ends the stream that we wanted to hold; the new one is offered in its place."""
        session = self.begin()
        (stream,) = session.media.streams
        assert stream is not None
        change = MediaChange(directions={stream: "sendonly"}, add=("video",))
        done = self.glare(session, change)
        self.offer("audio 0 RTP/AVP 0")
        invite = self.answer("video 40002 RTP/AVP 96")
        self.assertEqual(self.offered(invite), ["video sendrecv"])
        self.assertEqual(self.successResultOf(done).status, 200)
        self.assertEqual(self.audio.log[-2:], ["stop", "destroy"])
        self.end(session)

    def test_wishes_in_a_row(self) -> None:
        """Each waits for the one before, and changes what that has left."""
        session = self.begin()
        done = [
            session.hold(),
            session.send_reinvite(change=MediaChange(add=("video",))),
            session.unhold(),
        ]
        video = "video 40002 RTP/AVP 96"
        first = self.answer("audio 40000 RTP/AVP 0\r\na=recvonly")
        second = self.answer("audio 40000 RTP/AVP 0\r\na=recvonly", video)
        third = self.answer("audio 40000 RTP/AVP 0", video)
        self.assertEqual(self.offered(first), ["audio sendonly"])
        self.assertEqual(self.offered(second), ["audio sendonly", "video sendrecv"])
        self.assertEqual(self.offered(third), ["audio sendrecv", "video sendrecv"])
        for one in done:
            self.assertEqual(self.successResultOf(one).status, 200)
        self.end(session)
