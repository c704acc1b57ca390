# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The applications that are shipped."""
