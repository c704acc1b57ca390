# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Calls whose audio is encrypted, with keys in the session description (RFC 4568)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import Mock

from sipsess.application import Application
from sipsess.call import Call
from sipsess.endpoint import ANONYMOUS, AnonymousGate
from sipsess.message import Request, Response
from sipsess.sdphandler import NegotiationFailed
from sipsess.sdphandlers import _sdes
from sipsess.sdphandlers._sdes import SDES
from sipsess.sdphandlers.audio import find_audio
from sipsess.srtp import SUITES, Context, Crypto, read_cryptos
from sipsess.testing import Agent
from tests.policy.phone import FRAME, Phone, audio_at, sdp_of
from tests.policy.test_audio import AudioTestCase

CM = SUITES["AES_CM_128_HMAC_SHA1_80"]
GCM = SUITES["AEAD_AES_128_GCM"]
#: The phone's keys.
KEY = bytes(range(30))
OTHER_KEY = bytes(range(1, 31))


def line(key: bytes = KEY, tag: str = "1", suite: Any = CM) -> str:
    """Return an SDP line with a key."""
    return f"a=crypto:{Crypto(tag, suite, key)}"


def keys_of(message: Request | Response) -> list[Crypto]:
    """Return the keys of a description."""
    return read_cryptos(sdp_of(message).media[0].attributes.get_all("crypto"))


class Echoing(Application):
    """Answers and says everything back."""

    name = "echoing"

    async def handle(self, call: Call) -> None:
        """See IApplication."""
        await call.answer()
        assert call.audio is not None
        call.audio.echo = True
        await call.ended


class SecureTestCase(AudioTestCase):
    """A phone that encrypts, and an agent whose endpoint is set up as a test wants."""

    settings: dict[str, Any] = {"accepts_clear_keys": True}

    def make_agent(self, **options: Any) -> Agent:
        """Return the agent."""
        gate = AnonymousGate(replace(ANONYMOUS, **self.settings))
        return Agent(
            self.net.host("192.0.2.1", name="server"),
            applications=[Echoing()],
            application="echoing",
            gates=[gate],
            **options,
        )

    def set(self, **settings: Any) -> None:
        """Begin anew with other settings."""
        self.settings = settings
        self.setUp()

    def offer(self, *lines: str, profile: str = "RTP/SAVP", **options: Any) -> str:
        """Return an encrypted offer with these lines."""
        options.setdefault("formats", "0")
        text = self.phone.sdp(extra=list(lines or (line(),)), **options)
        return text.replace("RTP/AVP", profile, 1)

    def say(self, where: Any, context: Context, count: int = 1) -> None:
        """Say something, encrypted."""
        write = self.phone.rtp.write

        def encrypt(data: bytes, to: Any) -> None:
            packet = context.protect(data, False)
            assert packet is not None
            write(packet, to)

        self.patch(self.phone.rtp, "write", encrypt)
        self.phone.speak(where, count)
        self.patch(self.phone.rtp, "write", write)
        self.net.run_for(0.1)


class Wire(list[bytes]):
    """Every datagram that came to the phone's RTP port."""

    def __init__(self, phone: Phone) -> None:
        super().__init__()
        phone.ear.datagramReceived = lambda datagram, addr: (  # type: ignore[method-assign]
            self.append(datagram)
        )


