# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Tests of headers that applications read and write, and of redirections."""

from __future__ import annotations

from collections.abc import Callable

from sipsess.call import Call
from sipsess.errors import DialogStateError, LocalError
from sipsess.session import EndReason, SessionEnded
from sipsess.supplements.reason import ReasonSupplement
from tests.policy.calls import CallTestCase, answer


class HeaderTests(CallTestCase):
    """Headers of the messages that begin and end a call."""

    def test_answer(self) -> None:
        """The caller reads the headers of the 200, and the callee those of the INVITE."""

        async def application(call: Call) -> str | None:
            self.assertIsNone(call.response)
            await call.answer({"X-Answer": "yes"})
            return call.request.headers.get("X-Question")

        self.start(application)
        assert self.caller.response is not None
        self.assertEqual(self.caller.response.headers.get("X-Answer"), "yes")
        self.hang_up()
        self.placed = self.pair.dial(headers={"X-Question": "who?"})
        self.net.run_for(1)
        self.assertEqual(self.script.result, "who?")
        self.hang_up()

    def ends(self, hang_up: Callable[[Call], object], supplements: bool) -> EndReason:
        """Let the caller end a call; return what the callee hears of it."""

        async def application(call: Call) -> None:
            call.ended.addCallback(reasons.append)
            await answer(call)

        reasons: list[EndReason] = []
        options = {"callee_supplements": [ReasonSupplement()]} if supplements else {}
        self.start(application, **options)
        hang_up(self.caller)
        self.hang_up()
        return reasons[0]

    def test_bye(self) -> None:
        """The headers of a BYE can be written and read, whoever reads its Reason."""
        for supplements in (False, True):
            end = self.ends(lambda call: call.hangup("tired", headers={"X-Bill": "7"}), supplements)
            assert end.headers is not None
            self.assertEqual((end.by, end.method), ("remote", "BYE"))
            self.assertEqual(end.headers.get("X-Bill"), "7")

    def test_bye_of_ours(self) -> None:
        """Who hangs up himself has no headers to read."""

        async def application(call: Call) -> None:
            call.ended.addCallback(reasons.append)
            await call.answer()
            await call.wait(0.1)
            await call.hangup()

        reasons: list[EndReason] = []
        self.start(application)
        self.hang_up()
        self.assertIsNone(reasons[0].headers)

    def test_cancel(self) -> None:
        """The headers of a CANCEL can be written and read."""

        async def application(call: Call) -> None:
            call.ended.addCallback(reasons.append)
            await call.ring()
            await call.wait(100)

        reasons: list[EndReason] = []
        self.start(application)
        self.caller.hangup(headers={"X-Why": "changed my mind"})
        self.hang_up()
        assert reasons[0].headers is not None
        self.assertEqual(reasons[0].method, "CANCEL")
        self.assertEqual(reasons[0].headers.get("X-Why"), "changed my mind")

    def test_refusal(self) -> None:
        """The headers of a refusal come with the error."""

        async def application(call: Call) -> None:
            await call.reject(486, headers={"Retry-After": "60"})

        self.start(application)
        end = self.placed.end_reason
        assert end is not None
        assert end.headers is not None
        self.assertEqual(end.headers.get("Retry-After"), "60")
        self.hang_up()


class RedirectTests(CallTestCase):
    """Callers that are sent elsewhere (RFC 3261 section 8.1.3.4)."""

    def contacts(self, *arguments: object, **options: object) -> list[str]:
        """Redirect a caller; return the Contact values that he gets."""

        async def application(call: Call) -> None:
            await call.redirect(*arguments, **options)  # type: ignore[arg-type]

        self.start(application)
        self.hang_up()
        response = self.placed.session.final_response
        assert response is not None
        self.response = response
        return response.headers.values("Contact")

    def test_one(self) -> None:
        """A URI becomes the Contact of a 302."""
        self.assertEqual(self.contacts("sip:desk@pbx.example"), ["<sip:desk@pbx.example>"])
        self.assertEqual((self.response.status, self.response.reason), (302, "Moved Temporarily"))

    def test_several(self) -> None:
        """Several contacts may say which is preferred; status, reason and headers may be others."""
        values = self.contacts(
            ["<sip:a@x.example>;q=0.7", "tel:+1555"], 300, reason="Choose", headers={"X-Why": "y"}
        )
        self.assertEqual(values, ["<sip:a@x.example>;q=0.7", "<tel:+1555>"])
        self.assertEqual((self.response.status, self.response.reason), (300, "Choose"))
        self.assertEqual(self.response.headers.get("X-Why"), "y")

    def test_wrongly(self) -> None:
        """What is no contact, no redirection or no unanswered call is told at once."""

        async def application(call: Call) -> None:
            wrongs: list[str | list[str]] = ["", "nonsense", "<sip:a@b>, <sip:c@d>", "sip:a b", []]
            for wrong in wrongs:
                self.assertRaises(LocalError, call.redirect, wrong)
            self.assertRaises(DialogStateError, call.redirect, "sip:a@b", 486)
            await call.answer()
            self.assertRaises(DialogStateError, call.redirect, "sip:a@b")
            await call.ended

        self.start(application)
        self.assertIsNone(self.script.error)
        self.hang_up()
        self.assertRaises(SessionEnded, self.caller.redirect, "sip:a@b")
