# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A scene: Alice and Bob, and Carol for transfers, all of them sipsess; and what must hold in it.

A test makes a :class:`Scene`, lets its people act and time pass, and ends it with
:meth:`Scene.finish`; :meth:`Scene.check` may be asked after each step. Whoever acts does so in the
last one of his calls, and what cannot be done in its state is left undone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from sipsess.call import Call
from sipsess.defence import DefenceSettings
from sipsess.dialog.usage import CONFIRMED, INCOMING
from sipsess.endpoint import Endpoint
from sipsess.errors import LocalError
from sipsess.media.dtmf_body import DTMF_RELAY, build_dtmf_relay
from sipsess.session import MediaChange, Session, SessionStream
from sipsess.supplements.info import DigitInfo
from sipsess.supplements.reason import ReasonSupplement
from sipsess.supplements.redirect import Redirect
from sipsess.supplements.refer import Refer
from sipsess.supplements.replaces import ReplacesSupplement
from sipsess.supplements.session_timer import SessionTimer
from sipsess.testing import Agent, Link, VirtualNetwork
from tests.sim.audit import faults_of
from tests.sim.cast import Busy, Door, Modest, Puppet, Register, SlowAudio, Thinker, Video
from tests.sim.checks import Errors, disagreements, faults_of_person
from tests.sim.promises import Promise, is_documented
from tests.sim.stories import LONG_ENOUGH, Answering, Ringing
from tests.sim.weather import Weather

#: What a server does unless told otherwise.
DEFENCE = DefenceSettings()

ADDRESSES = {"alice": "192.0.2.1", "bob": "192.0.2.2", "carol": "192.0.2.3"}
CAROL = ADDRESSES["carol"]

LINKS = {
    "clean": Link(delay=0.01),
    "jittery": Link(delay=0.02, jitter=0.3, duplicate=0.1),
    "wild": Link(delay=0.05, jitter=1.5, duplicate=0.3),
    "lossy": Link(delay=0.02, jitter=0.3, loss=0.2, duplicate=0.1),
}

#: How long the network may be cut, or how many datagrams may be lost one by one, in a story whose
#: calls must live on all the same: fewer than an INVITE is sent.
BEARABLE_CUT = 4.0
BEARABLE_LOSSES = 2
#: Seconds after which a call that nobody answers is given up, a little less.
PATIENCE = 170.0
#: Seconds until the last wish was fulfilled, whatever glare there was, if handlers take theirs.
REST = 1000.0
#: What may wait as long as the call lasts.
PATIENT = ("transfer", "play_tone")

Reliability: TypeAlias = Literal["no", "supported", "required"]


@dataclass(frozen=True)
class Setting:
    """What is the same for a whole story."""

    #: One of :data:`LINKS`, and the seed of its chance.
    link: str = "clean"
    seed: int = 0
    #: What who calls, and who is called, make of reliable provisional responses.
    reliable: tuple[Reliability, Reliability] = ("supported", "supported")
    #: Seconds that each description of a stream takes.
    describing: float = 0.0
    #: Seconds that a supplement takes over each request.
    thinking: float = 0.0
    #: Seconds that a re-offer waits where there is video.
    deferring: float = 0.0
    #: Whether calls have session timers.
    is_timed: bool = False
    #: Whether people say that they take UPDATE.
    has_update: bool = True
    #: Whether all calls end in the end because everybody stops, not because they are hung up.
    is_stopped: bool = False
    #: What everybody does about scanners, floods and invented addresses: what a server does.
    defence: DefenceSettings | None = DEFENCE
    #: Who has video.
    video: tuple[str, ...] = ("alice", "bob", "carol")


