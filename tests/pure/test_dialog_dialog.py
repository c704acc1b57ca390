# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""The dialog: how it is made, what it sends, what it accepts (RFC 3261 section 12)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.dialog import CSeqError, Dialog, check_dialog, contact_uri
from sipsess.dialog.dialog import CONFIRMED, EARLY, TERMINATED
from sipsess.errors import DialogStateError, RemoteError
from sipsess.message import Request, Response, parse

#: What stands in a header unless a test says otherwise; an empty value leaves the header out.
_DEFAULTS = {
    "Via": "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa",
    "From": "Alice <sip:alice@example.com>;tag=a",
    "To": "<sip:bob@example.com>",
    "Call-ID": "call",
    "Contact": "<sip:alice@192.0.2.9:5080>",
}


def make(first_line: str, cseq: str, headers: dict[str, str]) -> Request | Response:
    """Return a message as it comes from the wire."""
    values = _DEFAULTS | {"CSeq": cseq} | headers
    lines = [f"{name}: {value}" for name, value in values.items() if value]
    return parse("\r\n".join([first_line, *lines, "", ""]).encode())


def make_request(method: str = "INVITE", cseq: int = 314, /, **headers: str) -> Request:
    """Return a request; underscores in header names are hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    message = make(f"{method} sip:bob@192.0.2.1 SIP/2.0", f"{cseq} {method}", named)
    assert isinstance(message, Request)
    return message


def make_response(status: int = 200, cseq: int = 314, /, **headers: str) -> Response:
    """Return a response to an INVITE, with tag ``b``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named = {"To": "<sip:bob@example.com>;tag=b", "Contact": "<sip:bob@192.0.2.1>"} | named
    message = make(f"SIP/2.0 {status} X", f"{cseq} INVITE", named)
    assert isinstance(message, Response)
    return message


def as_uas(**headers: str) -> Dialog:
    """Return the dialog that an INVITE to us makes."""
    return Dialog.as_uas(make_request(**headers), "local")


def as_uac(**headers: str) -> Dialog:
    """Return the dialog that a 180 to our INVITE makes."""
    return Dialog.as_uac(make_request(), make_response(180, **headers))


class UASTests(SynchronousTestCase):
    """The dialog of the callee (12.1.1)."""

    def test_its_parts(self) -> None:
        """12.1.1: tags, Call-ID, the remote sequence number, and an empty local one."""
        dialog = as_uas()
        self.assertEqual(dialog.id, ("call", "local", "a"))
        self.assertEqual((dialog.state, dialog.remote_seq), (EARLY, 314))
        self.assertEqual(dialog.local, "<sip:bob@example.com>;tag=local")
        self.assertEqual(dialog.remote, "Alice <sip:alice@example.com>;tag=a")
        self.assertEqual(dialog.remote_target, "sip:alice@192.0.2.9:5080")
        self.assertFalse(dialog.is_call_id_owner)

    def test_route_set_in_order(self) -> None:
        """12.1.1: the callee's route set is the Record-Route in the same order."""
        dialog = as_uas(Record_Route="<sip:p2;lr>, <sip:p1;lr>")
        self.assertEqual(dialog.route_set, ("<sip:p2;lr>", "<sip:p1;lr>"))

    def test_first_request(self) -> None:
        """12.2.1.1: From and To change sides, the CSeq is our own."""
        request = as_uas().build_request("BYE")
        self.assertEqual((request.method, request.uri), ("BYE", "sip:alice@192.0.2.9:5080"))
        self.assertEqual((request.from_tag, request.to_tag), ("local", "a"))
        self.assertEqual((request.cseq.number, request.cseq.method), (1, "BYE"))
        self.assertEqual((request.call_id, request.max_forwards), ("call", 70))
        self.assertNotIn("Route", request.headers)

    def test_peer_without_tag(self) -> None:
        """12.1.1: an RFC 2543 caller has no From tag; the remote tag is null, To has none."""
        dialog = as_uas(From="<sip:alice@example.com>")
        self.assertEqual(dialog.remote_tag, "")
        self.assertIsNone(dialog.build_request("BYE").to_tag)

    def test_contact_is_needed(self) -> None:
        """8.1.1.8: an INVITE without Contact makes no dialog."""
        for contact in ("", "<tel:+1555>", "<mailto:a@b>"):
            error = self.assertRaises(RemoteError, as_uas, Contact=contact)
            self.assertEqual((error.reason_code, error.status_hint), ("contact-missing", 400))

    def test_peer_of_rfc_2543_without_contact(self) -> None:
        """RFC 4475 section 3.4.1: there Contact was optional, and From stood for it."""
        legacy = {"From": "<sip:old@192.0.2.9>", "Via": "SIP/2.0/UDP 192.0.2.9"}
        self.assertEqual(as_uas(**legacy, Contact="").remote_target, "sip:old@192.0.2.9")
        self.assertEqual(as_uas(**legacy).remote_target, "sip:alice@192.0.2.9:5080")
        for name, value in legacy.items():
            self.assertRaises(RemoteError, as_uas, Contact="", **{name: value})

    def test_check_before_anything_is_made(self) -> None:
        """What could not become a dialog is found out before a session exists."""
        check_dialog(make_request())
        broken = {"Contact": "<sip:a@b", "Record_Route": "<sip:p1;lr>, <<<"}
        for name, value in broken.items():
            self.assertRaises(RemoteError, check_dialog, make_request(**{name: value}))
        self.assertRaises(RemoteError, check_dialog, make_request(Contact=""))
        # Found by mutating a message: an address without a scheme that only the BYE would need.
        self.assertRaises(RemoteError, check_dialog, make_request(Record_Route="<:user@p1;lr>"))

    def test_confirm(self) -> None:
        """12.1: the callee's dialog is confirmed by its 2xx; route set and target stay."""
        dialog = as_uas(Record_Route="<sip:p1;lr>")
        dialog.confirm()
        self.assertEqual((dialog.state, dialog.route_set), (CONFIRMED, ("<sip:p1;lr>",)))


