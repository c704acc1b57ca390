# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
The configuration of the server: what a file may say, and what becomes of it.

::

    loaded = load("sipsess.toml")
    loaded.mistakes                     # all that is wrong, each with its line
    loaded.config.limits.sessions

``docs/configuration.rst`` names every key.
"""

from __future__ import annotations

from .mistakes import ConfigError, Mistake
from .model import Config
from .reading import DEFAULT_FILE, Loaded, load, no_file

__all__ = ["DEFAULT_FILE", "Config", "ConfigError", "Loaded", "Mistake", "load", "no_file"]
