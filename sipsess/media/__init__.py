# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Audio without sockets: RTP, G.711, telephone-event, WAV, tones, and the stream of all that."""

from sipsess.media.codec import Codec, Decoder, Encoder
from sipsess.media.codecs import PCMA, PCMU
from sipsess.media.hearing import Heard, Listening
from sipsess.media.legs import HeardBoth, Legs
from sipsess.media.playback import Done, Playback
from sipsess.media.recorder import Recorder
from sipsess.media.resample import Resampler
from sipsess.media.rtp import MediaError, RTPPacket, is_rtp
from sipsess.media.sounds import load_digit, load_sound
from sipsess.media.statistics import StreamStatistics
from sipsess.media.stream import AudioStream
from sipsess.media.telephone_event import DigitReceiver, DigitSender
from sipsess.media.transcoder import Transcoder
from sipsess.media.wav import Clip, WAVError, WAVWriter, read_clip, read_wav

__all__ = [
    "PCMA",
    "PCMU",
    "AudioStream",
    "Clip",
    "Codec",
    "Decoder",
    "DigitReceiver",
    "DigitSender",
    "Done",
    "Encoder",
    "Heard",
    "HeardBoth",
    "Legs",
    "Listening",
    "MediaError",
    "Playback",
    "RTPPacket",
    "Recorder",
    "Resampler",
    "StreamStatistics",
    "Transcoder",
    "WAVError",
    "WAVWriter",
    "is_rtp",
    "load_digit",
    "load_sound",
    "read_clip",
    "read_wav",
]