class AnswerTests(SecureTestCase):
    """They call us."""

    def test_echo(self) -> None:
        """Both directions are encrypted, each with its own key, and the profile is the offer's."""
        for profile, suite in (("RTP/SAVP", CM), ("RTP/SAVPF", GCM)):
            self.setUp()
            key = bytes(range(suite.length))
            body = self.offer(line(key, "3", suite), profile=profile)
            answer = self.phone.call(body=body)
            media = sdp_of(answer).media[0]
            self.assertEqual(media.proto, profile)
            (ours,) = keys_of(answer)
            self.assertEqual((ours.tag, ours.suite), ("3", suite))
            self.assertNotEqual(ours.key, key)
            wire = Wire(self.phone)
            self.say(audio_at(answer), Context(suite, key, is_sender=True), 3)
            self.assertEqual(len(wire), 3)
            self.assertFalse(any(FRAME in data for data in wire))
            listener = Context(suite, ours.key, is_sender=False)
            plain = [listener.unprotect(data, False) for data in wire]
            self.assertEqual([data[12:] for data in plain if data], [FRAME] * 3)
            self.finish()

    def test_plain_packets_are_not_heard(self) -> None:
        """Who does not know the key cannot speak into the call."""
        answer = self.phone.call(body=self.offer())
        self.phone.speak(audio_at(answer), 3)
        audio = find_audio(self.session)
        assert audio is not None
        self.assertEqual(audio.packets_received, 0)
        self.finish()

    def test_first_that_is_known(self) -> None:
        """Of several keys the first that can be taken is answered, and no other."""
        offer = self.offer("a=crypto:1 F8_128_HMAC_SHA1_80 inline:x", line(tag="2"), line(tag="3"))
        self.assertEqual([item.tag for item in keys_of(self.phone.call(body=offer))], ["2"])
        self.finish()

    def test_no_key(self) -> None:
        """An offer without a key for us is refused, and the text says what to offer."""
        for lines in (("a=sendrecv",), ("a=crypto:1 X inline:y",)):
            status, warning = self.refusal(self.offer(*lines))
            self.assertEqual(status, 488)
            self.assertIn("offer AES_CM_128_HMAC_SHA1_80", warning or "")
        self.finish()

    def test_without_the_extra(self) -> None:
        """Without the library the offer is refused and the text names the extra."""
        self.patch(_sdes, "is_available", lambda: False)
        status, warning = self.refusal(self.offer())
        self.assertEqual(status, 488)
        self.assertIn("302", warning or "")
        self.assertIn("sipsess[srtp]", warning or "")
        self.finish()

    def test_without_tls(self) -> None:
        """Keys that everybody has read are refused unless the endpoint takes them."""
        self.set()
        status, warning = self.refusal(self.offer())
        self.assertEqual(status, 488)
        self.assertIn("over TLS only", warning or "")
        self.finish()

    def test_record(self) -> None:
        """The record of the call says how it is encrypted, and never with which key."""
        answer = self.phone.call(body=self.offer())
        text = "\n".join(self.session.record.lines())
        self.assertIn(f"SRTP with {CM.name}", text)
        self.assertIn("keys for SRTP travel in the clear", text)
        for secret in (KEY, keys_of(answer)[0].key):
            self.assertNotIn(str(Crypto("1", CM, secret)).partition("inline:")[2], text)
        self.finish()

    def test_plain_beside(self) -> None:
        """An endpoint that wants encryption gets the encrypted stream, wherever it stands."""
        self.set(accepts_clear_keys=True, media_encryption="sdes")
        offer = self.phone.sdp(formats="0", extra=["m=audio 40002 RTP/SAVP 0", line()])
        plain, secure = sdp_of(self.phone.call(body=offer)).media
        self.assertTrue(plain.is_declined)
        self.assertFalse(secure.is_declined)
        self.finish()

    def test_plain_refused(self) -> None:
        """Plain audio alone is refused where encryption is wanted."""
        self.set(accepts_clear_keys=True, media_encryption="sdes")
        status, warning = self.refusal(self.phone.sdp())
        self.assertEqual(status, 488)
        self.assertIn("offer RTP/SAVP", warning or "")
        self.finish()


