# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Ask somebody else whether a caller may come in, and wait for what they say.

The caller hears 100 Trying meanwhile. When he gives up, the question is cancelled where it waits.
"""

from twisted.internet.defer import Deferred, succeed

from sipsess.supplement import Reject, SessionSupplement


def ask_directory(number: str) -> Deferred[bool]:
    """Stand in for your database: whatever gives a Deferred."""
    return succeed(not number.startswith("0900"))


class Screening(SessionSupplement):
    """Lets in whom the directory knows as harmless."""

    name = "screening"
    methods = frozenset({"INVITE"})
    priority = 150  # below MEDIA: no port is open while we wait

    def __init__(self, ask=ask_directory):
        self.ask = ask

    async def incoming_request(self, session, request):
        """Refuse, or say nothing to let the call go on."""
        if not session.is_initial(request):
            return
        caller = session.get_identity(request)
        is_welcome = await self.ask(caller.user)
        session.note("screened", f"{caller.user} is {'welcome' if is_welcome else 'not welcome'}")
        if not is_welcome:
            raise Reject(603, headers={"Reason": 'SIP;cause=603;text="not on the list"'})


screening = Screening()
