# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of the SDP handler for audio: a telephone that offers this and that."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipsess.application import Application
from sipsess.call import Call
from sipsess.codec import CODECS
from sipsess.endpoint import ANONYMOUS
from sipsess.interfaces import ISDPHandler
from sipsess.media import PCMA, PCMU, AudioStream, RTPPacket
from sipsess.media.latch import UNPROVEN_PACKETS
from sipsess.message import Response
from sipsess.sdphandler import NegotiationFailed, StreamVerdict
from sipsess.sdphandlers._formats import common_formats, spoken
from sipsess.sdphandlers.audio import (
    AudioHandler,
    count_packets,
    find_audio,
)
from sipsess.session import LocalDescription, Session, SessionStream
from sipsess.testing import Agent, VirtualNetwork
from tests.policy.phone import Ear, Phone, audio_at, sdp_of, sip_ports


class Waiting(Application):
    """Rings, answers after a second, plays a second of silence and waits."""

    name = "waiting"

    async def handle(self, call: Call) -> None:
        """See IApplication."""
        await call.ring()
        await call.wait(1)
        await call.answer()
        call.play(bytes(16000))
        await call.ended


class AudioTestCase(SynchronousTestCase):
    """A phone and an agent."""

    def setUp(self) -> None:
        """Build both."""
        self.net = VirtualNetwork()
        self.phone = Phone(self.net)
        self.agent = self.make_agent()

    def make_agent(self, **options: Any) -> Agent:
        """Return the agent."""
        return Agent(
            self.net.host("192.0.2.1", name="server"),
            applications=[Waiting()],
            application="waiting",
            **options,
        )

    @property
    def session(self) -> Session:
        """The one session."""
        (session,) = self.agent.sessions
        return session

    def finish(self) -> None:
        """End all calls and check that nothing is left."""
        sessions = self.agent.sessions
        for session in sessions:
            session.terminate()
        for _ in sessions:
            self.phone.reply(self.phone.expect("BYE"), 200)
        self.net.run_for(40)
        self.net.assert_quiet()
        self.assertEqual(sip_ports(self.agent), [])

    def refusal(self, body: str) -> tuple[int, str | None]:
        """Offer something that is refused; return status and Warning."""
        self.phone.send(self.phone.invite("sip:anybody@192.0.2.1", body=body))
        response = self.phone.expect(lambda message: getattr(message, "status", 0) >= 300)
        assert not response.is_request
        self.phone.ack(response)  # type: ignore[arg-type]
        has_delay = response.headers.get("Retry-After") is not None
        self.assertEqual(has_delay, getattr(response, "status", 0) == 503)
        return response.status, response.headers.get("Warning")  # type: ignore[union-attr]


