# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Registrations of ours: this side registers with a trunk or a PBX (:rfc:`3261#section-10.2`)."""

from __future__ import annotations

from .account import Account
from .client import RegistrationClient
from .registrations import Registrations

__all__ = ["Account", "RegistrationClient", "Registrations"]
