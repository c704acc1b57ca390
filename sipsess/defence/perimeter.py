# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The perimeter: what is decided about a message before it is read, and before an answer leaves.

Theory of operation
    *On the way in*, before anything is parsed: the access list, bans, scanners, and the rates of
    each source. What is not wanted is dropped, without an answer, as an answer is what scanners
    look for, and what a victim in whose name somebody sends must not get.

    *On the way out*, by UDP: until a source has proven its address, it is sent no more bytes than
    it has sent itself, and a small allowance. The address is proven when something comes from
    there that holds what was only ever sent there: our To tags end in a keyed hash of the source.
    So the ACK of a call, of whatever outcome, is proof. The allowance bears all copies of one
    answer that nobody acknowledges; so a call over a bad network is what it always was, and a
    flood with the address of a victim brings him no more than the flood itself and 512 bytes a
    second. What we send on our own account, as when a call is placed, is no answer, and is never
    held back.

    *Failures* are counted when a request is refused, once for each transaction. What a known
    endpoint is refused is none, and neither is an old nonce with the right password. Whoever has
    too many is banned, in which only requests of the calls that stand are heard, and responses: who
    is asked by us may answer, so that a registration with a trunk outlives a ban. By UDP a stranger
    may have failed in the name of somebody else. So whoever has proven his address first becomes
    suspect, and is banned the second time; bans by UDP are short; trusted sources are never banned.

Nothing here is asked about trusted sources.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from hashlib import blake2s
from typing import TYPE_CHECKING

from sipsess.flow import Flow
from sipsess.message import Request, Response
from sipsess.message.busy import is_in_dialog
from sipsess.message.challenge import ANSWERED_BY, get_challenges
from sipsess.recent import RecentDict

from .access import AccessList, NetworkSet
from .bans import Bans
from .bucket import Bucket
from .settings import DefenceSettings
from .sources import NEVER, Source, Sources

if TYPE_CHECKING:
    from sipsess.transaction import ServerTransaction

#: Why the perimeter drops or holds back.
REASONS: dict[str, str] = {
    "access-denied": "the access list does not let the sender in",
    "banned": "the sender is banned for a while",
    "scanner": "the User-Agent is that of a scanner",
    "rate-requests": "the sender has sent more requests than it may",
    "rate-calls": "the sender has begun more calls than it may",
    "rate-registers": "the sender has sent more REGISTERs than it may",
    "unproven-held": "an answer would be more than a sender without proof of its address may get",
}

#: Seconds for which a proven address counts as such.
PROOF_LIFE = 3600.0
#: Seconds for which a source is suspect.
SUSPICION = 600.0
#: What counts how much as a failure.
SCANNER_WEIGHT = 5.0
CHALLENGE_WEIGHT = 0.1
#: Bytes that a source may have sent more than it has got, and that count.
MAX_EARNED = 65536.0
#: User-Agent values whose verdict is remembered.
MAX_AGENTS = 1024
#: Bytes of a User-Agent that are looked at.
MAX_AGENT = 200

