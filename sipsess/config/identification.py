# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Who is at the other end: the gate that the endpoints, ``anonymous`` and ``[digest]`` describe.

Without anything that tells endpoints apart there is no such gate, and everybody is ``anonymous``,
as without a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.cred.portal import Portal

from sipsess.endpoint import (
    ANONYMOUS,
    AnonymousGate,
    DigestGate,
    DigestIdentifier,
    EndpointRealm,
    HA1Checker,
    HeaderIdentifier,
    HtdigestFile,
    IdentifyGate,
    MemoryStore,
    NetworkIdentifier,
    UserIdentifier,
)
from sipsess.endpoint.checkers import DEFAULT_ALGORITHMS, common_algorithms
from sipsess.errors import LocalError
from sipsess.interfaces import IEndpointIdentifier, IRequestGate
from sipsess.message.digest import ALGORITHMS

from .mistakes import Path as Place
from .mistakes import suggest
from .model import Config, DigestTable
from .reading import Loaded

#: Notes a mistake.
Note = Callable[[Place, str], object]


def needs_identification(config: Config) -> bool:
    """Tell whether something in a configuration tells peers apart."""
    return (
        config.anonymous is not None
        or config.digest is not None
        or any(endpoint.is_told_apart for endpoint in config.endpoints)
    )


def plan_gate(
    loaded: Loaded, identifiers: Sequence[IEndpointIdentifier], note: Note
) -> Callable[[], IRequestGate]:
    """
    Return what makes the gate of a configuration; plugins hear of the endpoints not before that.

    :param identifiers: of plugins.
    :param note: is told each mistake.
    """
    config = loaded.config
    mistakes = [*_check_endpoints(loaded), *_check_identifiers(loaded, identifiers)]
    digest = None
    if config.digest is not None:
        digest = _make_digest_gate(loaded, config.digest, mistakes)
    for mistake in mistakes:
        note(*mistake)
    if not needs_identification(config):
        nobody = [item for item in config.endpoints if item.name == ANONYMOUS.name]
        return partial(AnonymousGate, *nobody)
    return lambda: IdentifyGate(
        config.endpoints,
        _choose_identifiers(config, identifiers),
        digest=digest,
        # Who is refused at once could never prove to be somebody.
        anonymous=config.anonymous or ("refuse" if digest is None else "challenge"),
    )


def _check_endpoints(loaded: Loaded) -> Iterator[tuple[Place, str]]:
    """Yield each endpoint that anybody could have, or that nobody could prove to be."""
    for number, endpoint in loaded.enumerate("endpoints"):
        if endpoint.name == ANONYMOUS.name and endpoint.is_told_apart:
            text = "'anonymous' is who is nobody: nothing can tell that it is"
            yield ("endpoints", number), text
        if endpoint.is_claimed:
            text = (
                "whoever writes one of these into his From would be this endpoint; give it "
                "networks, headers or digest_users as well"
            )
            yield ("endpoints", number, "users"), text
        if endpoint.digest_users and _has_no_digest(loaded):
            text = "nobody can prove to be one of these: there is no table [digest]"
            yield ("endpoints", number, "digest_users"), text


def _has_no_digest(loaded: Loaded) -> bool:
    """Tell whether there is no table [digest], not even a broken one."""
    return loaded.config.digest is None and "digest" not in loaded.broken


def _check_identifiers(
    loaded: Loaded, identifiers: Sequence[IEndpointIdentifier]
) -> Iterator[tuple[Place, str]]:
    config = loaded.config
    known = _identifiers_by_name(config, identifiers)
    for number, name in enumerate(config.identifiers):
        if name not in known:
            yield ("identifiers", number), f"there is no {name!r}{suggest(name, known)}"
    if config.anonymous == "challenge" and _has_no_digest(loaded):
        yield ("anonymous",), "nobody can be asked for a proof: there is no table [digest]"


def _identifiers_by_name(
    config: Config, identifiers: Sequence[IEndpointIdentifier]
) -> Mapping[str, Callable[[], IEndpointIdentifier]]:
    """Return who makes each identifier; those of plugins are there already."""
    digest = config.digest
    found: dict[str, Callable[[], IEndpointIdentifier]] = {
        "network": NetworkIdentifier,
        "user": UserIdentifier,
        "header": HeaderIdentifier,
        "digest": lambda: DigestIdentifier("" if digest is None else digest.realm),
    }
    for identifier in identifiers:
        found[identifier.name] = lambda identifier=identifier: identifier  # type: ignore[misc]
    return found


def _choose_identifiers(
    config: Config, identifiers: Sequence[IEndpointIdentifier]
) -> list[IEndpointIdentifier]:
    known = _identifiers_by_name(config, identifiers)
    names = [name for name in config.identifiers if name != "digest" or config.digest is not None]
    return [known[name]() for name in names]


# -- digest --------------------------------------------------------------------------------


def _make_digest_gate(
    loaded: Loaded, table: DigestTable, mistakes: list[tuple[Place, str]]
) -> DigestGate | None:
    """Return the gate that asks for proofs, or ``None`` after mistakes."""
    users = MemoryStore("users")
    for user in table.users:
        users.add(user.name, table.realm, user.password.reveal())
    stores, before = [users], len(mistakes)
    for number, path in enumerate(table.files):
        try:
            stores.append(HtdigestFile(path))
        except LocalError as error:
            mistakes.append((("digest", "files", number), str(error)))
    if len(mistakes) > before:
        return None
    mistakes += _check_users(loaded, table, stores)
    algorithms = table.algorithms or common_algorithms(
        [store for store in stores if len(store)], table.realm
    )
    try:
        return DigestGate(
            Portal(EndpointRealm(loaded.config.endpoints), [HA1Checker(stores)]),
            table.realm,
            algorithms=algorithms or DEFAULT_ALGORITHMS,
            qop=table.qop,
            lifetime=table.lifetime,
            binds_source=table.binds_source,
            in_dialog=table.in_dialog,
            domains=table.domains,
        )
    except LocalError as error:
        mistakes.append((("digest",), str(error)))
        return None


def _check_users(
    loaded: Loaded, table: DigestTable, stores: Sequence[MemoryStore]
) -> Iterator[tuple[Place, str]]:
    """Yield each user that no endpoint has, and each of an endpoint that has no password."""
    endpoints = [*loaded.enumerate("endpoints")]
    wanted = {user for _, endpoint in endpoints for user in endpoint.digest_users}
    first: dict[str, int] = {}
    for number, user in enumerate(table.users):
        other = first.setdefault(user.name, number)
        if other != number:
            yield ("digest", "users", number), f"{user.name!r} stands in digest.users[{other}]"
        elif user.name not in wanted and "endpoints" not in loaded.broken:
            text = f"{user.name!r} is of no endpoint: name it in the digest_users of one"
            yield ("digest", "users", number, "name"), text
    for number, endpoint in endpoints:
        for name in sorted(endpoint.digest_users):
            if not any(_has_user(store, name, table.realm) for store in stores):
                text = f"there is no user {name!r} in [digest]{suggest(name, first)}"
                yield ("endpoints", number, "digest_users"), text


def _has_user(store: MemoryStore, name: str, realm: str) -> bool:
    found: list[Any] = [store.find_ha1(name, realm, algorithm) for algorithm in ALGORITHMS]
    return any(found)
