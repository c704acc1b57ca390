# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The endpoint of everybody who is nobody in particular, and the gate that admits them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from sipsess.interfaces import IRequestGate
from sipsess.supplement import Verdict

from .endpoint import Endpoint

if TYPE_CHECKING:
    from sipsess.core import Admission

#: Nobody in particular: not trusted with identities.
ANONYMOUS = Endpoint("anonymous")


@implementer(IRequestGate)
class AnonymousGate:
    """
    Admits every request, as from one endpoint.

    :param endpoint: that everybody is.
    """

    name = "anonymous"

    def __init__(self, endpoint: Endpoint = ANONYMOUS) -> None:
        self.endpoint = endpoint

    def admit(self, admission: Admission) -> Verdict:
        """See :meth:`.IRequestGate.admit`."""
        if admission.endpoint is None:
            admission.endpoint = self.endpoint
        return Verdict.CONTINUE
