# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What an application can do with a call: one class, and the first page to read.

Here stand the methods and what they promise; how the larger ones work stands in the modules of
their subjects: :mod:`~sipsess.call.base` (what it is, and its end), :mod:`~sipsess.call.playing`,
:mod:`~sipsess.call.sink`, :mod:`~sipsess.call.source`, :mod:`~sipsess.call.recording`,
:mod:`~sipsess.call.keypad`, :mod:`~sipsess.call.keys`, :mod:`~sipsess.call.dial`,
:mod:`~sipsess.call.bridge`, :mod:`~sipsess.call.transfer`.

The module is long because the documentation of a whole class is one page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from sipsess.endpoint import ANONYMOUS, Endpoint
from sipsess.errors import DialogStateError, LocalError, RemoteError
from sipsess.media import AudioStream, load_digit, tone
from sipsess.media.codecs import SAMPLE_RATE
from sipsess.media.resample import check_rate
from sipsess.media.telephone_event import check_digits
from sipsess.message import NameAddr, Response
from sipsess.message.refer import StatusLine
from sipsess.session import EndReason
from sipsess.session.reason import LOCAL

from .base import CallBase
from .bridge import Bridge
from .dial import Dialling
from .keypad import Keypad
from .keys import PRESS, send_by_info
from .passing import NOTHING, HeaderPolicy
from .playing import Playing, PlayWait
from .recording import Recorded, RecordingWait
from .sink import AudioSink
from .sound import Sound, load
from .source import AudioSource
from .transfer import ask_transfer, get_replaced
from .wait import Wait

if TYPE_CHECKING:
    from sipsess.session import Session


