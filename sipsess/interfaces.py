# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Every public interface of sipsess.

An interface that plugins implement never gains a method. What comes later is a new, optional
interface, asked for with ``providedBy`` once, at start-up.

The module is long because they all stand in one place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from sipsess.call import Call
    from sipsess.cdr import CallRecord
    from sipsess.core import Admission
    from sipsess.endpoint import Endpoint
    from sipsess.engine import EngineStatistics, MediaOptions
    from sipsess.errors import SIPError
    from sipsess.flow import Address, Flow
    from sipsess.locating import Answer, Question
    from sipsess.manager import DialogManager
    from sipsess.media import AudioStream, Decoder, Encoder
    from sipsess.message import SIPURI, Request, Response
    from sipsess.message.challenge import Challenge
    from sipsess.message.refer import ReferTo, Replaces, StatusLine
    from sipsess.registrar import Binding
    from sipsess.sdp import MediaDescription, SessionDescription
    from sipsess.sdphandler import StreamDescription, StreamVerdict
    from sipsess.session import LocalDescription, MediaNegotiation, Session, SessionStream
    from sipsess.supplement import RequestVerdict, ResponseVerdict, Retry, Verdict


class ISessionSupplement(Interface):
    """
    Stands around every request and response of a session.

    All callbacks run in the reactor's thread, in ascending ``(priority, name)``, never inside a
    step of a state machine. Retransmissions, 100 Trying and the ACK of a non-2xx never reach a
    supplement; everything else of a session passes exactly once.
    """

    name: str = Attribute("Unique among all supplements.")
    methods: frozenset[str] | None = Attribute("Matched exactly, a response by CSeq; None: all.")
    priority: int = Attribute("0 to 1000, lowest first; 200 and 400 are marks and nobody's.")
    allow: frozenset[str] = Attribute("Methods it makes the session support (Allow).")
    option_tags: frozenset[str] = Attribute("Option tags it supports (Supported, Require).")
    accept: frozenset[str] = Attribute("Body types it reads (Accept).")
    recv_info: frozenset[str] = Attribute("INFO packages it takes (Recv-Info, RFC 6086).")

    def session_begin(session: Session) -> None:
        """
        A session begins: before its first message is seen or sent, exactly once.

        The endpoint and the application are known; there is no media yet.
        """

    def session_end(session: Session) -> None:
        """
        The session is over, ``session.end_reason`` says why; exactly once for each begin.

        The cookies are still there, messages can no longer be sent.
        """

    def session_destroy(session: Session) -> None:
        """Let go of everything: cookies and media are gone; exactly once, last."""

    def incoming_request(session: Session, request: Request) -> RequestVerdict:
        """
        A request came, after the dialog's own checks (481, CSeq) and before anyone answered it.

        :return: ``Verdict.CONTINUE`` or ``None`` to go on; ``Verdict.HANDLED`` when you answer it;
            or a Deferred or coroutine of these. A CANCEL, BYE or the deadline cancels it.
        :raises Reject: to refuse the request; the core answers.
        """

    def outgoing_request(session: Session, request: Request) -> None:
        """A request is about to be serialised, ACK, CANCEL and BYE included; change it freely."""

    def incoming_response(session: Session, response: Response) -> ResponseVerdict:
        """
        A response came that the transaction passed up.

        :return: ``Verdict.CONTINUE`` or ``None``; or a :class:`.Retry` of a final response.
        """

    def outgoing_response(session: Session, response: Response) -> None:
        """A response is about to be serialised; change it freely."""


class ISessionCreate(Interface):
    """Optional, for supplements: a say before an outgoing session exists."""

    def session_create(session: Session) -> Deferred[None] | None:
        """
        An outgoing session is about to begin; nothing was sent, no ``session_begin`` was called.

        :raises Reject: the call is not made; the caller's Deferred fails with it.
        """


class IPrepareRequest(Interface):
    """Optional, for supplements: work that takes time before an outgoing INVITE is built."""

    def prepare_request(session: Session, request: Request) -> Deferred[None] | None:
        """
        The INVITE of an outgoing session will be sent when the Deferred has fired.

        :raises Reject: the call is not made.
        """


