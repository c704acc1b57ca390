# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Audio without sockets: RTP, G.711, telephone-event, WAV, tones, and the stream of all that."""

from sipsess.media.codecs import CODECS, PCMA, PCMU, Codec, find_codec
from sipsess.media.hearing import Heard, Listening
from sipsess.media.playback import Done, Playback
from sipsess.media.recorder import Recorder
from sipsess.media.rtp import MediaError, RTPPacket, is_rtp
from sipsess.media.sounds import load_digit, load_sound
from sipsess.media.statistics import StreamStatistics
from sipsess.media.stream import AudioStream
from sipsess.media.telephone_event import DigitReceiver, DigitSender
from sipsess.media.wav import WAVError, WAVWriter, read_wav

__all__ = [
    "CODECS",
    "PCMA",
    "PCMU",
    "AudioStream",
    "Codec",
    "DigitReceiver",
    "DigitSender",
    "Done",
    "Heard",
    "Listening",
    "MediaError",
    "Playback",
    "RTPPacket",
    "Recorder",
    "StreamStatistics",
    "WAVError",
    "WAVWriter",
    "find_codec",
    "is_rtp",
    "load_digit",
    "load_sound",
    "read_wav",
]
