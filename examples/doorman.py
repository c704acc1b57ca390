# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Refuse one caller, count how often, and mark every message that leaves."""

from sipsess.supplement import Reject, SessionSupplement


class Doorman(SessionSupplement):
    name, priority, refused = "doorman", 100, 0

    def incoming_request(self, session, request):
        if session.is_initial(request) and session.get_identity(request).user == "mallory":
            self.refused += 1
            raise Reject(403)

    def outgoing_request(self, session, message):
        message.headers.set("X-Doorman", "seen")

    outgoing_response = outgoing_request


doorman = Doorman()
