# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Which headers of one side of a bridge the other side gets; the one place that decides.

Theory of operation
    As a rule none: what a caller tells us is not for whom we call in his name. A
    :class:`HeaderPolicy` says what goes along all the same. What belongs to a dialog, to the way,
    or to what one side understands never does (:data:`OWN`); identities, privacy and the history of
    the call go by the rules of their RFCs: only what a trusted endpoint has said, and only to an
    endpoint that is told such things (:rfc:`3325`, :rfc:`7044`, :rfc:`5806`). The supplement
    ``identity`` has the last word on them.

    Max-Forwards goes along in any case, one less, so that calls which go round in a circle end
    (:rfc:`7332`); and so do the reasons of an end (:rfc:`3326`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sipsess.message import Headers, NameAddr, Response, header_key
from sipsess.message.privacy import ID
from sipsess.message.reason import Reason

if TYPE_CHECKING:
    from sipsess.endpoint import Endpoint
    from sipsess.session import Identity, Session

#: Headers that the session writes itself, in lower case: they are of one dialog, one hop, or one
#: side's abilities.
OWN = frozenset(
    {
        *("via", "from", "to", "call-id", "cseq", "contact", "max-forwards", "route"),
        *("record-route", "path", "service-route", "content-length", "content-type"),
        *("content-encoding", "content-disposition", "mime-version", "accept", "accept-encoding"),
        *("allow", "allow-events", "supported", "require", "proxy-require", "unsupported"),
        *("recv-info", "info-package", "event", "subscription-state", "expires", "min-expires"),
        *("session-expires", "min-se", "rseq", "rack", "replaces", "join", "target-dialog"),
        *("refer-to", "referred-by", "refer-sub", "authorization", "proxy-authorization"),
        *("www-authenticate", "proxy-authenticate", "authentication-info", "security-client"),
        *("security-server", "security-verify", "timestamp", "date", "retry-after", "reason"),
        *("user-agent", "server", "warning", "p-asserted-identity", "p-preferred-identity"),
        *("remote-party-id", "identity", "identity-info"),
    }
)
#: What goes along when somebody who is called shall know what he would know without us.
USUAL = (
    *("Accept-Language", "Alert-Info", "Call-Info", "Organization", "Priority", "Subject"),
    *("User-to-User", "Privacy", "Diversion", "History-Info"),
)
#: By the word of the endpoint, the header that it is told the history of a call in.
_HISTORY = {"diversion": "diversion", "history-info": "history-info"}


@dataclass(frozen=True, slots=True)
class HeaderPolicy:
    """What goes along; as it is made without arguments, nothing."""

    #: Names of headers; with a ``*`` at the end all that begin so.
    passed: tuple[str, ...] = ()
    #: Those of them that do not.
    dropped: tuple[str, ...] = ()
    #: Headers of each INVITE to the other side.
    added: Mapping[str, str] = field(default_factory=dict)
    #: Who calls, and who has answered: not told beyond From, told as far as endpoints may, or kept
    #: from the other side (:rfc:`3323`).
    identity: Literal["no", "pass", "hide"] = "no"

    def check(self) -> None:
        """
        Check that nothing is named which never goes along.

        :raises ValueError: with the name.
        """
        for name in (*self.passed, *self.added):
            if header_key(name) in OWN:
                raise ValueError(f"{name} is written by the session itself")

    def of_invite(self, session: Session, endpoint: Endpoint) -> dict[str, str]:
        """
        Return what of a caller's INVITE goes along with the INVITE to somebody else.

        :param session: of the caller.
        :param endpoint: who is called.
        """
        headers = {}
        if session.is_callee:
            headers = self._pass(session.invite.headers, session.endpoint, endpoint)
            headers |= self._tell(session.get_identity(), endpoint)
        if self.identity == "hide":
            headers["Privacy"] = ID
        return headers | dict(self.added)

    def of_response(
        self, session: Session, response: Response, endpoint: Endpoint
    ) -> dict[str, str]:
        """
        Return what of a response goes along with ours to the caller.

        :param session: that it came in.
        :param endpoint: of the caller.
        """
        headers = self._pass(response.headers, session.endpoint, endpoint)
        if response.status < 300:
            headers |= self._tell(session.get_identity(response), endpoint)
        return headers

    def of_answer(self, session: Session, endpoint: Endpoint) -> dict[str, str]:
        """
        Return what of a callee's 2xx goes along with ours to the caller.

        :param session: of the callee.
        :param endpoint: of the caller.
        """
        response = session.final_response
        return {} if response is None else self.of_response(session, response, endpoint)

    def of_refusal(self, headers: Headers, source: Endpoint, target: Endpoint) -> dict[str, str]:
        """
        Return what of a callee's refusal goes along with ours to the caller.

        :param source: who has refused.
        :param target: who gets ours.
        """
        return self._pass(headers, source, target)

    def of_end(self, session: Session, endpoint: Endpoint) -> dict[str, str]:
        """
        Return what of the end of a session goes along with the end of the other one.

        :param endpoint: of the other one.
        """
        end = session.end_reason
        if end is None:
            return {}
        headers = {}
        if end.headers is not None:
            headers = self._pass(end.headers, session.endpoint, endpoint)
        return headers | reason_headers(end.reasons)

    def _pass(self, headers: Headers, source: Endpoint, target: Endpoint) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in dict.fromkeys(name for name, _ in headers.items()):
            key = header_key(name)
            if self._passes(key) and _may_know(key, source, target):
                found[name] = ", ".join(headers.get_all(name))
        return found

    def _passes(self, key: str) -> bool:
        wanted = _names(self.passed, key) and not _names(self.dropped, key)
        return wanted and key not in OWN

    def _tell(self, identity: Identity, endpoint: Endpoint) -> dict[str, str]:
        """Return who somebody is, for an endpoint that is told such things."""
        is_told = endpoint.sends_identity != "no" and identity.trusted
        if self.identity != "pass" or not is_told:
            return {}
        return {"P-Asserted-Identity": str(NameAddr(identity.name or None, identity.uri))}


#: Nothing goes along.
NOTHING = HeaderPolicy()


def reason_headers(reasons: tuple[Reason, ...]) -> dict[str, str]:
    """Return the headers that pass reasons on (:rfc:`3326`); none when there are none."""
    return {"Reason": ", ".join(str(reason) for reason in reasons)} if reasons else {}


def _names(patterns: tuple[str, ...], key: str) -> bool:
    for pattern in patterns:
        name = header_key(pattern)
        if key == name or (name.endswith("*") and key.startswith(name[:-1])):
            return True
    return False


def _may_know(key: str, source: Endpoint, target: Endpoint) -> bool:
    """Tell whether one endpoint may know what another says of the history of a call."""
    if key not in _HISTORY:
        return True
    return source.is_trusted and _HISTORY.get(target.sends_history) == key