class UACTests(SynchronousTestCase):
    """The dialog of the caller (12.1.2)."""

    def test_its_parts(self) -> None:
        """12.1.2: the local number is the INVITE's, the remote one is empty."""
        dialog = as_uac()
        self.assertEqual(dialog.id, ("call", "a", "b"))
        self.assertEqual((dialog.local_seq, dialog.remote_seq), (314, None))
        self.assertEqual(dialog.remote_target, "sip:bob@192.0.2.1")
        self.assertTrue(dialog.is_call_id_owner)
        self.assertEqual(dialog.build_request("BYE").cseq.number, 315)

    def test_route_set_reversed(self) -> None:
        """12.1.2: the caller's route set is the Record-Route in reverse order."""
        dialog = as_uac(Record_Route="<sip:p2;lr>, <sip:p1;lr>")
        self.assertEqual(dialog.route_set, ("<sip:p1;lr>", "<sip:p2;lr>"))

    def test_peer_without_tag(self) -> None:
        """12.1.2: an RFC 2543 callee gives no To tag."""
        dialog = as_uac(To="<sip:bob@example.com>")
        self.assertEqual(dialog.id, ("call", "a", ""))
        self.assertIsNone(dialog.build_request("BYE").to_tag)

    def test_our_own_without_tag(self) -> None:
        """A program may send an INVITE without From tag; the dialog is found all the same."""
        invite = make_request(From="<sip:alice@example.com>")
        self.assertEqual(Dialog.as_uac(invite, make_response()).local_tag, "")

    def test_unusable_contact(self) -> None:
        """A 2xx ends the INVITE whatever its Contact is: the Request-URI stands for it."""
        for contact in ("", "<tel:+1555>", "<sip:bob@[bad>", "*", "<<>>"):
            self.assertEqual(as_uac(Contact=contact).remote_target, "sip:bob@192.0.2.1")

    def test_unreadable_record_route(self) -> None:
        """And whatever its Record-Route is."""
        for routes in ("<sip:p1;lr>, nonsense <", "<:user@p1;lr>"):
            dialog = as_uac(Record_Route=routes)
            self.assertEqual(dialog.route_set, ())
        dialog.confirm(make_response(Record_Route="<"))
        self.assertEqual((dialog.route_set, dialog.state), ((), CONFIRMED))

    def test_the_success_decides_the_route(self) -> None:
        """13.2.2.4: the 2xx replaces the route set and the target of the 180."""
        dialog = as_uac(Record_Route="<sip:p1;lr>")
        dialog.confirm(
            make_response(Record_Route="<sip:p3;lr>, <sip:p2;lr>", Contact="<sip:b@192.0.2.77>")
        )
        self.assertEqual(dialog.route_set, ("<sip:p2;lr>", "<sip:p3;lr>"))
        self.assertEqual(dialog.remote_target, "sip:b@192.0.2.77")

    def test_the_ack(self) -> None:
        """13.2.2.4: the ACK has the INVITE's CSeq number, and counts nothing up."""
        dialog = as_uac()
        ack = dialog.build_ack(314)
        self.assertEqual((ack.method, ack.cseq.number), ("ACK", 314))
        self.assertEqual(dialog.build_request("BYE").cseq.number, 315)

    def test_forks(self) -> None:
        """12.1.2: each To tag is a dialog of its own, with its own route and number."""
        first, second = as_uac(), as_uac(To="<sip:bob@example.com>;tag=c")
        self.assertNotEqual(first.id, second.id)
        first.build_request("INFO")
        self.assertEqual((first.local_seq, second.local_seq), (315, 314))


