# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""RTCP of calls: what SDP says of it, and what leaves when."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from sipsess.endpoint import ANONYMOUS, AnonymousGate
from sipsess.flow import Address
from sipsess.media.reporting import INTERVAL
from sipsess.media.rtcp import Block, Report
from sipsess.media.rtp import RTPPacket, is_rtcp
from sipsess.message import Response
from sipsess.sdphandlers.audio import find_audio
from sipsess.srtp import SUITES, Context, Crypto
from sipsess.testing import Agent
from tests.policy.phone import audio_at, sdp_of, sip_ports
from tests.policy.test_audio import AudioTestCase, Waiting

MUX = "a=rtcp-mux"
#: Two reports, chance and a little more.
TWICE = 2.5 * INTERVAL


class ControlPort(DatagramProtocol):
    """Keeps the reports that come."""

    noisy = False

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.source: Address | None = None

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Keep one report."""
        self.reports.append(Report.parse(datagram))
        self.source = addr


class RTCPTestCase(AudioTestCase):
    """A phone that hears and sends RTCP on the port beside, or on the same."""

    def setUp(self) -> None:
        """Open the port."""
        super().setUp()
        self.control = ControlPort()
        self.rtcp = self.phone.host.listenUDP(40001, self.control)
        hear = self.phone.ear.datagramReceived

        def share(datagram: bytes, addr: Address) -> None:
            receive = self.control.datagramReceived if is_rtcp(datagram) else hear
            receive(datagram, addr)

        self.phone.ear.datagramReceived = share  # type: ignore[method-assign]

    def call(self, *lines: str, direction: str = "sendrecv") -> Response:
        """Call with these lines in the offer."""
        body = self.phone.sdp(formats="0", extra=lines, direction=direction)
        return self.phone.call(body=body)

    def offer_again(self, answer: Response, *lines: str, direction: str = "sendrecv") -> Response:
        """Offer anew within the call."""
        body = self.phone.sdp(formats="0", extra=lines, direction=direction)
        self.phone.send(self.phone.request_within(answer, "INVITE", body=body))
        answer = self.phone.expect(200)
        self.phone.ack(answer)
        return answer

    def tell(self, where: Address, *blocks: Block, ssrc: int = 0x1234) -> None:
        """Let the phone report from its port for RTCP."""
        self.rtcp.write(Report(ssrc, blocks=blocks).pack(), where)
        self.net.run_for(0.02)

    def attribute(self, answer: Response, name: str) -> str | None:
        """Return an attribute of our audio."""
        return sdp_of(answer).media[0].attributes.get(name)


class DescriptionTests(RTCPTestCase):
    """``a=rtcp-mux``, RFC 5761 section 5.1.1."""

    def test_answer(self) -> None:
        """It is answered when it was offered, and never else."""
        self.assertIsNone(self.attribute(self.call(), "rtcp-mux"))
        self.assertEqual(self.attribute(self.call(MUX), "rtcp-mux"), "")
        self.finish()

    def offered(self, answer: str) -> list[bool]:
        """Let us offer twice, and answer both; return which offers had it."""
        self.phone.send(self.phone.invite("sip:anybody@192.0.2.1", body=b""))
        found = self.phone.expect(200)
        self.phone.ack(found, body=answer)
        self.net.run_for(0.1)
        self.phone.send(self.phone.request_within(found, "INVITE", body=b""))
        again = self.phone.expect(200)
        self.phone.ack(again, body=answer)
        self.net.run_for(0.1)
        return [self.attribute(offer, "rtcp-mux") is not None for offer in (found, again)]

    def test_offer(self) -> None:
        """
        It is offered; an offer that follows is as the one before, even if that was declined.

        So a re-INVITE that changes nothing does not raise the version (RFC 3264 section 8).
        """
        self.assertEqual(self.offered(self.phone.sdp(extra=[MUX])), [True, True])
        self.assertEqual(self.offered(self.phone.sdp()), [True, True])
        self.finish()


class ReportTests(RTCPTestCase):
    """What leaves when, RFC 3550 section 6."""

    def test_port_beside(self) -> None:
        """Without rtcp-mux RTCP has the next port on both sides (RFC 3550 section 11)."""
        host, port = audio_at(self.call())
        self.net.run_for(TWICE)
        self.assertEqual(self.control.source, (host, port + 1))
        first = self.control.reports[0]
        assert first.sender is not None
        self.assertEqual(first.ssrc, self.phone.ear.packets[0].ssrc)
        self.assertEqual(sip_ports(self.agent), [port, port + 1])
        self.finish()

    def test_shared_port(self) -> None:
        """With rtcp-mux it shares the port of RTP; no other is opened."""
        where = audio_at(self.call(MUX))
        self.phone.speak(where, 5)
        self.net.run_for(TWICE)
        self.assertEqual(self.control.source, where)
        [block] = self.control.reports[0].blocks
        self.assertEqual((block.ssrc, block.highest, block.lost), (0x1234, 5, 0))
        self.assertEqual(sip_ports(self.agent), [where[1]])
        self.finish()

    def test_mux_that_the_answer_declines(self) -> None:
        """An offer of ours with rtcp-mux binds nobody who answers without (RFC 5761 5.1.1)."""
        self.phone.send(self.phone.invite("sip:anybody@192.0.2.1", body=b""))
        found = self.phone.expect(200)
        self.phone.ack(found, body=self.phone.sdp(formats="0"))
        host, port = audio_at(found)
        self.phone.speak((host, port), 5)
        self.net.run_for(TWICE)
        self.assertEqual(self.control.source, (host, port + 1))
        self.finish()

    def test_mux_that_was_not_offered(self) -> None:
        """An answer that says rtcp-mux to an offer without changes nothing (RFC 5761 5.1.1)."""
        answer = self.call()
        self.phone.send(self.phone.request_within(answer, "INVITE", body=b""))
        again = self.phone.expect(200)
        self.assertIsNone(self.attribute(again, "rtcp-mux"))
        self.phone.ack(again, body=self.phone.sdp(formats="0", extra=[MUX]))
        self.phone.speak(audio_at(again), 5)
        at_rtp: list[bool] = []
        self.phone.ear.datagramReceived = lambda datagram, addr: (  # type: ignore[method-assign]
            at_rtp.append(is_rtcp(datagram))
        )
        self.control.reports.clear()
        self.net.run_for(TWICE)
        self.assertEqual(set(at_rtp), {False})
        self.assertNotEqual(self.control.reports, [])
        self.finish()

    def test_as_long_as_something_is_said(self) -> None:
        """There is a report each few seconds, at moments that chance chooses."""
        where = audio_at(self.call(MUX))
        times: list[float] = []
        self.control.datagramReceived = lambda datagram, addr: (  # type: ignore[method-assign]
            times.append(self.net.seconds())
        )
        self.phone.speak(where, 3000)
        gaps = [later - earlier for earlier, later in pairwise(times)]
        self.assertIn(len(gaps), range(11, 20))
        self.assertGreaterEqual(min(gaps), 0.5 * INTERVAL / 1.21829)
        self.assertLessEqual(max(gaps), 1.5 * INTERVAL / 1.21828 + 0.02)
        self.assertGreater(max(gaps) - min(gaps), 1.0)
        self.finish()

    def test_signalled_port(self) -> None:
        """``a=rtcp`` names another port (RFC 3605); one that is none is as if it was not there."""
        other = ControlPort()
        self.phone.host.listenUDP(40444, other)
        for line, there in (
            ("a=rtcp:40444", other),
            ("a=rtcp:40444 IN IP4 192.0.2.9", other),
            ("a=rtcp:70000", self.control),
            ("a=rtcp:0", self.control),
            ("a=rtcp:x", self.control),
            ("a=rtcp:444444444444", self.control),
        ):
            self.call(line)
            there.reports.clear()
            self.net.run_for(INTERVAL)
            self.assertEqual(len({report.ssrc for report in there.reports}), 1, line)
            self.finish()

    def test_signalled_host(self) -> None:
        """Another host than that of the audio gets nothing."""
        victim = ControlPort()
        self.net.host("192.0.2.66").listenUDP(40001, victim)
        self.call("a=rtcp:40001 IN IP4 192.0.2.66")
        self.net.run_for(TWICE)
        self.assertEqual((victim.reports, self.control.reports), ([], []))
        self.finish()

    def test_unwanted(self) -> None:
        """Who gives RTCP no bandwidth gets none (RFC 3556), until he does."""
        answer = self.call_narrow("b=RS:0", "b=RR:0")
        self.net.run_for(TWICE)
        self.assertEqual(self.control.reports, [])
        self.offer_again(answer)
        self.phone.speak(audio_at(answer), 3)
        self.net.run_for(INTERVAL)
        self.assertNotEqual(self.control.reports, [])
        self.finish()
        for lines in (("b=RS:0",), ("b=RR:0", "b=RS:9"), ("b=AS:64",)):
            self.control.reports.clear()
            self.call_narrow(*lines)
            self.net.run_for(INTERVAL)
            self.assertNotEqual(self.control.reports, [], lines)
            self.finish()

    def call_narrow(self, *lines: str) -> Response:
        """Call with bandwidths in the offer."""
        body = self.phone.sdp(formats="0")
        head, rest = body.split("a=rtpmap:0", 1)
        return self.phone.call(
            body=head + "".join(f"{line}\r\n" for line in lines) + "a=rtpmap:0" + rest
        )

    def test_leaving(self) -> None:
        """The last report says goodbye (RFC 3550 section 6.3.7)."""
        self.call()
        self.net.run_for(INTERVAL)
        self.assertEqual({report.gone for report in self.control.reports}, {()})
        self.session.terminate()
        self.phone.reply(self.phone.expect("BYE"), 200)
        self.net.run_for(0.1)
        *_, last = self.control.reports
        self.assertEqual(last.gone, (last.ssrc,))
        count = len(self.control.reports)
        self.net.run_for(TWICE)
        self.assertEqual(len(self.control.reports), count)
        self.finish()

    def test_short_call(self) -> None:
        """Who has reported nothing says no goodbye."""
        self.call()
        self.session.terminate()
        self.phone.reply(self.phone.expect("BYE"), 200)
        self.net.run_for(TWICE)
        self.assertEqual(self.control.reports, [])
        self.finish()

    def test_port_is_taken(self) -> None:
        """Where the port beside cannot be had there is no RTCP, and the record says why."""
        taken = self.agent.host.listenUDP(10001, DatagramProtocol())
        self.call()
        self.net.run_for(TWICE)
        self.assertEqual(self.control.reports, [])
        self.assertIn("no RTCP: port 10001 cannot be had", " ".join(self.session.record.lines()))
        taken.stopListening()
        self.finish()

    def test_packet_during_an_exchange(self) -> None:
        """A packet that comes while an offer of ours is open starts reports by what is in force."""
        where = audio_at(self.call(MUX, direction="inactive"))
        self.session.send_reinvite()
        self.phone.expect("INVITE")
        self.tell(where)
        self.net.run_for(INTERVAL)
        self.assertEqual(self.control.reports, [])
        self.phone.rtp.write(Report(7).pack(), where)
        self.net.run_for(INTERVAL)
        self.assertEqual(self.control.source, where)
        self.finish()

    def test_negotiated_anew(self) -> None:
        """A later exchange may take RTCP to another port."""
        where = audio_at(answer := self.call(MUX))
        self.net.run_for(INTERVAL)
        self.assertEqual(self.control.source, where)
        self.offer_again(answer)
        self.phone.speak(where, 3)
        self.net.run_for(INTERVAL)
        self.assertEqual(self.control.source, (where[0], where[1] + 1))
        self.finish()


class IdleTests(RTCPTestCase):
    """Calls in which nothing is said."""

    def timers(self) -> int:
        """How many of the session's timers run."""
        return len(self.session.waiting._timers)

    def test_nothing_costs_nothing(self) -> None:
        """A call in which no packet comes or goes opens no port and sends no report."""
        self.call(direction="inactive")
        self.net.run_for(TWICE)
        self.assertEqual((self.control.reports, self.phone.ear.packets), ([], []))
        self.assertEqual(len(sip_ports(self.agent)), 1)
        self.assertEqual(self.timers(), 0)
        self.finish()

    def test_silence_ends_the_reports(self) -> None:
        """When nothing more comes or goes they stop, and go on with the next packet."""
        where = audio_at(self.call(MUX))
        self.net.run_for(4 * INTERVAL)
        self.assertEqual(self.timers(), 0)
        count = len(self.control.reports)
        self.net.run_for(10 * INTERVAL)
        self.assertEqual(len(self.control.reports), count)
        self.phone.speak(where)
        self.net.run_for(INTERVAL)
        self.assertEqual(len(self.control.reports), count + 1)
        self.session.terminate()
        self.phone.reply(self.phone.expect("BYE"), 200)
        self.net.run_for(0.1)
        self.assertNotEqual(self.control.reports[-1].gone, ())
        self.finish()

    def test_peer_who_reports_during_a_hold(self) -> None:
        """Who reports while nothing is said gets reports."""
        host, port = audio_at(self.call())
        self.net.run_for(4 * INTERVAL)
        count = len(self.control.reports)
        for _ in range(8):
            self.tell((host, port + 1))
            self.net.run_for(INTERVAL)
        self.assertGreater(len(self.control.reports), count + 4)
        self.finish()


