# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
REFER: calls are transferred, by the peer and by us (:rfc:`3515`, :rfc:`5589`).

Theory of operation
    A REFER of the peer is accepted when every supplement before this one, and the application if it
    is an :class:`.ITransferPolicy`, says nothing against it. The call that it asks for is a session
    of its own; when that one is answered, the :class:`.Call` and its application move to it, and
    the peer hears the outcome in a NOTIFY (:rfc:`7647`: the subscription lives in the dialog of
    the call, and ends with it). Then the peer hangs up; after a while we do.

    A BYE of the peer is answered at once and does not end a transfer that runs: the call moves
    before the answer came, and what becomes of it is no longer told to anybody.

    The other way round :meth:`Refer.transfer` sends a REFER, takes the NOTIFYs, and hangs up when
    the peer's new call was answered.

    What a session must remember stands in one cookie, which calls without a transfer do not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from sipsess.errors import DialogStateError, RemoteError, SIPError, Timeout, TransportError
from sipsess.interfaces import ITransfer, ITransferPolicy
from sipsess.locating import NextHop
from sipsess.message import NameAddr, Params, Request, Response
from sipsess.message.refer import SIPFRAG, ReferTo, Replaces, StatusLine, get_refer_to
from sipsess.session.reason import SessionEnded, fail_quietly
from sipsess.status import reason_phrase
from sipsess.supplement import Reject, RequestVerdict, SessionSupplement, Verdict

if TYPE_CHECKING:
    from sipsess.session import Session

#: Under this name the transfers of a session are kept.
COOKIE = "sipsess.refer"
#: Seconds until we hang up when the peer does not, after its transfer was done.
LINGER = 32.0
#: Seconds until nobody tells the outcome any more: a call may ring for three minutes.
OUTCOME_LIMIT = 240.0
#: What NOTIFYs say of the subscription, in seconds; the outcome comes sooner.
_EXPIRES = 240


class Transfers:
    """The transfers of one session, one at a time in each direction; see :data:`COOKIE`."""

    __slots__ = ("asked", "count", "running")

    def __init__(self) -> None:
        #: REFERs of the peer so far.
        self.count = 0
        #: What the peer asked for, while it runs.
        self.running: Referral | None = None
        #: What we asked the peer for, while it runs.
        self.asked: Transfer | None = None

    def stop(self) -> None:
        """End what runs: the session is over."""
        if self.running is not None:
            self.running.stop()
        if self.asked is not None:
            self.asked.stop()


