# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A telephone for tests: a scripted SIP peer with an RTP port."""

from __future__ import annotations

from twisted.internet.protocol import DatagramProtocol

from sipsess.flow import Address
from sipsess.media import RTPPacket
from sipsess.message import Request, Response
from sipsess.sdp import SessionDescription
from sipsess.sdp import parse as parse_sdp
from sipsess.testing import Agent, ScriptedPeer, VirtualNetwork

#: One frame of mu-law.
FRAME = bytes(range(160))


class Ear(DatagramProtocol):
    """Keeps the RTP packets that come."""

    noisy = False

    def __init__(self) -> None:
        self.packets: list[RTPPacket] = []
        self.source: Address | None = None

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Keep one packet."""
        self.packets.append(RTPPacket.parse(datagram))
        self.source = addr


class Phone(ScriptedPeer):
    """
    A scripted peer at 192.0.2.9 that hears and speaks RTP on port 40000.

    :param net: its network.
    :param host: another address.
    :param name: another name.
    """

    def __init__(self, net: VirtualNetwork, host: str = "192.0.2.9", name: str = "phone") -> None:
        super().__init__(net.host(host, name=name))
        self.ear = Ear()
        self.rtp = self.host.listenUDP(40000, self.ear)
        self._sequence = 0
        self._timestamp = 0

    def call(self, uri: str = "sip:anybody@192.0.2.1", body: str | None = None) -> Response:
        """Call, wait for the 200 and acknowledge it; return the 200."""
        self.send(self.invite(uri, body=body))
        answer = self.expect(200)
        self.ack(answer)
        self.network.run_for(0.1)
        return answer

    def speak(
        self, to: Address, frames: int = 1, payload_type: int = 0, payload: bytes = FRAME
    ) -> None:
        """Send so many packets, one each 20 ms."""
        for _ in range(frames):
            self._sequence += 1
            self._timestamp += max(160, len(payload))
            packet = RTPPacket(payload_type, self._sequence, self._timestamp, 0x1234, payload)
            self.rtp.write(packet.pack(), to)
            self.network.run_for(0.02)

    def press(self, to: Address, digit: str) -> None:
        """Press a key: one RTP event of which only the end is sent."""
        code = "0123456789*#ABCD".index(digit)
        self.speak(to, 1, 101, bytes([code, 0x8A, 3, 0x20]))


def sdp_of(message: Request | Response) -> SessionDescription:
    """Return the session description of a message."""
    return parse_sdp(message.body)


def audio_at(message: Request | Response) -> Address:
    """Return where a description wants its audio."""
    media = sdp_of(message).media[0]
    return media.address or "", media.port


def sip_ports(agent: Agent) -> list[int]:
    """Return the ports of an agent's host that are open, SIP's apart."""
    return sorted(port.number for port in agent.host.ports.values() if port.number != 5060)
