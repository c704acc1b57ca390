# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Endpoints: who is at the other end, and what he may do."""

from .anonymous import ANONYMOUS, AnonymousGate
from .credentials import DigestCredentials, Login
from .endpoint import Endpoint

__all__ = ["ANONYMOUS", "AnonymousGate", "DigestCredentials", "Endpoint", "Login"]