#: Refusals that somebody gets who guesses.
_GUESSES = frozenset({403, 404})
_CHALLENGES = frozenset(ANSWERED_BY)
#: The methods that ask for nothing new.
_RESPONSE = b"SIP/2.0 "
_WITHIN = (b"ACK ", b"BYE ", b"CANCEL ", b"PRACK ", b"UPDATE ", b"INFO ", _RESPONSE)
_USER_AGENT = re.compile(rb"\nuser-agent[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)


class Perimeter:
    """
    Stands between the listeners and the core.

    :param settings: what is wanted.
    :param secret: nobody else knows it.
    :param refuse: counts what is dropped or held back, and why.
    :param is_copy: whether a request is a copy of one that was taken already.
    :param seconds: the monotonic clock.
    """

    __slots__ = (
        *("_access", "_agents", "_failure_limit", "_failure_rate", "_is_copy", "_is_limited"),
        *("_refuse", "_scanners", "_seconds", "_secret", "_settings", "_sources", "_trusted"),
        *("bans",),
    )

    def __init__(
        self,
        settings: DefenceSettings,
        secret: bytes,
        refuse: Callable[[str, Flow], None],
        is_copy: Callable[[bytes, Flow], bool],
        seconds: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._secret = secret
        self._refuse = refuse
        self._is_copy = is_copy
        self._seconds = seconds
        self._trusted = NetworkSet(settings.trusted)
        self._access = AccessList(settings.access)
        self._scanners = tuple(agent.lower().encode() for agent in settings.scanner_agents)
        self._agents: RecentDict[bytes, bool] = RecentDict(MAX_AGENTS)
        self._failure_limit = settings.failures_per_minute
        self._failure_rate = settings.failures_per_minute / 60.0
        self._is_limited = any(_rates(settings))
        self._sources = Sources(self._make, self._is_special)
        #: Who is banned, and was.
        self.bans = Bans(settings)

    def _is_special(self, host: str) -> bool:
        return host in self._trusted or not self._access.allows(host)

    def _make(self, key: str, host: str) -> Source:
        source = Source(key, self._seconds())
        source.is_trusted = host in self._trusted
        source.is_denied = not (source.is_trusted or self._access.allows(host))
        source.banned_until = self.bans.until(key)
        data = key.encode()
        source.proof = blake2s(data, key=self._secret, digest_size=5).hexdigest().encode()
        return source

    # -- on the way in ---------------------------------------------------------------------

    def takes(self, data: bytes, flow: Flow, now: float) -> bool:
        """Whether a message is dropped unread; counted then."""
        source = self._sources.find(flow.remote[0])
        if source.is_trusted:
            return False
        if source.is_denied:
            self._refuse("access-denied", flow)
            return True
        if not flow.is_reliable:
            self._earn(source, data, now)
        if source.banned_until > now and not (
            data.startswith(_RESPONSE) or (source.proof in data and is_in_dialog(data))
        ):
            self._refuse("banned", flow)
            return True
        if data.startswith(_WITHIN):
            return False
        return self._is_unwanted(source, data, flow, now)

    def _earn(self, source: Source, data: bytes, now: float) -> None:
        """Note what a source has sent by UDP, and whether it proves its address once more."""
        if source.proven_until < now:
            source.overdraft.take(len(data), -MAX_EARNED)
        elif source.proven_until > now + PROOF_LIFE / 2:
            return
        if source.proof in data:
            self._prove(source, now)

    def _prove(self, source: Source, now: float) -> None:
        source.proven_until = now + PROOF_LIFE
        self._sources.keep(source)

    def _is_unwanted(self, source: Source, data: bytes, flow: Flow, now: float) -> bool:
        """Whether a request that may begin something is a scanner's, or one too many."""
        if self._scanners and self._is_scanner(data):
            self._refuse("scanner", flow)
            self._fail(source, SCANNER_WEIGHT, "scanner", flow, now)
            return True
        if not self._is_limited or is_in_dialog(data):
            return False
        reason = self._excess(source, data, now)
        if reason is None or self._is_copy(data, flow):
            return False
        self._refuse(reason, flow)
        return True

    def _is_scanner(self, data: bytes) -> bool:
        match = _USER_AGENT.search(data)
        if match is None:
            return False
        agent = match[1][:MAX_AGENT]
        verdict = self._agents.get(agent)
        if verdict is None:
            verdict = agent.lower().startswith(self._scanners)
            self._agents.put(agent, verdict)
        return verdict

    def _excess(self, source: Source, data: bytes, now: float) -> str | None:
        """Return the rate that a request exceeds, or ``None``; then it counts."""
        settings = self._settings
        burst = settings.burst_seconds
        rate = settings.calls_per_second
        if rate and data.startswith(b"INVITE "):
            source.calls = source.calls or Bucket(now)
            if not source.calls.put(1.0, rate, max(1.0, rate * burst), now):
                return "rate-calls"
        rate = settings.registers_per_second
        if rate and data.startswith(b"REGISTER "):
            source.registers = source.registers or Bucket(now)
            if not source.registers.put(1.0, rate, max(1.0, rate * burst), now):
                return "rate-registers"
        rate = settings.requests_per_second
        if rate:
            source.requests = source.requests or Bucket(now)
            if not source.requests.put(1.0, rate, max(1.0, rate * burst), now):
                return "rate-requests"
        return None

    # -- on the way out --------------------------------------------------------------------

    def proof_for(self, flow: Flow) -> str:
        """Return how our tag towards a peer shall end, so that whoever repeats it was there."""
        source = self._sources.find(flow.remote[0])
        return "" if source.is_trusted else source.proof.decode()

    def expect(self, flow: Flow, now: float) -> None:
        """Learn that we speak to somebody on our own account."""
        if not flow.is_reliable:
            source = self._sources.find(flow.remote[0])
            if not source.is_trusted:
                self._prove(source, now)

    def authenticated(self, flow: Flow, now: float) -> None:
        """Learn that a nonce of ours came back with good credentials."""
        self.expect(flow, now)
        self.succeeded(flow, now)

    def holds(self, wire: bytes, flow: Flow, now: float) -> bool:
        """Whether a message must not leave yet; counted then. SIP sends what matters again."""
        if flow.is_reliable:
            return False
        source = self._sources.find(flow.remote[0])
        settings = self._settings
        if source.is_trusted or source.proven_until >= now or settings.unproven_bytes < 0:
            return False
        rate = settings.unproven_bytes_per_second
        if source.overdraft.put(len(wire), rate, settings.unproven_bytes, now):
            return False
        self._refuse("unproven-held", flow)
        return True

    # -- failures --------------------------------------------------------------------------

    def refused(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Learn that a request got its first final answer, which is a refusal."""
        status = response.status
        if status in _GUESSES:
            if transaction.is_known:
                # A wrong number of a trunk, or of a phone with a good password, is no guess.
                return
            weight = 1.0
        elif status in _CHALLENGES:
            weight = 1.0 if _is_guess(transaction.request, response) else CHALLENGE_WEIGHT
        else:
            return
        flow = transaction.flow
        source = self._sources.find(flow.remote[0])
        if not source.is_trusted:
            self._fail(source, weight, "failures", flow, now)

    def succeeded(self, flow: Flow, now: float) -> None:
        """Learn that a call was answered and acknowledged: it makes up for a failure."""
        source = self._sources.find(flow.remote[0])
        source.failures.look(self._failure_rate, now)
        source.failures.take(1.0, 0.0)

    def _fail(self, source: Source, weight: float, reason: str, flow: Flow, now: float) -> None:
        limit = self._failure_limit
        if not limit or source.failures.add(weight, self._failure_rate, now) <= limit:
            return
        if source.banned_until > now:
            return
        source.failures.level = 0.0
        if not flow.is_reliable and source.proven_until >= now and source.suspect_until < now:
            source.suspect_until = now + SUSPICION
            return
        source.banned_until = self.bans.ban(source.key, flow.remote[0], reason, flow.transport, now)

    def lift(self, host: str) -> bool:
        """Hear a host again, and forget its failures; ``False`` when it was never banned."""
        source = self._sources.find(host)
        source.banned_until = source.suspect_until = NEVER
        source.failures.level = 0.0
        return self.bans.lift(source.key)

    # -- connections -----------------------------------------------------------------------

    def refusal_of(self, host: str, now: float) -> str | None:
        """Return why a host may not open a connection; ``None`` when it may."""
        source = self._sources.find(host)
        if source.is_trusted:
            return None
        if source.is_denied:
            return "access-denied"
        return "banned" if source.banned_until > now else None


def _is_guess(request: Request, response: Response) -> bool:
    """Whether a challenge answers wrong credentials; with ``stale`` they were right."""
    asked, answered = ANSWERED_BY[response.status]
    if answered not in request.headers:
        return False
    return not any(challenge.is_stale for challenge in get_challenges(response.headers, asked))


def _rates(settings: DefenceSettings) -> Iterable[float]:
    return (
        settings.requests_per_second,
        settings.calls_per_second,
        settings.registers_per_second,
    )
