# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The ``twistd sipsess`` command. Neither this module nor the name in it may be renamed."""

from twisted.application.service import ServiceMaker

sipsess = ServiceMaker("sipsess", "sipsess.tap", "A SIP session server.", "sipsess")