class IRequestFailed(Interface):
    """Optional, for supplements: the last word on a request of ours that came to nothing."""

    def request_failed(
        session: Session, request: Request, outcome: Response | SIPError
    ) -> Retry | None:
        """
        A request was refused, and no ``incoming_response`` wants it sent again; or no final
        response will come at all.

        Asked in the order of the chain, for the ``methods`` of the supplement, and not when a retry
        would come too late: after our CANCEL, or when the call is over; nor as long as there is
        another server of the same URI (:rfc:`3263#section-4.3`).

        :param request: as it was sent; ``request.attempt`` counts from 0.
        :param outcome: the final response, 300 to 699; or :class:`.Timeout` or
            :class:`.TransportError`, which :rfc:`3261#section-8.1.3.1` likens to 408 and 503.
        :return: how to send it again, or ``None``; the first :class:`.Retry` counts.
        """


class IRedirectPolicy(Interface):
    """Optional, for supplements: a say when a call of ours is redirected (3xx)."""

    def redirect_requested(session: Session, response: Response, uri: SIPURI) -> None:
        """
        The peer wants the call to go to ``uri``; asked for each Contact that could be followed.

        :raises Reject: not to follow it; the status does not matter.
        """


class IForkPolicy(Interface):
    """Optional, for supplements: a say in whose early media of a forked call are heard."""

    def follow_fork(session: Session, response: Response) -> bool:
        """
        Another early dialog of our INVITE describes its media in a provisional response.

        When nobody objects the latest one is heard. It is only about hearing: which fork the call
        is with is said by the first 2xx, and the others get a BYE (:rfc:`3261#section-13.2.2.4`).

        :param response: of the fork that is not followed yet.
        :return: whether to follow it; ``False`` stays with the one before.
        """


class ICredentials(Interface):
    """What an endpoint holds to answer the challenges of a peer (:rfc:`3261#section-22`)."""

    def answer_challenge(request: Request, challenge: Challenge) -> str | None:
        """
        Return the value of Authorization or Proxy-Authorization.

        :param request: that was challenged: its method, Request-URI and body.
        :param challenge: one of the peer's; when this gives ``None``, the next is asked about.
        """


class IEndpoint(Interface):
    """What a realm of ``twisted.cred`` gives for a proven user: an :class:`.Endpoint`."""

    name: str = Attribute("Unique among the endpoints.")


class IDigestProof(Interface):
    """Credentials of ``twisted.cred``: an answer to a challenge of ours (:rfc:`7616`)."""

    user: str = Attribute("Who says so.")
    realm: str = Attribute("Where the user is known.")
    algorithm: str = Attribute("As in :data:`.ALGORITHMS`.")

    def check_ha1(ha1: str) -> bool:
        """
        Tell whether the peer knows the password; takes the same time for every user.

        :param ha1: of the user, in this realm and algorithm: hexadecimal digits in lower case.
        """


class IHA1Store(Interface):
    """Knows users by the hashes of their passwords (``HA1``)."""

    name: str = Attribute("For people.")

    def find_ha1(username: str, realm: str, algorithm: str) -> str | Awaitable[str | None] | None:
        """
        Return the HA1 of a user, or ``None``; or a Deferred or coroutine of these.

        It should take the same time for a user that is not there: time tells who is.
        """


class IEndpointIdentifier(Interface):
    """Says which endpoint a request is from, by something that the request brings."""

    name: str = Attribute("Unique among the identifiers; the configuration orders them by it.")

    def set_endpoints(endpoints: tuple[Endpoint, ...]) -> None:
        """Know these endpoints from now on, and no others: at the start, and at each change."""

    def identify(admission: Admission) -> Endpoint | Awaitable[Endpoint | None] | None:
        """
        Return the endpoint of a request, or ``None``: then the next identifier is asked.

        An endpoint with ``digest_users`` is challenged afterwards. Of any other one, what you have
        looked at must be something that only this peer can have; :func:`.matches` tells whether
        what the endpoint itself says holds.
        """


class IDialogService(Interface):
    """Optional, for services: says which requests are within dialogs of theirs."""

    def find_session(call_id: str, local_tag: str, remote_tag: str) -> Session | None:
        """Return the session of a dialog, or ``None``."""


class IChooseApplication(Interface):
    """Optional, for supplements: a say in what a new call is for."""

    def choose_application(manager: DialogManager, request: Request) -> IApplication | None:
        """
        An INVITE outside any dialog came, and the call will be accepted; no session exists yet.

        The first supplement that chooses counts; when none does, the Request-URI does.

        :return: the application of the call, or ``None`` for no opinion.
        :raises RemoteError: to refuse what breaks the protocol.
        :raises Reject: to refuse the call.
        """


