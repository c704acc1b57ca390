# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The call: what an application holds of a session.

Theory of operation
    Each method that takes time returns a Deferred; behind it stands one :class:`Wait`, which
    fires it exactly once and lets go of what it used (a timer, a playback) whichever way it ends:
    done, cancelled, or with the call. Whatever waits is resumed inside a turn of the core, so that
    what an application does next leaves at once and in order.

    Digits that the peer presses while nobody reads them are kept, :data:`MAX_DIGITS` at most, for
    the next :meth:`Call.read_digits`.

    A call outlives its session: when the peer transfers us, or another one takes his place, it
    moves to the session with the new peer (:meth:`Call.move_to`), and its application with it.
    What waits goes on waiting there; what was being played or recorded is done.

The module is long because everything that an application does with a call is one class.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from sipsess.errors import DialogStateError, LocalError
from sipsess.media import AudioStream, Recorder, WAVWriter, load_digit, tone
from sipsess.media.telephone_event import check_digits
from sipsess.message import SIPURI, Request, Response, TelURI
from sipsess.message.refer import StatusLine
from sipsess.routing import GROUPS
from sipsess.sdphandlers.audio import find_audio
from sipsess.session import Cookies, EndReason, Identity, SessionEnded
from sipsess.session.reason import LOCAL

from .bridge import Bridge
from .dial import Dialling
from .keys import send_by_info
from .sound import Sound, load
from .transfer import ask_transfer, get_replaced, move_session
from .wait import Wait

if TYPE_CHECKING:
    from sipsess.session import Session

#: Digits that are kept until somebody reads them; nobody types further ahead.
MAX_DIGITS = 64


class Recording(NamedTuple):
    """What came of :meth:`Call.record`."""

    #: The WAV file.
    path: Path
    #: How long it is.
    seconds: float
    #: The key that ended it; ``""`` when the time was up.
    digit: str