class Call(CallBase):
    """
    A call, as an application sees it.

    Every method raises :class:`.SessionEnded` when the call is over, and what waits then fails
    with it.

    :param session: that it stands for.
    """

    __slots__ = ("_echo", "_keypad", "_recording")

    def __init__(self, session: Session) -> None:
        self._echo: Wait | None = None
        #: Made for the first key, or the first who reads one.
        self._keypad: Keypad | None = None
        self._recording: RecordingWait | None = None
        super().__init__(session)

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

    def redirect(
        self,
        contacts: str | Iterable[str],
        status: int = 302,
        *,
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Deferred[None]:
        """
        Send the caller elsewhere (:rfc:`3261#section-8.1.3.4`).

        :param contacts: URIs, or Contact values with a ``q``; the best first.
        :param status: 300 to 399.
        :param reason: the reason phrase; the status's own when left out.
        :param headers: more headers of the response.
        :return: fires at once.
        :raises LocalError: when there is no contact, or one that is none.
        :raises DialogStateError: when the call was answered, or is one of ours.
        """
        if not 300 <= status <= 399:
            raise DialogStateError(
                f"a call is redirected with a status of 300 to 399, not {status}"
            )
        values = [contacts] if isinstance(contacts, str) else list(contacts)
        contact = ", ".join(_contact(value) for value in values)
        if not contact:
            raise LocalError("a call is redirected to one contact at least")
        return self.reject(status, reason, {"Contact": contact, **(headers or {})})

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
        :return: fires at once; await :attr:`~sipsess.call.base.CallBase.ended` to know that the
            peer has answered.
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

    def play(self, sound: Sound, *, rate: int = SAMPLE_RATE) -> Playing:
        """
        Play something, after what is being played.

        :param sound: the name of a shipped sound such as ``"hello"``; the path of a WAV file, with
            its suffix; or PCM, whole or in pieces. An asynchronous iterator is asked for one piece
            ahead of the one that is heard; while none comes there is silence.
        :param rate: the samples per second of the PCM; sounds and files know theirs.
        :return: fires with ``True`` when all of it has been sent, with ``False`` when it was
            stopped: by its :meth:`~sipsess.call.playing.Playing.stop`, by :meth:`clear`, or because
            the call has another peer now. Cancelling stops it, too. What an iterator raises makes
            it fail.
        :raises WAVError: when there is no such sound, or the file cannot be used.
        :raises DialogStateError: when the call has no audio (yet): answer it first.
        """
        stream = self._stream()
        return PlayWait(self, stream, *load(sound, rate, stream.sample_rate)).playing

    def mark(self) -> Playing:
        """
        Tell when everything that was queued before has been sent.

        :return: fires with ``True`` then; with ``False`` when it was cleared before. It is the
            handle of an empty sound, see :meth:`play`.
        """
        return self.play(b"")

    def clear(self) -> int:
        """
        Drop all that is being played or waits for it, at once: the peer has begun to speak.

        The sounds and marks fire with ``False``, and so do the marks of sinks.

        :return: how many sounds and marks were dropped; what waits in a sink counts as one.
        """
        self._check()
        dropped = [wait for wait in self.waits if isinstance(wait, PlayWait)]
        # From the end: no sound begins because the one before it was dropped.
        for wait in reversed(dropped):
            wait.stop()
        return len(dropped)

    def audio_out(self, rate: int = SAMPLE_RATE) -> AudioSink:
        """
        Return a sink: what a program writes to it is heard by the peer.

        It says its audio in the queue of :meth:`play`; several may be open.

        :param rate: the samples per second of what will be written.
        :raises LocalError: when the rate cannot be converted.
        :raises DialogStateError: as for :meth:`play`.
        """
        self._stream()
        return AudioSink(self, check_rate(rate))

    def play_tone(
        self, frequencies: Sequence[float] = (1000.0,), seconds: float = 0.25, level: float = -13.0
    ) -> Playing:
        """
        Play a tone.

        :param frequencies: in Hz, mixed.
        :param level: of each, in dBm0.
        :return: as for :meth:`play`.
        """
        return self.play(tone.generate(frequencies, seconds, level))

    def say_digits(self, digits: str) -> Playing:
        """
        Speak the names of telephone keys.

        :param digits: 0-9, ``*``, ``#``, A-D.
        :return: as for :meth:`play`.
        """
        return self.play([load_digit(digit) for digit in digits])

    def send_digits(self, text: str, duration: float = PRESS) -> Deferred[None]:
        """
        Press keys: as RTP events (:rfc:`4733`).

        A peer that does not speak them gets INFO requests, when it allows INFO and accepts those;
        else tones. :attr:`.Endpoint.dtmf` may say otherwise.

        :param text: 0-9, ``*``, ``#``, A-D.
        :param duration: seconds that each is pressed, 0.04 to 8.
        :return: fires when they have been sent.
        :raises LocalError: when something else is among them, or the endpoint takes none.
        """
        stream = self._stream()
        mode = self.session.endpoint.dtmf
        if mode == "none":
            raise LocalError(f"the endpoint {self.session.endpoint.name!r} takes no digits")
        is_info = mode == "info" or (mode == "rfc4733" and self.session.peer_allows("INFO"))
        if not stream.has_events and is_info:
            return self._run(send_by_info(self, stream, check_digits(text), duration))
        return self.send_by_rtp(stream, text, duration)

    def send_by_rtp(self, stream: AudioStream, text: str, duration: float) -> Deferred[None]:
        """Press keys as events or tones of a stream; see :meth:`send_digits`."""
        wait = Wait(self)
        wait.moved = wait.finish
        try:
            stream.send_digits(text, wait.done, duration=duration)
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
        if self.audio is not None:
            self.audio.echo = is_on

    # -- audio and digits from the peer ----------------------------------------------------

    def audio_in(self, rate: int = SAMPLE_RATE) -> AudioSource:
        """
        Return what the peer says, frame by frame, from now on::

            async for frame in call.audio_in():
                ...

        :param rate: the samples per second that are wanted.
        :return: an asynchronous iterator of 20 ms of PCM each; it ends with the call. Once the peer
            has begun to send, it gives silence while he says nothing.
        :raises LocalError: when the rate cannot be converted.
        :raises DialogStateError: when the call has no audio (yet): answer it first.
        """
        self._stream()
        return AudioSource(self, check_rate(rate))

    def record(
        self,
        path: str | Path,
        *,
        max_seconds: float = 60.0,
        max_silence: float | None = None,
        stop_on: str = "#",
        stereo: bool = False,
    ) -> Recorded:
        """
        Record the call to a WAV file.

        :param path: the file; an old one is overwritten.
        :param max_seconds: after which it ends.
        :param max_silence: seconds of silence of the peer after which it ends.
        :param stop_on: keys that end it; other keys are kept for :meth:`read_digits`.
        :param stereo: whether what the peer is sent is recorded, too: he is on the left, and what
            is played, echoed or relayed to him on the right, aligned in time. Left out, the file
            holds what he says, from his first packet on.
        :return: fires when it has ended; its ``stop()`` ends it, cancelling it does, and so does
            the call.
        :raises WAVError: when the file cannot be written.
        :raises DialogStateError: when the call is being recorded already.
        """
        stream = self._stream()
        if self._recording is not None:
            raise DialogStateError("the call is being recorded already")
        self._recording = RecordingWait(
            self,
            stream,
            path,
            self._recorded,
            max_seconds=max_seconds,
            max_silence=max_silence,
            stop_on=stop_on,
            is_stereo=stereo,
        )
        return self._recording.recorded

    def _recorded(self) -> None:
        self._recording = None

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

        Keys that come as events or by INFO before somebody reads are kept for him. Those that come
        as tones (:attr:`.Endpoint.dtmf`) are heard only while he reads.

        :param count: how many at most; ``None`` for as many as come before a terminator.
        :param timeout: seconds of patience for each key.
        :param first_timeout: the same for the first one; left out, ``timeout``.
        :param terminators: keys that end the input; they are not part of it.
        :param prompt: is played first; see :meth:`play`.
        :param interruptible: whether a key stops the prompt; keys that were pressed before skip it.
        :return: fires with the keys; ``""`` when none came, or only a terminator.
        :raises DialogStateError: when somebody reads already.
        """
        stream = self._stream()
        if self.keypad.is_read:
            raise DialogStateError("somebody reads the digits of this call already")
        reading = self.keypad.read(
            count,
            timeout=timeout,
            first_timeout=timeout if first_timeout is None else first_timeout,
            terminators=terminators,
            prompt=None if prompt is None else load(prompt, highest=stream.sample_rate),
            interruptible=interruptible,
        )
        return self._run(reading)

    @property
    def keypad(self) -> Keypad:
        """The keys that the peer has pressed."""
        if self._keypad is None:
            self._keypad = Keypad(self)
        return self._keypad

    def receive_digit(self, digit: str, seconds: float | None = None) -> None:
        """
        Take a digit that the peer pressed; the audio handler calls it, and whoever else hears one.

        :param digit: one of 0-9, ``*``, ``#``, A-D.
        :param seconds: how long it was pressed, if that is known.
        """
        with self.session.core.turn:
            if self._recording is not None and digit in self._recording.stop_on:
                self._recording.press(digit)
            elif self._echo is not None:
                self._stream().send_digits(digit)
            elif self.joined is not None and not self.keypad.is_read:
                self.joined.receive_digit(self, digit, seconds)
            else:
                self.keypad.receive(digit)

    def forget_digits(self) -> None:
        """Forget the digits that nobody has read."""
        self.keypad.waiting = ""

    # -- another call ----------------------------------------------------------------------

    def dial(
        self,
        target: str,
        timeout: float = 20.0,
        headers: Mapping[str, str] | None = None,
        from_: str | None = None,
        *,
        early_media: bool = True,
        policy: HeaderPolicy = NOTHING,
        endpoint: Endpoint = ANONYMOUS,
    ) -> Deferred[Call]:
        r"""
        Call somebody else for this call, which hears him ring while it is not answered.

        :param target: a URI; or ``user:NAME`` for a user who has registered here, at all phones.
        :param timeout: seconds that it may ring.
        :param headers: more headers of the INVITE.
        :param from\_: a From value without tag; left out, the peer of this call.
        :param early_media: whether he is heard before he answers.
        :param policy: which headers go along, either way; left out, none but Max-Forwards, one
            less, and Reason.
        :param endpoint: how he is treated; a registered user has his own.
        :return: fires with the call that was answered. It belongs to this one: it is hung up when
            this one ends. Fails with :class:`.DialFailed` when nobody answers; who lets that pass
            refuses this call for the same reason. Cancelling it cancels what rings.
        """
        self._check()
        dialling = Dialling(self, early_media=early_media, policy=policy, endpoint=endpoint)
        return dialling.start(target, timeout, from_, headers)

    def bridge(self, other: Call, policy: HeaderPolicy = NOTHING) -> Deferred[EndReason]:
        """
        Join it with another call: each hears the other, audio and keys, until one ends.

        :param policy: which headers of the BYE of one go along with that of the other; left out,
            Reason alone.
        :return: fires with the reason of the one that ended; the other one is hung up, with the
            Reason of the first. Cancelling it parts them, and both go on.
        :raises DialogStateError: when one is not answered, or is joined already.
        """
        return Bridge(self, other, policy).start()

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


def _contact(value: str) -> str:
    """Return a Contact value of one, or of a URI (:rfc:`3261#section-20.10`)."""
    try:
        address = NameAddr.parse(value if "<" in value else f"<{value}>")
        _ = address.parsed_uri
    except RemoteError as error:
        raise LocalError(f"{value!r} is no contact: {error}") from error
    return str(address)


def _quote(text: str) -> str:
    """Return a quoted string for a header (:rfc:`3261#section-25.1`)."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