class AnswerTests(AudioTestCase):
    """What is answered to which offer (RFC 3264 section 6)."""

    def test_interface(self) -> None:
        """The handler provides ISDPHandler."""
        verifyObject(ISDPHandler, AudioHandler())

    def test_formats_and_attributes(self) -> None:
        """The answer has the offerer's order and numbers (RFC 3264 section 6.1), and ptime 20."""
        offer = self.phone.sdp(
            formats="96 18 8 0", extra=["a=rtpmap:96 telephone-event/8000", "a=rtpmap:18 G729/8000"]
        )
        media = sdp_of(self.phone.call(body=offer)).media[0]
        self.assertEqual(media.formats, ["96", "8", "0"])
        self.assertEqual(media.proto, "RTP/AVP")
        self.assertEqual(
            media.attributes.get_all("rtpmap"),
            ["96 telephone-event/8000", "8 PCMA/8000", "0 PCMU/8000"],
        )
        self.assertEqual(media.fmtp("96"), "0-15")
        self.assertEqual((media.ptime, media.direction), (20, "sendrecv"))
        self.finish()

    def test_first_codec_is_sent(self) -> None:
        """What is sent is the first codec of the offer that we know."""
        self.phone.call(body=self.phone.sdp(formats="101 8 0"))
        self.net.run_for(0.1)
        self.assertEqual({packet.payload_type for packet in self.phone.ear.packets}, {8})
        audio = find_audio(self.session)
        assert audio is not None
        self.assertIs(audio.codec, PCMA)
        self.finish()

    def test_one_number_for_each_encoding(self) -> None:
        """An encoding that is offered under two numbers is answered with the first."""
        offer = self.phone.sdp(formats="97 0 98", extra=["a=rtpmap:97 pcmu/8000"])
        self.assertEqual(sdp_of(self.phone.call(body=offer)).media[0].formats, ["97"])
        self.finish()

    def test_numbers_that_are_no_payload_types(self) -> None:
        """What does not fit in seven bits, or looks like RTCP (RFC 5761 section 4), is left out."""
        offer = self.phone.sdp(
            formats="128 72 8",
            extra=["a=rtpmap:128 PCMU/8000", "a=rtpmap:72 PCMU/8000"],
        )
        self.assertEqual(sdp_of(self.phone.call(body=offer)).media[0].formats, ["8"])
        self.finish()

    def test_without_telephone_event(self) -> None:
        """A peer that offers no telephone-event is answered none."""
        media = sdp_of(self.phone.call(body=self.phone.sdp(formats="0"))).media[0]
        self.assertEqual(media.formats, ["0"])
        self.assertIsNone(media.attributes.get("fmtp"))
        self.finish()

    def test_no_codec(self) -> None:
        """An offer without a codec of ours is refused with 488, events alone are no audio."""
        many = " ".join(map(str, range(20, 40)))
        for formats, offered in (
            ("18", "G729/8000"),
            ("101", "telephone-event/8000"),
            ("18 99", "G729/8000, 99"),
            (many, "20, 21, 22, 23, 24, CelB/90000, JPEG/90000, 27, ..."),
        ):
            extra = ["a=rtpmap:101 telephone-event/8000"]
            status, warning = self.refusal(self.phone.sdp(formats=formats, extra=extra))
            self.assertEqual(status, 488)
            why = f"no codec in common: offered are {offered}; spoken are PCMU, PCMA"
            self.assertEqual(warning, f'305 192.0.2.1:5060 "{why}"')
        self.finish()

    def test_other_profile(self) -> None:
        """A profile that is unknown is not claimed."""
        offer = self.phone.sdp().replace("RTP/AVP", "RTP/AVPF")
        status, warning = self.refusal(offer)
        self.assertEqual(status, 488)
        self.assertIn("audio over RTP/AVPF is not spoken: offer RTP/AVP", warning or "")
        self.finish()

    def test_encrypted_or_plain(self) -> None:
        """SRTP with plain RTP beside it: the plain one is taken, the other declined."""
        plain = "m=audio 40000 RTP/AVP 0"
        offer = self.phone.sdp(extra=[plain]).replace("RTP/AVP", "RTP/SAVP", 1)
        first, second = sdp_of(self.phone.call(body=offer)).media
        self.assertTrue(first.is_declined)
        self.assertFalse(second.is_declined)
        self.finish()

    def test_encrypted_beside_what_does_not_count(self) -> None:
        """A declined plain stream or a video stream is no alternative to SRTP."""
        extra = ["m=audio 0 RTP/AVP 0", "m=video 5000 RTP/AVP 31"]
        offer = self.phone.sdp(extra=extra).replace("RTP/AVP", "RTP/SAVP", 1)
        self.assertIn("over TLS only", self.refusal(offer)[1] or "")
        self.finish()

    def test_other_ip_version(self) -> None:
        """An IPv6 address in a call over IPv4 is refused, and the text says why."""
        offer = self.phone.sdp().replace("c=IN IP4 192.0.2.9", "c=IN IP6 2001:db8::9")
        status, warning = self.refusal(offer)
        self.assertEqual(status, 488)
        self.assertTrue((warning or "").startswith("301 "), warning)
        self.assertIn("offer an IPv4 address", warning or "")
        self.finish()

    def test_ipv6(self) -> None:
        """In a call over IPv6 it is the IPv4 address that is refused."""
        stream = SessionStream(0, AudioHandler())
        session = Mock(endpoint=ANONYMOUS)
        session.manager.codecs = CODECS
        session.flow.local = ("2001:db8::1", 5060)
        session.media.rivals.return_value = []
        offer = self.offer(self.phone.sdp())
        stream.remote = offer.media[0]
        error = self.assertRaises(
            NegotiationFailed,
            AudioHandler().handle_incoming_sdp_stream_offer,
            session,
            stream,
            offer,
        )
        self.assertIn("offer an IPv6 address", str(error))

    def offer(self, text: str) -> Any:
        """Return a description."""
        return sdp_of(Mock(body=text.encode()))

    def test_no_media_ports(self) -> None:
        """A server without RTP handles no audio."""
        self.agent.manager.media_ports = None
        self.assertEqual(self.refusal(self.phone.sdp())[0], 488)
        self.finish()

    def test_no_media_clock(self) -> None:
        """Nor does one whose streams nobody would let speak."""
        self.agent.manager.media_clock = None
        self.assertEqual(self.refusal(self.phone.sdp())[0], 488)
        self.finish()

    def test_nothing_to_offer(self) -> None:
        """Without RTP a call without an offer is refused, as there is nothing to offer."""
        self.agent.manager.media_ports = None
        self.assertEqual(self.refusal("")[0], 488)
        self.finish()

    def test_no_free_port(self) -> None:
        """
        When all ports are taken the answer is 503 for a while: nothing is wrong with the offer.

        (RFC 3261 section 21.5.4.)
        """
        while len(self.agent.ports) < self.agent.ports.capacity:
            self.agent.ports.open("192.0.2.1", lambda *args: None)
        status, warning = self.refusal(self.phone.sdp())
        self.assertEqual(status, 503)
        self.assertEqual(warning, '399 192.0.2.1:5060 "no port is free for audio now"')
        refused = self.agent.core.counters.refused
        self.assertEqual((refused["no-media-port"], refused.get("media-refused")), (1, None))
        self.agent.ports.close()
        self.finish()

    def test_no_claim_without_a_description(self) -> None:
        """A stream that the peer has not described is not claimed."""
        stream = SessionStream(0, AudioHandler())
        verdict = AudioHandler().handle_incoming_sdp_stream_offer(Mock(), stream, Mock())
        self.assertIs(verdict, StreamVerdict.NOT_HANDLED)


