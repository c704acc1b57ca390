# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Session-Expires and Min-SE (:rfc:`4028`), and what a UAS makes of them.

::

    Session-Expires: 1800;refresher=uac
    Min-SE: 90
"""

from __future__ import annotations

from dataclasses import dataclass

from sipsess.message._errors import MessageError
from sipsess.message._headers import Headers
from sipsess.message._params import Params
from sipsess.message._values import read_number
from sipsess.message.limits import MAX_SECONDS

#: The shortest interval that anybody may ask for, in seconds (section 5).
ABSOLUTE_MINIMUM = 90

UAC = "uac"
UAS = "uas"


@dataclass(frozen=True, slots=True)
class SessionExpires:
    """A Session-Expires value; ``str()`` is the wire form."""

    #: Seconds.
    interval: int
    #: Who refreshes: ``"uac"``, ``"uas"``, or ``None`` when that is left to the UAS.
    refresher: str | None = None

    @classmethod
    def parse(cls, text: str) -> SessionExpires:
        """
        Read a value; a refresher of another name counts as none.

        :raises MessageError: it does not begin with a number of seconds.
        """
        number, params = _split(text, "Session-Expires")
        refresher = (params.get("refresher") or "").lower()
        return cls(number, refresher if refresher in (UAC, UAS) else None)

    @property
    def refresh_delay(self) -> float:
        """When the refresher refreshes: after half of the interval (section 10)."""
        return self.interval / 2

    @property
    def expiry_delay(self) -> float:
        """When the other side hangs up: a third of the interval, or 32 s, before its end."""
        return self.interval - min(32.0, self.interval / 3)

    def __str__(self) -> str:
        return (
            f"{self.interval};refresher={self.refresher}" if self.refresher else f"{self.interval}"
        )


def get_session_expires(headers: Headers) -> SessionExpires | None:
    """
    Return the Session-Expires of a message, or ``None`` when absent.

    :raises MessageError: it cannot be read.
    """
    text = headers.get("Session-Expires")
    return None if text is None else SessionExpires.parse(text)


def get_min_se(headers: Headers) -> int:
    """
    Return the Min-SE of a message in seconds; :data:`ABSOLUTE_MINIMUM` when absent or less.

    :raises MessageError: it cannot be read.
    """
    text = headers.get("Min-SE")
    return ABSOLUTE_MINIMUM if text is None else max(ABSOLUTE_MINIMUM, _split(text, "Min-SE")[0])


def choose_refresher(offered: SessionExpires | None, *, is_supported: bool) -> str:
    """
    Return who refreshes, as the UAS decides (section 9, table 2).

    ============= ===================== =====================
    UAC supports  refresher in request  refresher in response
    ============= ===================== =====================
    no            any                   uas
    yes           none                  uac (or uas, as the UAS likes)
    yes           uac                   uac
    yes           uas                   uas
    ============= ===================== =====================

    :param offered: what the request says; ``None`` when the UAS itself wants the timer.
    :param is_supported: whether the UAC supports ``timer``; one that does not cannot refresh.
    """
    if not is_supported or offered is None:
        return UAS
    return offered.refresher or UAC


def _split(text: str, name: str) -> tuple[int, Params]:
    number, _, rest = text.partition(";")
    seconds = read_number(number.strip(" \t"), MAX_SECONDS)
    if seconds is None:
        raise MessageError("bad-session-expires", f"{text[:80]!r} is no {name}")
    return seconds, Params.parse(rest) if rest else Params()
