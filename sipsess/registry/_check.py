# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What a plugin must be before it may run: its interface, its name, its place, its declarations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from inspect import iscoroutinefunction
from typing import Any, NamedTuple

from zope.interface import Interface, exceptions
from zope.interface.verify import verifyObject

from sipsess.codec import Codec
from sipsess.core import KNOWN_METHODS
from sipsess.interfaces import (
    IApplication,
    ICallEvents,
    ICallRecords,
    IChooseApplication,
    ICodec,
    IConfigurable,
    IConfigurableApplication,
    IDeferOffer,
    IEndpointIdentifier,
    IForkPolicy,
    IHA1Store,
    IMediaAddress,
    IMediaPolicy,
    IMessageHook,
    IPrepareRequest,
    IRedirectPolicy,
    IRequestFailed,
    IRequestGate,
    ISDPHandler,
    ISessionCreate,
    ISessionSupplement,
    ITransfer,
    ITransferPolicy,
)
from sipsess.supplement import FIRST, LAST, MEDIA, REDIRECT

_MARKS = {REDIRECT: "REDIRECT", MEDIA: "MEDIA"}

_DECLARATIONS = ("allow", "option_tags", "accept", "recv_info")

#: Callbacks whose result cannot be awaited: somebody needs it at once.
_SYNCHRONOUS = {
    ISessionSupplement: (
        *("session_begin", "session_end", "session_destroy"),
        *("outgoing_request", "incoming_response", "outgoing_response"),
    ),
    ISDPHandler: (
        "handle_incoming_sdp_stream_offer",
        *("apply_negotiated_sdp_stream", "stop_stream", "destroy_stream"),
    ),
    IMessageHook: (
        *("incoming_request", "outgoing_request", "incoming_response", "outgoing_response"),
    ),
    ICallRecords: ("take_call_record",),
    IChooseApplication: ("choose_application",),
    IForkPolicy: ("follow_fork",),
    IMediaAddress: ("change_outgoing_sdp_stream_media_address",),
    IRedirectPolicy: ("redirect_requested",),
    IRequestFailed: ("request_failed",),
    IConfigurable: ("configure",),
    IConfigurableApplication: ("with_options",),
    ICallEvents: ("on_response", "on_provisional"),
    IMediaPolicy: ("make_media",),
    ITransferPolicy: ("transfer_requested",),
}

#: The attributes that say what may stand in a configuration.
_DATACLASSES = {IConfigurable: "configuration", IConfigurableApplication: "options"}


class Kind(NamedTuple):
    """One kind of plugin."""

    #: What people call it.
    word: str
    interface: type[Interface]
    #: Optional interfaces that such a plugin may provide as well.
    optional: tuple[type[Interface], ...]
    #: What is wrong with a plugin of this kind, beyond its interface and its name.
    check: Callable[[Any], Iterator[str]]


def check_plugin(plugin: Any, kind: Kind) -> Iterator[str]:
    """
    Yield what is wrong with a plugin, one sentence each.

    A plugin whose interface is broken is not looked at further: the rest would be guesswork.
    """
    broken = list(_broken_interface(plugin, kind))
    if broken:
        yield from broken
        return
    if not isinstance(plugin.name, str) or not plugin.name.isprintable() or not plugin.name:
        yield f"its name is {plugin.name!r}; a {kind.word} needs a name of printable letters"
    for interface in (kind.interface, *_optional(plugin, kind)):
        for callback in _SYNCHRONOUS.get(interface, ()):
            if iscoroutinefunction(getattr(plugin, callback)):
                yield f"{callback} is 'async def', but nothing waits for it; make it a plain 'def'"
    for interface, attribute in _DATACLASSES.items():
        if interface.providedBy(plugin) and not _is_dataclass(getattr(plugin, attribute)):
            yield f"{attribute} is {getattr(plugin, attribute)!r}; it is a dataclass"
    yield from kind.check(plugin)


def _is_dataclass(kind: object) -> bool:
    is_either = is_dataclass(kind) or hasattr(kind, "__attrs_attrs__")
    return isinstance(kind, type) and is_either


def _optional(plugin: Any, kind: Kind) -> list[type[Interface]]:
    optional: tuple[type[Interface], ...] = (*kind.optional, IConfigurable)
    return [item for item in optional if item.providedBy(plugin)]


