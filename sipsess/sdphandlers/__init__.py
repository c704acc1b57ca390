# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The SDP handlers that are shipped."""
