# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Media engines: programs beside this one that carry the media of bridged calls.

What everybody who has to do with one needs; the interface is :class:`.IMediaEngine`, and
:class:`~sipsess.engine.rtpengine.RTPEngine` the one that is shipped.
"""

from .node import REASONS
from .options import AS_IT_WAS, EngineStatistics, MediaEngineError, MediaOptions

__all__ = ["AS_IT_WAS", "REASONS", "EngineStatistics", "MediaEngineError", "MediaOptions"]
