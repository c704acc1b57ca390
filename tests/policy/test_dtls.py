# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Calls of browsers: ICE, keys by DTLS, BUNDLE (RFC 5763, 8445, 9143)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from sipsess.endpoint import ANONYMOUS
from sipsess.message import Response
from sipsess.sdphandler import NegotiationFailed
from sipsess.sdphandlers import _dtls
from sipsess.sdphandlers.audio import find_audio
from sipsess.testing import VirtualNetwork
from tests.policy.browser import Browser, DTLSPeer
from tests.policy.phone import FRAME, sdp_of
from tests.policy.test_srtp import SecureTestCase


class BrowserTestCase(SecureTestCase):
    """A browser, and an agent that says everything back."""

    settings: dict[str, Any] = {}
    phone: Browser

    def setUp(self) -> None:
        """Build both."""
        self.net = VirtualNetwork()
        self.phone = Browser(self.net)
        self.agent = self.make_agent()

    def browse(self, **options: Any) -> None:
        """Begin anew with another kind of browser."""
        self.net = VirtualNetwork()
        self.phone = Browser(self.net, **options)
        self.agent = self.make_agent()

    def call(self, body: str | None = None) -> Response:
        """Call, and read the answer."""
        answer = self.phone.call(body=body or self.phone.offer())
        self.phone.learn(answer)
        self.answer = answer
        return answer

    def connect(self) -> None:
        """Find the way and agree on keys."""
        self.phone.check()
        self.phone.begin()
        self.assertTrue(self.phone.dtls.is_done)

    @property
    def record(self) -> str:
        """What is known of the call."""
        return "\n".join(self.session.record.lines())


