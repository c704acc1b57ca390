# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Privacy (:rfc:`3323`, :rfc:`3325`, :rfc:`7044`): what of a message shall not be told further.

::

    Privacy: user;id;critical
"""

from __future__ import annotations

from sipsess.message._headers import Headers
from sipsess.message._uri import SIPURI
from sipsess.message._values import NameAddr

#: Words that are looked at.
MAX_WORDS = 16

#: The values, by what they hide: the user, what headers tell, the media's addresses, the asserted
#: identity, the history of the call; or nothing at all; or nobody may ignore the others.
USER, HEADER, SESSION, ID, HISTORY = "user", "header", "session", "id", "history"
NONE, CRITICAL = "none", "critical"
#: Those that hide who calls.
HIDING = frozenset({USER, HEADER, ID})

#: Who does not want to be known (:rfc:`3323#section-4.1.1.3`).
ANONYMOUS_NAME = "Anonymous"
ANONYMOUS_URI = "sip:anonymous@anonymous.invalid"


def get_privacy(headers: Headers) -> frozenset[str]:
    """
    Return the values of Privacy, in lower case; unknown ones too.

    :return: ``{"none"}`` alone when that is among them: it excludes all others (section 4.2).
    """
    # The grammar has semicolons; a comma, which some peers write, can mean nothing else.
    texts = [text.replace(",", ";") for text in headers.get_all("Privacy")]
    words = [word.strip(" \t").lower() for text in texts for word in text.split(";")]
    found = frozenset(word for word in words[:MAX_WORDS] if word)
    return frozenset({NONE}) if NONE in found else found


def is_hidden(headers: Headers) -> bool:
    """Tell whether Privacy asks to hide who calls."""
    return bool(get_privacy(headers) & HIDING)


def is_anonymous(address: NameAddr) -> bool:
    """
    Tell whether an address is nobody's (:rfc:`3323#section-4.1.1.3`).

    :raises MessageError: when its URI cannot be read.
    """
    uri = address.parsed_uri
    if not isinstance(uri, SIPURI):
        return False
    user, host = uri.user_text or "", uri.host
    return user.lower() == "anonymous" or host.lower() == "anonymous.invalid"
