# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Offers and answers within one dialog, as :rfc:`3264` and :rfc:`6337` order them.

Theory of operation
    At most one offer is open at a time. :data:`TABLE` says what each event does in each of the
    three states. What is agreed (``local``, ``remote``) and what is open (``pending_local``,
    ``pending_remote``) are apart, so that neither a rejected offer nor glare can harm what is
    agreed; :meth:`OfferAnswer.rollback` just forgets the open offer (:rfc:`6141`).

    ::

        STABLE        SEND_OFFER -> LOCAL_OFFER      RECEIVE_OFFER -> REMOTE_OFFER
        LOCAL_OFFER   RECEIVE_ANSWER -> STABLE       ROLLBACK -> STABLE
        REMOTE_OFFER  SEND_ANSWER -> STABLE          ROLLBACK -> STABLE

    Unlike in the other machines, the state is set *after* the actions: the first action of a cell
    may refuse the description, and then nothing has happened.

What is checked
    An answer has the m= lines of the offer, in number, order and media type (section 6); a new
    offer has not fewer m= lines than are agreed (section 8); a payload type keeps its codec
    (section 8.3.2). When the peer's o= line names another session, another user agent was connected
    to us, and its payload types begin anew.
"""

from __future__ import annotations

from sipsess.errors import IllegalTransition
from sipsess.machine import Cell, Table, check_complete, ignore, illegal
from sipsess.sdp.description import MediaDescription, SessionDescription
from sipsess.sdp.errors import (
    LocalGlareError,
    LocalSDPError,
    OfferAnswerError,
    RemoteGlareError,
)
from sipsess.sdp.limits import MAX_PAYLOAD_TYPE

STABLE = "STABLE"
LOCAL_OFFER = "LOCAL_OFFER"
REMOTE_OFFER = "REMOTE_OFFER"
STATES = (STABLE, LOCAL_OFFER, REMOTE_OFFER)

SEND_OFFER = "SEND_OFFER"
RECEIVE_OFFER = "RECEIVE_OFFER"
SEND_ANSWER = "SEND_ANSWER"
RECEIVE_ANSWER = "RECEIVE_ANSWER"
ROLLBACK = "ROLLBACK"
EVENTS = (SEND_OFFER, RECEIVE_OFFER, SEND_ANSWER, RECEIVE_ANSWER, ROLLBACK)

#: The session id must stay below it (:rfc:`3264#section-5`).
MAX_SESSION_ID = 2**62 - 1

#: The version in the first o= line that is sent.
FIRST_VERSION = 1


#: Media type and proto of the m= line at that index, and its payload types.
_Slots = dict[int, tuple[str, dict[str, tuple[str, int, int]]]]


class _Codecs:
    """
    Which payload type of which m= line means what, in one direction.

    Most sessions agree only once, and then nobody asks: an agreed description is looked into when
    the next one comes.
    """

    __slots__ = ("_agreed", "_slots")

    def __init__(self) -> None:
        #: The last description, as long as it was not looked into.
        self._agreed: SessionDescription | None = None
        #: Made when the first description is looked into.
        self._slots: _Slots | None = None

    def find_remapped(self, description: SessionDescription) -> str | None:
        """Return a payload type that means something else now, or ``None``."""
        slots = self._look()
        for index, media in enumerate(description.media):
            kind, known = slots.get(index, ("", {}))
            if kind != media.media or media.is_declined:
                continue
            for name, codec in known.items():
                rtpmap = media.rtpmap(name)
                if rtpmap is not None and rtpmap.key != codec and name in media.formats:
                    return name
        return None

    def learn(self, description: SessionDescription) -> None:
        """Remember the payload types of an agreed description."""
        self._look()
        self._agreed = description

    def _look(self) -> _Slots:
        agreed, self._agreed = self._agreed, None
        if agreed is None:
            return self._slots or {}
        slots = self._slots = {} if self._slots is None else self._slots
        for index, media in enumerate(agreed.media):
            kind, known = slots.get(index, ("", {}))
            if media.is_declined:
                # RFC 3264 8.1: the slot may be used for another stream.
                slots.pop(index, None)
                continue
            if kind != media.media:
                known = {}
            known.update(_dynamic_codecs(media))
            slots[index] = media.media, known
        return slots

    def copy(self) -> _Codecs:
        other = _Codecs()
        other._agreed = self._agreed
        if self._slots is not None:
            other._slots = {
                index: (kind, known.copy()) for index, (kind, known) in self._slots.items()
            }
        return other


def _dynamic_codecs(media: MediaDescription) -> dict[str, tuple[str, int, int]]:
    result = {}
    for name in media.formats if media.is_rtp else ():
        rtpmap = media.rtpmap(name)
        if rtpmap is not None and name in _PAYLOAD_TYPES:
            result[name] = rtpmap.key
    return result


_PAYLOAD_TYPES = frozenset(str(number) for number in range(MAX_PAYLOAD_TYPE + 1))


class OfferAnswer:
    """
    The offers and answers of one dialog.

    :param session_id: the id for our o= lines, 0 to 2**62 - 2; a random one
        (:rfc:`8866#section-5.2`).
    """

    __slots__ = (
        "_last_sent",
        "_local_codecs",
        "_remote_codecs",
        "local",
        "pending_local",
        "pending_remote",
        "remote",
        "session_id",
        "state",
    )

    def __init__(self, session_id: int) -> None:
        self.session_id = _check_session_id(session_id)
        self.state = STABLE
        #: What both sides agreed on, ours and theirs; ``None`` before the first answer.
        self.local: SessionDescription | None = None
        self.remote: SessionDescription | None = None
        #: The open offer, if there is one.
        self.pending_local: SessionDescription | None = None
        self.pending_remote: SessionDescription | None = None
        self._last_sent: SessionDescription | None = None
        self._local_codecs = _Codecs()
        self._remote_codecs = _Codecs()

    @property
    def is_complete(self) -> bool:
        """Whether something is agreed and no offer is open."""
        return self.state == STABLE and self.local is not None

    @property
    def free_slots(self) -> list[int]:
        """
        The agreed m= lines with port 0: a new stream may take their place
        (:rfc:`3264#section-8.1`).
        """
        if self.local is None or self.remote is None:
            return []
        pairs = zip(self.local.media, self.remote.media, strict=True)
        return [
            index
            for index, (mine, theirs) in enumerate(pairs)
            if mine.is_declined or theirs.is_declined
        ]

    def stamp(self, description: SessionDescription) -> SessionDescription:
        """
        Return a copy with our o= line: our session id, and a version that is one higher than in the
        last that we sent when this one says something else (:rfc:`3264#section-8`).

        :meth:`send_offer` and :meth:`send_answer` do it; stamping twice changes nothing.
        """
        last = self._last_sent
        version = FIRST_VERSION
        if last is not None:
            origin, before = description.origin, last.origin
            is_same = description.is_same_as(last) and origin.address == before.address
            version = before.version if is_same else before.version + 1
        stamped = description.copy()
        stamped.set_version(self.session_id, version)
        return stamped

    def send_offer(self, description: SessionDescription) -> SessionDescription:
        """
        Open an offer of ours.

        :return: the stamped copy; its ``to_bytes()`` is the body to send.
        :raises IllegalTransition: when an offer is open already.
        :raises LocalSDPError: when it has fewer m= lines than are agreed, or gives a payload type
            to another codec.
        """
        return self._send(SEND_OFFER, description)

    def receive_offer(self, description: SessionDescription) -> None:
        """
        Take the peer's offer; :meth:`send_answer` or :meth:`rollback` must follow.

        :raises LocalGlareError: 491, our own offer is open.
        :raises RemoteGlareError: 500, the peer's earlier offer is open.
        :raises OfferAnswerError: 488, it breaks a rule; nothing has changed.
        """
        self._step(RECEIVE_OFFER, description)

    def send_answer(self, description: SessionDescription) -> SessionDescription:
        """
        Answer the peer's open offer; both are agreed then.

        :return: the stamped copy; its ``to_bytes()`` is the body to send.
        :raises IllegalTransition: when the peer has no open offer.
        :raises LocalSDPError: when it is no answer to that offer.
        """
        return self._send(SEND_ANSWER, description)

    def receive_answer(self, description: SessionDescription) -> bool:
        """
        Take the peer's answer to our open offer; both are agreed then.

        :return: ``False`` when it was ignored because the offer has its answer already: in a
            provisional response, say, or from another fork (:rfc:`3261#section-13.2.1`).
        :raises OfferAnswerError: when it is no answer to our offer, or there never was one. Our
            offer is still open, nothing else has changed; an answer cannot be refused, so roll back
            or end the session.
        """
        is_wanted = self.state == LOCAL_OFFER
        self._step(RECEIVE_ANSWER, description)
        return is_wanted

    def rollback(self) -> None:
        """
        Forget the open offer, rejected or withdrawn; what was agreed stays
        (:rfc:`6141`).
        """
        self._step(ROLLBACK, None)

    def renew(self, session_id: int) -> None:
        """
        Go on under another o= line, as another user agent than before speaks for this side: to the
        peer it is another session (:rfc:`8866#section-5.2`), and payload types begin anew.

        :param session_id: as for a new machine.
        """
        self.session_id = _check_session_id(session_id)
        self._last_sent = None
        self._local_codecs = _Codecs()

    def fork(self) -> OfferAnswer:
        """
        Return the machine for another dialog of the same INVITE: with its own state from here on.
        """
        other = OfferAnswer(self.session_id)
        for name in ("state", "local", "remote", "pending_local", "pending_remote", "_last_sent"):
            setattr(other, name, getattr(self, name))
        other._local_codecs = self._local_codecs.copy()
        other._remote_codecs = self._remote_codecs.copy()
        return other

    def _send(self, event: str, description: SessionDescription) -> SessionDescription:
        stamped = self.stamp(description)
        self._step(event, stamped)
        self._last_sent = stamped
        return stamped

    def _step(self, event: str, description: SessionDescription | None) -> None:
        cell = TABLE[self.state][event]
        if not cell.legal:
            raise IllegalTransition("OFFER_ANSWER", self.state, event)
        for action in cell.actions:
            action(self, description, 0.0)
        self.state = cell.next_state

    def _agree(self, local: SessionDescription, remote: SessionDescription) -> None:
        self.local, self.remote = local, remote
        self.pending_local = self.pending_remote = None
        self._local_codecs.learn(local)
        self._remote_codecs.learn(remote)


def _check_session_id(session_id: int) -> int:
    if not 0 <= session_id < MAX_SESSION_ID:
        raise LocalSDPError(f"{session_id} is not from 0 to 2**62 - 2")
    return session_id


def _check_own_offer(machine: OfferAnswer, offer: SessionDescription, now: float) -> None:
    fault = _fault_of_offer(offer, machine.local)
    if fault is not None:
        raise LocalSDPError(fault)
    _check_own_codecs(machine, offer)


def _check_own_answer(machine: OfferAnswer, answer: SessionDescription, now: float) -> None:
    offer = machine.pending_remote
    assert offer is not None
    fault = _fault_in_count(offer, answer) or _fault_in_types(offer, answer)
    if fault is not None:
        raise LocalSDPError(fault)
    for index, (offered, item) in enumerate(zip(offer.media, answer.media, strict=True)):
        if offered.is_declined and not item.is_declined:
            # RFC 3264 6: an offered port of zero MUST be answered with zero.
            raise LocalSDPError(f"m= line {index + 1} is offered with port 0, but answered")
    _check_own_codecs(machine, answer)


def _check_own_codecs(machine: OfferAnswer, description: SessionDescription) -> None:
    name = machine._local_codecs.find_remapped(description)
    if name is not None:
        raise LocalSDPError(f"payload type {name} meant another codec before")


def _check_offer(machine: OfferAnswer, offer: SessionDescription, now: float) -> None:
    fault = _fault_of_offer(offer, machine.remote)
    if fault is not None:
        raise OfferAnswerError("offer-media-removed", fault)
    _check_codecs(machine, offer)


def _check_answer(machine: OfferAnswer, answer: SessionDescription, now: float) -> None:
    offer = machine.pending_local
    assert offer is not None
    fault = _fault_in_count(offer, answer)
    if fault is not None:
        raise OfferAnswerError("answer-media-count", fault)
    fault = _fault_in_types(offer, answer)
    if fault is not None:
        raise OfferAnswerError("answer-media-type", fault)
    _check_codecs(machine, answer)


def _check_codecs(machine: OfferAnswer, description: SessionDescription) -> None:
    if _is_other_agent(machine.remote, description):
        return
    name = machine._remote_codecs.find_remapped(description)
    if name is not None:
        raise OfferAnswerError(
            "payload-remapped", f"payload type {name[:3]} meant another codec before"
        )


def _is_other_agent(known: SessionDescription | None, description: SessionDescription) -> bool:
    """Whether the o= line names another session than before (:rfc:`8866#section-5.2`)."""
    if known is None:
        return True
    before, after = known.origin, description.origin
    return (before.username, before.session_id) != (after.username, after.session_id)


def _fault_of_offer(offer: SessionDescription, agreed: SessionDescription | None) -> str | None:
    if agreed is not None and len(offer.media) < len(agreed.media):
        return f"the offer has {len(offer.media)} m= lines, the session {len(agreed.media)}"
    return None


def _fault_in_count(offer: SessionDescription, answer: SessionDescription) -> str | None:
    offered, answered = len(offer.media), len(answer.media)
    if offered != answered:
        return f"{offered} m= lines are offered, {answered} answered"
    return None


def _fault_in_types(offer: SessionDescription, answer: SessionDescription) -> str | None:
    for mine, theirs in zip(offer.media, answer.media, strict=True):
        if mine.media.lower() != theirs.media.lower():
            return f"{mine.media[:40]} is answered by {theirs.media[:40]}"
    return None


def _open_own_offer(machine: OfferAnswer, offer: SessionDescription, now: float) -> None:
    machine.pending_local = offer


def _open_offer(machine: OfferAnswer, offer: SessionDescription, now: float) -> None:
    machine.pending_remote = offer


def _agree_on_own_answer(machine: OfferAnswer, answer: SessionDescription, now: float) -> None:
    assert machine.pending_remote is not None
    _take(machine, answer, machine.pending_remote)


def _agree_on_answer(machine: OfferAnswer, answer: SessionDescription, now: float) -> None:
    assert machine.pending_local is not None
    _take(machine, machine.pending_local, answer)


def _take(machine: OfferAnswer, local: SessionDescription, remote: SessionDescription) -> None:
    if _is_other_agent(machine.remote, remote):
        machine._remote_codecs = _Codecs()
    machine._agree(local, remote)


def _forget_offer(machine: OfferAnswer, payload: None, now: float) -> None:
    machine.pending_local = machine.pending_remote = None


def _ignore_later_answer(machine: OfferAnswer, answer: SessionDescription, now: float) -> None:
    # RFC 3261 13.2.1: the UAC "MUST ignore any session descriptions in subsequent responses".
    if machine.local is None:
        raise OfferAnswerError("answer-unexpected", "an answer came, but nothing was offered")


def _refuse_answer(machine: OfferAnswer, answer: SessionDescription, now: float) -> None:
    raise OfferAnswerError("answer-unexpected", "an answer came, but the offer is the peer's")


def _refuse_local_glare(machine: OfferAnswer, offer: SessionDescription, now: float) -> None:
    raise LocalGlareError("offer-glare-local", "an offer came while our own offer is open")


def _refuse_remote_glare(machine: OfferAnswer, offer: SessionDescription, now: float) -> None:
    raise RemoteGlareError("offer-glare-remote", "an offer came before the last one was answered")


#: The machine of :rfc:`3264`; each state has a cell for each event.
TABLE: Table = {
    STABLE: {
        SEND_OFFER: Cell(LOCAL_OFFER, (_check_own_offer, _open_own_offer)),
        RECEIVE_OFFER: Cell(REMOTE_OFFER, (_check_offer, _open_offer)),
        SEND_ANSWER: illegal(STABLE),
        RECEIVE_ANSWER: Cell(STABLE, (_ignore_later_answer,)),
        ROLLBACK: ignore(STABLE),
    },
    LOCAL_OFFER: {
        SEND_OFFER: illegal(LOCAL_OFFER),
        RECEIVE_OFFER: Cell(LOCAL_OFFER, (_refuse_local_glare,)),
        SEND_ANSWER: illegal(LOCAL_OFFER),
        RECEIVE_ANSWER: Cell(STABLE, (_check_answer, _agree_on_answer)),
        ROLLBACK: Cell(STABLE, (_forget_offer,)),
    },
    REMOTE_OFFER: {
        SEND_OFFER: illegal(REMOTE_OFFER),
        RECEIVE_OFFER: Cell(REMOTE_OFFER, (_refuse_remote_glare,)),
        SEND_ANSWER: Cell(STABLE, (_check_own_answer, _agree_on_own_answer)),
        RECEIVE_ANSWER: Cell(REMOTE_OFFER, (_refuse_answer,)),
        ROLLBACK: Cell(STABLE, (_forget_offer,)),
    },
}

check_complete(TABLE, STATES, EVENTS)
