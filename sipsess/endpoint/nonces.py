# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Nonces that need no memory, and the memory that keeps each from being used twice.

Theory of operation
    A nonce says when it was made, and carries a code that only this server can have computed over
    that time, the realm, and perhaps the address that it was given to. Whoever asks for a million
    of them has cost nothing but a million answers::

        time (6 bytes) | random (6 bytes) | HMAC-SHA-256 (18 bytes)      in base64, 40 characters

    What must be remembered is which ``nc`` of a nonce was seen. That is done only for nonces with
    which somebody has proven to know a password, so that nobody else can fill the table. When it
    is full, the oldest entry goes, and with it every nonce that is not younger: it is stale from
    then on. A replay is never let in for want of memory.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error

from sipsess.ids import IdSource

#: Nonces whose uses are remembered: some 200 bytes each.
MAX_USED = 20_000
#: How far behind the highest ``nc`` one may come, for requests that overtake each other.
WINDOW = 64

_TIME = 6
_RANDOM = 6
_CODE = 18
#: Characters of a nonce in base64; the bytes are a multiple of three, so that nothing is padded.
_LENGTH = (_TIME + _RANDOM + _CODE) * 4 // 3
#: Milliseconds per second: the unit of the time in a nonce.
_UNIT = 1000


class Nonces:
    """
    Makes nonces, and recognises those that it has made.

    :param ids: where secrets come from.
    """

    __slots__ = ("_epoch", "_ids", "_secret")

    def __init__(self, ids: IdSource) -> None:
        self._ids = ids
        self._secret = ids.random.getrandbits(256).to_bytes(32)
        # How long this host is up is nobody's business.
        self._epoch = ids.random.getrandbits(40)

    def make(self, now: float, scope: str) -> str:
        """
        Return a new nonce.

        :param now: seconds, monotonic.
        :param scope: what it is good for, such as a realm.
        """
        made = (int(now * _UNIT) + self._epoch).to_bytes(_TIME)
        head = made + self._ids.random.getrandbits(8 * _RANDOM).to_bytes(_RANDOM)
        return urlsafe_b64encode(head + self._code(head, scope)).decode()

    def made_at(self, nonce: str, scope: str) -> float | None:
        """Return when a nonce was made; ``None`` when it is not of here, or of another scope."""
        if len(nonce) != _LENGTH or not nonce.isascii():
            return None
        try:
            data = urlsafe_b64decode(nonce)
        except Error:
            return None
        head, code = data[: _TIME + _RANDOM], data[_TIME + _RANDOM :]
        # Base64 may spell the same bytes in several ways; one of them is ours.
        is_ours = urlsafe_b64encode(data).decode() == nonce
        if not hmac.compare_digest(code, self._code(head, scope)) or not is_ours:
            return None
        return (int.from_bytes(head[:_TIME]) - self._epoch) / _UNIT

    def _code(self, head: bytes, scope: str) -> bytes:
        text = head + scope.encode("utf-8", "surrogateescape")
        return hmac.digest(self._secret, text, "sha256")[:_CODE]


class NonceUses:
    """
    Remembers which nonces were used, and how often.

    :param limit: how many nonces are remembered.
    """

    __slots__ = ("_limit", "_since", "_uses")

    def __init__(self, limit: int = MAX_USED) -> None:
        self._limit = limit
        #: Nonce to when it was made, its highest count, and the counts below that were seen: bit
        #: 0 is the highest one itself. In the order of their first use.
        self._uses: dict[str, tuple[float, int, int]] = {}
        #: Nonces that are not younger were forgotten.
        self._since = float("-inf")

    def __len__(self) -> int:
        """Return how many nonces are remembered."""
        return len(self._uses)

    def take(self, nonce: str, made: float, count: int) -> bool:
        """
        Use a nonce.

        :param made: when it was made.
        :param count: its ``nc``, from 1.
        :return: ``False`` when that was done before, or nobody can tell any more.
        """
        if made <= self._since or count < 1:
            return False
        _, highest, seen = self._uses.get(nonce, (made, 0, 0))
        if count > highest:
            ahead = min(count - highest, WINDOW)
            seen = (seen << ahead | 1) & ((1 << WINDOW) - 1)
            highest = count
        else:
            behind = highest - count
            if behind >= WINDOW or seen >> behind & 1:
                return False
            seen |= 1 << behind
        if nonce not in self._uses and len(self._uses) >= self._limit:
            oldest = next(iter(self._uses))
            self._since = max(self._since, self._uses.pop(oldest)[0])
        self._uses[nonce] = (made, highest, seen)
        return True


class Attempts:
    """
    Counts what fails, by who tries and in which call.

    :param limit: keys that are remembered; the oldest one goes for a new one.
    """

    __slots__ = ("_counts", "_limit")

    def __init__(self, limit: int = MAX_USED) -> None:
        self._limit = limit
        # By hash, as a peer chooses how long a Call-ID is.
        self._counts: dict[int, int] = {}

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._counts)

    def add(self, host: str, call_id: str) -> int:
        """Count one more; return how many there are."""
        key = hash((host, call_id))
        count = self._counts.pop(key, 0) + 1
        if len(self._counts) >= self._limit:
            del self._counts[next(iter(self._counts))]
        self._counts[key] = count
        return count

    def forget(self, host: str, call_id: str) -> None:
        """Begin anew: what was tried has succeeded."""
        self._counts.pop(hash((host, call_id)), None)
