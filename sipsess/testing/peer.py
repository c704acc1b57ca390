# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A SIP peer that does what a test says, and nothing else.

It answers nothing by itself, sends nothing again and acknowledges nothing: each message is a line
of the test. ``expect`` lets virtual time pass until a message is there::

    peer = ScriptedPeer(net.host("192.0.2.9"))
    peer.send(peer.invite("sip:hello@192.0.2.1"))
    peer.expect(180)
    answer = peer.expect(200)
    peer.ack(answer)
    net.run_for(5)
    peer.bye(answer)
    peer.expect(200)

``invite`` and ``request`` only build, so that a test can spoil the message before ``send``;
``reply``, ``ack``, ``cancel`` and ``bye`` build and send.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import TypeAlias, overload

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import DatagramProtocol

from sipsess.flow import Address, format_address, format_host
from sipsess.ids import IdSource
from sipsess.message import (
    SIPURI,
    Request,
    Response,
    build_ack,
    build_cancel,
    build_request,
    build_response,
    parse,
    parse_uri,
)
from sipsess.testing.host import VirtualHost

Message: TypeAlias = Request | Response

#: Headers for a message: names to values, or pairs when a name comes more than once.
HeaderItems: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

#: Requests and responses that carry our Contact because they make or refresh a dialog.
_WITH_CONTACT = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"})


