# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
What authors of codecs import: :class:`Codec`, whose instances are plugins.

:data:`CODECS` are the shipped ones, in the order of their names.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface import classImplements

from sipsess.interfaces import ICodec
from sipsess.media import PCMA, PCMU, Codec, Decoder, Encoder, MediaError
from sipsess.media.g722 import G722
from sipsess.media.l16 import L16_8000, L16_16000
from sipsess.media.opus import OPUS

__all__ = ["CODECS", "Codec", "Decoder", "Encoder", "ICodec", "MediaError"]

# Here, since the media know of no interfaces.
classImplements(Codec, ICodec, IPlugin)

#: The shipped codecs; what an endpoint speaks of them it says.
CODECS: tuple[Codec, ...] = (G722, L16_16000, L16_8000, OPUS, PCMA, PCMU)