class CallTests(BrowserTestCase):
    """They call us."""

    def test_echo(self) -> None:
        """A browser finds the way, agrees on keys and hears what it says, all encrypted."""
        self.call()
        self.connect()
        for number in range(3):
            self.phone.say(FRAME, number)
        self.assertEqual([packet.payload for packet in self.phone.heard], [FRAME] * 3)
        self.assertIn("SRTP with AEAD_AES_256_GCM", self.record)
        self.assertIn("the peer is at 192.0.2.9 50000", self.record)
        self.finish()

    def test_answer(self) -> None:
        """The answer has one bundled stream on one port, and the passive side of ICE and DTLS."""
        sdp = sdp_of(self.call())
        media = sdp.media[0]
        self.assertEqual(media.proto, "UDP/TLS/RTP/SAVPF")
        self.assertEqual(sdp.attributes.get_all("ice-lite"), [""])
        self.assertEqual(sdp.attributes.get_all("group"), ["BUNDLE 0"])
        self.assertEqual(media.attributes.get_all("mid"), ["0"])
        self.assertEqual(media.attributes.get_all("rtcp-mux"), [""])
        self.assertEqual(media.attributes.get_all("setup"), ["passive"])
        self.assertEqual(self.phone.where, ("192.0.2.1", media.port))
        self.finish()

    def test_bundle(self) -> None:
        """Other streams of the bundle are declined and leave it (RFC 9143 section 7.3.3)."""
        lines = ("m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:1", "a=rtpmap:96 VP8/90000")
        sdp = sdp_of(self.call(self.phone.offer(*lines, session=("group:BUNDLE 0 1",))))
        self.assertEqual(sdp.attributes.get_all("group"), ["BUNDLE 0"])
        self.assertEqual([media.is_declined for media in sdp.media], [False, True])
        self.finish()

    def test_without_bundle(self) -> None:
        """Who does not ask for a bundle, or asks for one of other streams, gets none."""
        for session in ((), ("group:BUNDLE 1",), ("group:LS 0",)):
            sdp = sdp_of(self.call(self.phone.offer(session=session)))
            self.assertEqual(sdp.attributes.get_all("group"), [])
            self.finish()
        sdp = sdp_of(self.call(self.phone.offer(without="mid")))
        self.assertEqual(sdp.attributes.get_all("group"), [])
        self.finish()

    def test_candidates_come_never_or_with_names(self) -> None:
        """Whatever stands in the offer as candidates, checks show the way (RFC 8838, 8840)."""
        for lines in (
            ("a=candidate:1 1 udp 1 0a1b2c3d.local 9 typ host", "a=end-of-candidates"),
            ("a=ice-options:trickle",),
            ("a=candidate:garbage",),
        ):
            self.call(self.phone.offer(*lines))
            self.connect()
            self.phone.say(FRAME)
            self.assertEqual([packet.payload for packet in self.phone.heard], [FRAME])
            self.finish()
            self.setUp()

    def test_setup(self) -> None:
        """Who leaves it to us begins, and so does who wants to (RFC 5763 section 5)."""
        for setup, ours in (("actpass", "passive"), ("active", "passive"), ("passive", "active")):
            media = sdp_of(self.call(self.phone.offer(setup=setup))).media[0]
            self.assertEqual(media.attributes.get("setup"), ours)
            self.finish()
        media = sdp_of(self.call(self.phone.offer(without="setup"))).media[0]
        self.assertEqual(media.attributes.get("setup"), "passive")
        self.finish()

    def test_we_begin(self) -> None:
        """A peer that is passive is spoken to when it has chosen the way."""
        self.browse(is_client=False)
        self.call(self.phone.offer(setup="passive"))
        self.phone.check()
        self.assertTrue(self.phone.dtls.is_done)
        self.phone.say(FRAME)
        self.assertEqual([packet.payload for packet in self.phone.heard], [FRAME])
        self.finish()

    def test_refused(self) -> None:
        """What lacks something gets 488, and the text says what to offer."""
        strangers = self.phone.offer(f"a=fingerprint:sha-256 {self.phone.dtls.fingerprint}")
        for body, text in (
            (self.phone.offer(without="ice-pwd"), "needs ICE: there is no"),
            (self.phone.offer(session=("ice-lite",)), "ICE-lite, too"),
            (self.phone.offer(without="fingerprint"), "needs a fingerprint of sha-256"),
            (strangers, "a=fingerprint cannot be read"),
            (self.phone.offer(setup="holdconn"), "offer actpass"),
            (self.phone.offer(without="rtcp-mux"), "needs a=rtcp-mux"),
        ):
            status, warning = self.refusal(body)
            self.assertEqual(status, 488)
            self.assertIn(text, warning or "")
        self.finish()

    def test_without_the_extra(self) -> None:
        """Without the libraries the offer is refused, and the text names the extra."""
        self.patch(_dtls, "is_available", lambda: False)
        status, warning = self.refusal(self.phone.offer())
        self.assertEqual(status, 488)
        self.assertIn("302", warning or "")
        self.assertIn("sipsess[webrtc]", warning or "")
        self.finish()

    def test_another_certificate(self) -> None:
        """Who has another certificate than was offered is not spoken to: the call ends."""
        body = self.phone.offer()
        self.phone.dtls = DTLSPeer()
        self.call(body)
        session = self.session
        self.phone.check()
        self.phone.begin()
        self.phone.reply(self.phone.expect("BYE"), 200)
        self.net.run_for(0.1)
        self.assertIn("a=fingerprint", str(session.end_reason))
        self.finish()

    def test_time_out(self) -> None:
        """A call whose media never come ends."""
        self.call()
        session = self.session
        bye = self.phone.expect("BYE", within=30)
        self.phone.reply(bye, 200)
        self.net.run_for(0.1)
        self.assertIn("no check of ICE", str(session.end_reason))
        self.finish()

    def test_fails_when_it_is_over(self) -> None:
        """Media that fail while the call is being ended end nothing twice."""
        self.call()
        self.phone.check()
        session = self.session
        session.terminate()
        bye = self.phone.expect("BYE")
        self.phone.dtls = DTLSPeer()
        self.phone.begin()
        self.phone.reply(bye, 200)
        self.net.run_for(0.1)
        self.finish()

    def test_lost_flights(self) -> None:
        """Flights of ours that are lost come again (RFC 6347 section 4.2.4)."""
        self.call()
        self.phone.check()
        self.phone.is_deaf = True
        self.phone.begin()
        self.net.run_for(2)
        (first, again) = self.phone.flights
        self.assertEqual(first, again)
        self.phone.is_deaf = False
        self.net.run_for(3)
        self.assertTrue(self.phone.dtls.is_done)
        self.phone.say(FRAME)
        self.assertEqual(len(self.phone.heard), 1)
        self.finish()

    def test_keys_before_the_way(self) -> None:
        """A way that is good and not yet chosen does for keys, and for who is heard on it."""
        self.call()
        self.phone.check(nominate=False)
        self.phone.begin()
        audio = find_audio(self.session)
        assert audio is not None
        self.assertIsNone(audio.destination)
        self.phone.say(FRAME)
        self.assertEqual(len(self.phone.heard), 1)
        self.phone.check()
        self.assertEqual(audio.destination, ("192.0.2.9", 50000))
        self.finish()

    def test_other_network(self) -> None:
        """A browser that changes its address is followed when it says so, and not before."""
        self.call()
        self.connect()
        self.phone.say(FRAME)
        other = self.phone.open(50002)
        self.phone.say(FRAME, 2, other)
        self.assertEqual(len(self.phone.heard), 1)
        self.phone.check(nominate=True, socket=other)
        self.phone.say(FRAME, 3, other)
        self.assertEqual(len(self.phone.heard), 2)
        audio = find_audio(self.session)
        assert audio is not None
        self.assertEqual(audio.destination, ("192.0.2.9", 50002))
        self.finish()

    def test_nothing_to_who_is_only_named(self) -> None:
        """No audio goes to the address of a description, nor to a check that is forged."""
        wire: list[bytes] = []
        self.patch(self.phone.ear, "datagramReceived", lambda data, addr: wire.append(data))
        offer = self.phone.offer().replace("c=IN IP4 0.0.0.0", "c=IN IP4 192.0.2.9")
        self.call(offer.replace("m=audio 9", "m=audio 40000"))
        channel = self.session.channel
        assert channel is not None
        channel.play(bytes(16000))
        self.phone.check(password="x" * 22)
        self.net.run_for(2)
        self.assertEqual((wire, self.phone.answers, self.phone.heard), ([], [], []))
        self.connect()
        self.net.run_for(0.5)
        self.assertGreater(len(self.phone.heard), 20)
        self.assertEqual(wire, [])
        self.finish()

    def test_held(self) -> None:
        """An address that is not known yet is no hold (RFC 8840); a direction is."""
        self.call()
        self.connect()
        audio = find_audio(self.session)
        assert audio is not None
        self.assertEqual(audio.direction, "sendrecv")
        self.again(self.phone.offer(direction="sendonly"))
        self.assertEqual(audio.direction, "recvonly")
        self.finish()

    def again(self, body: str) -> Response:
        """Offer again."""
        self.phone.send(self.phone.request_within(self.answer, "INVITE", body=body))
        response: Any = self.phone.expect(200)
        self.phone.ack(response)
        self.net.run_for(0.1)
        return cast("Response", response)

    def test_offered_again(self) -> None:
        """The same again keeps credentials, roles and keys (RFC 8839 4.4, RFC 8842 5.3)."""
        before = sdp_of(self.call()).media[0]
        self.connect()
        after = sdp_of(self.again(self.phone.offer())).media[0]
        for name in ("ice-ufrag", "ice-pwd", "fingerprint", "setup", "candidate", "mid"):
            self.assertEqual(after.attributes.get_all(name), before.attributes.get_all(name))
        self.phone.say(FRAME)
        self.assertEqual(len(self.phone.heard), 1)
        self.finish()

    def test_roles_stay(self) -> None:
        """A re-offer that leaves it open who begins does not change who has begun."""
        self.browse(is_client=False)
        self.call(self.phone.offer(setup="passive"))
        after = sdp_of(self.again(self.phone.offer(setup="actpass"))).media[0]
        self.assertEqual(after.attributes.get("setup"), "active")
        self.finish()

    def test_restart(self) -> None:
        """New credentials get new ones, and audio goes on (RFC 8839 section 4.4.1.1.1)."""
        before = sdp_of(self.call()).media[0]
        self.connect()
        self.phone.ufrag, self.phone.password = "anew", "z" * 22
        response = self.again(self.phone.offer())
        after = sdp_of(response).media[0]
        self.assertNotEqual(after.attributes.get("ice-ufrag"), before.attributes.get("ice-ufrag"))
        self.phone.say(FRAME)
        self.phone.check()
        self.assertEqual(len(self.phone.answers), 1)
        self.phone.learn(response)
        self.phone.check()
        self.assertEqual(len(self.phone.answers), 2)
        self.phone.say(FRAME, 2)
        self.assertEqual(len(self.phone.heard), 2)
        self.finish()

    def test_another_association(self) -> None:
        """Another certificate in a re-offer is another handshake (RFC 8842 section 5)."""
        self.call()
        self.connect()
        self.phone.say(FRAME)
        self.phone.dtls = DTLSPeer()
        self.again(self.phone.offer())
        self.phone.begin()
        self.assertTrue(self.phone.dtls.is_done)
        self.phone.say(FRAME, 2)
        self.assertEqual(len(self.phone.heard), 2)
        self.finish()

    def test_offered_again_by_us(self) -> None:
        """Our own re-offer keeps what is in force, and leaves it open who begins."""
        before = sdp_of(self.call()).media[0]
        self.connect()
        self.session.send_reinvite().addErrback(lambda failure: None)
        invite: Any = self.phone.expect("INVITE")
        sdp = sdp_of(invite)
        after = sdp.media[0]
        for name in ("ice-ufrag", "ice-pwd", "fingerprint", "mid"):
            self.assertEqual(after.attributes.get_all(name), before.attributes.get_all(name))
        self.assertEqual(after.attributes.get("setup"), "actpass")
        self.assertEqual(sdp.attributes.get_all("group"), ["BUNDLE 0"])
        self.phone.reply(invite, 200, body=self.phone.offer(setup="active"))
        self.phone.expect("ACK")
        self.phone.say(FRAME)
        self.assertEqual(len(self.phone.heard), 1)
        self.finish()

    def test_secrets(self) -> None:
        """No password stands in the record."""
        self.call()
        assert self.phone.server is not None
        password = self.phone.server.attributes.get("ice-pwd") or ""
        self.assertGreater(len(password), 21)
        for secret in (password, self.phone.password):
            self.assertNotIn(secret, self.record)
        self.finish()


