# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What the server is told about a call at the start."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sipsess.call import Call

#: Characters of a value: callers write them.
MAX_VALUE = 1000
_FIELD = re.compile(r"\{(\w+)\}")


def fill_parameters(
    call: Call, templates: Mapping[str, str], headers: Iterable[str] = ()
) -> dict[str, str]:
    """
    Return parameters of a call.

    :param templates: by name; ``{caller}`` and ``{callee}`` are URIs, ``{number}`` the user of the
        caller's, ``{dialled}`` whom the caller wants; other names are groups of the route's
        pattern. What is not known is empty.
    :param headers: of the INVITE, whose values are added by their names when they are there.
    """
    values = {
        **call.groups,
        "caller": call.caller,
        "callee": call.callee,
        "number": call.caller_user,
        "dialled": call.dialled,
    }
    filled = {
        name: _FIELD.sub(lambda match: values.get(match[1], ""), template)[:MAX_VALUE]
        for name, template in templates.items()
    }
    for name in headers:
        value = call.request.headers.get(name)
        if value is not None:
            filled[name] = value[:MAX_VALUE]
    return filled