class PortTests(AudioTestCase):
    """When ports are open, and where."""

    def test_opened_by_the_answer(self) -> None:
        """A claim opens nothing; the answer opens one port; the end closes it."""
        self.phone.send(self.phone.invite("sip:anybody@192.0.2.1"))
        self.phone.expect(180)
        self.assertEqual(sip_ports(self.agent), [])
        answer = self.phone.expect(200)
        self.phone.ack(answer)
        self.assertEqual(sip_ports(self.agent), [sdp_of(answer).media[0].port])
        self.phone.bye(answer)
        self.net.run_for(0.1)
        self.assertEqual(sip_ports(self.agent), [])
        self.finish()

    def test_not_opened_by_a_call_that_is_cancelled(self) -> None:
        """A call that is cancelled while it rings never has a port."""
        invite = self.phone.invite("sip:anybody@192.0.2.1")
        self.phone.send(invite)
        self.phone.expect(180)
        self.phone.cancel(invite)
        self.phone.ack(self.phone.expect(487))
        self.assertEqual(self.agent.ports._next, 0)
        self.finish()

    def test_advertised_host(self) -> None:
        """The port is bound to our own address, the description has the advertised one."""
        self.net = VirtualNetwork()
        self.phone = Phone(self.net)
        self.agent = self.make_agent(listen="udp:5060:advertise=203.0.113.5")
        self.phone.send(self.phone.invite("sip:anybody@192.0.2.1"))
        answer = self.phone.expect(200)
        self.phone.send(
            self.phone.request_within(answer, "ACK", cseq=answer.cseq.number),
            to=("192.0.2.1", 5060),
        )
        self.assertEqual(sdp_of(answer).media[0].address, "203.0.113.5")
        hosts = {host for host, port in self.agent.host.ports if port != 5060}
        self.assertEqual(hosts, {"192.0.2.1"})
        self.finish()

    def test_counters(self) -> None:
        """What came and went is counted when the call ends."""
        answer = self.phone.call()
        self.phone.speak(audio_at(answer), 3)
        self.net.run_for(2)
        counters = self.agent.core.counters
        self.assertEqual((counters.rtp_received, counters.rtp_sent), (0, 0))
        self.assertEqual(count_packets(self.session), (3, 50))
        self.finish()
        self.assertEqual((counters.rtp_received, counters.rtp_sent), (3, 50))

    def test_no_packet_after_the_end(self) -> None:
        """Nothing is sent once the call is being hung up, though its BYE is unanswered."""
        self.phone.call()
        self.net.run_for(0.1)
        self.session.terminate()
        self.net.run_for(0.02)
        count = len(self.phone.ear.packets)
        self.net.run_for(0.4)
        self.assertEqual(len(self.phone.ear.packets), count)
        self.finish()

    def test_one_stream_of_many(self) -> None:
        """Of 31 audio streams the first is claimed and opens a port, the others are declined."""
        extra = [f"m=audio {port} RTP/AVP 8" for port in range(40002, 40062, 2)]
        first, *others = sdp_of(self.phone.call(body=self.phone.sdp(extra=extra))).media
        self.assertEqual(sip_ports(self.agent), [first.port, first.port + 1])
        self.assertEqual([media.port for media in others], [0] * 30)
        audio = find_audio(self.session)
        assert audio is not None
        self.assertIs(audio.codec, PCMU)
        self.finish()


