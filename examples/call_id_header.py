# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Let the Call-ID of the first leg travel on every leg, in a header of its own.

A call that goes on through other servers gets a new Call-ID on each leg. Who searches their logs
wants one that stays. The one that the INVITE brought is kept; the first server makes it.

``set``, not ``add``: a request that is sent again, changed, passes here again, and must not carry
the header twice.
"""

from sipsess.supplement import SessionSupplement

HEADER = "X-Call-ID"


class CallIDHeader(SessionSupplement):
    """Adds the header to each request and response of a session."""

    name = "call-id-header"
    priority = 900  # late: nothing that others add is looked at

    def outgoing_request(self, session, message):
        """Mark a message that leaves; ``session.invite`` is what began the call, either way."""
        original = session.invite.headers.get(HEADER) or session.call_id
        message.headers.set(HEADER, original)

    outgoing_response = outgoing_request


call_id_header = CallIDHeader()
