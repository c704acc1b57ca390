# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Keys as INFO requests, for peers that speak no RTP events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from sipsess.errors import DialogStateError
from sipsess.media import AudioStream
from sipsess.media.dtmf_body import DTMF_RELAY, build_dtmf_relay
from sipsess.message import Response

if TYPE_CHECKING:
    from .call import Call

#: Seconds that each key is pressed when nobody says otherwise, and the pause after it.
PRESS = 0.1
_PAUSE = 0.08


async def send_by_info(call: Call, stream: AudioStream, text: str, duration: float) -> None:
    """
    Send keys, one INFO each; from the first that is refused on, as tones.

    That a peer allows INFO does not say that it knows these bodies; its answer does.

    :param text: 0-9, ``*``, ``#``, A-D.
    :param duration: seconds that each is said to be pressed.
    """
    session = call.session
    for index, digit in enumerate(text):
        body = build_dtmf_relay(digit, duration)
        sent = session.send_request("INFO", content_type=DTMF_RELAY, body=body)
        response = await session.wait(sent)
        if response.status >= 300:
            session.note("INFO", f"digits go as tones: {response.status} {response.reason}")
            await call.send_by_rtp(stream, text[index:], duration)
            return
        await call.wait(duration + _PAUSE)


def pass_by_info(call: Call, digit: str, duration: float) -> Deferred[Response]:
    """
    Press a key of somebody whose media are not ours: an INFO is all that can be sent.

    :param duration: seconds that it is said to be pressed.
    :return: fires with the response, whatever it says.
    :raises DialogStateError: when his peer takes no INFO, or the call is over.
    """
    session = call.session
    if not session.peer_allows("INFO"):
        raise DialogStateError("the peer takes no INFO, and his media are not ours")
    body = build_dtmf_relay(digit, duration)
    return session.send_request("INFO", content_type=DTMF_RELAY, body=body)