class ICallRecords(Interface):
    """Optional, for supplements: wants the record of each call."""

    def take_call_record(session: Session, record: CallRecord) -> None:
        """
        A session that began while this supplement was there is over.

        It is called once, after every ``session_end``; the cookies are still there. Do not wait for
        anything here: hand the record to something that can.
        """


class ITransfer(Interface):
    """Optional, for supplements: asks the peer to call another one."""

    def transfer(session: Session, uri: str, replaces: Replaces | None) -> Deferred[StatusLine]:
        """
        Ask the peer of ``session`` to call ``uri``, and hang up when it has.

        :param replaces: of the INVITE to ``uri``, or ``None``.
        :return: fires with what became of it.
        """


class ICallEvents(Interface):
    """
    Optional, for applications: what comes within their calls, and in the legs dialled for them.

    Each is called last in the chain: all supplements have let the message through, and nobody has
    answered it. Verdicts are as for supplements, and may be Deferreds or coroutines where they say
    so. The INVITE that begins a call is not among it: that is what ``handle`` is for; nor are ACK
    and CANCEL, which cannot be refused. When an application moves to another peer these go on.
    """

    def on_offer(call: Call, request: Request, offer: SessionDescription) -> RequestVerdict:
        """
        The peer changes the media: an offer came in a re-INVITE, UPDATE or PRACK.

        :return: CONTINUE or ``None``: it is answered as media are negotiated. HANDLED: you answer
            it with :meth:`.Session.send_response`. A Deferred or coroutine of these lets it wait.
        :raises Reject: to refuse it; media stay as they are.
        """

    def on_request(call: Call, request: Request) -> RequestVerdict:
        """
        Another request came: one without an offer, whatever its method, BYE included.

        :return: as for :meth:`on_offer`; with CONTINUE the core answers it.
        :raises Reject: to refuse it.
        """

    def on_response(call: Call, response: Response) -> ResponseVerdict:
        """
        A response came to a request of ours within the call.

        :return: ``None``, or a :class:`.Retry` of a final response from 300 on.
        """

    def on_provisional(call: Call, response: Response) -> Verdict | None:
        """
        Somebody who is being dialled for the call has answered provisionally, 101 to 199.

        :param call: for which he is dialled.
        :return: HANDLED to keep it from the caller, or to tell him in your own way.
        """


class IMediaPolicy(Interface):
    """Optional, for applications: who negotiates the media of their calls."""

    def make_media(session: Session) -> MediaNegotiation | None:
        """
        Return who negotiates the media of a call, before its offer is looked at.

        :return: what :func:`sipsess.session.pass_media` makes, for a call whose media are left to
            its peer and the one who is called for him; ``None`` for the SDP handlers.
        """


class ITransferPolicy(Interface):
    """Optional, for applications: a say when the peer wants to transfer us to somebody else."""

    def transfer_requested(call: Call, refer_to: ReferTo) -> None:
        """
        The peer of the call wants us to call somebody else; every supplement agrees.

        :raises Reject: to refuse it, with 603 say.
        """


class ISDPHandler(Interface):
    """
    Owns the media streams of one type in a session.

    ``stream`` is a :class:`.SessionStream`: two m-lines are two streams. The order of the callbacks
    is claim, create, apply; again at each re-negotiation; stop and destroy at the end.
    """

    name: str = Attribute("Unique among the handlers of its media type.")
    media_type: str = Attribute("The media type of the m-lines it is asked about.")
    priority: int = Attribute("The order within the media type, lowest first.")

    def handle_incoming_sdp_stream_offer(
        session: Session, stream: SessionStream, sdp: SessionDescription
    ) -> StreamVerdict:
        """
        Claim the m-line ``stream.remote`` of the offer ``sdp``, or not; allocate nothing.

        :return: ``HANDLED`` to claim it, ``NOT_HANDLED`` to let the next handler be asked.
        :raises NegotiationFailed: the whole offer is refused with 488.
        """

    def create_outgoing_sdp_stream(
        session: Session, stream: SessionStream, sdp: LocalDescription
    ) -> StreamDescription:
        """
        Describe our side of a stream; open what it needs.

        For an answer ``stream.remote`` is the offered m-line; for an offer of ours it is ``None``.

        :param sdp: what is being built; ``sdp.media(...)`` makes an m-line.
        :return: the m-line, or ``NOT_HANDLED`` to decline after all; or a Deferred or coroutine.
        :raises NegotiationFailed: the whole exchange fails.
        """

    def apply_negotiated_sdp_stream(session: Session, stream: SessionStream) -> None:
        """Both sides agree on ``stream.local`` and ``stream.remote``: let media flow."""

    def stop_stream(session: Session, stream: SessionStream) -> None:
        """Stop sending and receiving: the call is being hung up; destroy follows."""

    def destroy_stream(session: Session, stream: SessionStream) -> None:
        """Close all that create opened; exactly once per stream that was claimed or created."""


