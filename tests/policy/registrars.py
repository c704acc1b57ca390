# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the tests of the registrar share: a box with one, and phones that register."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from sipsess.endpoint import Endpoint
from sipsess.interfaces import IBindingStore
from sipsess.message import NameAddr, Request, Response
from sipsess.registrar import Binding, Limits, MemoryStore, Registrar, RegistrarOptions
from tests.policy.agents import US, Box, BoxTestCase, Gate

#: What the wall clock says when the virtual one says 0: Fri, 13 Feb 2009 23:31:30 GMT.
WALL = 1234567890.0


@implementer(IBindingStore)
class SlowStore:
    """A store in memory that answers when the test says so, or fails."""

    def __init__(self) -> None:
        self.memory = MemoryStore()
        #: The answers that wait, as (name, deliver).
        self.pending: list[tuple[str, Callable[[], None]]] = []
        self.error: Exception | None = None

    def open(self) -> None:
        """See the interface."""

    def close(self) -> Deferred[None]:
        """See the interface."""
        return self.memory.close()

    def _later(self, name: str, work: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        if self.error is not None:
            return fail(self.error)
        result: Deferred[Any] = Deferred()

        def deliver() -> None:
            if not result.called:
                work().chainDeferred(result)

        self.pending.append((name, deliver))
        return result

    def answer(self) -> str:
        """Do what waits longest; return its name."""
        name, deliver = self.pending.pop(0)
        deliver()
        return name

    def find(self, user: str, now: float) -> Deferred[Sequence[Binding]]:
        """See the interface."""
        return self._later(f"find {user}", lambda: self.memory.find(user, now))

    def replace(self, user: str, bindings: Sequence[Binding], limit: int) -> Deferred[None]:
        """See the interface."""
        return self._later(f"replace {user}", lambda: self.memory.replace(user, bindings, limit))

    def purge(self, now: float) -> Deferred[int]:
        """See the interface."""
        return self.memory.purge(now) if self.error is None else fail(self.error)

    def list_bindings(self, limit: int, now: float) -> Deferred[Sequence[Binding]]:
        """See the interface."""
        return self.memory.list_bindings(limit, now)


class RegistrarCase(BoxTestCase):
    """A box with a registrar, and a peer that is the phone of alice."""

    def serve(
        self,
        *,
        store: Any = None,
        endpoint: Endpoint | None = None,
        proven: str | None = None,
        admits_anybody: bool = False,
        limits: Limits | None = None,
        domains: Sequence[str] = (),
        **more: Any,
    ) -> Box:
        """
        Begin anew.

        :param endpoint: whom the gate takes every peer for; one named alice when ``None``.
        :param proven: the user that the peer has proven to be.
        """
        known = endpoint or Endpoint("alice")

        def identify(admission: Any) -> None:
            admission.endpoint, admission.user = known, proven

        box = self.start(gates=[Gate(identify)], **more)
        self.store: Any = MemoryStore() if store is None else store
        options = RegistrarOptions(
            store=self.store,
            domains=tuple(domains),
            limits=limits or Limits(),
            admits_anybody=admits_anybody,
        )
        self.registrar = Registrar(box.core, options, lambda: WALL + self.net.seconds())
        self.registrar.start()
        return box

    def register(
        self,
        *contacts: str,
        user: str = "alice",
        headers: Sequence[tuple[str, str]] = (),
        **options: Any,
    ) -> Request:
        """
        Send a REGISTER.

        :param contacts: values of Contact.
        """
        every = [("Contact", contact) for contact in contacts]
        options.setdefault("to", f"<sip:{user}@{US}>")
        request = self.peer.request(
            "REGISTER", options.pop("uri", f"sip:{US}"), headers=[*every, *headers], **options
        )
        self.peer.send(request, (US, 5060))
        return request

    def registered(self, *contacts: str, **options: Any) -> Response:
        """Send a REGISTER and return its final answer."""
        self.register(*contacts, **options)
        return self.answer_to("REGISTER")

    def refused(self, status: int, reason_code: str, *contacts: str, **options: Any) -> Response:
        """Send a REGISTER that must be refused, for that reason."""
        before = self.box.refused.get(reason_code, 0)
        response = self.registered(*contacts, **options)
        self.assertEqual(response.status, status, response.reason)
        self.assertEqual(self.box.refused.get(reason_code, 0), before + 1, dict(self.box.refused))
        return response

    def bindings(self, user: str = "alice") -> Sequence[Binding]:
        """Return what is stored of a user."""
        return self.successResultOf(self.registrar.find(user))

    def uris(self, user: str = "alice") -> list[str]:
        """Return the URIs of a user's bindings."""
        return [binding.uri for binding in self.bindings(user)]

    def finish(self, *, failures: int = 0) -> None:
        """End, and see that nothing is left."""
        self.successResultOf(self.registrar.stop())
        super().finish(failures=failures)


def shown(response: Response) -> list[tuple[str, str]]:
    """Return URI and expires of each Contact of an answer."""
    contacts: list[NameAddr] = response.contacts
    return [(contact.uri, contact.params.get("expires") or "") for contact in contacts]
