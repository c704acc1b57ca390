# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Refuses new calls unread while there is too much to do; :mod:`sipsess.overload` says when.

A refusal is stateless: a copy of the INVITE gets the same one again, and its ACK, which tells
nothing, is recognised by our tag and dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipsess.flow import Flow
from sipsess.message.busy import build_busy, is_in_dialog
from sipsess.overload import ADMIT, REFUSE, RETRY_AFTER, TARGET, OverloadControl

if TYPE_CHECKING:
    from sipsess.core import SIPCore

_INVITE = b"INVITE "
_ACK = b"ACK "


class Shedder:
    """
    Stands before the core when the queue is long.

    :param core: whose transactions are known, and that counts and sends.
    """

    __slots__ = ("_core", "_tag", "control")

    def __init__(self, core: SIPCore) -> None:
        self._core = core
        #: The To tag of all refusals; nobody can guess it.
        self._tag = core.ids.token(12).encode()
        self.control = OverloadControl()

    def is_asked(self, waited: float) -> bool:
        """Whether :meth:`takes` must be asked about a datagram that has waited so long."""
        return waited >= TARGET or not self.control.is_calm

    def takes(self, data: bytes, flow: Flow, now: float, waited: float) -> bool:
        """
        Deal with a datagram that the core has no time for.

        :return: ``False`` when it is the core's.
        """
        if data.startswith(_ACK):
            return self._tag in data
        if not data.startswith(_INVITE) or is_in_dialog(data):
            return False
        core = self._core
        verdict = self.control.judge(waited, now)
        if verdict == ADMIT or core.layer.has_server(data, flow):
            return False
        if verdict == REFUSE:
            refusal = build_busy(data, flow.remote, self._tag, RETRY_AFTER)
            if refusal is None:
                return False
            wire, port = refusal
            core.count_refusal("overload-refused", flow)
            core.send(flow.to((flow.remote[0], port)), wire)
        else:
            core.count_refusal("overload-dropped", flow)
        return True