class Referral:
    """
    A REFER of the peer, and the call that it asks for.

    :param session: that it came in.
    :param transfers: of that session.
    :param request: the REFER.
    :param refer_to: whom to call.
    :param is_subscribed: whether the peer wants to hear what becomes of it.
    """

    __slots__ = (
        "_event",
        "_is_moved",
        "_is_repeated",
        "_is_subscribed",
        "_next",
        "_refer_to",
        "_referred_by",
        "_sending",
        "_transfers",
        "session",
        "target",
    )

    def __init__(
        self,
        session: Session,
        transfers: Transfers,
        request: Request,
        refer_to: ReferTo,
        *,
        is_subscribed: bool,
    ) -> None:
        self.session = session
        #: The session with whom the peer wants us to talk.
        self.target: Session | None = None
        self._transfers = transfers
        self._refer_to = refer_to
        self._referred_by = request.headers.get("Referred-By")
        # RFC 3515 2.4.6: only the first subscription of a dialog needs no id.
        self._event = "refer" if transfers.count == 1 else f"refer;id={request.cseq.number}"
        self._is_subscribed = is_subscribed
        self._is_moved = False
        #: What the NOTIFY under way tells, and whether it was sent before.
        self._sending: StatusLine | None = None
        self._is_repeated = False
        self._next: StatusLine | None = None

    def start(self, hop: NextHop) -> None:
        """Place the call."""
        session = self.session
        if session.is_over:
            return
        self._notify(StatusLine(100, "Trying"))
        headers = {}
        if self._referred_by is not None:
            headers["Referred-By"] = self._referred_by
        if self._refer_to.replaces is not None:
            headers["Replaces"] = str(self._refer_to.replaces)
        target = self.target = session.manager.dial(
            str(self._refer_to.uri),
            hop,
            from_=f"<{_own_uri(session)}>",
            headers=headers,
            endpoint=session.endpoint,
            offered_media=session.offered_media,
            media=session.media.make_successor,
        )
        target.note("referred", f"by the peer of {session.call_id}")
        target.invite_client.answered.addCallbacks(self._answered, self._refused)

    def _answered(self, response: Response) -> None:
        self._move()
        self._finish(StatusLine(response.status, response.reason))
        if not self.session.is_over:
            self.session.start_timer(LINGER, self.session.terminate)

    def _refused(self, failure: Failure) -> None:
        assert self.target is not None  # it is what failed
        self._finish(_outcome_of(self.target, failure))

    def _finish(self, line: StatusLine) -> None:
        self._transfers.running = None
        self.session.note("transfer", f"to {self._refer_to.uri}: {line.status} {line.reason}")
        self._notify(line)

    def leave(self) -> None:
        """Go on without the session: its peer hangs up before the new call was answered."""
        if self.target is not None and not self.target.is_over:
            self._move()

    def _move(self) -> None:
        target, channel = self.target, self.session.channel
        assert target is not None  # nothing moves before the call was placed
        if self._is_moved:
            channel = target.channel
        self._is_moved = True
        if channel is not None and not target.is_over:
            channel.move_to(target)

    def stop(self) -> None:
        """Give up the new call, unless it goes on without the session: that one is over."""
        if self.target is not None and not self._is_moved:
            self.target.terminate()

    # -- telling the peer ------------------------------------------------------------------

    def _notify(self, line: StatusLine) -> None:
        """Tell the peer how it stands, one NOTIFY at a time, so that none overtakes another."""
        if not self._is_subscribed or self.session.end_reason is not None:
            return
        if self._sending is not None:
            self._next = line
            return
        self._sending = line
        is_final = line.status >= 200
        state = "terminated;reason=noresource" if is_final else f"active;expires={_EXPIRES}"
        self.session.send_request(
            "NOTIFY",
            headers={
                "Event": self._event,
                "Subscription-State": state,
                "Contact": self.session.contact,
            },
            content_type=f"{SIPFRAG};version=2.0",
            body=line.to_bytes(),
        ).addCallbacks(self._notified, self._not_notified)

    def _notified(self, response: Response) -> None:
        self._sending, self._is_repeated = None, False
        line, self._next = self._next, None
        if response.status >= 300:
            # RFC 6665 4.2.2: the subscription is over; the transfer goes on.
            self._is_subscribed = False
        elif line is not None:
            self._notify(line)

    def _not_notified(self, failure: Failure) -> None:
        failure.trap(SIPError)
        line = self._next or self._sending
        assert line is not None  # it is what failed
        self._sending = self._next = None
        if failure.check(TransportError) and not self._is_repeated:
            # The connection is lost, and the peer may be there still: it hears the latest, once
            # more, on another one.
            self._is_repeated = True
            self._notify(line)
        else:
            self._is_subscribed = False