class Scene:
    """
    The people, their network and their calls.

    :param setting: what is the same for the whole story.
    """

    def __init__(self, setting: Setting | None = None) -> None:
        self.setting = setting = setting or Setting()
        self.net = VirtualNetwork(seed=setting.seed, link=LINKS[setting.link])
        self.weather = Weather(self.net)
        self.register = Register(self._begun)
        self.promises: list[Promise] = []
        self.puppets = {name: Puppet() for name in ADDRESSES}
        self.videos = {name: Video(setting.describing, setting.deferring) for name in setting.video}
        self.people = {name: self._person(name) for name in ADDRESSES}
        self.errors = Errors()
        globalLogPublisher.addObserver(self.errors)
        #: The Call-IDs of the calls that people have placed, and have ended.
        self._dialled: set[str] = set()
        self.ended: set[str] = set()
        #: The Call-IDs of the calls that a transfer ends, when it succeeds.
        self._transfers: list[tuple[str, Promise]] = []
        #: The sessions that were confirmed.
        self.confirmed: set[Session] = set()
        #: When each session ended.
        self._ends: dict[Session, float] = {}
        #: When the network was cut, while it is; and how long it was before.
        self._cut_since: float | None = None
        self._cut_for = 0.0

    def _person(self, name: str) -> Agent:
        setting = self.setting
        timer = SessionTimer()
        timer.is_wanted, timer.interval = setting.is_timed, 90
        return Agent(
            self.net.host(ADDRESSES[name], name=name),
            supplements=[
                *(self.register, timer, DigitInfo(), ReasonSupplement(), Refer(), Redirect()),
                *([Thinker(setting.thinking)] if setting.thinking else []),
                *([] if setting.has_update else [Modest()]),
                ReplacesSupplement(),
            ],
            handlers=[
                SlowAudio(setting.describing),
                *([self.videos[name]] if name in self.videos else []),
            ],
            applications=[self.puppets[name], Answering(), Ringing(), Busy()],
            application="puppet",
            gates=[Door(Endpoint("everybody", reliable=setting.reliable[1]))],
            defence=setting.defence,
        )

    def close(self) -> None:
        """Listen to the log no more; :meth:`finish` does it, too."""
        globalLogPublisher.removeObserver(self.errors)

    def forget(self) -> None:
        """Forget all that was noted of calls that are over."""
        for notes in (self.promises, self._dialled, self.ended, self._transfers, self.confirmed):
            notes.clear()
        self._ends.clear()
        self.register.forget()

    def _begun(self, session: Session) -> None:
        """Watch a session from its beginning."""
        if isinstance(session.application, Busy):
            self.ended.add(session.call_id)
        session.when_ended().addCallback(self._note_end, session)
        session.when_confirmed().addCallbacks(
            lambda _: self.confirmed.add(session), lambda failure: None
        )
        what = f"the session of {session.call_id} at {session.flow.host}"
        self._promise(f"{what} confirmed", session, session.when_confirmed)
        self._promise(f"{what} ended", session, session.when_ended)

    def _note_end(self, reason: object, session: Session) -> None:
        self._ends[session] = self.net.seconds()

    # -- who has which call ----------------------------------------------------------------

    def _calls(self, name: str) -> list[Call]:
        sessions = self.people[name].sessions
        return [session.channel for session in sessions if session.channel is not None]

    def call(self, name: str) -> Call:
        """Return the last call that somebody holds and that is not over."""
        calls = self._calls(name)
        assert calls, f"{name} has no call"
        return calls[-1]

    def session(self, name: str) -> Session:
        """Return the session of that call."""
        return self.call(name).session

    @property
    def talking(self) -> list[str]:
        """Who holds a call."""
        return [name for name in self.people if self._calls(name)]

    @property
    def ringing(self) -> list[str]:
        """Who holds one that he has not answered, and no application will for him."""
        return [name for name in self.talking if self._rings(self.session(name))]

    def _rings(self, session: Session) -> bool:
        return session.usage.state == INCOMING and isinstance(session.application, Puppet)

    def _sessions(self) -> Iterator[tuple[str, Session]]:
        for name, person in self.people.items():
            for session in person.sessions:
                yield name, session

    def pairs(self) -> Iterator[tuple[str, Session, Session]]:
        """Yield the Call-ID and both sessions of each call that is over on neither side."""
        sides: dict[str, list[Session]] = {}
        for _, session in self._sessions():
            sides.setdefault(session.call_id, []).append(session)
        for call_id, both in sides.items():
            if len(both) == 2:
                yield call_id, both[0], both[1]

    # -- what people do --------------------------------------------------------------------

    def _promise(
        self, what: str, session: Session, make: Callable[[], Deferred[Any]]
    ) -> Promise | None:
        """Do something, unless that is impossible in the state that the call is in."""
        try:
            deferred = make()
        except LocalError as error:
            if not is_documented(error):
                raise
            return None
        promise = Promise(what, session, deferred)
        self.promises.append(promise)
        return promise

    def _act(self, name: str, what: str, *args: Any, **kwargs: Any) -> Promise | None:
        """Let somebody use a method of his call."""
        call = self.call(name)
        return self._promise(
            f"{what} by {name}", call.session, lambda: getattr(call, what)(*args, **kwargs)
        )

    def dial(
        self, name: str, to: str, *, user: str = "puppet", media: tuple[str, ...] = ("audio",)
    ) -> None:
        """Place a call; without media, a late offer."""
        agent = self.people[name]
        session = agent.dial(
            f"sip:{user}@{ADDRESSES[to]}",
            endpoint=Endpoint("everybody", reliable=self.setting.reliable[0]),
            offered_media=media,
        )
        self._dialled.add(session.call_id)
        call = agent.manager.make_call(session)
        client = session.invite_client
        self._promise(f"the call of {name} ended", session, lambda: call.ended)
        self._promise(f"the call of {name} to {to}", session, lambda: client.answered)

    def ring(self, name: str, status: int = 180, reliable: bool | None = None) -> Promise | None:
        """Ring."""
        return self._act(name, "ring", status, reliable=reliable)

    def progress(self, name: str, reliable: bool | None = None) -> Promise | None:
        """Begin early media."""
        return self._act(name, "progress", reliable=reliable)

    def answer(self, name: str) -> Promise | None:
        """Answer."""
        return self._act(name, "answer")

    def reject(self, name: str, status: int = 603) -> None:
        """Refuse the call."""
        if name in self.ringing:
            self.ended.add(self.session(name).call_id)
        self._act(name, "reject", status)

    def redirect(self, name: str, user: str = "answering") -> None:
        """Refuse the call, and name Carol instead."""
        if name in self.ringing:
            self.ended.add(self.session(name).call_id)
        self._act(name, "reject", 302, headers={"Contact": f"<sip:{user}@{CAROL}>"})

    def hang_up(self, name: str) -> None:
        """Hang up, cancel or refuse."""
        self.ended.add(self.session(name).call_id)
        self._act(name, "hangup")

    def hold(self, name: str) -> Promise | None:
        """Put the peer on hold."""
        return self._act(name, "hold")

    def unhold(self, name: str) -> Promise | None:
        """Take the peer back."""
        return self._act(name, "resume")

    def reinvite(self, name: str, change: MediaChange | None = None) -> Promise | None:
        """Send a re-INVITE."""
        session = self.session(name)
        return self._promise(
            f"re-INVITE by {name}",
            session,
            lambda: session.send_reinvite(change=change or MediaChange()),
        )

    def add_video(self, name: str) -> Promise | None:
        """Offer a video stream more."""
        return self.reinvite(name, MediaChange(add=("video",)))

    def drop_video(self, name: str) -> Promise | None:
        """End all video streams."""
        return self.reinvite(name, MediaChange(remove=tuple(_videos(self.session(name)))))

    def update(self, name: str, *, with_offer: bool = False) -> Promise | None:
        """Send an UPDATE."""
        session = self.session(name)
        return self._promise(
            f"UPDATE by {name}", session, lambda: session.send_update(with_offer=with_offer)
        )

    def press(self, name: str, digit: str = "5") -> Promise | None:
        """Press a key, which goes as INFO."""
        session, body = self.session(name), build_dtmf_relay(digit, 0.1)
        return self._promise(
            f"INFO by {name}",
            session,
            lambda: session.send_request("INFO", content_type=DTMF_RELAY, body=body),
        )

    def speak(self, name: str) -> Promise | None:
        """Say something; on hold, the peer hears it later."""
        return self._act(name, "play_tone", seconds=0.1)

    def think(self, name: str, seconds: float = 30.0) -> Promise | None:
        """Let the application wait."""
        return self._act(name, "wait", seconds)

    def transfer(
        self, name: str, user: str = "answering", *, is_vetoed: bool = False
    ) -> Promise | None:
        """Transfer the peer to Carol."""
        for puppet in self.puppets.values():
            puppet.is_willing = not is_vetoed
        call_id = self.session(name).call_id
        promise = self._act(name, "transfer", f"sip:{user}@{CAROL}")
        return self._transferred(promise, call_id)

    def _transferred(self, promise: Promise | None, *call_ids: str) -> Promise | None:
        if promise is not None:
            self._transfers += [(call_id, promise) for call_id in call_ids]
        return promise

    def consult(self, name: str) -> None:
        """Call Carol, who answers after a second."""
        self.dial(name, "carol", user="answering")

    def join(self, name: str) -> Promise | None:
        """Let the peer of the first call and that of the last one talk to each other."""
        first, last = self._calls(name)[0], self.call(name)
        if first is last:
            return None
        promise = self._promise(
            f"transfer by {name}", first.session, lambda: first.transfer(replaces=last)
        )
        return self._transferred(promise, first.session.call_id, last.session.call_id)

    # -- what the network does -------------------------------------------------------------

    def lose(self, name: str, kind: str = "any") -> None:
        """Lose the next datagram of a kind that somebody sends."""
        self.weather.plan(self.people[name].host, kind)

    def delay(self, name: str, kind: str, seconds: float) -> None:
        """Let the next datagram of a kind that somebody sends take longer."""
        self.weather.plan(self.people[name].host, kind, seconds)

    def double(self, name: str, kind: str, seconds: float) -> None:
        """Let the next datagram of a kind that somebody sends come again."""
        self.weather.plan(self.people[name].host, kind, 0.0, seconds)

    @property
    def is_cut(self) -> bool:
        """Whether Alice and Bob cannot reach each other."""
        return self._cut_since is not None

    def cut(self) -> None:
        """Cut the network between Alice and Bob."""
        if self._cut_since is None:
            self._cut_since = self.net.seconds()
            self.net.partition(self.people["alice"].host, self.people["bob"].host)

    def heal(self) -> None:
        """Mend it."""
        if self._cut_since is not None:
            self._cut_for += self.net.seconds() - self._cut_since
            self._cut_since = None
            self.net.heal()

    def wait(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        self.net.run_for(seconds)

    def wait_until(self, predicate: Callable[[], object], limit: float = 20.0) -> None:
        """Let time pass until something is true, but no longer than the limit."""
        self.net.wait_for(predicate, limit)

    def wait_for_datagram(self) -> None:
        """Let time pass until the next datagram arrives, five seconds at most."""
        before = self._arrived()
        self.net.wait_for(lambda: self._arrived() > before, limit=5.0)

    def _arrived(self) -> int:
        return sum(event.arrival is not None for event in self.net.trace)

    # -- what must hold --------------------------------------------------------------------

    @property
    def is_bearable(self) -> bool:
        """Whether calls must have lived on through all that the network did."""
        losses = self.weather.losses
        return self.setting.link != "lossy" and (
            (self._cut_for <= BEARABLE_CUT and not losses)
            or (losses <= BEARABLE_LOSSES and not self._cut_for)
        )

    def check(self) -> None:
        """
        Check what must hold at any time.

        :raises AssertionError: with what does not, and the ladder.
        """
        faults = [f"logged: {text}" for text in self.errors.texts]
        for name, person in self.people.items():
            faults += faults_of_person(name, person)
        for call_id, one, other in self.pairs():
            faults += [f"call {call_id}: {fault}" for fault in disagreements(one, other)]
        self._report(faults)

    def _report(self, faults: list[str]) -> None:
        if faults:
            text = "\n".join(f"  - {fault}" for fault in faults)
            raise AssertionError(f"at {self.net.seconds():.3f} s:\n{text}\n{self.net.ladder()}")

    def finish(self) -> None:
        """
        Let the network be well and everything come to rest; let everybody hang up; check it all.

        :raises AssertionError: with what does not hold, and the ladder.
        """
        try:
            self._come_to_rest()
            self._end()
        finally:
            self.close()

    def _come_to_rest(self) -> None:
        self.heal()
        self.weather.clear()
        self.net.link = LINKS["clean"]
        self.wait(100.0)
        self.wait_until(lambda: not self._restless(), limit=REST)
        self.check()
        self._report(self._restless())

    def _end(self) -> None:
        for _, session in tuple(self._sessions()):
            self.ended.add(session.call_id)
            if not self.setting.is_stopped:
                session.terminate()
                self.wait(0.5)
        if self.setting.is_stopped:
            for person in self.people.values():
                person.stop()
        self.wait(LONG_ENOUGH)
        self.check()
        self._report(self._leftovers())

    def _restless(self) -> list[str]:
        """Return what is wrong when nobody has done anything for a while."""
        faults = []
        both = {call_id for call_id, _, _ in self.pairs()}
        for name, session in self._sessions():
            is_alone = session.call_id not in both and session.end_reason is None
            if is_alone and self.is_bearable:
                faults.append(f"{name} is left alone in {session.call_id}, {session.usage.state}")
        for call_id, one, other in self.pairs():
            states = {one.usage.state, other.usage.state}
            if CONFIRMED in states and states != {CONFIRMED}:
                faults.append(f"call {call_id} is {one.usage.state} and {other.usage.state}")
            if states == {CONFIRMED} and (one.media.is_open or other.media.is_open):
                faults.append(f"call {call_id}: an exchange is open still")
        for session in self.register.ended:
            if self.is_bearable and not self._may_end(session):
                faults.append(f"nobody has ended the call {session.call_id}: {session.end_reason}")
        return faults + [f"{promise.text} waits still" for promise in self._overdue()]

    def _may_end(self, session: Session) -> bool:
        """
        Whether a call was ended by somebody, or because nobody has answered it in time.

        A transfer ends one, unless it is refused; one that it has placed may be refused at once.
        """
        call_id = session.call_id
        if call_id in self.ended or call_id not in self._dialled:
            return True
        if any(call_id == moved and not promise.is_refused for moved, promise in self._transfers):
            return True
        return any(
            side.call_id == call_id
            and side not in self.confirmed
            and self._ends[side] - side.record.began >= PATIENCE
            for side in self.register.ended
        )

    def _overdue(self) -> Iterator[Promise]:
        """Yield the promises that a call that stands should have kept."""
        for promise in self.promises:
            is_patient = promise.text.startswith(PATIENT) or promise.text.endswith(" ended")
            stands = promise.session.usage.state == CONFIRMED
            is_answer = promise.text.startswith("answer")
            if not promise.results and not is_patient and (stands or is_answer):
                yield promise

    def _leftovers(self) -> list[str]:
        """Return what is wrong when all is over."""
        faults = self.net.leftovers()
        if self.setting.is_stopped:
            faults += self.net.open_ports()
        faults += [promise.fault for promise in self.promises if promise.fault]
        faults += faults_of(self.net.trace)
        faults += [f"video of {name} is open" for name, video in self.videos.items() if video.open]
        begun = Counter(self.register.begun)
        for what in ("begun", "ended", "destroyed"):
            counted = Counter(getattr(self.register, what))
            faults += [
                f"the session of {session.call_id} was {what} {counted[session]} times"
                for session in begun | counted
                if counted[session] != 1
            ]
        return faults


def _videos(session: Session) -> Iterator[SessionStream]:
    for stream in session.media.streams:
        if stream is not None and stream.media_type == "video":
            yield stream
