# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What a REGISTER and its answer say of a contact (:rfc:`3261#section-10`, :rfc:`5626`).

::

    Contact: <sip:alice@192.0.2.7>;q=0.7;expires=600;reg-id=1;+sip.instance="<urn:uuid:0..1>"
    Expires: 3600
    Date: Sat, 13 Nov 2010 23:29:00 GMT
"""

from __future__ import annotations

from datetime import datetime

from sipsess.message._headers import Headers
from sipsess.message._lex import DIGITS
from sipsess.message._values import _DAYS, _MONTHS, NameAddr, read_number
from sipsess.message.limits import MAX_SECONDS

#: What an Expires that cannot be read means, in seconds (10.2.1.1).
MALFORMED_EXPIRES = 3600
#: The Contact that means all of them (10.2.2).
WILDCARD = "*"
#: The largest ``reg-id`` (:rfc:`5626#section-4.2`).
MAX_REG_ID = 2**31 - 1


def read_expires(headers: Headers, contact: NameAddr | None = None) -> int | None:
    """
    Return for how many seconds a contact is to be valid, or is.

    :param contact: whose ``expires`` counts; without it, the Expires header does.
    :return: ``None`` when neither says anything.
    """
    text = None if contact is None else contact.params.get("expires")
    if text is None:
        text = headers.get("Expires")
    if text is None:
        return None
    number = read_number(text.strip(), MAX_SECONDS)
    return MALFORMED_EXPIRES if number is None else number


def read_min_expires(headers: Headers) -> int | None:
    """Return the seconds of the Min-Expires of a 423 (20.23); ``None`` when there is none."""
    return read_number((headers.get("Min-Expires") or "").strip(), MAX_SECONDS)


def read_q(contact: NameAddr) -> int | None:
    """
    Return the q value of a contact in thousandths.

    :return: ``None`` when there is none, or one that cannot be read.
    """
    whole, _, digits = (contact.params.get("q") or "").partition(".")
    if whole not in ("0", "1") or len(digits) > 3 or digits.strip(DIGITS):
        return None
    value = int(whole) * 1000 + int(digits.ljust(3, "0"))
    return value if value <= 1000 else None


def read_identity(contact: NameAddr) -> tuple[str, int]:
    """
    Return ``+sip.instance`` and ``reg-id`` of a contact (:rfc:`5626#section-6`).

    A ``reg-id`` without an instance, or that is no number from 1 on, is none: 0.
    """
    instance = contact.params.get("+sip.instance") or ""
    number = read_number(contact.params.get("reg-id") or "", MAX_REG_ID)
    return instance, (number or 0) if instance else 0


def format_date(moment: datetime) -> str:
    """
    Return a Date value (20.17).

    :param moment: in UTC.
    """
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return f"{day}, {moment.day:02} {month} {moment.year:04} {moment:%H:%M:%S} GMT"