class ICodec(Interface):
    """
    A way to write audio as RTP payload; :class:`sipsess.codec.Codec` is the base of all.

    PCM is 16-bit little-endian mono at ``sample_rate``. What one stream needs in one direction is
    an encoder or a decoder of its own; neither is used by two streams unless it has no state.
    """

    name: str = Attribute("Unique among the codecs: what ``codecs`` of an endpoint says.")
    encoding: str = Attribute("The name in ``a=rtpmap``.")
    clock_rate: int = Attribute("The RTP clock in Hz.")
    channels: int = Attribute("What ``a=rtpmap`` says.")
    sample_rate: int = Attribute("Samples per second of the PCM.")
    payload_type: int | None = Attribute("The static payload type, or ``None``.")
    fmtp: str = Attribute("The parameters that our offers give it, empty for none.")
    rtpmap: str = Attribute("The value of ``a=rtpmap`` after the payload type.")
    key: tuple[str, int, int] = Attribute("What ``a=rtpmap`` of a peer must say.")
    missing: str = Attribute("What must be installed first, empty when it can be spoken.")

    def answer_fmtp(offered: str) -> str | None:
        """
        Return the parameters of our answer to those of an offer.

        :return: ``None`` when we do not speak the codec that way; then it is not answered.
        """

    def make_encoder(fmtp: str = "") -> Encoder:
        """Return what encodes for one stream, as the parameters of the peer want it."""

    def make_decoder() -> Decoder:
        """
        Return what decodes for one stream.

        Its ``decode`` raises :class:`sipsess.codec.MediaError` for what means nothing, and nothing
        else, whatever the bytes of a peer are.
        """

    def duration(payload: bytes) -> int:
        """Return how long any payload lasts, in units of the RTP clock; 0 for what is none."""

    def packet_time(wanted: int | None, longest: int | None) -> int:
        """Return the milliseconds of our packets, for ``ptime`` and ``maxptime`` of a peer."""


class IDeferOffer(Interface):
    """Optional, for SDP handlers: a re-offer may have to wait."""

    def defer_incoming_sdp_stream(
        session: Session, stream: SessionStream, sdp: SessionDescription
    ) -> Deferred[None] | Awaitable[None] | None:
        """
        A re-offer came that keeps a stream of this handler; nobody has looked at it yet.

        A re-INVITE waits until the Deferred has fired, for :data:`.SETUP_LIMIT` at most: its copies
        are absorbed, another INVITE gets 500 with Retry-After (:rfc:`3261#section-14.2`), and
        CANCEL or BYE cancels the Deferred. An UPDATE or PRACK cannot wait for a person: it gets 504
        (:rfc:`3311#section-5.2`), and the Deferred is cancelled at once.

        :param stream: as it is in force; ``sdp.media[stream.index]`` is what is offered.
        :return: ``None`` to go on at once.
        :raises NegotiationFailed: the offer is refused.
        """


class IMediaAddress(Interface):
    """Optional, for SDP handlers: the last word on where the peer sends media."""

    def change_outgoing_sdp_stream_media_address(
        session: Session, stream: SessionStream, media: MediaDescription
    ) -> MediaDescription | None:
        """
        An m-line of ours is complete, and leaves in an offer or an answer.

        All handlers of the media type are asked, in their order, not only the stream's own: one
        that claims nothing may stand there for the sake of a NAT.

        :param media: what the stream's handler, and those asked before, have made of it.
        :return: a changed copy, with another address or port; ``None`` leaves it as it is.
        """


class IApplication(Interface):
    """What a call is for: one coroutine per call."""

    name: str = Attribute("Unique; a Request-URI user that equals it chooses this application.")

    async def handle(call: Call) -> None:
        """
        Do the call. Cancelled when the caller goes; the call is hung up when it returns.

        :raises Reject: to refuse a call that was not answered yet.
        """