class DirectionTests(AudioTestCase):
    """Directions and hold (RFC 3264 sections 6.1 and 8.4)."""

    def test_directions(self) -> None:
        """Each direction is answered with its counterpart."""
        expected = {
            "sendrecv": "sendrecv",
            "sendonly": "recvonly",
            "recvonly": "sendonly",
            "inactive": "inactive",
        }
        for offered, answered in expected.items():
            answer = self.phone.call(body=self.phone.sdp(direction=offered))
            self.assertEqual(sdp_of(answer).media[0].direction, answered)
        self.finish()

    def test_old_style_hold(self) -> None:
        """c=0.0.0.0 means that the peer does not listen, whatever direction it says."""
        for offered, answered in (("sendrecv", "recvonly"), ("recvonly", "inactive")):
            offer = self.phone.sdp(direction=offered)
            offer = offer.replace("c=IN IP4 192.0.2.9", "c=IN IP4 0.0.0.0")
            answer = self.phone.call(body=offer)
            self.assertEqual(sdp_of(answer).media[0].direction, answered)
        self.net.run_for(0.5)
        self.assertEqual(self.phone.ear.packets, [])
        self.finish()

    def test_hold_and_resume_by_the_peer(self) -> None:
        """A re-INVITE keeps the port and the SSRC; nothing is sent while the peer holds."""
        answer = self.phone.call()
        again = self.reinvite(answer, self.phone.sdp(direction="sendonly"))
        self.assertEqual(audio_at(again), audio_at(answer))
        self.assertEqual(sdp_of(again).media[0].direction, "recvonly")
        self.net.run_for(0.02)
        count = len(self.phone.ear.packets)
        self.net.run_for(0.3)
        self.assertEqual(len(self.phone.ear.packets), count)
        self.reinvite(answer, self.phone.sdp())
        self.net.run_for(0.3)
        self.assertGreater(len(self.phone.ear.packets), count)
        self.assertEqual(len({packet.ssrc for packet in self.phone.ear.packets}), 1)
        self.finish()

    def reinvite(self, answer: Any, body: str) -> Any:
        """Send a re-INVITE; return its 200."""
        self.phone.send(self.phone.request_within(answer, "INVITE", body=body))
        again = self.phone.expect(200)
        self.phone.ack(again)
        return again

    def test_new_address(self) -> None:
        """Audio goes to the address of the newest description, in its format."""
        answer = self.phone.call()
        other = self.net.host("192.0.2.10")
        ear = type(self.phone.ear)()
        other.listenUDP(50000, ear)
        body = self.phone.sdp(50000, formats="8 101").replace(
            "c=IN IP4 192.0.2.9", "c=IN IP4 192.0.2.10"
        )
        self.reinvite(answer, body)
        self.net.run_for(0.1)
        self.assertEqual({packet.payload_type for packet in ear.packets}, {8})
        self.finish()

    def test_address_that_is_a_name(self) -> None:
        """A name is never resolved; the peer's first packet says where he is."""
        offer = self.phone.sdp().replace("c=IN IP4 192.0.2.9", "c=IN IP4 phone.example")
        answer = self.phone.call(body=offer)
        self.net.run_for(0.2)
        self.assertEqual(self.phone.ear.packets, [])
        self.phone.speak(audio_at(answer))
        self.net.run_for(0.2)
        self.assertNotEqual(self.phone.ear.packets, [])
        self.finish()

    def test_stream_that_ends(self) -> None:
        """A stream that a re-INVITE takes away gives its port back at once."""
        answer = self.phone.call()
        again = self.phone.sdp(0, extra=["m=audio 40002 RTP/AVP 8"])
        first, second = sdp_of(self.reinvite(answer, again)).media
        self.net.run_for(0.1)
        self.assertTrue(first.is_declined)
        self.assertEqual(sip_ports(self.agent), [second.port])
        self.finish()

    def test_stream_in_force_stays_the_one(self) -> None:
        """A stream before the one in force does not take its place (RFC 3264 section 8)."""
        declined_first = self.phone.sdp(0, extra=["m=audio 40002 RTP/AVP 8"])
        answer = self.phone.call(body=declined_first)
        again = self.phone.sdp(extra=["m=audio 40002 RTP/AVP 8"])
        first, second = sdp_of(self.reinvite(answer, again)).media
        self.assertTrue(first.is_declined)
        self.assertEqual(second.port, sdp_of(answer).media[1].port)
        self.finish()

    def test_late_offers_of_two_forks(self) -> None:
        """The place that answers may offer fewer m-lines than the one that had rung before."""
        session = self.agent.dial("sip:phone@192.0.2.9", offered_media=())
        invite = self.phone.expect("INVITE")
        body = self.phone.sdp(0, extra=["m=audio 40010 RTP/AVP 0", "a=sendrecv"])
        headers = {"Require": "100rel", "RSeq": "1"}
        self.phone.reply(invite, 183, to_tag="a", headers=headers, body=body)
        self.phone.reply(self.phone.expect("PRACK"), 200)
        self.assertEqual([stream is None for stream in session.media.streams], [True, False])
        self.phone.reply(invite, 200, to_tag="b", body=self.phone.sdp())
        ack = self.phone.expect("ACK")
        self.assertEqual([media.is_declined for media in sdp_of(ack).media], [False])
        self.finish()


