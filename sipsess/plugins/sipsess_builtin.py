# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The plugins that are shipped: supplements, SDP handlers and applications, one of each."""

from sipsess.applications.b2bua import B2BUAApplication
from sipsess.applications.dial import DialApplication
from sipsess.applications.early import EarlyApplication
from sipsess.applications.echo import EchoApplication
from sipsess.applications.hello import HelloApplication
from sipsess.applications.menu import MenuApplication
from sipsess.applications.playback import PlaybackApplication
from sipsess.applications.registered import RegisteredApplication
from sipsess.applications.reject import RejectApplication
from sipsess.applications.ring import RingApplication
from sipsess.applications.voicemail import VoicemailApplication
from sipsess.applications.websocket import WebSocketApplication
from sipsess.codec import CODECS
from sipsess.mail import send_voice_message
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.supplements.anonymity import Anonymity
from sipsess.supplements.credentials import Credentials
from sipsess.supplements.history import History
from sipsess.supplements.identity import Identity
from sipsess.supplements.info import DigitInfo
from sipsess.supplements.reason import ReasonSupplement
from sipsess.supplements.redirect import Redirect
from sipsess.supplements.refer import Refer
from sipsess.supplements.replaces import ReplacesSupplement
from sipsess.supplements.session_timer import SessionTimer
from sipsess.websocket import WebSocketConnector

session_timer = SessionTimer()
anonymity = Anonymity()
credentials = Credentials()
history = History()
redirect = Redirect()
info = DigitInfo()
reason = ReasonSupplement()
refer = Refer()
replaces = ReplacesSupplement()
identity = Identity()

audio = AudioHandler()

b2bua = B2BUAApplication()
g722, l16, l16_8000, opus, pcma, pcmu = CODECS

dial = DialApplication()
early = EarlyApplication()
echo = EchoApplication()
hello = HelloApplication()
menu = MenuApplication()
playback = PlaybackApplication()
registered = RegisteredApplication()
reject = RejectApplication()
busy = RejectApplication("busy", 486)
ring = RingApplication()
voicemail = VoicemailApplication(send_voice_message)
websocket = WebSocketApplication(WebSocketConnector())
