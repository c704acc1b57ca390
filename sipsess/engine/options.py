# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""What is asked of a media engine, what it tells, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from sipsess.errors import SIPError


class MediaEngineError(SIPError):
    """
    The media engine did not do what it was asked for: it refused, or it does not answer.

    :param reason_code: a short word in kebab-case; each has a counter.
    :param text: one sentence for people.
    """

    status_hint: ClassVar[int | None] = 503

    def __init__(self, reason_code: str, text: str) -> None:
        super().__init__(text)
        self.reason_code = reason_code
        self.text = text


@dataclass(frozen=True, slots=True)
class MediaOptions:
    """How the media towards the receiver of a session description shall be; empty: as it was."""

    #: The protocol of its m-lines, such as ``"RTP/AVP"``, ``"RTP/SAVP"`` or
    #: ``"UDP/TLS/RTP/SAVPF"``; the engine encrypts and decrypts where the two sides differ.
    protocol: str = ""
    #: Encodings that it is offered besides those of the description, such as ``"PCMA"``; the engine
    #: transcodes where the two sides differ.
    transcode: tuple[str, ...] = ()
    #: Whether candidates of ICE (:rfc:`8445`) are taken out, or the engine's put in.
    ice: Literal["", "remove", "force"] = ""
    #: The engine's names of the networks that the media come from and go to.
    networks: tuple[str, str] | None = None


#: Nothing is asked for.
AS_IT_WAS = MediaOptions()


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """What the media engine has carried of one call, both ways together."""

    #: RTP packets.
    packets: int
    #: Their bytes.
    octets: int
    #: Packets that could not be carried.
    errors: int