class ClaimedAddressTests(AudioTestCase):
    """No audio goes to an address that a caller only claims."""

    def answered(self, **headers: str) -> Response:
        """Call, and let the 200 come; nobody acknowledges it."""
        self.phone.send(self.phone.invite("sip:anybody@192.0.2.1", headers=headers))
        return self.phone.expect(200)

    def test_nothing_before_the_ack(self) -> None:
        """Playing begins with the ACK, and from its start: the whole second of it is heard."""
        answer = self.answered()
        self.net.run_for(3)
        self.assertEqual(self.phone.ear.packets, [])
        self.phone.ack(answer)
        self.net.run_for(2)
        self.assertEqual(len(self.phone.ear.packets), 50)
        self.finish()

    def test_nothing_without_an_ack(self) -> None:
        """An INVITE with somebody else's address sends him no packet, ever (RFC 3261 13.3.1.4)."""
        self.answered()
        self.net.run_for(40)
        self.assertEqual(self.phone.ear.packets, [])
        self.phone.reply(self.phone.expect("BYE"), 200)
        self.net.run_for(0.1)
        self.finish()

    def test_audio_from_there(self) -> None:
        """Who is heard from an address is there, although the ACK may be lost."""
        answer = self.answered()
        self.phone.speak(audio_at(answer))
        self.net.run_for(0.5)
        self.assertGreater(len(self.phone.ear.packets), 20)
        self.phone.ack(answer)
        self.finish()

    def test_prack(self) -> None:
        """Who has acknowledged a reliable response hears us (RFC 3262 section 3)."""
        self.phone.send(self.phone.invite("sip:x@192.0.2.1", headers={"Require": "100rel"}))
        ringing = self.phone.expect(180)
        rack = f"{ringing.headers.get('RSeq')} {ringing.cseq.number} INVITE"
        self.phone.send(self.phone.request_within(ringing, "PRACK", headers={"RAck": rack}))
        answer = self.phone.expect(lambda m: getattr(m, "status", 0) == 200 and bool(m.body))
        self.net.run_for(0.5)
        self.assertGreater(len(self.phone.ear.packets), 20)
        assert isinstance(answer, Response)
        self.phone.ack(answer)
        self.finish()

    def test_addresses_of_many_or_nobody(self) -> None:
        """Multicast, broadcast and unspecified addresses are not claimed."""
        for host in ("224.2.1.1/127", "239.1.2.3/15", "255.255.255.255"):
            offer = self.phone.sdp().replace("c=IN IP4 192.0.2.9", f"c=IN IP4 {host}")
            self.assertEqual(self.refusal(offer)[0], 488, host)
        for host in ("ff02::1", "::", "::ffff:224.0.0.1", "::ffff:0.0.0.0"):
            offer = self.phone.sdp().replace("c=IN IP4 192.0.2.9", f"c=IN IP6 {host}")
            status, warning = self.refusal(offer)
            self.assertEqual(status, 488)
            self.assertIn("no handler for the offered media", warning or "", host)
        self.finish()

    def test_answer_with_an_address_of_many(self) -> None:
        """In an answer to our offer such an address is no destination."""
        self.phone.send(self.phone.invite("sip:anybody@192.0.2.1", body=""))
        offer = self.phone.expect(200)
        body = self.phone.sdp().replace("c=IN IP4 192.0.2.9", "c=IN IP4 224.2.1.1/127")
        self.phone.ack(offer, body=body)
        self.net.run_for(0.1)
        audio = find_audio(self.session)
        assert audio is not None
        self.assertIsNone(audio.destination)
        self.finish()