class Transfer:
    """
    A REFER of ours, until its outcome is known.

    :param session: whose peer is transferred.
    :param transfers: of that session.
    """

    __slots__ = ("_session", "_transfers", "cseq", "outcome")

    def __init__(self, session: Session, transfers: Transfers) -> None:
        self._session = session
        self._transfers = transfers
        #: CSeq of the REFER, as it was sent last; it is the id of the subscription.
        self.cseq = 0
        self.outcome: Deferred[StatusLine] = Deferred(self._cancelled)

    def start(self, headers: dict[str, str]) -> None:
        """Send the REFER."""
        session = self._session
        session.start_timer(OUTCOME_LIMIT, self._expired)
        session.send_request("REFER", headers=headers).addCallbacks(self._answered, self._failed)

    def _answered(self, response: Response) -> None:
        is_silent = (response.headers.get("Refer-Sub") or "").strip().lower() == "false"
        if response.status >= 300 or is_silent:
            # RFC 4488 4: without a subscription, that it was accepted is all that we shall hear.
            self.finish(StatusLine(response.status, response.reason))

    def _failed(self, failure: Failure) -> None:
        self._fail(failure.value or RuntimeError(failure))

    def _expired(self) -> None:
        self._fail(Timeout("nobody told what became of the transfer"))

    def hear(self, line: StatusLine | None, is_last: bool) -> None:
        """Hear from a NOTIFY how it stands."""
        if line is not None:
            self._session.note("transfer", f"{line.status} {line.reason}")
        if line is not None and line.status >= 200:
            self.finish(line)
        elif is_last:
            self._fail(Timeout("the subscription ended before the outcome was known"))

    def finish(self, line: StatusLine) -> None:
        """Tell the outcome, and hang up when the peer is served."""
        if not self._forget():
            return
        if line.is_success:
            self._session.terminate()
        self.outcome.callback(line)

    def _fail(self, error: BaseException) -> None:
        if self._forget():
            assert isinstance(error, Exception)
            fail_quietly(self.outcome, error)

    def _cancelled(self, outcome: Deferred[StatusLine]) -> None:
        self._forget()

    def _forget(self) -> bool:
        """Take no more part; ``False`` when that was so before."""
        is_current = self._transfers.asked is self
        if is_current:
            self._transfers.asked = None
        return is_current

    def stop(self) -> None:
        """The session is over."""
        self._fail(SessionEnded(self._session.reason_or_unknown()))


