# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Who the peer is, as far as it is trusted to say so."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipsess.message import Request, build_request, build_response
from sipsess.session.identity import Identity, get_callee, get_identity

ALICE = '"Alice A" <sip:alice@192.0.2.9>'


def invite(headers: dict[str, str] | None = None, from_: str = ALICE) -> Request:
    """Return an INVITE with these headers."""
    request = build_request(
        "INVITE",
        "sip:bob@192.0.2.1",
        via="SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1",
        from_=f"{from_};tag=1",
        to="Bob <sip:bob@192.0.2.1>",
        call_id="1",
        cseq=1,
    )
    for name, value in (headers or {}).items():
        request.headers.set(name, value)
    return request


class IdentityTests(SynchronousTestCase):
    """The table."""

    def test_table(self) -> None:
        """Header, trust, and what comes of it (:rfc:`3325`, :rfc:`3323`)."""
        pai, rpid = "P-Asserted-Identity", "Remote-Party-ID"
        for headers, is_trusted, user, source, anonymous in (
            ({}, False, "alice", "From", False),
            ({}, True, "alice", "From", False),
            ({pai: "<sip:boss@x.example>"}, False, "alice", "From", False),
            ({pai: "<sip:boss@x.example>"}, True, "boss", pai, False),
            ({pai: "<tel:+15551234>"}, True, "+15551234", pai, False),
            ({pai: "<sip:boss@x.example>, <tel:+1555>"}, True, "boss", pai, False),
            ({pai: "<::broken>, <tel:+1555>"}, True, "+1555", pai, False),
            ({pai: '"unclosed', rpid: "<sip:r@x.example>"}, True, "r", rpid, False),
            ({rpid: "<sip:r@x.example>;privacy=off"}, True, "r", rpid, False),
            ({rpid: "<sip:r@x.example>;privacy=FULL"}, True, "r", rpid, True),
            ({rpid: "<sip:r@x.example>;privacy=name"}, True, "r", rpid, True),
            ({rpid: "<sip:r@x.example>;privacy=full"}, False, "alice", "From", False),
            ({pai: "<sip:boss@x.example>", "Privacy": "id"}, True, "boss", pai, True),
            ({"Privacy": "user;critical"}, False, "alice", "From", True),
            ({"Privacy": " Header "}, False, "alice", "From", True),
            ({"Privacy": "none"}, True, "alice", "From", False),
            ({pai: "<urn:service:sos>"}, True, "", pai, False),
        ):
            identity = get_identity(invite(headers), is_trusted=is_trusted)
            self.assertEqual(
                (identity.user, identity.source, identity.anonymous, identity.trusted),
                (user, source, anonymous, source != "From"),
                headers,
            )

    def test_preferred(self) -> None:
        """Who is not trusted may prefer one of its own users (:rfc:`3325#section-9.2`)."""
        ppi = "P-Preferred-Identity"
        nobody = "Anonymous <sip:anonymous@anonymous.invalid>"
        users = frozenset({"boss", "+1555"})
        for headers, from_, is_trusted, user, source, anonymous in (
            ({ppi: "<sip:bo%73s@x.example>"}, ALICE, False, "bo%73s", ppi, False),
            ({ppi: "<::>, <tel:+1-555>"}, ALICE, False, "+1-555", ppi, False),
            ({ppi: "<sip:eve@x.example>"}, ALICE, False, "alice", "From", False),
            ({ppi: "<mailto:boss@x.example>"}, ALICE, False, "alice", "From", False),
            ({ppi: "<sip:boss@x.example>"}, ALICE, True, "alice", "From", False),
            ({ppi: "<sip:boss@x.example>"}, nobody, False, "boss", ppi, True),
            ({ppi: "<sip:boss@x.example>", "Privacy": "id"}, ALICE, False, "boss", ppi, True),
        ):
            request = invite(headers, from_)
            identity = get_identity(request, is_trusted=is_trusted, users=users)
            found = (identity.user, identity.source, identity.anonymous, identity.trusted)
            self.assertEqual(found, (user, source, anonymous, False), headers)
        response = build_response(invite({ppi: "<sip:boss@x.example>"}), 200, to_tag="2")
        response.headers.set(ppi, "<sip:boss@x.example>")
        identity = get_identity(response, is_trusted=False, users=users)
        self.assertEqual(identity.source, "To")

    def test_anonymous_by_uri(self) -> None:
        """The anonymous URI of 8.1.1.3 and :rfc:`3323#section-4.1.1.3` hides who calls."""
        for from_, anonymous in (
            ("Anonymous <sip:anonymous@anonymous.invalid>", True),
            ("<sip:c8oqz84zk7z@ANONYMOUS.invalid>", True),
            ("<sip:Anonymous@x.example>", True),
            ("Anonymous <sip:alice@x.example>", False),
        ):
            identity = get_identity(invite(from_=from_), is_trusted=False)
            self.assertEqual(identity.anonymous, anonymous, from_)

    def test_whole_identity(self) -> None:
        """Display name and URI come with it."""
        self.assertEqual(
            get_identity(invite(), is_trusted=False),
            Identity("Alice A", "sip:alice@192.0.2.9", "alice", "From", False, False),
        )

    def test_of_a_response(self) -> None:
        """Who answers is in To, or in what a trusted peer asserts; From is ourselves."""
        response = build_response(invite(), 200, to_tag="2")
        self.assertEqual(get_identity(response, is_trusted=False).user, "bob")
        self.assertEqual(get_identity(response, is_trusted=True).source, "To")
        response.headers.set("P-Asserted-Identity", "<sip:carol@x.example>")
        self.assertEqual(get_identity(response, is_trusted=True).user, "carol")

    def test_of_an_invite_of_ours(self) -> None:
        """Before anybody has answered, the peer is whom we call."""
        self.assertEqual(get_callee(invite()).uri, "sip:bob@192.0.2.1")