class OfferTests(AudioTestCase):
    """Our own offers."""

    def test_late_offer(self) -> None:
        """An INVITE without an offer gets ours in the 200; its ACK brings the answer (13.2.1)."""
        self.phone.send(self.phone.invite("sip:anybody@192.0.2.1", body=""))
        offer = self.phone.expect(200)
        media = sdp_of(offer).media[0]
        self.assertEqual(media.formats, ["0", "8", "101"])
        self.assertEqual(media.direction, "sendrecv")
        self.assertEqual(self.phone.ear.packets, [])
        body = self.phone.sdp(formats="97 8", extra=["a=rtpmap:97 PCMA/8000"])
        self.phone.ack(offer, body=body)
        self.net.run_for(0.3)
        self.assertEqual({packet.payload_type for packet in self.phone.ear.packets}, {97})
        self.finish()

    def test_answer_without_a_codec(self) -> None:
        """An answer that has no codec of the offer leaves the stream silent, not the server."""
        self.phone.send(self.phone.invite("sip:anybody@192.0.2.1", body=""))
        offer = self.phone.expect(200)
        self.phone.ack(offer, body=self.phone.sdp(formats="18"))
        self.net.run_for(0.3)
        self.assertEqual(self.phone.ear.packets, [])
        self.finish()

    def test_hold_by_us(self) -> None:
        """Our re-INVITE offers the formats that are in force with their numbers (8.3.2)."""
        offer = self.phone.sdp(formats="96 0", extra=["a=rtpmap:96 telephone-event/8000"])
        answer = self.phone.call(body=offer)
        self.session.hold()
        invite = self.phone.expect("INVITE")
        media = sdp_of(invite).media[0]
        self.assertEqual(media.formats, ["96", "0"])
        self.assertEqual(media.direction, "sendonly")
        self.assertEqual(media.port, sdp_of(answer).media[0].port)
        body = self.phone.sdp(direction="recvonly", formats="0")
        self.phone.reply(invite, 200, body=body)
        self.phone.expect("ACK")
        audio = find_audio(self.session)
        assert audio is not None
        self.assertEqual(audio.direction, "sendonly")
        self.finish()

    def test_declined_offer(self) -> None:
        """A stream of ours that the peer declines gives its port back."""
        session = self.agent.dial("sip:phone@192.0.2.9")
        invite = self.phone.expect("INVITE")
        self.phone.reply(invite, 200, body=self.phone.sdp(0))
        self.phone.expect("ACK")
        self.net.run_for(0.1)
        self.assertEqual(sip_ports(self.agent), [])
        self.assertIsNone(find_audio(session))
        self.finish()


