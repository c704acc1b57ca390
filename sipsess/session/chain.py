# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The chain: which supplement is called for which message, computed once per set of supplements.

A callback that a supplement does not override is not in the chain, so it costs nothing. The links
of a method and direction are looked up in a dict whose entries are made at first use; the number
of entries is bounded, as the methods come from the wire.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from sipsess.dialog.reliable import OPTION_TAG
from sipsess.errors import PluginError
from sipsess.interfaces import (
    IForkPolicy,
    IPrepareRequest,
    IRequestFailed,
    ISessionCreate,
    ISessionSupplement,
)
from sipsess.supplement import MEDIA, Reject, Retry, SessionSupplement, Verdict

from .reason import SessionEnded
from .waiting import dispose

if TYPE_CHECKING:
    from sipsess.errors import SIPError
    from sipsess.message import Request, Response

    from .session import Session

#: What the session itself answers, whatever the supplements are.
CORE_METHODS = frozenset({"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "PRACK", "UPDATE"})
#: The extensions that the session itself supports.
CORE_OPTION_TAGS = frozenset({OPTION_TAG})
#: Methods that may bring an offer or answer for the SDP handlers to see.
_WITH_MEDIA = frozenset({"INVITE", "PRACK", "UPDATE"})
#: The body that the session itself reads.
CORE_BODIES = frozenset({"application/sdp"})
#: Methods that a chain remembers; one that is not remembered is only slower.
MAX_METHODS = 64


class Link(NamedTuple):
    """One supplement's callback."""

    name: str
    callback: Callable[..., Any]


class Links(NamedTuple):
    """The links of one callback and method, in order."""

    #: Those below MEDIA.
    before_media: tuple[Link, ...]
    #: Those above MEDIA.
    after_media: tuple[Link, ...]
    #: All of them.
    every: tuple[Link, ...]
    #: All of them, and the SDP handlers at the mark when the method may bring an offer.
    with_media: tuple[Link, ...]


class Chain:
    """
    An ordered set of supplements; immutable, shared by the sessions that began with it.

    :param supplements: in any order; names are unique (the registry checks).
    """

    __slots__ = (
        "_failed",
        "_fork",
        "_lifecycle",
        "_links",
        "accept",
        "accept_text",
        "allow",
        "allow_text",
        "create",
        "option_tags",
        "option_tags_text",
        "prepare",
        "recv_info",
        "recv_info_text",
        "supplements",
    )

    def __init__(self, supplements: Iterable[ISessionSupplement] = ()) -> None:
        ordered = sorted(supplements, key=lambda item: (item.priority, item.name))
        self.supplements: tuple[ISessionSupplement, ...] = tuple(ordered)
        self._links: dict[tuple[str, str], Links] = {}
        #: Computed from what the supplements declare (Allow, Supported, Accept, Recv-Info).
        self.allow = CORE_METHODS.union(*(item.allow for item in ordered))
        self.option_tags: frozenset[str] = CORE_OPTION_TAGS.union(
            *(item.option_tags for item in ordered)
        )
        self.accept = CORE_BODIES.union(*(item.accept for item in ordered))
        self.recv_info: frozenset[str] = frozenset().union(*(item.recv_info for item in ordered))
        #: The same as header values; of packages ``nil`` says that there is none (RFC 6086 5.2.2).
        self.allow_text = _join(self.allow)
        self.option_tags_text = _join(self.option_tags)
        self.accept_text = _join(self.accept)
        self.recv_info_text = _join(self.recv_info) or "nil"
        self._lifecycle = {
            callback: self._find_all(callback)
            for callback in ("session_begin", "session_end", "session_destroy")
        }
        self.create = tuple(
            Link(item.name, item.session_create)
            for item in ordered
            if ISessionCreate.providedBy(item)
        )
        self.prepare = tuple(
            Link(item.name, item.prepare_request)
            for item in ordered
            if IPrepareRequest.providedBy(item)
        )
        self._failed = tuple(item for item in ordered if IRequestFailed.providedBy(item))
        self._fork = tuple(
            Link(item.name, item.follow_fork) for item in ordered if IForkPolicy.providedBy(item)
        )

    def links(self, callback: str, method: str) -> Links:
        """
        Return who is called.

        :param callback: ``"incoming_request"`` and so on.
        :param method: of the request, or of the response's CSeq.
        """
        key = (callback, method)
        links = self._links.get(key)
        if links is None:
            links = self._find(callback, method)
            if len(self._links) < MAX_METHODS:
                self._links[key] = links
        return links

    def incoming(self, method: str) -> tuple[Link, ...]:
        """Return the whole way of an incoming request: supplements, media, supplements."""
        return self.links("incoming_request", method).with_media

    def observers(self, method: str) -> tuple[Link, ...]:
        """Return who sees a request that cannot be refused (ACK, CANCEL)."""
        return self.links("incoming_request", method).every

    def announce(self, message: Request | Response) -> None:
        """Say in an INVITE, or a 2xx to one, what this side supports."""
        message.headers.set("Allow", self.allow_text)
        if self.option_tags:
            message.headers.set("Supported", self.option_tags_text)
        if self.recv_info:
            # RFC 6086 5.2.1: in every INVITE, re-INVITE and 2xx to one.
            message.headers.set("Recv-Info", self.recv_info_text)

    # -- running ---------------------------------------------------------------------------

    def tell(self, session: Session, callback: str) -> None:
        """Call each supplement's ``session_begin``, ``session_end`` or ``session_destroy``."""
        for link in self._lifecycle[callback]:
            try:
                _check_synchronous(link.callback(session))
            except Exception as error:
                session.report.plugin_failed(link.name, callback, error)

    async def ask(self, session: Session, callback: str, *args: Any) -> None:
        """
        Call each supplement's ``session_create`` or ``prepare_request``, one after the other.

        :raises Reject: when one says no.
        :raises PluginError: when one fails; it is logged.
        """
        for link in self.create if callback == "session_create" else self.prepare:
            try:
                result = link.callback(session, *args)
                if result is not None:
                    await session.wait(result)
            except Reject as reject:
                session.note("rejected", f"{reject} by {link.name}")
                raise
            except Exception as error:
                if session.is_over:
                    raise SessionEnded(session.reason_or_unknown()) from error
                session.report.plugin_failed(link.name, callback, error)
                raise PluginError(f"{link.name} failed in {callback}: {error!r}") from error

    def run_outgoing_request(self, session: Session, request: Request) -> None:
        """Show a request of ours to the supplements, right before it is serialised."""
        self._show(session, "outgoing_request", request.method, request)

    def run_outgoing_response(self, session: Session, method: str, response: Response) -> None:
        """Show a response of ours to the supplements, right before it is serialised."""
        self._show(session, "outgoing_response", method, response)

    def _show(
        self, session: Session, callback: str, method: str, message: Request | Response
    ) -> None:
        if session.is_finished:
            return
        for link in self.links(callback, method).every:
            try:
                result = link.callback(session, message)
                if result is not None:
                    _check_synchronous(result)
            except Exception as error:
                session.report.plugin_failed(link.name, callback, error)

    def run_incoming_response(
        self, session: Session, links: tuple[Link, ...], response: Response
    ) -> Retry | None:
        """Show a response of the peer to some supplements; stop at the first Retry."""
        for link in () if session.is_finished else links:
            try:
                verdict = link.callback(session, response)
            except Exception as error:
                session.report.plugin_failed(link.name, "incoming_response", error)
                continue
            if isinstance(verdict, Retry) and response.status >= 300:
                session.report.verdict(link.name, "incoming_response", "retry")
                return verdict
            if verdict is not None and verdict is not Verdict.CONTINUE:
                dispose(verdict)
                wrong = TypeError(f"{verdict!r} is no verdict of a {response.status}")
                session.report.plugin_failed(link.name, "incoming_response", wrong)
        return None

    def run_request_failed(
        self, session: Session, request: Request, outcome: Response | SIPError
    ) -> Retry | None:
        """Ask whether a request that came to nothing is sent again; stop at the first Retry."""
        for item in self._failed:
            if item.methods is not None and request.method not in item.methods:
                continue
            try:
                verdict = item.request_failed(session, request, outcome)
                _check_retry(verdict)
            except Exception as error:
                session.report.plugin_failed(item.name, "request_failed", error)
                continue
            if verdict is not None:
                session.report.verdict(item.name, "request_failed", "retry")
                return verdict
        return None

    def follows_fork(self, session: Session, response: Response) -> bool:
        """Ask whether the early media of another fork are heard from now on."""
        for link in self._fork:
            try:
                if not link.callback(session, response):
                    session.note("fork not followed", f"{response.to_tag} by {link.name}")
                    return False
            except Exception as error:
                session.report.plugin_failed(link.name, "follow_fork", error)
        return True

    def _find(self, callback: str, method: str) -> Links:
        before: list[Link] = []
        after: list[Link] = []
        for item in self.supplements:
            matches = item.methods is None or method in item.methods
            if matches and _overrides(item, callback):
                link = Link(item.name, getattr(item, callback))
                (before if item.priority < MEDIA else after).append(link)
        media = (MEDIA_LINK,) if method in _WITH_MEDIA else ()
        return Links(tuple(before), tuple(after), (*before, *after), (*before, *media, *after))

    def _find_all(self, callback: str) -> tuple[Link, ...]:
        return tuple(
            Link(item.name, getattr(item, callback))
            for item in self.supplements
            if _overrides(item, callback)
        )


def _take_offer(session: Session, request: Request) -> Awaitable[None] | None:
    return session.offers.take(request)


#: The mark at which the SDP handlers see the offer.
MEDIA_LINK = Link("media", _take_offer)


def _check_synchronous(result: object) -> None:
    """Refuse what a callback gives that is not waited for."""
    if isinstance(result, Awaitable):
        dispose(result)
        raise TypeError("this callback is not waited for: no coroutine, no Deferred")


def _check_retry(verdict: object) -> None:
    """Refuse what is neither a Retry nor nothing."""
    if verdict is not None and not isinstance(verdict, Retry):
        dispose(verdict)
        raise TypeError(f"{verdict!r} is no Retry")


def _join(values: frozenset[str]) -> str:
    return ", ".join(sorted(values))


def _overrides(item: ISessionSupplement, callback: str) -> bool:
    """Tell whether a supplement does something in ``callback``."""
    own = getattr(type(item), callback, None)
    return own is not getattr(SessionSupplement, callback) or callback in vars(item)