class RoutingTests(SynchronousTestCase):
    """Request-URI and Route of what is sent (12.2.1.1)."""

    def sent(self, *routes: str) -> tuple[str, list[str], str]:
        """Return Request-URI, Routes and next hop of a request."""
        dialog = as_uas(Record_Route=", ".join(routes))
        request = dialog.build_request("INFO")
        return request.uri, request.headers.values("Route"), dialog.next_hop()

    def test_no_route(self) -> None:
        """The target is the Request-URI and the next hop."""
        target = "sip:alice@192.0.2.9:5080"
        self.assertEqual(self.sent(), (target, [], target))

    def test_loose_route(self) -> None:
        """With lr the target stays the Request-URI; the first route is the next hop."""
        uri, routes, hop = self.sent("<sip:p1;lr>", "<sip:p2>")
        self.assertEqual(uri, "sip:alice@192.0.2.9:5080")
        self.assertEqual((routes, hop), (["<sip:p1;lr>", "<sip:p2>"], "sip:p1;lr"))

    def test_strict_route(self) -> None:
        """Without lr the first route is the Request-URI, and the target the last Route."""
        uri, routes, hop = self.sent("<sip:p1:5070>", "<sip:p2;lr>")
        self.assertEqual((uri, hop), ("sip:p1:5070", "sip:p1:5070"))
        self.assertEqual(routes, ["<sip:p2;lr>", "<sip:alice@192.0.2.9:5080>"])

    def test_strict_route_alone(self) -> None:
        """One strict router: its URI, and the target as the only Route."""
        uri, routes, _ = self.sent("<sip:p1>")
        self.assertEqual((uri, routes), ("sip:p1", ["<sip:alice@192.0.2.9:5080>"]))

    def test_what_a_request_uri_may_not_hold(self) -> None:
        """19.1.1: method parameter and headers of the strict route's URI are left out."""
        uri, _, _ = self.sent("<sip:p1;method=INVITE;x=1?Subject=a>")
        self.assertEqual(uri, "sip:p1;x=1")

    def test_route_that_is_no_sip_uri(self) -> None:
        """It cannot be rewritten, so it stays a Route."""
        uri, routes, _ = self.sent("<foo:bar>")
        self.assertEqual((uri, routes), ("sip:alice@192.0.2.9:5080", ["<foo:bar>"]))

    def test_strict_router_in_the_ack(self) -> None:
        """13.2.2.4: the ACK takes the same way as any request of the dialog."""
        ack = as_uac(Record_Route="<sip:p1>").build_ack(314)
        self.assertEqual(ack.uri, "sip:p1")
        self.assertEqual(ack.headers.values("Route"), ["<sip:bob@192.0.2.1>"])

    def test_order_of_parameters_is_kept(self) -> None:
        """A route leaves as it came, display name and parameters included."""
        _, routes, _ = self.sent('"P, one" <sip:p1;lr;x=y>;z=1')
        self.assertEqual(routes, ['"P, one" <sip:p1;lr;x=y>;z=1'])


