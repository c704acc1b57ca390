# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The server to compare with on sippy: 180, 200 with an SDP, BYE; run in an environment with sippy.

One worker thread only, because several of them reorder what a server sends; and no log.
"""

from __future__ import annotations

import os
import sys
from typing import Any

os.environ["SIPLOG_BEND"] = "none"

from sippy.CCEvents import CCEventConnect, CCEventRing, CCEventTry
from sippy.Core.EventDispatcher import ED2
from sippy.MsgBody import MsgBody
from sippy.SipConf import SipConf
from sippy.SipLogger import SipLogger
from sippy.SipTransactionManager import SipTransactionManager
from sippy.UA import UA
from sippy.Udp_server import Udp_server_opts

Udp_server_opts.nworkers = 1


class Server:
    """
    Answers every call.

    :param port: on 127.0.0.1.
    :param answer: the SDP of every 200.
    """

    def __init__(self, port: int, answer: str) -> None:
        SipConf.my_uaname = "benchmark"
        self._answer = answer
        self._configuration: dict[str, Any] = {
            "_sip_address": "127.0.0.1",
            "_sip_port": port,
            "_sip_logger": SipLogger("benchmark"),
        }
        manager = SipTransactionManager(self._configuration, self.receive)
        self._configuration["_sip_tm"] = manager

    def receive(self, request: Any, transaction: Any) -> Any:
        """Begin a call, or refuse."""
        if request.getHFBody("to").getTag() is not None:
            return request.genResponse(481, "Call Leg/Transaction Does Not Exist"), None, None
        if request.getMethod() == "INVITE":
            return UA(self._configuration, self.hear).recvRequest(request, transaction)
        return request.genResponse(200, "OK"), None, None

    def hear(self, event: Any, agent: Any) -> None:
        """Ring, then answer."""
        if isinstance(event, CCEventTry):
            agent.recvEvent(CCEventRing((180, "Ringing", None)))
            agent.recvEvent(CCEventConnect((200, "OK", MsgBody(self._answer))))


def main() -> None:
    """Serve until the process is ended: PORT, and the file with the SDP."""
    with open(sys.argv[2], encoding="ascii", newline="") as stream:
        Server(int(sys.argv[1]), stream.read())
    ED2.loop()


if __name__ == "__main__":
    main()