class ScriptedPeer(DatagramProtocol):
    """
    A scripted SIP user agent on one UDP port of a virtual host.

    :param host: the machine it runs on.
    :param port: its port; 0 takes a free one.
    :param user: the user part of its URI; the host's name when it has one.
    """

    noisy = False

    def __init__(self, host: VirtualHost, port: int = 5060, user: str | None = None) -> None:
        self.host = host
        self.network = host.network
        self.user = user or (host.name if host.name.isalnum() else "peer")
        #: Each message that came, copies too, in order.
        self.received: list[Message] = []
        #: Where requests go whose URI names no IP address: the last one that this peer talked with.
        self.remote: Address | None = None
        self._unread: list[Message] = []
        self._seen: set[tuple[Address, bytes]] = set()
        self._sources: dict[int, Address] = {}
        self._sent: dict[tuple[str, int], tuple[Request, Address]] = {}
        self._cseq: dict[str, int] = {}
        self._tags: dict[str, str] = {}
        self._sdp_text = ""
        self._sdp_version = 0
        #: The address that its messages name.
        self.address: Address = (host.addresses[0], port)
        wildcard = "::" if ":" in host.addresses[0] else ""
        self._port = host.listenUDP(port, self, wildcard, 65535)
        self.address = (host.addresses[0], self._port.number)
        self._ids = IdSource(random.Random(str(self.address)))

    def __repr__(self) -> str:
        return f"<ScriptedPeer {self.sent_by}>"

    @property
    def sent_by(self) -> str:
        """``host:port``, as Via and URIs write it."""
        return format_address(self.address)

    @property
    def uri(self) -> str:
        """The peer's own URI: its From and its Contact."""
        return f"sip:{self.user}@{self.sent_by}"

    def close(self) -> Deferred[None]:
        """Close the port; the Deferred fires when it is closed."""
        return self._port.stopListening() or succeed(None)

    # -- building

    def request(
        self,
        method: str,
        uri: str,
        *,
        from_: str | None = None,
        to: str | None = None,
        call_id: str | None = None,
        cseq: int | None = None,
        branch: str | None = None,
        route_set: Iterable[str] = (),
        headers: HeaderItems = (),
        body: str | bytes = b"",
        content_type: str | None = None,
    ) -> Request:
        """
        Build a request; :meth:`send` sends it.

        What is not given gets a sensible value: a new Call-ID with From tag, the next CSeq number
        of the Call-ID, a Via with a new branch and ``rport``, and a Contact where one is due.

        :param headers: set, in place of ours when we have that one.
        :param content_type: ``application/sdp`` when the body looks like it and nothing is said.
        """
        call_id = call_id or self._ids.call_id()
        number = cseq if cseq is not None else self._cseq.get(call_id, 0) + 1
        if method not in ("ACK", "CANCEL"):
            self._cseq[call_id] = number
        message = build_request(
            method,
            uri,
            via=f"SIP/2.0/UDP {self.sent_by};branch={branch or self._ids.branch()};rport",
            from_=from_ or f"<{self.uri}>;tag={self._tag(call_id)}",
            to=to or f"<{uri}>",
            call_id=call_id,
            cseq=number,
            route_set=tuple(route_set),
        )
        if method in _WITH_CONTACT:
            message.headers.set("Contact", f"<{self.uri}>")
        _finish(message, headers, body, content_type)
        return message

    def invite(
        self,
        uri: str,
        *,
        from_: str | None = None,
        to: str | None = None,
        call_id: str | None = None,
        cseq: int | None = None,
        branch: str | None = None,
        headers: HeaderItems = (),
        body: str | bytes | None = None,
        content_type: str | None = None,
    ) -> Request:
        """
        Build an INVITE, as :meth:`request` does.

        :param body: :meth:`sdp` when ``None``; ``b""`` sends no offer.
        """
        return self.request(
            "INVITE",
            uri,
            from_=from_,
            to=to,
            call_id=call_id,
            cseq=cseq,
            branch=branch,
            headers=headers,
            body=self.sdp() if body is None else body,
            content_type=content_type,
        )

    def request_within(
        self,
        message: Message,
        method: str,
        *,
        cseq: int | None = None,
        headers: HeaderItems = (),
        body: str | bytes = b"",
        content_type: str | None = None,
    ) -> Request:
        """
        Build a request within a dialog (:rfc:`3261#section-12.2.1.1`).

        :param message: what made the dialog and came from the other side: the response to our
            INVITE, or the INVITE that we answered.
        """
        headers_in = message.headers
        local, remote = _text(headers_in.get("From")), _text(headers_in.get("To"))
        routes = [str(route) for route in message.record_routes]
        if isinstance(message, Request):
            local, remote = f"{remote};tag={self._tag(message.call_id)}", local
            if message.to_tag is not None:
                local = _text(headers_in.get("To"))
        else:
            routes.reverse()
        contact = message.contact
        return self.request(
            method,
            contact.uri if contact is not None else self._uri_of(message),
            from_=local,
            to=remote,
            call_id=message.call_id,
            cseq=cseq,
            route_set=routes,
            headers=headers,
            body=body,
            content_type=content_type,
        )

    def sdp(
        self,
        port: int = 40000,
        *,
        direction: str = "sendrecv",
        formats: str = "0 101",
        extra: Iterable[str] = (),
    ) -> str:
        """
        Return an SDP with one audio stream: PCMU and telephone-event.

        The version in ``o=`` goes up when the text differs from the last one
        (:rfc:`3264#section-8`).

        :param port: 0 declines the stream.
        :param formats: payload types of ``m=``.
        :param extra: more lines of the stream, such as ``"a=mid:1"``.
        """
        host = self.address[0]
        family = "IP6" if ":" in host else "IP4"
        lines = [
            "s=-",
            f"c=IN {family} {host}",
            "t=0 0",
            f"m=audio {port} RTP/AVP {formats}",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-15",
            "a=ptime:20",
            f"a={direction}",
            *extra,
        ]
        text = "\r\n".join(lines) + "\r\n"
        if text != self._sdp_text:
            self._sdp_text = text
            self._sdp_version += 1
        return f"v=0\r\no={self.user} 1 {self._sdp_version} IN {family} {host}\r\n{text}"

    # -- sending

    def send(self, message: Message | bytes, to: Address | None = None) -> None:
        """
        Send a message, or bytes as they are.

        :param to: an address; when ``None``, the address that the first Route or the Request-URI
            names, or the one that the peer last talked with.
        :raises ValueError: when that is not known.
        """
        target = to or self._target(message)
        self.remote = target
        if isinstance(message, bytes):
            self._port.write(message, target)
            return
        if isinstance(message, Request):
            self._sent[message.call_id, message.cseq.number] = (message, target)
        self._port.write(message.to_bytes(), target)

    def reply(
        self,
        request: Request,
        status: int,
        reason: str | None = None,
        *,
        headers: HeaderItems = (),
        body: str | bytes | None = None,
        content_type: str | None = None,
        to_tag: str | None = None,
    ) -> Response:
        """
        Answer a request: build the response and send it to where the request came from.

        :param body: when ``None``, :meth:`sdp` in a 2xx to INVITE, else nothing.
        :param to_tag: the peer's own tag of that Call-ID when ``None``.
        """
        tag = to_tag or (self._tag(request.call_id) if status > 100 else None)
        response = build_response(request, status, reason, to_tag=tag)
        is_answer = request.method == "INVITE" and 200 <= status < 300
        if request.method in _WITH_CONTACT and 100 < status < 300:
            response.headers.set("Contact", f"<{self.uri}>")
        if body is None:
            body = self.sdp() if is_answer else b""
        _finish(response, headers, body, content_type)
        self.send(response, self._sources.get(id(request)))
        return response

    def ack(
        self, response: Response, *, headers: HeaderItems = (), body: str | bytes = b""
    ) -> Request:
        """
        Acknowledge a final response to our INVITE: build the ACK and send it.

        A 2xx gets a request of its own to the remote target (:rfc:`3261#section-13.2.2.4`), any
        other the transaction's ACK on the way of the INVITE (:rfc:`3261#section-17.1.1.3`).

        :raises KeyError: when this peer did not send that INVITE.
        """
        invite, target = self._sent[response.call_id, response.cseq.number]
        if response.status < 300:
            number = response.cseq.number
            ack = self.request_within(response, "ACK", cseq=number, headers=headers, body=body)
            self._port.write(ack.to_bytes(), self._target(ack))
        else:
            ack = build_ack(invite, response)
            _finish(ack, headers, body, None)
            self._port.write(ack.to_bytes(), target)
        return ack

    def cancel(self, invite: Request, *, headers: HeaderItems = ()) -> Request:
        """Cancel an INVITE that this peer sent (:rfc:`3261#section-9.1`)."""
        _, target = self._sent[invite.call_id, invite.cseq.number]
        request = build_cancel(invite)
        _finish(request, headers, b"", None)
        self._port.write(request.to_bytes(), target)
        return request

    def bye(self, message: Message, *, headers: HeaderItems = ()) -> Request:
        """
        End a dialog: build the BYE and send it.

        :param message: as for :meth:`request_within`.
        """
        request = self.request_within(message, "BYE", headers=headers)
        self.send(request)
        return request

    # -- receiving

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """
        Take a message; copies of one that came already are received, but never expected again.

        :raises MessageError: when it is not SIP, so that ``run_for`` fails.
        """
        if not datagram.strip(b"\r\n\0"):
            return
        message = parse(datagram)
        message.validate()
        self.received.append(message)
        self._sources[id(message)] = addr
        self.remote = addr
        if (addr, datagram) not in self._seen:
            self._seen.add((addr, datagram))
            self._unread.append(message)

    @overload
    def expect(self, what: str, within: float = ...) -> Request: ...
    @overload
    def expect(self, what: int, within: float = ...) -> Response: ...
    @overload
    def expect(self, what: Callable[[Message], object], within: float = ...) -> Message: ...
    def expect(self, what: str | int | Callable[[Message], object], within: float = 5.0) -> Message:
        """
        Let time pass until a message is there, and take it.

        Messages that do not match stay for a later ``expect``; copies of one that came already do
        not count.

        :param what: a method, a status, or a predicate of a message.
        :param within: seconds of virtual time to wait at most.
        :raises AssertionError: when it does not come; the text says what came instead, with the
            ladder.
        """
        self.network.wait_for(lambda: self._find(what) is not None, within)
        found = self._find(what)
        if found is None:
            got = ", ".join(_brief(message) for message in self._unread) or "nothing"
            raise AssertionError(
                f"{self.sent_by} waited {within:g} s for {_name(what)}; unread: {got}\n"
                + self.network.ladder()
            )
        self._unread.remove(found)
        return found

    def expect_silence(self, seconds: float) -> None:
        """
        Let time pass in which nothing new may come; copies of old messages may.

        :raises AssertionError: when something is unread at the end.
        """
        self.network.run_for(seconds)
        if self._unread:
            got = ", ".join(_brief(message) for message in self._unread)
            raise AssertionError(f"{self.sent_by} got {got}\n{self.network.ladder()}")

    def count(self, what: str | int | Callable[[Message], object]) -> int:
        """Return how many such messages came, copies too."""
        return sum(_matches(message, what) for message in self.received)

    # -- inside

    def _find(self, what: str | int | Callable[[Message], object]) -> Message | None:
        return next((message for message in self._unread if _matches(message, what)), None)

    def _tag(self, call_id: str) -> str:
        """Return our tag in the dialogs of a Call-ID."""
        return self._tags.setdefault(call_id, self._ids.tag())

    def _target(self, message: Message | bytes) -> Address:
        if isinstance(message, Request):
            routes = message.routes
            uri = parse_uri(routes[0].uri if routes else message.uri)
            host = uri.host.strip("[]") if isinstance(uri, SIPURI) else ""
            if isinstance(uri, SIPURI) and _is_ip(host):
                return host, uri.port or 5060
        if self.remote is None:
            raise ValueError("send() needs an address: this peer has not talked with anyone yet")
        return self.remote

    def _uri_of(self, message: Message) -> str:
        """Return a remote target for a message without Contact: where it came from."""
        host, port = self._sources[id(message)]
        return f"sip:{format_host(host)}:{port}"


def _finish(
    message: Message, headers: HeaderItems, body: str | bytes, content_type: str | None
) -> None:
    """Put the test's headers and body into a message."""
    content = body.encode() if isinstance(body, str) else body
    if content:
        guess = "application/sdp" if content.startswith(b"v=0") else "text/plain"
        message.set_body(content_type or guess, content)
    if isinstance(headers, Mapping):
        for name, value in headers.items():
            message.headers.set(name, value)
        return
    for name, value in headers:
        message.headers.add(name, value)


def _text(value: str | None) -> str:
    if value is None:
        raise ValueError("the message has no From or no To")
    return value


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _matches(message: Message, what: str | int | Callable[[Message], object]) -> bool:
    if isinstance(what, str):
        return isinstance(message, Request) and message.method == what
    if isinstance(what, int):
        return isinstance(message, Response) and message.status == what
    return bool(what(message))


def _name(what: str | int | Callable[[Message], object]) -> str:
    return str(what) if isinstance(what, str | int) else "a message that the predicate takes"


def _brief(message: Message) -> str:
    if isinstance(message, Request):
        return message.method
    return f"{message.status} {message.reason}"