@implementer(ITransfer)
class Refer(SessionSupplement):
    """Lets the peer transfer us, and us transfer the peer."""

    name = "refer"
    #: Late: any supplement before it may refuse a REFER.
    priority = 900
    methods = frozenset({"REFER", "NOTIFY", "BYE"})
    allow = frozenset({"REFER", "NOTIFY"})
    option_tags = frozenset({"norefersub"})

    async def _accept(self, session: Session, request: Request) -> Verdict:
        """Check a REFER, answer it, and place the call that it asks for."""
        refer_to = get_refer_to(request.headers)
        if refer_to.method != "INVITE":
            raise Reject(603, "Only calls are placed")
        transfers = self._check(session, refer_to)
        try:
            finding = session.manager.find_next_hop(str(refer_to.uri), session.flow)
            hop = await session.wait(finding)
        except SIPError as error:
            session.note("transfer", f"to {refer_to.uri}: {error}")
            raise Reject(404, "Refer-To cannot be reached") from error
        transfers.count += 1
        silent = (request.headers.get("Refer-Sub") or "").strip().lower() == "false"
        headers = {"Contact": session.contact} | ({"Refer-Sub": "false"} if silent else {})
        session.send_response(200 if silent else 202, request, headers=headers)
        referral = Referral(session, transfers, request, refer_to, is_subscribed=not silent)
        transfers.running = referral
        session.core.turn.later(referral.start, hop)
        return Verdict.HANDLED

    def _check(self, session: Session, refer_to: ReferTo) -> Transfers:
        """
        Ask whether this is the time for a transfer, and then the application.

        :return: the transfers of the session.
        :raises Reject: when it is not.
        """
        if not session.is_answered or session.end_reason is not None:
            raise Reject(603, "The call does not stand")
        transfers = get_transfers(session)
        if transfers.running is not None or transfers.asked is not None:
            raise Reject(491)
        application = session.application
        if ITransferPolicy.providedBy(application) and session.channel is not None:
            assert application is not None
            application.transfer_requested(session.channel, refer_to)
        return transfers

    def incoming_request(self, session: Session, request: Request) -> RequestVerdict:
        """Take a REFER or NOTIFY; let a transfer that runs outlive the BYE."""
        if request.method == "REFER":
            return self._accept(session, request)
        if request.method == "NOTIFY":
            return self._hear(session, request)
        transfers: Transfers | None = session.cookies.get(COOKIE)
        if transfers is not None and transfers.running is not None:
            transfers.running.leave()
        return None

    # -- this side asks --------------------------------------------------------------------

    def transfer(
        self, session: Session, uri: str, replaces: Replaces | None
    ) -> Deferred[StatusLine]:
        """
        See :meth:`.ITransfer.transfer`.

        :raises DialogStateError: when this is no time for it, or ``uri`` cannot be called.
        """
        with session.core.turn:
            if not session.is_answered or session.end_reason is not None:
                raise DialogStateError("only a call that stands can be transferred")
            transfers = get_transfers(session)
            if transfers.asked is not None or transfers.running is not None:
                raise DialogStateError("the call is being transferred already")
            try:
                target = ReferTo.parse(f"<{uri}>")
            except RemoteError as error:
                raise DialogStateError(f"{uri} cannot be called: {error.text}") from error
            transfer = transfers.asked = Transfer(session, transfers)
            headers = {
                "Refer-To": str(ReferTo(target.uri, replaces=replaces or target.replaces)),
                "Referred-By": f"<{_own_uri(session)}>",
                "Refer-Sub": "true",
                "Contact": session.contact,
            }
            transfer.start(headers)
            return transfer.outcome

    def outgoing_request(self, session: Session, request: Request) -> None:
        """Note the CSeq of a REFER: NOTIFYs name it."""
        if request.method == "REFER":
            transfers = get_transfers(session)
            if transfers.asked is not None:
                transfers.asked.cseq = request.cseq.number

    def _hear(self, session: Session, request: Request) -> Verdict:
        """Take a NOTIFY of a transfer that we asked for."""
        package, _, rest = (request.headers.get("Event") or "").partition(";")
        if package.strip().lower() != "refer":
            raise Reject(489, headers={"Allow-Events": "refer"})
        number = Params.parse(rest).get("id") if rest else None
        transfers: Transfers | None = session.cookies.get(COOKIE)
        transfer = None if transfers is None else transfers.asked
        if transfer is None or number not in (None, str(transfer.cseq)):
            raise Reject(481)
        state = request.headers.get("Subscription-State")
        if state is None:
            raise Reject(400, "Subscription-State is missing")
        is_last = state.partition(";")[0].strip().lower() == "terminated"
        if (request.body or not is_last) and request.content_type != SIPFRAG:
            raise Reject(415, headers={"Accept": SIPFRAG})
        line = StatusLine.parse(request.body) if request.body else None
        session.send_response(200, request)
        session.core.turn.later(transfer.hear, line, is_last)
        return Verdict.HANDLED


def get_transfers(session: Session) -> Transfers:
    """Return the transfers of a session."""
    transfers: Transfers | None = session.cookies.get(COOKIE)
    if transfers is None:
        transfers = Transfers()
        session.cookies.add(COOKIE, transfers, Transfers.stop)
    return transfers


def _own_uri(session: Session) -> str:
    """Return our address in the dialog: the From of our requests."""
    dialog = session.dialog
    assert dialog is not None  # a transfer is asked for within a dialog
    return NameAddr.parse(dialog.local).uri


def _outcome_of(target: Session, failure: Failure) -> StatusLine:
    """Return the status line that says why a call was not answered."""
    response, error = target.final_response, failure.value
    if response is not None:
        return StatusLine(response.status, response.reason)
    status = 487
    if isinstance(error, Reject):
        status = error.status
    elif isinstance(error, SessionEnded):
        status = error.reason.status or 487
    elif isinstance(error, SIPError):
        status = error.status_hint or 500
    return StatusLine(status, reason_phrase(status))