class LearningTests(RTCPTestCase):
    """What the peer reports stands in the call's statistics and record."""

    def test_record(self) -> None:
        """The last line on the audio tells what the peer lost, and the way to him."""
        host, port = audio_at(self.call())
        self.net.run_for(INTERVAL)
        audio = find_audio(self.session)
        assert audio is not None
        [report, *_] = self.control.reports
        assert report.sender is not None
        middle = report.sender.ntp >> 16 & 0xFFFFFFFF
        self.tell((host, port + 1), Block(audio.ssrc, 0, 5, 0, 80, middle, 0))
        found = audio.statistics()
        self.assertEqual((found.remote_lost, found.remote_jitter_ms), (5, 10.0))
        assert found.round_trip_ms is not None
        session = self.session
        self.finish()
        line = [text for text in session.record.lines() if "audio" in text][-1]
        self.assertIn("the peer lost 5 (10.0%), jitter 10.0 ms; round trip ", line)

    def test_strangers_are_not_believed(self) -> None:
        """A report from another host is counted as from a wrong source, and changes nothing."""
        host, port = audio_at(self.call())
        audio = find_audio(self.session)
        assert audio is not None
        stranger = self.net.host("192.0.2.77").listenUDP(40001, DatagramProtocol())
        data = Report(1, blocks=(Block(audio.ssrc, 0, 5, 0, 80, 0, 0),)).pack()
        stranger.write(data, (host, port + 1))
        stranger.write(data, (host, port))
        self.net.run_for(0.1)
        self.assertIsNone(audio.statistics().remote_lost)
        self.assertEqual(audio.wrong_source, 2)
        self.finish()

    def test_audio_on_the_wrong_port(self) -> None:
        """Audio that comes to the port for RTCP is not heard, and does not turn ours away."""
        host, port = audio_at(self.call())
        audio = find_audio(self.session)
        assert audio is not None
        self.rtcp.write(RTPPacket(0, 1, 160, 9, bytes(160)).pack(), (host, port + 1))
        self.net.run_for(0.1)
        self.assertEqual(audio.packets_received, 0)
        self.assertEqual(audio.destination, ("192.0.2.9", 40000))
        self.finish()

    def test_own_bytes(self) -> None:
        """The end of a session during a callback of a packet does no harm."""
        where = audio_at(self.call(MUX, direction="inactive"))
        audio = find_audio(self.session)
        assert audio is not None
        begin = audio.on_activity
        assert begin is not None
        self.finish()
        begin()
        self.assertEqual(self.control.reports, [])
        self.assertEqual(where[0], "192.0.2.1")