class ReofferTests(SecureTestCase):
    """Keys when the media are negotiated again (RFC 4568 7.1.4)."""

    def setUp(self) -> None:
        """Begin a call."""
        super().setUp()
        self.answer = self.phone.call(body=self.offer())

    def again(self, body: str, status: int = 200) -> Any:
        """Offer again."""
        self.phone.send(self.phone.request_within(self.answer, "INVITE", body=body))
        response: Any = self.phone.expect(status)
        self.phone.ack(response)
        self.net.run_for(0.1)
        return response

    def hears(self, context: Context) -> bool:
        """Tell whether a packet of the phone is heard."""
        audio = find_audio(self.session)
        assert audio is not None
        before = audio.packets_received
        self.say(audio_at(self.answer), context)
        return audio.packets_received == before + 1

    def test_kept(self) -> None:
        """The same key again goes on where it was; ours stays too."""
        speaker = Context(CM, KEY, is_sender=True)
        self.assertTrue(self.hears(speaker))
        self.assertEqual(keys_of(self.again(self.offer())), keys_of(self.answer))
        self.assertTrue(self.hears(speaker))
        self.finish()

    def test_changed(self) -> None:
        """Another key of the phone begins anew, and the old one is over; ours stays."""
        old, new = (Context(CM, key, is_sender=True) for key in (KEY, OTHER_KEY))
        self.assertTrue(self.hears(old))
        self.assertEqual(keys_of(self.again(self.offer(line(OTHER_KEY)))), keys_of(self.answer))
        self.assertFalse(self.hears(old))
        self.assertTrue(self.hears(new))
        self.finish()

    def test_other_suite(self) -> None:
        """Another suite takes another key of ours."""
        key = bytes(GCM.length)
        (ours,) = keys_of(self.again(self.offer(line(key, suite=GCM))))
        self.assertIs(ours.suite, GCM)
        self.assertTrue(self.hears(Context(GCM, key, is_sender=True)))
        self.finish()

    def test_refused(self) -> None:
        """A refused offer changes no key; neither to plain audio nor without one can be changed."""
        speaker = Context(CM, KEY, is_sender=True)
        for body in (self.phone.sdp(formats="0"), self.offer("a=crypto:1 X inline:y")):
            warning = self.again(body, 488).headers.get("Warning")
            self.assertIn("offer", warning)
        self.assertTrue(self.hears(speaker))
        self.finish()

    def test_by_us(self) -> None:
        """Our re-offer has the key that is in force, with its tag, and it stays."""
        speaker = Context(CM, KEY, is_sender=True)
        self.assertTrue(self.hears(speaker))
        self.session.send_reinvite().addErrback(lambda failure: None)
        invite: Any = self.phone.expect("INVITE")
        self.assertEqual(keys_of(invite), keys_of(self.answer))
        self.phone.reply(invite, 200, body=self.offer())
        self.phone.expect("ACK")
        self.net.run_for(0.1)
        self.assertTrue(self.hears(speaker))
        self.finish()


class OfferTests(SecureTestCase):
    """We call them."""

    settings = {"accepts_clear_keys": True, "media_encryption": "sdes"}

    def dial(self) -> Any:
        """Call the phone; return its INVITE."""
        self.agent.dial("sip:x@192.0.2.9", endpoint=replace(ANONYMOUS, **self.settings))
        return self.phone.expect("INVITE")

    def test_offer(self) -> None:
        """All good suites are offered, each with a key of its own; what is answered is used."""
        invite = self.dial()
        self.assertEqual(sdp_of(invite).media[0].proto, "RTP/SAVP")
        keys = keys_of(invite)
        self.assertEqual([item.tag for item in keys], ["1", "2", "3"])
        self.assertEqual(len({item.key for item in keys}), 3)
        self.phone.reply(invite, 200, body=self.offer(line(tag="3")))
        self.phone.expect("ACK")
        self.net.run_for(0.1)
        self.say(audio_at(invite), Context(CM, KEY, is_sender=True))
        audio = find_audio(self.session)
        assert audio is not None
        self.assertEqual(audio.packets_received, 1)
        self.finish()

    def test_answer_without_a_key(self) -> None:
        """An answer whose key belongs to nothing, or plain, ends the call, and nothing is sent."""
        plain = self.phone.sdp(formats="0")
        for body in (plain, self.offer(line(tag="9")), self.offer(line(tag="1"))):
            invite = self.dial()
            wire = Wire(self.phone)
            session = self.session
            self.phone.reply(invite, 200, body=body)
            self.phone.expect("ACK")
            self.phone.reply(self.phone.expect("BYE"), 200)
            self.net.run_for(1)
            self.assertIn("no key", str(session.end_reason))
            self.assertEqual(wire, [])
            self.finish()

    def test_without_tls(self) -> None:
        """No key of ours goes out in the clear unless the endpoint wants it: there is no call."""
        self.set(media_encryption="sdes")
        session = self.agent.dial("sip:x@192.0.2.9", endpoint=replace(ANONYMOUS, **self.settings))
        assert session.invite_client is not None
        self.failureResultOf(session.invite_client.answered, NegotiationFailed)
        self.net.run_for(40)
        self.net.assert_quiet()

    def test_over_tls(self) -> None:
        """Over TLS there is nothing to refuse, nor to note."""
        for transport in ("TLS", "WSS"):
            session = Mock(endpoint=ANONYMOUS)
            session.flow.transport = transport
            SDES()._check_possible(session)
            session.note.assert_not_called()
