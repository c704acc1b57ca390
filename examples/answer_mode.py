# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Ask the telephones that we call to answer by themselves: an intercom (RFC 5373)."""

from sipsess.supplement import SessionSupplement


class AnswerMode(SessionSupplement):
    """Adds ``Answer-Mode: Auto`` to the INVITE that begins a call, never to a re-INVITE."""

    name = "answer-mode"
    methods = frozenset({"INVITE"})
    option_tags = frozenset({"answermode"})

    def outgoing_request(self, session, request):
        """Mark the first INVITE only."""
        if session.is_initial(request):
            request.headers.set("Answer-Mode", "Auto")


answer_mode = AnswerMode()