class Call:
    """
    A call, as an application sees it.

    Every method raises :class:`.SessionEnded` when the call is over, and what waits then fails
    with it.

    :param session: that it stands for.
    """

    __slots__ = (
        "_digits",
        "_echo",
        "_ended",
        "_reader",
        "_recording",
        "joined",
        "session",
        "waits",
    )

    def __init__(self, session: Session) -> None:
        #: The session underneath: its dialog, media and decision record.
        self.session = session
        #: What joins it with another call, or ``None``.
        self.joined: Bridge | None = None
        #: What waits for something, for :class:`Wait`.
        self.waits: dict[Wait, None] = {}
        #: The keys that nobody has read yet.
        self._digits = ""
        self._reader: Wait | None = None
        self._echo: Wait | None = None
        #: The keys that end the recording, and what ends it.
        self._recording: tuple[str, Callable[[str], None]] | None = None
        self._ended: tuple[Deferred[EndReason], ...] = ()
        self._take(session)

    def __repr__(self) -> str:
        return f"<Call {self.session.call_id} from {self.caller} to {self.callee}>"

    # -- what it is ------------------------------------------------------------------------

    @property
    def request(self) -> Request:
        """The INVITE that began it, as received or as built."""
        return self.session.invite

    @property
    def identity(self) -> Identity:
        """Who the peer says he is."""
        return self.session.get_identity()

    @property
    def cookies(self) -> Cookies:
        """What plugins keep with it."""
        return self.session.cookies

    @property
    def caller(self) -> str:
        """The URI of the From header."""
        return self.request.from_.uri

    @property
    def callee(self) -> str:
        """The URI of the To header."""
        return self.request.to.uri

    @property
    def dialled(self) -> str:
        """The user part of the Request-URI, or the number of a tel URI; may be empty."""
        uri = self.request.request_uri
        if isinstance(uri, SIPURI):
            return uri.user or ""
        return uri.number if isinstance(uri, TelURI) else ""

    @property
    def groups(self) -> Mapping[str, str]:
        """What the named groups of the route's pattern matched in the Request-URI's user."""
        groups: Mapping[str, str] | None = self.cookies.get(GROUPS)
        return groups or {}

    @property
    def is_answered(self) -> bool:
        """Whether it was answered and has not ended."""
        return self.session.is_answered and not self.is_ended

    @property
    def is_ended(self) -> bool:
        """Whether it is over, or somebody has decided that it ends."""
        return self.session.end_reason is not None

    @property
    def audio(self) -> AudioStream | None:
        """Its audio stream, or ``None`` when none was negotiated (yet)."""
        return find_audio(self.session)

    @property
    def ended(self) -> Deferred[EndReason]:
        """A Deferred that fires when it is over, with the reason; await it."""
        if self.session.is_finished:
            return succeed(self.session.reason_or_unknown())
        deferred: Deferred[EndReason] = Deferred()
        self._ended = (*self._ended, deferred)
        return deferred

    # -- from ringing to hanging up --------------------------------------------------------

    def ring(
        self,
        status: int = 180,
        *,
        headers: Mapping[str, str] | None = None,
        reliable: bool | None = None,
    ) -> Deferred[Response]:
        """
        Tell the caller that somebody is being alerted.

        :param status: 101 to 199.
        :param reliable: whether it is repeated until the caller acknowledges it (:rfc:`3262`); left
            out, when he demands that.
        :return: fires when it was sent.
        :raises DialogStateError: when the call was answered, or is one of ours; or when the caller
            does not support what ``reliable`` asks for.
        """
        self._check_provisional(status)
        return self.session.send_response(status, headers=headers, reliable=reliable)

    def progress(
        self,
        status: int = 183,
        *,
        headers: Mapping[str, str] | None = None,
        reliable: bool | None = None,
    ) -> Deferred[None]:
        """
        Begin early media: from then on :meth:`play` is heard before the call is answered.

        When the INVITE brought no offer and its caller does not support :rfc:`3262`, there can be
        none; then the response goes without, and :attr:`audio` stays ``None``.

        :param status: 101 to 199.
        :param reliable: as for :meth:`ring`; left out, when the caller supports it.
        :return: fires when it was sent and both sides know each other's media: at once, or with the
            PRACK when the INVITE brought no offer.
        :raises DialogStateError: as for :meth:`ring`.
        """
        self._check_provisional(status)
        return self._run(self._progress(status, headers, reliable))

    async def _progress(
        self, status: int, headers: Mapping[str, str] | None, reliable: bool | None
    ) -> None:
        session = self.session
        await session.wait(
            session.send_response(status, headers=headers, reliable=reliable, with_media=True)
        )
        if session.early.description is not None and session.media.is_open:
            await session.wait(session.early.settled())

    def _check_provisional(self, status: int) -> None:
        self._check()
        if not 101 <= status <= 199:
            raise DialogStateError(f"{status} is no provisional status that an application sends")

    def answer(self, headers: Mapping[str, str] | None = None) -> Deferred[None]:
        """
        Answer the call.

        :return: fires when the 200 was sent and both sides know each other's media: at once, or
            with the ACK when the INVITE brought no offer.
        :raises DialogStateError: when the call was answered, or is one of ours.
        """
        self._check()
        sent = self.session.send_response(200, headers=headers)
        if self.session.is_answered and not self.session.media.is_open:
            # The usual way: nothing has to be waited for.
            return succeed(None)
        return self._run(self._answered(sent))

    async def _answered(self, sent: Deferred[Response]) -> None:
        session = self.session
        await session.wait(sent)
        if session.media.is_open:
            wait = Wait(self)
            session.when_confirmed().addCallbacks(wait.finish, wait.fail)
            await wait.deferred

    def reject(
        self,
        status: int = 603,
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Deferred[None]:
        """
        Refuse the call.

        :param status: 300 to 699.
        :return: fires at once.
        :raises DialogStateError: when it was answered, or is one of ours.
        """
        self._check()
        if not self.session.is_callee or self.session.is_answered:
            raise DialogStateError("only an unanswered call to us can be refused")
        if not 300 <= status <= 699:
            raise DialogStateError(f"a call is refused with a status of 300 to 699, not {status}")
        self.session.terminate(status, reason=reason, headers=headers)
        return succeed(None)

    def hangup(
        self,
        reason: str | None = None,
        *,
        cause: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Deferred[None]:
        """
        Hang up: send a BYE, or refuse or cancel what was not answered.

        :param reason: why, for people; it makes a Reason header (:rfc:`3326`).
        :param cause: the status that goes with it.
        :param headers: more headers.
        :return: fires at once; await :attr:`ended` to know that the peer has answered.
        """
        self._check()
        all_headers = dict(headers or {})
        if reason is not None:
            all_headers.setdefault("Reason", f"SIP;cause={cause};text={_quote(reason)}")
            if self.session.is_answered:
                self.session.set_reason(EndReason(LOCAL, "BYE", text=reason))
        self.session.terminate(headers=all_headers)
        return succeed(None)

    def hold(self) -> Deferred[Response]:
        """
        Put the peer on hold with a re-INVITE.

        :return: fires with its final response.
        """
        return self._renegotiate("sendonly")

    def resume(self) -> Deferred[Response]:
        """Take the peer back from hold; see :meth:`hold`."""
        return self._renegotiate("sendrecv")

    def _renegotiate(self, direction: str) -> Deferred[Response]:
        self._check()
        session = self.session
        request = session.hold() if direction == "sendonly" else session.unhold()
        return session.wait(request)

    def wait(self, seconds: float) -> Deferred[None]:
        """
        Let time pass.

        :return: fires after so many seconds.
        """
        self._check()
        wait = Wait(self)
        wait.start_timer(seconds, None)
        return wait.deferred

    # -- audio to the peer -----------------------------------------------------------------

    def play(self, sound: Sound) -> Deferred[None]:
        """
        Play something, after what is being played.

        :param sound: the name of a shipped sound such as ``"hello"``; the path of a WAV file, with
            its suffix; or PCM, whole or in pieces.
        :return: fires when all of it has been sent; cancelling it stops it.
        :raises WAVError: when there is no such sound, or the file cannot be used.
        :raises DialogStateError: when the call has no audio (yet): answer it first.
        """
        stream = self._stream()
        pcm = load(sound)
        wait = Wait(self, lambda: playback.stop())
        wait.moved = wait.finish
        playback = stream.play(pcm, wait.done)
        return wait.deferred

    def play_tone(
        self, frequencies: Sequence[float] = (1000.0,), seconds: float = 0.25, level: float = -13.0
    ) -> Deferred[None]:
        """
        Play a tone.

        :param frequencies: in Hz, mixed.
        :param level: of each, in dBm0.
        :return: as for :meth:`play`.
        """
        return self.play(tone.generate(frequencies, seconds, level))

    def say_digits(self, digits: str) -> Deferred[None]:
        """
        Speak the names of telephone keys.

        :param digits: 0-9, ``*``, ``#``, A-D.
        :return: as for :meth:`play`.
        """
        return self.play([load_digit(digit) for digit in digits])

    def send_digits(self, text: str) -> Deferred[None]:
        """
        Press keys: as RTP events (:rfc:`4733`).

        A peer that does not speak them gets INFO requests, when it allows INFO and accepts those;
        else tones. :attr:`.Endpoint.dtmf` may say otherwise.

        :param text: 0-9, ``*``, ``#``, A-D.
        :return: fires when they have been sent.
        :raises LocalError: when something else is among them, or the endpoint takes none.
        """
        stream = self._stream()
        mode = self.session.endpoint.dtmf
        if mode == "none":
            raise LocalError(f"the endpoint {self.session.endpoint.name!r} takes no digits")
        is_info = mode == "info" or (mode == "rfc4733" and self.session.peer_allows("INFO"))
        if not stream.has_events and is_info:
            return self._run(send_by_info(self, stream, check_digits(text)))
        return self.send_by_rtp(stream, text)

    def send_by_rtp(self, stream: AudioStream, text: str) -> Deferred[None]:
        """Press keys as events or tones of a stream; see :meth:`send_digits`."""
        wait = Wait(self)
        wait.moved = wait.finish
        try:
            stream.send_digits(text, wait.done)
        except BaseException:
            wait.let_go()
            raise
        return wait.deferred

    def echo(self) -> Deferred[None]:
        """
        Send back what is heard, digits too, until the Deferred is cancelled or the call ends.

        :return: never fires by itself.
        """
        stream = self._stream()
        if self._echo is not None:
            raise DialogStateError("the call is echoed already")
        wait = self._echo = Wait(self, self._stop_echo)
        wait.moved = lambda: self._set_echo(True)
        stream.echo = True
        return wait.deferred

    def _stop_echo(self) -> None:
        self._echo = None
        self._set_echo(False)

    def _set_echo(self, is_on: bool) -> None:
        stream = self.audio
        if stream is not None:
            stream.echo = is_on

    # -- audio and digits from the peer ----------------------------------------------------

    def record(
        self, path: str | Path, *, max_seconds: float = 60.0, stop_on: str = "#"
    ) -> Deferred[Recording]:
        """
        Record what is heard to a WAV file.

        :param path: the file; an old one is overwritten.
        :param max_seconds: after which it ends.
        :param stop_on: keys that end it; other keys are kept for :meth:`read_digits`.
        :return: fires when it has ended; cancelling it ends it too, and so does the call.
        :raises WAVError: when the file cannot be written.
        """
        stream = self._stream()
        if self._recording is not None:
            raise DialogStateError("the call is being recorded already")

        def stop(digit: str) -> None:
            wait.finish(Recording(Path(path), recorder.seconds, digit))

        def release() -> None:
            self._recording = None
            listening.stop()
            recorder.close()

        recorder = Recorder(WAVWriter(path), max_time=max_seconds, done=lambda _: stop(""))
        wait = Wait(self, release)
        wait.moved = lambda: stop("")
        listening = stream.listen(recorder.write)
        self._recording = (stop_on, stop)
        # A peer that sends nothing fills no recording.
        wait.start_timer(max_seconds, lambda: stop(""))
        return wait.deferred

    def read_digits(
        self,
        count: int | None = None,
        *,
        timeout: float = 5.0,
        first_timeout: float | None = None,
        terminators: str = "#",
        prompt: Sound | None = None,
        interruptible: bool = True,
    ) -> Deferred[str]:
        """
        Read keys that the peer presses.

        :param count: how many at most; ``None`` for as many as come before a terminator.
        :param timeout: seconds of patience for each key.
        :param first_timeout: the same for the first one; left out, ``timeout``.
        :param terminators: keys that end the input; they are not part of it.
        :param prompt: is played first; see :meth:`play`.
        :param interruptible: whether a key stops the prompt; keys that were pressed before skip it.
        :return: fires with the keys; ``""`` when none came, or only a terminator.
        :raises DialogStateError: when somebody reads already.
        """
        self._stream()
        if self._reader is not None:
            raise DialogStateError("somebody reads the digits of this call already")
        patience = timeout if first_timeout is None else first_timeout
        pcm = None if prompt is None else load(prompt)
        return self._run(self._read(count, timeout, patience, terminators, pcm, interruptible))

    async def _read(
        self,
        count: int | None,
        timeout: float,
        patience: float,
        terminators: str,
        prompt: bytes | Iterable[bytes] | None,
        interruptible: bool,
    ) -> str:
        text = ""
        digit = ""
        if prompt is not None and not interruptible:
            await self.play(prompt)
        elif prompt is not None and not self._digits:
            digit = await self._play_until_digit(prompt)
        while count is None or len(text) < count:
            digit = digit or await self._next_digit(timeout if text else patience)
            if not digit or digit in terminators:
                break
            text += digit
            digit = ""
        return text

    async def _play_until_digit(self, prompt: bytes | Iterable[bytes]) -> str:
        """Play something; return the digit that stopped it, or nothing when it was through."""
        playing = self.play(prompt)

        def release() -> None:
            self._forget_reader()
            playing.cancel()

        wait = self._reader = Wait(self, release)
        playing.addCallbacks(lambda _: wait.finish(""), wait.fail)
        digit: str = await wait.deferred
        return digit

    def _next_digit(self, patience: float) -> Deferred[str]:
        """Return the next digit; nothing when none comes in time."""
        if self._digits:
            digit, self._digits = self._digits[0], self._digits[1:]
            return succeed(digit)
        wait = self._reader = Wait(self, self._forget_reader)
        wait.start_timer(patience, "")
        return wait.deferred

    def _forget_reader(self) -> None:
        self._reader = None

    def receive_digit(self, digit: str) -> None:
        """
        Take a digit that the peer pressed; the audio handler calls it, and whoever else hears one.

        :param digit: one of 0-9, ``*``, ``#``, A-D.
        """
        with self.session.core.turn:
            if self._recording is not None and digit in self._recording[0]:
                self._recording[1](digit)
            elif self._echo is not None:
                self._stream().send_digits(digit)
            elif self._reader is not None:
                self._reader.finish(digit)
            elif self.joined is not None:
                self.joined.receive_digit(self, digit)
            elif len(self._digits) < MAX_DIGITS:
                self._digits += digit

    def media_changed(self) -> None:
        """Hear that audio was negotiated; the audio handler calls it."""
        if self.joined is not None:
            self.joined.media_changed(self)

    def forget_digits(self) -> None:
        """Forget the digits that nobody has read."""
        self._digits = ""

    # -- another call ----------------------------------------------------------------------

    def dial(
        self,
        target: str,
        timeout: float = 20.0,
        headers: Mapping[str, str] | None = None,
        from_: str | None = None,
        *,
        early_media: bool = True,
    ) -> Deferred[Call]:
        r"""
        Call somebody else for this call, which hears him ring while it is not answered.

        :param target: a URI; or ``user:NAME`` for a user who has registered here, at all phones.
        :param timeout: seconds that it may ring.
        :param headers: more headers of the INVITE. None of the caller's go along by themselves,
            apart from Max-Forwards, one less.
        :param from\_: a From value without tag; left out, the peer of this call.
        :param early_media: whether he is heard before he answers.
        :return: fires with the call that was answered. It belongs to this one: it is hung up when
            this one ends. Fails with :class:`.DialFailed` when nobody answers; who lets that pass
            refuses this call for the same reason. Cancelling it cancels what rings.
        """
        self._check()
        return Dialling(self, early_media=early_media).start(target, timeout, from_, headers)

    def bridge(self, other: Call) -> Deferred[EndReason]:
        """
        Join it with another call: each hears the other, audio and keys, until one ends.

        :return: fires with the reason of the one that ended; the other one is hung up, with the
            Reason of the first. Cancelling it parts them, and both go on.
        :raises DialogStateError: when one is not answered, or is joined already.
        """
        return Bridge(self, other).start()

    # -- another peer ----------------------------------------------------------------------

    def transfer(
        self, target: str | None = None, *, replaces: Call | None = None
    ) -> Deferred[StatusLine]:
        """
        Ask the peer to call somebody else, and hang up when he has (:rfc:`5589`).

        :param target: whom; may be left out when ``replaces`` says it.
        :param replaces: another call of ours, whose peer gets the peer of this one in our place
            (attended transfer).
        :return: fires with what became of it: the final status of the peer's call, or the one that
            refused the transfer; then this call goes on. Fails with :class:`.SessionEnded` when the
            call ends first, and with :class:`.Timeout` when nobody tells the outcome.
        :raises DialogStateError: when this is no time to transfer, or no supplement can.
        """
        self._check()
        uri, header = get_replaced(target, None if replaces is None else replaces.session)
        return ask_transfer(self.session, uri, header)

    def move_to(self, session: Session) -> None:
        """
        Go on with another peer, the application too; for supplements.

        Nothing is heard until that session is answered; call this once more then. The session
        before is left without application and call; whoever moves ends it.

        :param session: with the other peer; its own call, if any, is dropped.
        :raises SessionEnded: when it is over.
        """
        with session.core.turn:
            if session.is_over:
                raise SessionEnded(session.reason_or_unknown())
            if session is not self.session:
                self._set_echo(False)
                move_session(self.session, session)
                self.session = session
                self._take(session)
            for wait in list(self.waits):
                wait.follow()

    # -- the end ---------------------------------------------------------------------------

    def _check(self) -> None:
        if self.is_ended:
            raise self.ended_error()

    def ended_error(self) -> SessionEnded:
        """Return what fails because the call is over."""
        return SessionEnded(self.session.reason_or_unknown())

    def _stream(self) -> AudioStream:
        self._check()
        stream = self.audio
        if stream is None or stream.is_closed:
            raise DialogStateError(
                "the call has no audio"
                if self.session.is_answered
                else "the call has no audio yet: answer it first"
            )
        return stream

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Run what waits several times; its Deferred is one that the call's end knows of."""
        running = Deferred.fromCoroutine(coroutine)
        if running.called:
            return running
        wait = Wait(self, running.cancel)
        running.addCallbacks(wait.finish, wait.fail)
        return wait.deferred

    def _take(self, session: Session) -> None:
        """Be the call that hears of a session's end; one that is dropped hears of it, too."""
        session.channel = self
        dropped, session.listener = session.listener, self
        if dropped is not None:
            session.when_ended().addCallback(dropped.session_over, session)

    def session_over(self, reason: EndReason, session: Session) -> None:
        """Hear that a session is over; for the session."""
        if session is not self.session:
            return
        ended, self._ended = self._ended, ()
        for wait in list(self.waits):
            wait.fail(Failure(self.ended_error()))
        for deferred in ended:
            if not deferred.called:
                deferred.callback(reason)


def _quote(text: str) -> str:
    """Return a quoted string for a header (:rfc:`3261#section-25.1`)."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