class SecureTests(RTCPTestCase):
    """RTCP of a call whose audio is encrypted."""

    def make_agent(self, **options: Any) -> Agent:
        """Return an agent that takes keys without TLS."""
        return Agent(
            self.net.host("192.0.2.1", name="server"),
            applications=[Waiting()],
            application="waiting",
            gates=[AnonymousGate(replace(ANONYMOUS, accepts_clear_keys=True))],
        )

    def test_encrypted(self) -> None:
        """Reports are encrypted as the audio is (RFC 3711 section 3.4)."""
        suite = SUITES["AES_CM_128_HMAC_SHA1_80"]
        raw: list[bytes] = []
        self.control.datagramReceived = lambda datagram, addr: (  # type: ignore[method-assign]
            raw.append(datagram)
        )
        body = self.phone.sdp(formats="0", extra=[f"a=crypto:{Crypto('1', suite, bytes(30))}"])
        self.phone.ear.datagramReceived = lambda datagram, addr: None  # type: ignore[method-assign]
        answer = self.phone.call(body=body.replace("RTP/AVP", "RTP/SAVP"))
        key = Crypto.parse(self.attribute(answer, "crypto") or "").key
        self.net.run_for(INTERVAL)
        context = Context(suite, key, is_sender=False)
        plain = context.unprotect(raw[0], True)
        assert plain is not None
        self.assertNotEqual(Report.parse(plain).cname, "")
        self.finish()
