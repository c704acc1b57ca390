# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Two agents who talk by way of a third, on a bad network, and do what comes to their minds."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sipsess.applications.b2bua import B2BUAApplication
from sipsess.applications.b2bua_options import BridgeOptions
from sipsess.errors import SIPError
from sipsess.media import AudioStream
from sipsess.sdphandlers.audio import find_audio, find_audio_stream
from sipsess.session import Session
from sipsess.session.crossing import is_same
from sipsess.supplements.refer import Refer
from sipsess.supplements.session_timer import SessionTimer
from sipsess.testing import Agent, Link, VirtualNetwork

from .stories import LONG_ENOUGH, Answering, Census, Early, Ringing

#: Stories of each kind.
COUNT = 1000 if os.environ.get("SIPSESS_LONG") else 100
#: Things that are done in one.
STEPS = 20
#: A network on which most of what is done comes through after a while.
ROUGH = Link(delay=0.02, jitter=0.2, loss=0.1, duplicate=0.1)

CALLER, BRIDGE, CALLEE = "192.0.2.1", "192.0.2.2", "192.0.2.3"


class Story:
    """
    One call across a bridge.

    :param seed: of the network, and of what is done.
    :param media: where they go.
    """

    def __init__(self, seed: int, media: str) -> None:
        self.random = random.Random(seed)
        self.net = VirtualNetwork(seed=seed, link=ROUGH if seed % 4 else Link())
        self.census = Census()
        self.refer = Refer()
        #: Somebody else may talk with one of them now.
        self.is_transferred = False
        how = BridgeOptions(targets=("sip:{dialled}@" + CALLEE,), media=media)  # type: ignore[arg-type]
        bridge = B2BUAApplication().with_options(how)
        self.caller = self.agent("caller", CALLER)
        self.bridge = self.agent("bridge", BRIDGE, bridge)
        self.callee = self.agent("callee", CALLEE, Answering(), Ringing(), Early())

    def agent(self, name: str, address: str, *applications: Any) -> Agent:
        """Return one of the three."""
        return Agent(
            self.net.host(address, name=name),
            supplements=[self.census, SessionTimer(), self.refer],
            applications=applications,
            application=applications[0].name if applications else None,
        )

    def tell(self) -> tuple[Session | None, Session | None]:
        """Let it happen; return the sessions of caller and callee that are left."""
        user = self.random.choice((*("answering",) * 6, "early", "ringing"))
        offered = self.random.choice((("audio",), ("audio",), ()))
        session = self.caller.dial(f"sip:{user}@{BRIDGE}", offered_media=offered)
        session.invite_client.answered.addBoth(lambda _: None)
        self.net.run_for(self.random.choice((0.1, 2.0, 2.0, 2.0)))
        for _ in range(STEPS):
            self.net.run_for(self.random.choice((0.0, 0.02, 0.1, 0.3, 1.0)))
            agent = self.random.choice((self.caller, self.callee))
            for one in agent.sessions[:1]:
                self.do_something(one)
        self.net.run_for(80)
        return tuple((*agent.sessions, None)[0] for agent in (self.caller, self.callee))  # type: ignore[return-value]

    def do_something(self, session: Session) -> None:
        """Let one side do one thing."""
        things: list[Callable[[], Deferred[Any]]] = [
            session.hold,
            session.unhold,
            session.send_reinvite,
            lambda: session.send_update(with_offer=True),
            session.send_update,
            lambda: session.reinvites.add(None, with_offer=False),
        ]
        if self.random.random() < 0.01:
            session.terminate()
            return
        if self.random.random() < 0.03:
            self.is_transferred = True
            things = [lambda: self.refer.transfer(session, f"sip:answering@{CALLEE}", None)]
        try:
            doing = self.random.choice(things)().addErrback(lambda failure: None)
            if self.random.random() < 0.2:
                self.net.callLater(self.random.choice((0.03, 0.1)), doing.cancel)
        except SIPError:
            # It is over, or not so far yet.
            pass

    def finish(self) -> None:
        """Hang up, and wait until nothing can be left."""
        for agent in (self.caller, self.bridge, self.callee):
            for session in agent.sessions:
                session.terminate()
        self.net.run_for(LONG_ENOUGH)


class BridgeTests(SynchronousTestCase):
    """What must hold afterwards."""

    def play(self, media: str) -> None:
        """Tell many stories; a seed that fails is named."""
        standing = moved = 0
        for seed in range(COUNT):
            story = Story(seed, media)
            try:
                near, far = story.tell()
                if story.is_transferred:
                    moved += 1
                elif near is not None and far is not None:
                    standing += 1
                    self.check(story, near, far, media)
                else:
                    self.assertEqual((near, far), (None, None))
                story.finish()
                story.net.assert_quiet()
                self.assertEqual(len(story.census.begun), len(story.census.ended))
                self.assertEqual(self.flushLoggedErrors(), [])
            except Exception as error:
                raise AssertionError(f"seed {seed}, {media}: {error}") from error
        self.assertGreater(standing, COUNT // 5)
        self.assertGreater(moved, COUNT // 5)

    def check(self, story: Story, near: Session, far: Session, media: str) -> None:
        """Check that both sides of a call that stands agree on what is spoken, and where."""
        streams = [find_audio(session) for session in (near, far)]
        self.assertNotIn(None, streams)
        one, other = (stream for stream in streams if isinstance(stream, AudioStream))
        sends = {"sendrecv", "sendonly"}
        hears = {"sendrecv", "recvonly"}
        self.assertEqual(one.direction in sends, other.direction in hears)
        self.assertEqual(one.direction in hears, other.direction in sends)
        if media == "passthrough":
            found = [find_audio_stream(session) for session in (near, far)]
            hosts = [item.remote.address for item in found if item and item.remote]
            self.assertEqual(hosts, [CALLEE, CALLER])
            self.assertEqual(story.bridge.ports.leftovers(), [])
            medias: list[Any] = [session.media for session in story.bridge.sessions]
            for media_of, other_s in (medias, medias[::-1]):
                self.assertTrue(is_same(media_of.told, other_s.machine.remote), "out of step")
        for session in story.bridge.sessions:
            self.assertFalse(session.media.is_open)
            self.assertTrue(session.reinvites.is_free)

    def test_media_from_peer_to_peer(self) -> None:
        """Nothing is left, and both agree, when media are their own affair."""
        self.play("passthrough")

    def test_media_through_the_bridge(self) -> None:
        """So it is when the bridge relays them."""
        self.play("relay")
