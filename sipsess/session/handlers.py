# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The SDP handlers of a server: in which order they are asked, what else they can do, and how they are
called.

Every call is guarded: an exception of a handler is logged with its name, and fails the exchange,
never the server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError

from sipsess.errors import PluginError
from sipsess.failures import CANCELLED
from sipsess.interfaces import IDeferOffer, IMediaAddress, ISDPHandler
from sipsess.sdp import MediaDescription, SessionDescription
from sipsess.sdphandler import NegotiationFailed, StreamVerdict

from .stream import SessionStream

if TYPE_CHECKING:
    from .session import Session

_CLAIM = "handle_incoming_sdp_stream_offer"
_APPLY = "apply_negotiated_sdp_stream"
_STOP = "stop_stream"
_DESTROY = "destroy_stream"
_DEFER = "defer_incoming_sdp_stream"
_ADDRESS = "change_outgoing_sdp_stream_media_address"


#: What the Warning header of a refusal says (:rfc:`3261#section-20.43`): incompatible media format.
WARN_FORMAT = 305


class Handlers(dict[str, tuple[ISDPHandler, ...]]):
    """
    Media type to its handlers, in the order in which they are asked; it does not change.

    :param handlers: in any order.
    """

    __slots__ = ("_addressing", "_deferring")

    def __init__(self, handlers: Iterable[ISDPHandler]) -> None:
        super().__init__()
        ordered = sorted(handlers, key=lambda item: (item.priority, item.name))
        for handler in ordered:
            self[handler.media_type] = (*self.get(handler.media_type, ()), handler)
        self._addressing = [item for item in ordered if IMediaAddress.providedBy(item)]
        self._deferring = [item for item in ordered if IDeferOffer.providedBy(item)]

    def call(self, session: Session, handler: ISDPHandler, callback: str, *args: Any) -> Any:
        """
        Call a handler and return what it returns.

        :raises NegotiationFailed: when the handler raises it.
        :raises PluginError: when it raises anything else.
        """
        try:
            return getattr(handler, callback)(session, *args)
        except NegotiationFailed:
            raise
        except Exception as error:
            raise self.failed(session, handler, callback, error) from error

    def claim(self, session: Session, stream: SessionStream, sdp: SessionDescription) -> bool:
        """
        Ask a stream's handler whether the stream is its own.

        :raises NegotiationFailed: when it refuses the whole offer.
        """
        verdict = self.call(session, stream.handler, _CLAIM, stream, sdp)
        if verdict not in (StreamVerdict.HANDLED, StreamVerdict.NOT_HANDLED):
            wrong = TypeError(f"{verdict!r} is no StreamVerdict")
            raise self.failed(session, stream.handler, _CLAIM, wrong)
        return verdict is StreamVerdict.HANDLED

    def apply(self, session: Session, stream: SessionStream) -> None:
        """Let media flow as it was agreed; when that fails, the other streams still work."""
        try:
            self.call(session, stream.handler, _APPLY, stream)
        except NegotiationFailed as failure:
            # Too late to refuse, and the stream's owner has spoken.
            session.note("stream unusable", f"{stream.handler.name}: {failure.text}")
        except PluginError:
            # Logged and counted.
            pass

    def stop(self, session: Session, stream: SessionStream) -> None:
        """Stop a stream, once."""
        if not stream.is_stopped:
            stream.is_stopped = True
            self._call_quietly(session, stream, _STOP)

    def destroy(self, session: Session, stream: SessionStream) -> None:
        """Destroy a stream and its cookies, once; stop it before when it was in force."""
        if stream.is_destroyed:
            return
        stream.is_destroyed = True
        if stream.is_active:
            self.stop(session, stream)
        self._call_quietly(session, stream, _DESTROY)
        stream.cookies.destroy_all()

    def _call_quietly(self, session: Session, stream: SessionStream, callback: str) -> None:
        try:
            self.call(session, stream.handler, callback, stream)
        except (NegotiationFailed, PluginError):
            # Logged and counted; there is nothing left to refuse.
            pass

    async def await_from(
        self, session: Session, handler: ISDPHandler, callback: str, result: Awaitable[Any]
    ) -> Any:
        """
        Wait for what a handler returned.

        :raises NegotiationFailed: when the handler refuses after all.
        :raises PluginError: when it fails.
        """
        try:
            return await result
        except NegotiationFailed:
            raise
        except CANCELLED:
            raise CancelledError from None
        except Exception as error:
            raise self.failed(session, handler, callback, error) from error

    def failed(
        self, session: Session, handler: ISDPHandler, callback: str, error: Exception
    ) -> PluginError:
        """Report what a handler did wrong, and return the error to raise."""
        session.report.plugin_failed(f"SDP handler {handler.name}", callback, error)
        return PluginError(f"SDP handler {handler.name} failed in {callback}: {error!r}")

    def defer(
        self,
        session: Session,
        streams: Sequence[SessionStream | None],
        sdp: SessionDescription,
    ) -> list[tuple[ISDPHandler, Awaitable[Any]]]:
        """
        Return who wants a re-offer to wait, and for what: mostly nobody.

        :param streams: those in force.
        :raises NegotiationFailed: when a handler refuses it at once.
        """
        waits: list[tuple[ISDPHandler, Awaitable[Any]]] = []
        for stream, remote in zip(streams, sdp.media, strict=False):
            if stream is None or remote.is_declined or stream.handler not in self._deferring:
                continue
            handler = stream.handler
            wait = self.call(session, handler, _DEFER, stream, sdp)
            if isinstance(wait, Awaitable):
                waits.append((handler, wait))
            elif wait is not None:
                wrong = TypeError(f"{wait!r} cannot be waited for")
                raise self.failed(session, handler, _DEFER, wrong)
        return waits

    async def deferred(
        self, session: Session, waits: Sequence[tuple[ISDPHandler, Awaitable[Any]]]
    ) -> None:
        """
        Wait for what :meth:`defer` returned.

        :raises NegotiationFailed: when a handler refuses the offer.
        """
        for handler, wait in waits:
            await self.await_from(session, handler, _DEFER, wait)

    def fix_address(
        self, session: Session, stream: SessionStream, media: MediaDescription
    ) -> MediaDescription:
        """Ask the handlers of a media type for the address that the peer shall send to."""
        for handler in self._addressing:
            if handler.media_type != stream.media_type:
                continue
            fixed = self.call(session, handler, _ADDRESS, stream, media)
            if fixed is not None and not isinstance(fixed, MediaDescription):
                wrong = TypeError(f"{fixed!r} is no m-line")
                raise self.failed(session, handler, _ADDRESS, wrong)
            media = fixed or media
        return media


def order_handlers(handlers: Sequence[ISDPHandler]) -> Handlers:
    """Return the handlers by media type, each tuple in the order in which they are asked."""
    return Handlers(handlers)


def nothing_claimed(sdp: SessionDescription, refusals: Iterable[str]) -> NegotiationFailed:
    """
    Return the refusal of an offer of which no handler takes anything.

    :param refusals: why not, as far as the handlers have said; the same reasons count once.
    """
    reasons = "; ".join(dict.fromkeys(filter(None, refusals)))
    if reasons:
        return NegotiationFailed(reasons, WARN_FORMAT)
    types = ", ".join(sorted({media.media for media in sdp.media}))
    return NegotiationFailed(f"no handler for the offered media: {types}")
