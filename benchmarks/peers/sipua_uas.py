# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The server to compare with on sipua: 180, 200 with an SDP, BYE; run in an environment with sipua.

It uses sipua's dialogs and not its calls, which open ports and speak ICE: signalling only.
"""

from __future__ import annotations

import asyncio
import sys

import sipmessage
from sipua import Application, Dialog, TransportAddress

SDP = sipmessage.MediaType(mime_type="application/sdp")


class AnsweredDialog(Dialog):
    """A call that was answered, until the caller ends it."""

    async def handle_request(self, request: sipmessage.Request) -> None:
        """Answer a BYE; an ACK needs nothing."""
        if request.method == "BYE":
            await self.send_response(self.create_response(request, 200))
            self._dialog_layer._dialog_terminated(self)


class Server(Application):
    """
    Answers every call.

    :param answer: the SDP of every 200.
    """

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self._answer = answer

    async def handle_request(self, request: sipmessage.Request) -> None:
        """Ring, then answer."""
        if request.method != "INVITE":
            await super().handle_request(request)
            return
        dialog = AnsweredDialog.create_uas(dialog_layer=self.dialog_layer, request=request)
        await dialog.send_response(dialog.create_response(request, 180))
        response = dialog.create_response(request, 200)
        response.content_type = SDP
        response.body = self._answer
        await dialog.send_response(response)


async def serve(port: int, answer: bytes) -> None:
    """Answer every call with the same SDP."""
    server = Server(answer)
    await server.listen(TransportAddress(protocol="udp", host="127.0.0.1", port=port))
    await asyncio.Event().wait()


def main() -> None:
    """Serve until the process is ended: PORT, and the file with the SDP."""
    with open(sys.argv[2], "rb") as stream:
        asyncio.run(serve(int(sys.argv[1]), stream.read()))


if __name__ == "__main__":
    main()