class IConfigurableApplication(Interface):
    """Optional, for applications: options, which each route in the configuration may give."""

    options: type = Attribute("A dataclass: the names of the options, their types and defaults.")

    def with_options(options: Any) -> IApplication:
        """
        Return the application with these options; it keeps its name.

        :param options: an instance of :attr:`options`; names and types were checked.
        :raises ValueError: with one sentence, when they make no sense.
        """


class IConfigurable(Interface):
    """Optional, for plugins of every kind: a table of its own in the configuration."""

    configuration: type = Attribute("A dataclass: the keys of the table, their types and defaults.")

    def configure(configuration: Any) -> None:
        """
        Take the table ``[plugins.NAME]``: before the server starts, and when a reload changed it.

        A live call may have begun with what was there before; keep in its cookies what it needs.

        :param configuration: an instance of :attr:`configuration`; names and types were checked.
        :raises ValueError: with one sentence, when it makes no sense; what was there before stays,
            and nothing of the new configuration holds.
        """


class IRequestGate(Interface):
    """Decides whether a request that no transaction absorbs comes in at all."""

    name: str = Attribute("Unique among the gates.")

    def admit(admission: Admission) -> RequestVerdict:
        """
        Admit the request, or not. Every request passes, ACK and CANCEL apart.

        :return: CONTINUE to let the next gate decide; HANDLED when the gate has answered; or a
            Deferred or coroutine of these, which a CANCEL cancels.
        :raises Reject: to refuse the request.
        """


class ISIPService(Interface):
    """Takes requests that arrive outside any transaction: sessions, a registrar..."""

    name: str = Attribute("Unique among the services.")
    allow: frozenset[str] = Attribute("The methods it answers (Allow).")
    option_tags: frozenset[str] = Attribute("The option tags it understands (Supported).")
    accept: frozenset[str] = Attribute("The body types it reads (Accept).")

    def handle_request(admission: Admission) -> bool:
        """
        Take an admitted request.

        :return: whether it is this service's; ``True`` obliges it to answer.
        """

    def handle_ack(request: Request, flow: Flow) -> bool:
        """Take the ACK of a 2xx; ``True`` when it is this service's."""

    def handle_stray_response(response: Response, flow: Flow) -> bool:
        """Take a response that matches no transaction, such as a late 2xx (13.2.2.4)."""


class IBindingStore(Interface):
    """
    Keeps the bindings of a registrar (:rfc:`3261#section-10`).

    Times are seconds of the wall clock. The registrar changes one user at a time, and one change of
    a user waits for the one before.
    """

    def open() -> None:
        """
        Get ready, while the server starts; may wait for a disk.

        :raises StoreError: when it cannot be used, with what to do.
        """

    def close() -> Deferred[None]:
        """Close; nothing is asked of it any more."""

    def find(user: str, now: float) -> Deferred[Sequence[Binding]]:
        """Return the bindings of a user that are valid yet, in the order in which they came."""

    def replace(user: str, bindings: Sequence[Binding], limit: int) -> Deferred[None]:
        """
        Let these be all the bindings of a user.

        :param limit: of the bindings of all users; more of them fails with
            :class:`.StoreFullError`, and fewer than before is always possible.
        :return: fires when it is done for good; when it fails nothing has changed.
        """

    def purge(now: float) -> Deferred[int]:
        """Forget the bindings that have expired; return how many."""

    def list_bindings(limit: int, now: float) -> Deferred[Sequence[Binding]]:
        """Return the bindings that are valid yet, in the order of users; at most ``limit``."""


class IMessageHook(Interface):
    """Sees the requests and responses outside sessions; the same callbacks, no session."""

    name: str = Attribute("Unique among the hooks.")

    def incoming_request(request: Request) -> None:
        """
        A request came.

        :raises Reject: to refuse it.
        """

    def outgoing_request(request: Request) -> None:
        """A request is about to be serialised."""

    def incoming_response(response: Response) -> None:
        """A response came."""

    def outgoing_response(response: Response) -> None:
        """A response is about to be serialised."""


class INameResolver(Interface):
    """Answers DNS questions, for those who locate SIP servers (:rfc:`3263`)."""

    def lookup(question: Question) -> Deferred[Answer]:
        """
        Ask for the records of one name.

        Aliases (CNAME) are followed. What the answer holds is believed as far as it goes: its size,
        its names and numbers are checked by those who ask.

        :return: fires with an answer, without records when there is nothing of that kind. Fails
            with a :class:`.SIPError` when nobody could tell.
        """


