# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The application that stands between two sides of a network: a full back-to-back user agent."""

from __future__ import annotations

from zope.interface import implementer

from sipsess.application import Application, Reject
from sipsess.call import Call, DialFailed, HeaderPolicy
from sipsess.endpoint import ANONYMOUS
from sipsess.interfaces import IConfigurableApplication, IMediaPolicy
from sipsess.session import MediaNegotiation, Session
from sipsess.session.incoming import SETUP_LIMIT

from .b2bua_options import BridgeOptions
from .targets import check_target, choose_media, target_of

__all__ = ["B2BUAApplication", "BridgeOptions"]


@implementer(IConfigurableApplication, IMediaPolicy)
class B2BUAApplication(Application):
    """
    Calls one target after another, answers as the first that answers, and joins the two.

    :param how: whom to call, and what goes along.
    """

    name = "b2bua"
    options = BridgeOptions

    def __init__(self, how: BridgeOptions | None = None) -> None:
        self.how = how = how or BridgeOptions()
        headers = (how.pass_headers, how.drop_headers, how.set_headers)
        self.policy = HeaderPolicy(*headers, identity=how.identity)

    def with_options(self, options: BridgeOptions) -> B2BUAApplication:
        """See :meth:`.IConfigurableApplication.with_options`."""
        if not options.targets:
            raise ValueError("targets names nobody to call")
        for target in options.targets:
            check_target(target)
        if options.timeout <= 0 or options.timeout * len(options.targets) > SETUP_LIMIT:
            raise ValueError(f"all targets together may ring for {SETUP_LIMIT:.0f} seconds")
        made = B2BUAApplication(options)
        made.policy.check()
        return made

    def make_media(self, session: Session) -> MediaNegotiation | None:
        """See :meth:`.IMediaPolicy.make_media`."""
        return choose_media(session, self.how.media)

    async def handle(self, call: Call) -> None:
        """See :meth:`.IApplication.handle`."""
        leg = await self._dial(call)
        if not call.is_answered:
            await call.answer(self.policy.of_answer(leg.session, call.session.endpoint))
        await call.bridge(leg, self.policy)

    async def _dial(self, call: Call) -> Call:
        """
        Call the targets until one answers.

        :raises Reject: the refusal of the last one that was called.
        """
        how, refusal = self.how, Reject(404)
        endpoint = call.session.core.endpoints.get(how.endpoint, ANONYMOUS)
        if how.endpoint not in ("anonymous", endpoint.name):
            call.session.note("target", f"there is no endpoint {how.endpoint!r}")
            raise Reject(500)
        for target in how.targets:
            try:
                return await call.dial(
                    target_of(call, target),
                    how.timeout,
                    from_=how.caller or None,
                    early_media=how.early_media,
                    policy=self.policy,
                    endpoint=endpoint,
                )
            except DialFailed as failure:
                call.session.note("target", f"{target}: {failure.original}")
                refusal = failure
                if failure.original not in how.failover:
                    break
        raise refusal