class SmallTests(SynchronousTestCase):
    """Callbacks that come when there is nothing to do."""

    def test_stream_without_audio(self) -> None:
        """Apply, stop and destroy of a stream that was never opened do nothing."""
        handler = AudioHandler()
        stream = SessionStream(0, handler)
        handler.apply_negotiated_sdp_stream(Mock(), stream)
        handler.stop_stream(Mock(), stream)
        handler.destroy_stream(Mock(), stream)

    def test_create_without_ports(self) -> None:
        """A handler that lost its ports meanwhile declines."""
        session = Mock(endpoint=ANONYMOUS)
        session.manager.media_ports, session.manager.codecs = None, CODECS
        sdp = LocalDescription("192.0.2.1", None)
        handler = AudioHandler()
        result = handler.create_outgoing_sdp_stream(session, SessionStream(0, handler), sdp)
        self.assertIs(result, StreamVerdict.NOT_HANDLED)

    def test_streams_without_audio(self) -> None:
        """Streams of other handlers, and declined ones, are no audio."""
        session = Mock()
        session.media.streams = [None, SessionStream(0, AudioHandler())]
        self.assertEqual(count_packets(session), (0, 0))
        self.assertIsNone(find_audio(session))

    def test_common_formats_of_ours(self) -> None:
        """What we describe is understood by ourselves."""
        sdp = LocalDescription("192.0.2.1", None)
        media = sdp.media("audio", 4000, "RTP/AVP", ["8", "0"])
        speaks = spoken(CODECS, ("PCMU", "PCMA"), True)
        self.assertEqual(
            [(item.number, item.codec) for item in common_formats(media, speaks)],
            [("8", PCMA), ("0", PCMU)],
        )


class Announcing(Application):
    """Speaks for a minute before it answers."""

    name = "announcing"

    async def handle(self, call: Call) -> None:
        """See IApplication."""
        await call.progress()
        call.play(bytes(16000 * 60))
        await call.wait(60)
        await call.answer()
        call.play(bytes(16000 * 60))
        await call.ended