class ITrace(Interface):
    """The fixed points where the core can be watched; ``None`` instead of one costs one test."""

    def bytes_received(flow: Flow, data: bytes, now: float) -> None:
        """A datagram or stream message came, retransmissions included."""

    def bytes_sent(flow: Flow, wire: bytes, now: float) -> None:
        """A message leaves, retransmissions included."""

    def message_refused(reason_code: str, flow: Flow, now: float) -> None:
        """A message was refused or dropped."""

    def plugin_verdict(plugin: str, callback: str, verdict: str, call_id: str, now: float) -> None:
        """A plugin decided something other than CONTINUE."""

    def session_begun(session: Session, now: float) -> None:
        """A session began."""

    def session_ended(session: Session, now: float) -> None:
        """A session ended."""


class IMediaPort(Interface):
    """One open RTP port."""

    host: str = Attribute("The local address it is bound to.")
    port: int = Attribute("The local port, even.")

    def send(data: bytes, address: Address) -> None:
        """Send one packet; never raises."""

    def open_rtcp() -> bool:
        """
        Open the next port, too, for RTCP alone; what comes there goes the same way.

        :return: whether it is open, after the first time too; else there can be no RTCP, as
            somebody else has the port.
        """

    def send_rtcp(data: bytes, address: Address) -> None:
        """Send one RTCP packet, by the port for RTCP if it is open; never raises."""

    def close() -> None:
        """Close it and give the port back; harmless when done twice."""


class IMediaPorts(Interface):
    """Opens RTP ports."""

    def open(host: str, receive: Callable[[bytes, Address, float], None]) -> IMediaPort:
        """
        Open the next free port on ``host``.

        :param receive: called with data, source and time for each packet.
        :raises NoPortsError: when none is free.
        """


class IMediaClock(Interface):
    """Lets audio streams speak, every 20 ms while they have something to say."""

    def add(stream: AudioStream, port: IMediaPort) -> None:
        """Take care of a stream whose packets leave by ``port``, until :meth:`remove`."""

    def remove(stream: AudioStream) -> None:
        """Forget a stream; harmless when done twice."""


class IMediaEngine(Interface):
    """
    Carries the media of bridged calls, beside this program; it works on session descriptions.

    One call of the engine has two sides, each named by a tag of ours. What one side offers goes
    through :meth:`offer`, what the other one answers through :meth:`answer`; each gives the
    description that the other side is sent, with the engine's addresses in it. A new offer of
    either side, in a re-INVITE, goes through the same call, and so does that of a peer who has
    taken the place of one side (a transfer): it has the tag of that side. Several answers may come
    to one offer, when a call forks; the last one counts. An offer that is refused has no answer.

    Every Deferred fails with :class:`.MediaEngineError`, within some seconds, and can be cancelled;
    :meth:`delete` ends whatever a cancelled offer has begun.
    """

    name: str = Attribute("For people, in records and logs.")

    def offer(call_id: str, from_tag: str, sdp: bytes, options: MediaOptions) -> Deferred[bytes]:
        """
        Take an offer; ports are held from now on, until :meth:`delete`.

        :param call_id: unique among the calls of the engine; made by us, never by a peer.
        :param from_tag: of the side that makes the offer.
        :param sdp: as that side sent it.
        :param options: of the side that will get it.
        :return: fires with the offer for the other side.
        """

    def answer(
        call_id: str, from_tag: str, to_tag: str, sdp: bytes, options: MediaOptions
    ) -> Deferred[bytes]:
        """
        Take an answer to the last offer.

        :param from_tag: of the side that made the offer, as it was given there.
        :param to_tag: of the side that answers.
        :param options: of the side that made the offer and gets the answer.
        :return: fires with the answer for the side that made the offer.
        """

    def delete(call_id: str) -> Deferred[None]:
        """
        Let go of a call; each one ends with it, one whose offer has failed, too.

        It is harmless when the engine does not know the call. One that cannot be told forgets it by
        itself, some time after its media have ended.
        """

    def start_recording(call_id: str) -> Deferred[None]:
        """Record a call from now on, where the engine is set up to."""

    def stop_recording(call_id: str) -> Deferred[None]:
        """Stop recording a call."""

    def query(call_id: str) -> Deferred[EngineStatistics]:
        """Tell what has been carried of a call until now."""