class OfferTests(BrowserTestCase):
    """We call them."""

    settings: dict[str, Any] = {"media_encryption": "dtls"}

    def dial(self) -> Any:
        """Call the browser; return its INVITE."""
        self.agent.dial("sip:x@192.0.2.9", endpoint=replace(ANONYMOUS, **self.settings))
        invite = self.phone.expect("INVITE")
        self.phone.learn(invite)
        return invite

    def answer_with(self, invite: Any, body: str) -> None:
        """Answer a call."""
        self.phone.reply(invite, 200, body=body)
        self.phone.expect("ACK")
        self.net.run_for(0.1)

    def test_both_roles(self) -> None:
        """Whoever wants to begin the handshake does."""
        for setup in ("active", "passive"):
            self.browse(is_client=setup == "active")
            invite = self.dial()
            media = sdp_of(invite).media[0]
            self.assertEqual(media.proto, "UDP/TLS/RTP/SAVPF")
            self.assertEqual(media.attributes.get("setup"), "actpass")
            self.answer_with(invite, self.phone.offer(setup=setup, session=()))
            self.phone.check()
            if setup == "active":
                self.phone.begin()
            self.phone.say(FRAME)
            self.assertIn("SRTP with", self.record)
            audio = find_audio(self.session)
            assert audio is not None
            self.assertEqual(audio.packets_received, 1)
            self.finish()

    def test_bad_answers(self) -> None:
        """An answer without ICE or fingerprint, or in plain, ends the call."""
        for body in (
            self.phone.offer(without="ice-ufrag"),
            self.phone.offer(without="fingerprint"),
            self.phone.offer(without="rtcp-mux"),
            self.phone.offer(setup="actpass"),
            self.phone.sdp(formats="0"),
        ):
            invite = self.dial()
            session = self.session
            self.answer_with(invite, body)
            self.phone.reply(self.phone.expect("BYE"), 200)
            self.net.run_for(1)
            self.assertIn("a=", str(session.end_reason))
            self.finish()

    def test_roles_stay(self) -> None:
        """Who has begun stays so when the other side offers again (RFC 8842 section 5.3)."""
        for setup, ours in (("active", "passive"), ("passive", "active")):
            self.browse(is_client=setup == "active")
            invite = self.dial()
            self.answer_with(invite, self.phone.offer(setup=setup, session=()))
            self.phone.check()
            self.phone.begin()
            again = self.phone.request_within(invite, "INVITE", body=self.phone.offer())
            self.phone.send(again)
            response: Any = self.phone.expect(200)
            self.phone.ack(response)
            self.assertEqual(sdp_of(response).media[0].attributes.get("setup"), ours)
            self.phone.say(FRAME)
            audio = find_audio(self.session)
            assert audio is not None
            self.assertEqual(audio.packets_received, 1)
            self.finish()

    def test_without_the_extra(self) -> None:
        """Without the libraries there is no call."""
        self.patch(_dtls, "is_available", lambda: False)
        endpoint = replace(ANONYMOUS, **self.settings)
        session = self.agent.dial("sip:x@192.0.2.9", endpoint=endpoint)
        assert session.invite_client is not None
        self.failureResultOf(session.invite_client.answered, NegotiationFailed)
        self.net.run_for(40)
        self.net.assert_quiet()

    def test_plain_refused(self) -> None:
        """An endpoint that wants it is not spoken to in plain."""
        status, warning = self.refusal(self.phone.sdp())
        self.assertEqual(status, 488)
        self.assertIn("offer UDP/TLS/RTP/SAVPF", warning or "")
        self.finish()
