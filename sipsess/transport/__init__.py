# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The shell around the core: sockets, and as little else as possible."""