class ClaimTests(AudioTestCase):
    """Audio to addresses that the peer only claims: no more than a bound."""

    def setUp(self) -> None:
        """Add a host that somebody else may name."""
        super().setUp()
        self.victim = Ear()
        host = self.net.host("198.51.100.66", name="victim")
        self.victim_port = host.listenUDP(4000, self.victim)

    def elsewhere(self, **options: Any) -> str:
        """Return a description that names the victim."""
        text = self.phone.sdp(4000, **options)
        return text.replace("c=IN IP4 192.0.2.9", "c=IN IP4 198.51.100.66")

    def audio(self) -> AudioStream:
        """Return the stream of the one call."""
        audio = find_audio(self.session)
        assert audio is not None
        return audio

    def reinvite(self, answer: Response, body: str) -> None:
        """Let the phone offer again."""
        self.phone.send(self.phone.request_within(answer, "INVITE", body=body))
        self.phone.ack(self.phone.expect(200))

    def test_reinvite(self) -> None:
        """A re-INVITE that names a victim gets it ten seconds; naming it again gets it nothing."""
        answer = self.phone.call()
        self.audio().play(bytes(16000 * 100))
        self.net.run_for(1)
        for _ in range(3):
            self.reinvite(answer, self.elsewhere())
            self.net.run_for(15)
            self.reinvite(answer, self.phone.sdp())
            self.net.run_for(1)
        self.assertEqual(len(self.victim.packets), UNPROVEN_PACKETS)
        self.assertGreater(self.audio().withheld, 1000)
        self.assertGreater(len(self.phone.ear.packets), 100)
        self.finish()

    def test_moved(self) -> None:
        """A peer whose media really moved speaks from there, and goes on hearing."""
        answer = self.phone.call()
        self.audio().play(bytes(16000 * 60))
        self.net.run_for(1)
        self.reinvite(answer, self.elsewhere())
        self.net.run_for(0.1)
        packet = RTPPacket(0, 1, 160, 0x77, bytes(160))
        self.victim_port.write(packet.pack(), audio_at(answer))
        self.net.run_for(30)
        self.assertGreater(len(self.victim.packets), 1000)
        self.assertEqual(self.audio().withheld, 0)
        self.finish()

    def test_call_from_the_beginning(self) -> None:
        """A media address that is not the caller's own is claimed, ACK or not, until it speaks."""
        self.phone.call(body=self.elsewhere())
        self.audio().play(bytes(16000 * 60))
        self.net.run_for(30)
        self.assertEqual(len(self.victim.packets), UNPROVEN_PACKETS)
        self.assertEqual(self.audio().proven_host, "192.0.2.9")
        self.finish()

    def test_early_media(self) -> None:
        """Before the ACK the caller's own address is a claim as well: it may be a forged source."""
        self.net = VirtualNetwork()
        self.phone = Phone(self.net)
        self.agent = Agent(
            self.net.host("192.0.2.1", name="server"),
            applications=[Announcing()],
            application="announcing",
        )
        invite = self.phone.invite("sip:anybody@192.0.2.1")
        self.phone.send(invite)
        self.phone.expect(183)
        self.net.run_for(30)
        self.assertEqual(len(self.phone.ear.packets), UNPROVEN_PACKETS)
        self.phone.ack(self.phone.expect(200, within=60))
        self.net.run_for(10)
        self.assertGreater(len(self.phone.ear.packets), UNPROVEN_PACKETS + 400)
        self.finish()

    def test_early_media_to_who_speaks(self) -> None:
        """A caller who speaks hears early media to the end."""
        self.net = VirtualNetwork()
        self.phone = Phone(self.net)
        self.agent = Agent(
            self.net.host("192.0.2.1", name="server"),
            applications=[Announcing()],
            application="announcing",
        )
        self.phone.send(self.phone.invite("sip:anybody@192.0.2.1"))
        early = self.phone.expect(183)
        self.phone.speak(audio_at(early))
        self.net.run_for(50)
        self.assertGreater(len(self.phone.ear.packets), 2400)
        self.phone.ack(self.phone.expect(200, within=60))
        self.finish()
