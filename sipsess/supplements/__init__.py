# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The supplements that are shipped, one subject per module; built on public hooks only."""