def _broken_interface(plugin: Any, kind: Kind) -> Iterator[str]:
    for interface in (kind.interface, *_optional(plugin, kind)):
        try:
            verifyObject(interface, plugin)
        except exceptions.Invalid as error:
            for one in getattr(error, "exceptions", (error,)):
                yield _sentence(one)


def _sentence(error: exceptions.Invalid) -> str:
    """Return what ``verifyObject`` found, without the object and the path of the interface."""
    text = " ".join(str(error).split())
    _, separator, rest = text.partition(": ")
    text = rest if separator else text
    return text.replace("sipsess.interfaces.", "").removesuffix(".")


def _check_supplement(plugin: Any) -> Iterator[str]:
    yield from _check_priority(plugin.priority)
    if plugin.priority in _MARKS and not isinstance(plugin.priority, bool):
        mark = _MARKS[plugin.priority]
        yield (
            f"priority {plugin.priority} is the mark {mark}, and nobody's; "
            f"take a number below it to run before, or above it to run after"
        )
    if plugin.methods is not None:
        yield from _check_words("methods", plugin.methods)
    if isinstance(plugin.methods, frozenset):
        for method in sorted(map(str, plugin.methods)):
            if method not in KNOWN_METHODS and method.upper() in KNOWN_METHODS:
                yield f"methods are matched exactly: write {method.upper()!r}, not {method!r}"
    for attribute in _DECLARATIONS:
        yield from _check_words(attribute, getattr(plugin, attribute))


def _check_priority(priority: object) -> Iterator[str]:
    is_number = isinstance(priority, int) and not isinstance(priority, bool)
    if not is_number or not FIRST <= priority <= LAST:  # type: ignore[operator]
        yield f"priority is {priority!r}; it is a whole number from {FIRST} to {LAST}"


def _check_words(attribute: str, words: object) -> Iterator[str]:
    is_set = isinstance(words, frozenset)
    if not is_set or not all(isinstance(word, str) and word for word in words):  # type: ignore[attr-defined]
        yield f"{attribute} is {words!r}; write a frozenset of words: frozenset({{'INVITE'}})"


def _check_handler(plugin: Any) -> Iterator[str]:
    yield from _check_priority(plugin.priority)
    if not isinstance(plugin.media_type, str) or not plugin.media_type:
        yield f"media_type is {plugin.media_type!r}; it is 'audio', 'video', 'application'..."


def _check_application(plugin: Any) -> Iterator[str]:
    if not iscoroutinefunction(plugin.handle):
        yield "handle is a plain 'def'; it must be 'async def'"


def _check_nothing(plugin: Any) -> Iterator[str]:
    return iter(())


def _check_codec(plugin: Any) -> Iterator[str]:
    if not isinstance(plugin, Codec):
        yield "it is no instance of sipsess.codec.Codec, or of a class below it"
        return
    number = plugin.payload_type
    if number is not None and number not in range(128):
        yield f"payload_type is {number!r}; it is a static one of RFC 3551, or None"
    if plugin.clock_rate % 50 or plugin.sample_rate % 50:
        yield "20 ms are no whole number of its samples, or of its RTP clock"


SUPPLEMENT = Kind(
    "supplement",
    ISessionSupplement,
    (
        ICallRecords,
        IChooseApplication,
        IForkPolicy,
        IPrepareRequest,
        IRedirectPolicy,
        IRequestFailed,
        ISessionCreate,
        ITransfer,
    ),
    _check_supplement,
)
HANDLER = Kind("SDP handler", ISDPHandler, (IDeferOffer, IMediaAddress), _check_handler)
APPLICATION = Kind(
    "application",
    IApplication,
    (IConfigurableApplication, ICallEvents, IMediaPolicy, ITransferPolicy),
    _check_application,
)
GATE = Kind("gate", IRequestGate, (), _check_nothing)
HOOK = Kind("message hook", IMessageHook, (), _check_nothing)
IDENTIFIER = Kind("endpoint identifier", IEndpointIdentifier, (), _check_nothing)
STORE = Kind("HA1 store", IHA1Store, (), _check_nothing)
CODEC = Kind("codec", ICodec, (), _check_codec)

#: Every kind, in the order in which people are told about them.
KINDS = (SUPPLEMENT, HANDLER, APPLICATION, CODEC, GATE, HOOK, IDENTIFIER, STORE)