class SequenceTests(SynchronousTestCase):
    """CSeq of what the peer sends (12.2.2)."""

    def test_higher_is_fine_with_gaps(self) -> None:
        """12.2.2: it may go up by more than one."""
        dialog = as_uas()
        for number in (315, 400, 2**31 - 1):
            dialog.accept_request(make_request("INFO", number))
        self.assertEqual(dialog.remote_seq, 2**31 - 1)

    def test_lower_and_equal_are_refused(self) -> None:
        """12.2.2: out of order is 500; the number that is remembered stays."""
        dialog = as_uas()
        for number in (314, 313, 0):
            error = self.assertRaises(CSeqError, dialog.accept_request, make_request("BYE", number))
            self.assertEqual((error.reason_code, error.status_hint), ("cseq-too-low", 500))
        self.assertEqual(dialog.remote_seq, 314)

    def test_first_request_to_the_caller(self) -> None:
        """12.2.2: when the remote number is empty, any number is right, zero too."""
        dialog = as_uac()
        dialog.accept_request(make_request("INFO", 0))
        self.assertEqual(dialog.remote_seq, 0)
        self.assertRaises(CSeqError, dialog.accept_request, make_request("INFO", 0))

    @given(st.lists(st.integers(0, 2**31 - 1), max_size=20))
    def test_only_increasing_numbers_pass(self, numbers: list[int]) -> None:
        """Whatever comes in which order: a number passes if it is above all that passed."""
        dialog, passed = as_uac(), list[int]()
        for number in numbers:
            try:
                dialog.accept_request(make_request("INFO", number))
            except CSeqError:
                self.assertLessEqual(number, passed[-1])
            else:
                passed.append(number)
        self.assertEqual(passed, sorted(set(passed)))


class TargetTests(SynchronousTestCase):
    """The remote target (12.2.1.2, 12.2.2)."""

    def test_refresh(self) -> None:
        """The Contact of a re-INVITE or of its 2xx is the new target, IPv6 too."""
        dialog = as_uas()
        dialog.refresh_target(make_request(Contact="<sip:a@[2001:db8::9]:5090>"))
        self.assertEqual(dialog.build_request("BYE").uri, "sip:a@[2001:db8::9]:5090")
        dialog.refresh_target(make_response(Contact="<sips:a@192.0.2.7>"))
        self.assertEqual(dialog.next_hop(), "sips:a@192.0.2.7")

    def test_nothing_to_follow(self) -> None:
        """No Contact, or none that can be used, leaves the target as it is."""
        dialog = as_uas()
        for contact in ("", "<tel:+1>", "<<", "*"):
            dialog.refresh_target(make_request(Contact=contact))
        self.assertEqual(dialog.remote_target, "sip:alice@192.0.2.9:5080")

    def test_route_set_stays(self) -> None:
        """12.2: a target refresh never changes the route set."""
        dialog = as_uas(Record_Route="<sip:p1;lr>")
        dialog.refresh_target(make_request(Record_Route="<sip:p9;lr>"))
        self.assertEqual(dialog.route_set, ("<sip:p1;lr>",))

    def test_contact_uri(self) -> None:
        """The first Contact counts, with or without brackets."""
        self.assertEqual(contact_uri(make_request(Contact="sip:a@b;x=1")), "sip:a@b")
        self.assertEqual(contact_uri(make_request(Contact="<sip:a@b>, <sip:c@d>")), "sip:a@b")


class EndTests(SynchronousTestCase):
    """A dialog that is over."""

    def test_no_request_after_the_end(self) -> None:
        """Nothing new can be built; the text says which dialog and method."""
        dialog = as_uas()
        dialog.terminate()
        self.assertEqual(dialog.state, TERMINATED)
        error = self.assertRaises(DialogStateError, dialog.build_request, "INFO")
        self.assertIn("INFO", str(error))
        self.assertIn("call", str(error))
