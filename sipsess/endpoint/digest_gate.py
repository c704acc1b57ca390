# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The gate that lets in who knows a password (:rfc:`3261#section-22`, :rfc:`7616`, :rfc:`8760`).

Theory of operation
    A request without credentials gets 401 with a challenge for each algorithm, and nothing is
    remembered of it. Credentials go to a portal of ``twisted.cred``; who they prove is the
    endpoint of the request. Then the nonce is looked at: one that is too old, of another server, or
    used before is answered with a new one and ``stale=true``, as the password was right.

    Whether a user exists makes no difference: neither to the answer nor to the work. What fails
    again and again in one call is refused with 403 at last, as a peer that does not know the
    password would go on asking.

    Which requests are asked: those whose endpoint names ``digest_users``, and those that no gate
    before has given an endpoint; so the gate that admits everybody must not stand before this one.
    A request within a dialog is not, when it comes from the host that the dialog is with: it names
    three identifiers of which nobody else knows one. ACK and CANCEL come to no gate at all: they
    cannot be sent again (:rfc:`3261#section-22.1`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Literal

from twisted.cred.error import LoginDenied, UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.python.failure import Failure
from zope.interface import implementer

from sipsess.errors import LocalError, PluginError, RemoteError
from sipsess.flow import Flow
from sipsess.ids import IdSource
from sipsess.interfaces import IDialogService, IEndpoint, IRequestGate
from sipsess.message import SIPURI, TelURI, parse_uri
from sipsess.message.challenge import ANSWERED_BY, format_challenge
from sipsess.message.digest import ALGORITHMS, QOPS, Authorization, get_authorizations
from sipsess.supplement import RequestVerdict, Verdict

from .checkers import DEFAULT_ALGORITHMS, DigestProof
from .endpoint import Endpoint
from .nonces import Attempts, Nonces, NonceUses

if TYPE_CHECKING:
    from sipsess.core import Admission

#: Seconds that a nonce is good for.
LIFETIME = 300.0
#: Answers of one call that may fail, whatever the reason; the next one is refused for good.
MAX_FAILURES = 5

_ASKED, _ANSWERED = ANSWERED_BY[401]

REASONS: dict[str, str] = {
    "digest-missing": "a request came without credentials, and was asked for them (401)",
    "digest-wrong": "the credentials are of no user, or the password is wrong (401)",
    "digest-unfit": "the credentials are no answer to what was asked (401)",
    "digest-stale": "the nonce of right credentials is too old, or of another server (401)",
    "digest-replayed": "the nonce of right credentials was used in this way before (401)",
    "digest-loop": "too many credentials of one call were not right (403)",
    "digest-other-way": "the credentials are right, but not for that network or transport (403)",
    "digest-other-user": "the credentials are right, but of another user than was named (403)",
}


@implementer(IRequestGate)
class DigestGate:
    """
    Lets in who can prove to be a user.

    :param portal: knows the users; its realm gives an :class:`.IEndpoint`.
    :param realm: what the users know this server as; their HA1s are bound to it.
    :param algorithms: what is offered, the one that is preferred first (:rfc:`8760#section-2.3`).
    :param qop: likewise; ``auth-int`` protects bodies, and few peers know it.
    :param lifetime: seconds that a nonce is good for.
    :param binds_source: whether a nonce is good for the host only that it was given to. A peer
        that comes from several gets ``stale=true`` each time that it changes.
    :param in_dialog: ``"host"`` lets requests of a dialog in from its host without a proof;
        ``"always"`` asks for one each time.
    :param checks_uri: whether ``uri`` of the credentials must have the user of the Request-URI;
        some peers leave it out.
    :param domains: the hosts that ``uri`` of the credentials may name, so that nobody who is called
        elsewhere can pass our challenge on; empty for any, as proxies rewrite it.
    :param max_failures: how many credentials of one call may be wrong.
    :param ids: where secrets come from.
    :raises LocalError: when the realm cannot stand in a challenge, or an algorithm is unknown.
    """

    name = "digest"

    def __init__(
        self,
        portal: Portal,
        realm: str,
        *,
        algorithms: Iterable[str] = DEFAULT_ALGORITHMS,
        qop: Iterable[str] = ("auth",),
        lifetime: float = LIFETIME,
        binds_source: bool = False,
        in_dialog: Literal["host", "always"] = "host",
        checks_uri: bool = True,
        domains: Collection[str] = (),
        max_failures: int = MAX_FAILURES,
        ids: IdSource | None = None,
    ) -> None:
        self.portal = portal
        self.realm = realm
        self.algorithms, self.qop = tuple(algorithms), tuple(qop)
        self.lifetime = lifetime
        self.binds_source = binds_source
        self.in_dialog = in_dialog
        self.checks_uri = checks_uri
        self.domains = frozenset(domain.lower() for domain in domains)
        self.max_failures = max_failures
        self._nonces = Nonces(ids or IdSource())
        self._uses = NonceUses()
        self._attempts = Attempts()
        self._check()

    def _check(self) -> None:
        if not self.realm or not self.realm.isprintable() or set('"\\:') & set(self.realm):
            raise LocalError(f"{self.realm!r} is no realm: write a name such as pbx.example")
        for words, known in ((self.algorithms, tuple(ALGORITHMS)), (self.qop, QOPS)):
            unknown = set(words).difference(known)
            if unknown or not words or len(set(words)) != len(words):
                raise LocalError(f"{words!r} are not among {known!r}, each at most once")

    def admit(self, admission: Admission) -> RequestVerdict:
        """See :meth:`.IRequestGate.admit`."""
        endpoint = admission.endpoint
        if endpoint is not None and not endpoint.digest_users:
            return Verdict.CONTINUE
        if self.in_dialog == "host" and admit_within_dialog(admission):
            return Verdict.CONTINUE
        request = admission.request
        found = get_authorizations(request.headers, _ANSWERED, self.realm)
        if not found:
            is_there = _ANSWERED in request.headers
            return self._challenge(admission, "digest-unfit" if is_there else "digest-missing")
        # One answer for a realm is the rule (RFC 3261 22.3); one is also all that is worked for.
        authorization = found[0]
        if not self._fits(authorization, admission):
            return self._challenge(admission, "digest-unfit")
        proof = DigestProof(authorization, request.method, request.body)
        return self.portal.login(proof, None, IEndpoint).addCallbacks(
            self._proven,
            self._not_proven,
            callbackArgs=(admission, authorization),
            errbackArgs=(admission, proof),
        )

    # -- what came -------------------------------------------------------------------------

    def _fits(self, authorization: Authorization, admission: Admission) -> bool:
        """Tell whether credentials are an answer to a challenge of ours, right or wrong."""
        if authorization.algorithm not in self.algorithms or authorization.qop not in self.qop:
            return False
        user, host = _target(authorization.uri)
        # RFC 7616 3.4.6: the two should be the same; but a proxy may have changed all but the user.
        if user is None or (self.checks_uri and user != _target(admission.request.uri)[0]):
            return False
        return not self.domains or host in self.domains

    def _proven(
        self, login: tuple[object, object, object], admission: Admission, answer: Authorization
    ) -> Verdict:
        """Look at the nonce of who has proven to know the password."""
        endpoint = login[1]
        if not isinstance(endpoint, Endpoint):
            raise PluginError(f"the realm of the digest gate gave no endpoint, but {endpoint!r}")
        with admission.core.turn:
            return self._take_nonce(endpoint, admission, answer)

    def _take_nonce(
        self, endpoint: Endpoint, admission: Admission, answer: Authorization
    ) -> Verdict:
        made = self._nonces.made_at(answer.nonce, self._scope(admission))
        if made is None or admission.core.turn.now - made > self.lifetime:
            return self._challenge(admission, "digest-stale", is_stale=True)
        if not self._uses.take(answer.nonce, made, answer.count):
            return self._challenge(admission, "digest-replayed", is_stale=True)
        self._attempts.forget(admission.flow.remote[0], admission.request.call_id)
        claimed = admission.endpoint
        if claimed is not None and answer.username not in claimed.digest_users:
            admission.refuse("digest-other-user", 403)
            return Verdict.HANDLED
        if not _may_come(claimed or endpoint, admission.flow):
            admission.refuse("digest-other-way", 403)
            return Verdict.HANDLED
        admission.endpoint, admission.user = claimed or endpoint, answer.username
        admission.authenticated()
        return Verdict.CONTINUE

    def _not_proven(self, failure: Failure, admission: Admission, proof: DigestProof) -> Verdict:
        failure.trap(UnauthorizedLogin, LoginDenied)
        proof.spend()
        return self._challenge(admission, "digest-wrong")

    # -- the answer ------------------------------------------------------------------------

    def _challenge(
        self, admission: Admission, reason_code: str, *, is_stale: bool = False
    ) -> Verdict:
        """Ask for credentials; or refuse, when that has led nowhere too often."""
        with admission.core.turn:
            self._ask(admission, reason_code, is_stale)
        return Verdict.HANDLED

    def _ask(self, admission: Admission, reason_code: str, is_stale: bool) -> None:
        if reason_code != "digest-missing":
            failures = self._attempts.add(admission.flow.remote[0], admission.request.call_id)
            if failures > self.max_failures:
                admission.refuse("digest-loop", 403)
                return
        nonce = self._nonces.make(admission.core.turn.now, self._scope(admission))
        challenges = [
            format_challenge(
                self.realm, nonce, algorithm=algorithm, qop=self.qop, is_stale=is_stale
            )
            for algorithm in self.algorithms
        ]
        admission.refuse(reason_code, 401, headers={_ASKED: challenges})

    def _scope(self, admission: Admission) -> str:
        host = admission.flow.remote[0] if self.binds_source else ""
        return f"{self.realm}\0{host}"


def admit_within_dialog(admission: Admission) -> bool:
    """
    Give a request of a dialog the endpoint of its session, when it comes from the session's host.

    :return: ``False`` when it is of none, or comes from elsewhere.
    """
    request = admission.request
    tag = request.to_tag
    if tag is None:
        return False
    for service in admission.core.services:
        if IDialogService.providedBy(service):
            session = service.find_session(request.call_id, tag, request.from_tag or "")
            if session is None or session.is_over:
                continue
            if session.flow.remote[0] == admission.flow.remote[0]:
                admission.endpoint = session.endpoint
                return True
    return False


def _may_come(endpoint: Endpoint, flow: Flow) -> bool:
    """Tell whether an endpoint may come from where a request comes from, and in that way."""
    is_over_allowed = not endpoint.transports or flow.transport in endpoint.transports
    return is_over_allowed and endpoint.is_within(flow.remote[0])


def _target(uri: str) -> tuple[str | None, str]:
    """Return user and host of a URI, each empty when there is none; ``None`` for other schemes."""
    try:
        parsed = parse_uri(uri)
    except RemoteError:
        return None, ""
    if isinstance(parsed, TelURI):
        return parsed.digits, ""
    if isinstance(parsed, SIPURI):
        return parsed.user_text or "", parsed.host.lower()
    return None, ""
