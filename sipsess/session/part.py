# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the parts of a session have in common: the session, until nothing of it is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar, overload

if TYPE_CHECKING:
    from .reason import SessionEnded
    from .session import Session


class Part:
    """
    A part of a session.

    :param session: that it belongs to.
    """

    __slots__ = ("session",)

    def __init__(self, session: Session) -> None:
        self.session = session

    def retire(self) -> None:
        """Let go of the session, so that no cycle of references keeps either."""
        del self.session


class StoppedPart(Part):
    """A part that is stopped when the session ends, if it was made at all."""

    __slots__ = ()

    def stop(self, ended: SessionEnded) -> None:
        """
        Stop what it does, and fail what waits for it.

        :param ended: what that fails with.
        """
        raise NotImplementedError


_P = TypeVar("_P", bound=StoppedPart)


class OnDemand(Generic[_P]):
    """
    The attribute of a session for a part that is made when somebody first asks for it.

    It is kept in the slot of the same name with an underscore, which holds ``None`` until then.

    :param make: makes it.
    """

    def __init__(self, make: Callable[[Session], _P]) -> None:
        self._make = make
        self._slot = ""

    def __set_name__(self, owner: type[Session], name: str) -> None:
        self._slot = f"_{name}"

    @overload
    def __get__(self, session: None, owner: type[Session]) -> OnDemand[_P]: ...

    @overload
    def __get__(self, session: Session, owner: type[Session]) -> _P: ...

    def __get__(self, session: Session | None, owner: type[Session]) -> OnDemand[_P] | _P:
        if session is None:
            return self
        part: _P | None = getattr(session, self._slot)
        if part is None:
            part = self._make(session)
            setattr(session, self._slot, part)
        return part
