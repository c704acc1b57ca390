# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A SIP session server framework on Twisted: supplements, SDP handlers, applications."""

__version__ = "0.1.0"
