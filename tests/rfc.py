# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Which section of which RFC is kept, and the test that shows it.

From this table ``docs/make_supported_rfcs.py`` writes ``docs/supported-rfcs.rst``;
``tests/test_supported_rfcs.py`` sees to it that the page is up to date, that each test named here
exists, and that nothing is called done without one. A name is that of a test, or of a class or
module when all tests of it are about the section, and begins below ``tests``. The module is longer
than others because it is a table.
"""

from __future__ import annotations

from dataclasses import dataclass

DONE = "done"
PARTIAL = "partial"
NOT = "not"

STATUSES = (DONE, PARTIAL, NOT)


@dataclass(frozen=True, slots=True)
class Section:
    """One section of an RFC, or a whole one when ``number`` is empty."""

    number: str
    title: str
    status: str
    #: Names below ``tests``.
    tests: tuple[str, ...] = ()
    #: What is missing, and what happens instead.
    note: str = ""


@dataclass(frozen=True, slots=True)
class RFC:
    """What of one RFC is kept."""

    number: int
    title: str
    sections: tuple[Section, ...]


def done(number: str, title: str, *tests: str) -> Section:
    """Return a section that is kept."""
    return Section(number, title, DONE, tests)


def partial(number: str, title: str, note: str, *tests: str) -> Section:
    """Return a section that is kept but for what the note says."""
    return Section(number, title, PARTIAL, tests, note)


def missing(number: str, title: str, note: str, *tests: str) -> Section:
    """Return a section that is not kept; the tests show what happens instead."""
    return Section(number, title, NOT, tests, note)


def rfc(number: int, title: str, *sections: Section) -> RFC:
    """Return an RFC."""
    return RFC(number, title, sections)


_REQUESTS = "policy.test_core_requests"
_REGISTRAR = "policy.test_registrar"
_INCOMING = "policy.test_manager_incoming"
_USAGE = "policy.test_manager_usage.UsageTests"
_DIALOG = "pure.test_dialog_dialog"
_CLIENT = "pure.test_transaction_client"
_SERVER = "pure.test_transaction_server"
_LAYER = "pure.test_transaction_layer"
_INVITE = "policy.test_invite_client"
_PROBES = "policy.test_asterisk_table"
_OFFERS = "pure.test_sdp_offeranswer"
_MEDIA = "policy.test_negotiation"
_RACES = "sim.test_rfc5407"
_TIMER = "policy.test_supplement_session_timer"
_REFER = "policy.test_supplement_refer"
_REPLACES = "policy.test_supplement_replaces"
_INFO = "policy.test_supplement_info"
_DIGEST = "policy.test_digest_gate"
_IDENTITY = "policy.test_supplement_identity"
_REASON = "policy.test_supplement_reason"

SIP = rfc(
    3261,
    "SIP: Session Initiation Protocol",
    done("7", "Messages", "pure.test_message_parser", "pure.test_message_headers"),
    done("8.1.1", "A request has what it must have", "pure.test_message_builders.RequestTests"),
    partial(
        "8.1.2",
        "Sending a request",
        "the next hop must be an IP address: names are not looked up",
        "shell.test_agent.AgentTests.test_cannot_dial",
    ),
    done("8.1.3.1", "A timeout counts as 408", f"{_USAGE}.test_nobody_there"),
    done(
        "8.1.3.1",
        "After a timeout or transport error another server may be tried",
        "policy.test_request_failed.FailoverTests",
    ),
    done(
        "8.1.3.4",
        "Redirection (3xx) of calls",
        "policy.test_supplement_redirect",
        "policy.test_session_requests.RetryTests.test_other_uri",
    ),
    done("8.2.1", "Unknown and unsupported methods: 501, 405", f"{_REQUESTS}.MethodTests"),
    done(
        "8.2.2.1",
        "Request-URIs of an unknown scheme: 416",
        f"{_PROBES}.SetUpTests.test_urn_in_the_request_uri",
    ),
    done("8.2.2.2", "Merged requests: 482", f"{_REQUESTS}.InspectionTests.test_merged"),
    done("8.2.2.3", "Require: 420", f"{_REQUESTS}.InspectionTests.test_require"),
    done("8.2.3", "Bodies: 415 with Accept", f"{_INCOMING}.RefusalTests.test_body_type"),
    done("8.2.6", "Responses", "pure.test_message_builders.ResponseTests"),
    done("8.2.7", "Stateless answers have the same tag", f"{_REQUESTS}.OverloadTests"),
    done(
        "9.1",
        "CANCEL only after a provisional response",
        f"{_USAGE}.test_cancel_waits_for_a_provisional_response",
        f"{_USAGE}.test_cancelled_and_forgotten",
    ),
    done("9.2", "CANCEL received", f"{_REQUESTS}.CancelTests", f"{_USAGE}.test_cancelled"),
    done(
        "10.2",
        "Registering: first, refresh, removal, 401, 407, 423; one request at a time",
        "policy.test_registration",
        "shell.test_registrations",
    ),
    done(
        "10.2.1.1",
        "Expires, and what cannot be read of it",
        "pure.test_message_register.ExpiresTests",
    ),
    partial(
        "10.3",
        "The registrar",
        "a Contact that is no SIP URI is refused (400); for another domain it is no proxy (404)",
        f"{_REGISTRAR}.PermissionTests",
        f"{_REGISTRAR}.ContactTests",
        f"{_REGISTRAR}.AnswerTests",
        f"{_REGISTRAR}.StoreTests",
    ),
    done("11", "OPTIONS", f"{_REQUESTS}.MethodTests.test_options"),
    done("12.1.1", "Dialogs of the UAS", f"{_DIALOG}.UASTests"),
    done("12.1.2", "Dialogs of the UAC", f"{_DIALOG}.UACTests"),
    done("12.2.1.1", "Requests within a dialog; strict routers", f"{_DIALOG}.RoutingTests"),
    done(
        "12.2.1.2",
        "408, 481 and silence end the dialog",
        "policy.test_session_requests.OutgoingTests.test_481_and_408_end_the_call",
        "policy.test_session_requests.OutgoingTests.test_no_answer_ends_the_call",
    ),
    done("12.2.2", "Sequence numbers; unknown dialogs", f"{_DIALOG}.SequenceTests"),
    done("13.2.2.4", "Each 2xx is acknowledged; forks", f"{_INVITE}.ForkTests"),
    done(
        "13.3.1",
        "An INVITE expires",
        "policy.test_session_requests.IncomingReinviteTests.test_expires",
    ),
    done(
        "13.3.1.1",
        "A provisional response each minute",
        "policy.test_session_requests.IncomingReinviteTests"
        ".test_a_provisional_response_each_minute",
    ),
    done("13.3.1.3", "488 with a Warning", f"{_PROBES}.SetUpTests.test_488_has_a_warning"),
    done("13.3.1.4", "The 2xx is repeated until its ACK", "pure.test_dialog_success.SuccessTests"),
    done(
        "14.1",
        "re-INVITE sent; glare",
        f"{_INVITE}.ReinviteTests",
        f"{_INVITE}.GlareTests",
        "policy.test_bridge_races.StormTests.test_glare_on_both_legs",
        "policy.test_passthrough.RaceTests.test_glare",
    ),
    done(
        "14.2",
        "re-INVITE received",
        "policy.test_session_requests.IncomingReinviteTests",
        "policy.test_sdp_handler_options.DeferTests.test_another_invite_meanwhile",
    ),
    done("15", "BYE", f"{_USAGE}.test_bye_without_answer", f"{_USAGE}.test_no_ack"),
    done("15.1.2", "BYE with open requests", f"{_USAGE}.test_bye_in_the_early_dialog"),
    partial(
        "16.7",
        "Forking: the best response, CANCEL of the others",
        "sipsess is no proxy; this is how it calls a registered user with several phones",
        "shell.test_dial_user.DialTests",
    ),
    done("17.1.1", "INVITE client transaction", f"{_CLIENT}.InviteClientTests"),
    done("17.1.2", "Non-INVITE client transaction", f"{_CLIENT}.NonInviteClientTests"),
    done("17.1.3", "Responses find their transaction", f"{_LAYER}.ResponseMatchingTests"),
    done("17.2.1", "INVITE server transaction", f"{_SERVER}.InviteServerTests"),
    done("17.2.2", "Non-INVITE server transaction", f"{_SERVER}.NonInviteServerTests"),
    done("17.2.3", "Requests find their transaction", f"{_LAYER}.RequestMatchingTests"),
    done("17.1.4", "Transport errors", f"{_LAYER}.FlowTests"),
    done("18", "UDP, TCP, TLS", "shell.test_stream", "shell.test_tls"),
    partial(
        "18.1.1",
        "Sending requests",
        "an ACK above 1300 bytes leaves over UDP all the same; so does what a URI asks UDP for",
        "pure.test_transaction_via.ClientViaTests",
        "shell.test_connections.SizeTests",
    ),
    partial(
        "18.2.2",
        "Sending responses",
        "``maddr`` is not followed, as anybody could be its victim",
        f"{_REQUESTS}.WayTests",
        "shell.test_connections.LostTests.test_response_goes_to_the_sent_by",
    ),
    done("18.1.2", "Stray responses go nowhere", f"{_REQUESTS}.StrayTests.test_response"),
    done(
        "18.3",
        "Content-Length",
        "pure.test_message_parser.BodyTests",
        "pure.test_message_framing.StreamFramerTests",
    ),
    done("19.1.4", "URIs that are equal", "pure.test_message_uri.ComparisonTests"),
    done(
        "22.1",
        "Who is challenged; ACK and CANCEL never are",
        f"{_DIGEST}.ChallengeTests",
        f"{_DIGEST}.DialogTests",
    ),
    done(
        "22.2",
        "Users and user agents: 401",
        f"{_DIGEST}.ProofTests",
        "policy.test_supplement_credentials",
    ),
    partial(
        "22.3",
        "Proxies: 407",
        "it is answered; nobody is proxied here",
        "policy.test_supplement_credentials.CredentialsTests.test_proxies_and_callee",
    ),
    done(
        "22.4",
        "Digest",
        "pure.test_message_challenge",
        "pure.test_message_digest.VectorTests.test_rfc_3261",
    ),
    partial(
        "26.2",
        "TLS and SIPS",
        "a sips URI that comes over UDP or TCP is not refused",
        "shell.test_tls.CallTests",
        "shell.test_tls.IdentityTests",
    ),
)

CORE = (
    SIP,
    rfc(
        2046,
        "MIME part two: multipart bodies",
        done("5.1", "Multipart", "pure.test_message_multipart", "policy.test_session_bodies"),
    ),
    rfc(
        2308,
        "Negative caching of DNS queries",
        done(
            "5",
            "What is not there is remembered",
            "policy.test_locating.CacheTests.test_longest_time",
            "policy.test_locating_names.AnswerTests.test_nothing",
        ),
        done("7", "So are failures", "policy.test_locating.CacheTests.test_failure"),
    ),
    rfc(
        2782,
        "SRV records",
        done("", "Whole", "policy.test_locating_rules.WeightTests"),
    ),
    rfc(
        3262,
        "Reliability of provisional responses",
        done(
            "3",
            "UAS: repeated until PRACK, one at a time, 2xx waits",
            "policy.test_session_reliable.CalleeTests",
            f"{_PROBES}.SetUpTests.test_reliable_183_is_repeated",
            f"{_PROBES}.InDialogTests.test_stray_prack",
        ),
        done("4", "UAC: acknowledged in order", "policy.test_session_reliable.CallerTests"),
        done(
            "5",
            "Offers and answers in them",
            "policy.test_session_reliable.CalleeTests.test_offer_in_prack",
            "policy.test_session_reliable.CallerTests.test_late_offer",
            "policy.test_prack_offer",
        ),
        done("7", "RSeq and RAck", "pure.test_dialog_reliable.HeaderTests"),
    ),
    rfc(
        3263,
        "Locating SIP servers",
        partial(
            "5",
            "Where a server sends its responses",
            "after the loss of a connection: same host, port of the sent-by; nothing is looked up",
            "pure.test_transaction_server.InviteServerTests.test_flow_lost_and_reopened",
        ),
        done(
            "4.1",
            "Transport (NAPTR)",
            "policy.test_locating_rules.ServiceTests",
            "policy.test_locating_rules.NumericTests",
            "interop.test_dns",
        ),
        done(
            "4.2",
            "Address and port (SRV, A, AAAA)",
            "policy.test_locating_rules.ServerTests",
            "policy.test_locating_rules.NumericTests",
        ),
        partial(
            "4.3",
            "Failover",
            "requests within a call keep to their flow",
            "shell.test_failover",
            "policy.test_registration_way.ServersTests",
            "interop.test_dns",
            "policy.test_request_failed.FailoverTests",
        ),
    ),
    rfc(
        3264,
        "Offer and answer",
        done("4", "One offer at a time", f"{_OFFERS}.GlareTests"),
        done("5", "The first offer", "pure.test_sdp_negotiation.BuilderTests"),
        done("6", "The answer has the offer's lines", f"{_OFFERS}.CheckTests"),
        done(
            "6.1",
            "Directions and formats",
            "pure.test_sdp_negotiation.DirectionTests",
            "pure.test_sdp_negotiation.FormatTests",
        ),
        done("8", "Later offers; o= version", f"{_OFFERS}.VersionTests", f"{_MEDIA}.ReofferTests"),
        done(
            "8.1",
            "Streams are added, and take the place of declined ones",
            "policy.test_media_change.ChangeTests",
        ),
        done(
            "8.2",
            "Streams are removed",
            "policy.test_media_change.ChangeTests.test_remove_and_reuse",
        ),
        done("8.3.2", "A payload type keeps its meaning", f"{_OFFERS}.PayloadTests"),
        done("8.4", "Hold", "policy.test_audio.DirectionTests", f"{_PROBES}.MediaTests.test_hold"),
        missing("9", "Capabilities", "the answer to OPTIONS has no SDP"),
    ),
    rfc(
        3311,
        "UPDATE",
        done("5.1", "Sent", "policy.test_session_update.OutgoingTests"),
        done(
            "5.2",
            "Received",
            "policy.test_session_update.IncomingTests",
            f"{_PROBES}.MediaTests.test_update",
            "policy.test_sdp_handler_options.DeferTests.test_update",
        ),
    ),
    rfc(
        3323,
        "Privacy",
        done("4.1", "An anonymous call of ours", f"{_IDENTITY}.PrivacyTests"),
        done(
            "4.2",
            "The header",
            "pure.test_message_privacy",
            "policy.test_identity.IdentityTests",
        ),
        partial(
            "5",
            "A privacy service",
            "only bridges hide a caller, and not his media when these are left to the peers",
            "policy.test_b2bua.HeaderTests.test_private",
            "policy.test_b2bua.HeaderTests.test_hidden",
        ),
    ),
    rfc(
        3325,
        "Asserted identity",
        done(
            "5",
            "Read from trusted endpoints only, sent to those that are told",
            "policy.test_identity.IdentityTests.test_table",
            f"{_IDENTITY}.AssertTests",
        ),
        done(
            "5",
            "Passed on by bridges, from trusted endpoints to those that are told",
            "policy.test_b2bua.FriendTests.test_stranger",
            "policy.test_b2bua.FriendTests.test_not_told",
        ),
        done("7", "Privacy: id", f"{_IDENTITY}.PrivacyTests.test_told_in_confidence"),
        done("9.2", "Preferred identities", "policy.test_identity.IdentityTests.test_preferred"),
    ),
    rfc(
        3326,
        "Reason",
        done(
            "2",
            "Read and sent in BYE, CANCEL and refusals",
            "policy.test_supplement_reason",
            "pure.test_message_reason",
        ),
    ),
    rfc(
        3327,
        "Path",
        done("5.3", "Registrar: kept and told", f"{_REGISTRAR}.WayTests.test_path"),
        done("5.5", "Calls take the Path", "shell.test_dial_user.WayTests.test_path"),
    ),
    rfc(
        3420,
        "message/sipfrag",
        partial(
            "",
            "Whole",
            "fragments begin with a status line; what follows it is not read",
            "pure.test_message_refer.StatusLineTests",
        ),
    ),
    rfc(
        3515,
        "REFER",
        done("2.1", "Refer-To", "pure.test_message_refer.ReferToTests"),
        partial(
            "2.4",
            "Both roles within a call",
            "outside a call a REFER gets 501; only INVITEs are sent, one at a time",
            f"{_REFER}.TransfereeTests",
            f"{_REFER}.TransferorTests",
        ),
    ),
    rfc(
        3581,
        "rport",
        done("3", "The client asks", "pure.test_via.ClientViaTests.test_it_asks_for_rport"),
        done(
            "4",
            "The client learns where it is seen",
            "pure.test_nat.MirrorTests",
            "policy.test_nat.ContactTests",
            "policy.test_registration_way.NATTests",
            "interop.test_nat",
        ),
        done(
            "4",
            "The server fills it in and answers there",
            "pure.test_via.StampTests",
            "pure.test_via.ReplyTests",
        ),
    ),
    rfc(
        3608,
        "Service-Route",
        partial(
            "5",
            "Kept with a registration",
            "``RegistrationClient.service_route`` tells it; no request takes it by itself",
            "policy.test_registration.RegisterTests.test_service_route",
        ),
    ),
    rfc(
        3891,
        "Replaces",
        done("3", "Callee: which dialog is replaced", f"{_REPLACES}.RefusalTests"),
        done("3", "Callee: how it is replaced", f"{_REPLACES}.ReplacedCallTests"),
        done("4", "Caller", f"{_REPLACES}.ThreePartyTests.test_attended_transfer"),
        done("6.1", "Replaces", "pure.test_message_refer.ReplacesTests"),
    ),
    rfc(
        3892,
        "Referred-By",
        partial(
            "",
            "Whole",
            "it is sent in REFER and copied to the INVITE; the signed token is not read",
            f"{_REFER}.TransfereeTests.test_blind_transfer",
            f"{_REFER}.TransferorTests.test_blind_transfer",
        ),
    ),
    rfc(
        3960,
        "Early media",
        partial(
            "3",
            "The gateway model",
            "P-Early-Media and early-session are not read",
            "policy.test_session_reliable.EarlyMediaTests",
        ),
    ),
    rfc(
        3966,
        "tel URIs",
        partial(
            "",
            "Whole",
            "read, compared and taken in Request-URIs; not dialled",
            f"{_REQUESTS}.InspectionTests.test_tel",
            "pure.test_message_uri.TelURITests",
        ),
    ),
    rfc(
        4028,
        "Session timers",
        done("7", "UAC; refreshed by UPDATE or re-INVITE", f"{_TIMER}.UACTests"),
        done("9", "UAS", f"{_TIMER}.UASTests"),
        done(
            "10", "Who does not refresh is hung up", f"{_TIMER}.UASTests.test_peer_does_not_refresh"
        ),
    ),
    rfc(
        4320,
        "Actions on non-INVITE transactions",
        done(
            "4.1", "No early provisional response", f"{_SERVER}.NonInviteServerTests.test_late_100"
        ),
        done("4.2", "No 408", f"{_SERVER}.NonInviteServerTests.test_no_provisional_and_no_408"),
    ),
    rfc(
        4458,
        "Voicemail URIs",
        partial(
            "2.1",
            "Cause",
            "it is read in History-Info",
            "pure.test_message_history_info.EntryTests.test_cause",
        ),
    ),
    rfc(
        4488,
        "REFER without a subscription",
        done(
            "4",
            "Refer-Sub",
            f"{_REFER}.TransfereeTests.test_without_subscription",
            f"{_REFER}.TransferorTests.test_peer_without_subscription",
        ),
    ),
    rfc(
        4475,
        "SIP torture tests",
        done("3", "Each message has its test", "torture.test_rfc4475"),
        done("3", "A whole agent lives on", "policy.test_core_torture.TortureTests"),
    ),
    rfc(
        5057,
        "Several usages of a dialog",
        partial(
            "4",
            "The INVITE usage",
            "the subscription of a REFER ends with the call",
            "pure.test_dialog_usage.CellTests",
            f"{_REFER}.TransfereeTests.test_notify_is_refused",
        ),
    ),
    rfc(
        5079,
        "Anonymity disallowed",
        done("4", "433", f"{_IDENTITY}.AnonymityTests"),
    ),
    rfc(
        5118,
        "SIP torture tests for IPv6",
        done("4", "Each message has its test", "torture.test_rfc5118"),
    ),
    rfc(
        5373,
        "Answer-Mode",
        partial("", "Whole", "an example plugin", "test_examples.AnswerModeTests"),
    ),
    rfc(
        5390,
        "Requirements for overload control",
        partial(
            "5",
            "A server under overload stays near its capacity",
            "what this side can do alone; nothing is fed back to the sender (RFC 7339)",
            "policy.test_shedding",
            "pure.test_overload",
        ),
    ),
    rfc(
        5407,
        "Race conditions in SIP",
        done(
            "3.1.1",
            "INVITE again after the 200",
            f"{_RACES}.MoratoriumTests.test_3_1_1_initial_invite_again",
        ),
        done(
            "3.1.2", "CANCEL crosses 200", f"{_RACES}.MoratoriumTests.test_3_1_2_cancel_crosses_200"
        ),
        done(
            "3.1.3",
            "Early BYE crosses 200",
            f"{_RACES}.EarlyByeTests.test_3_1_3_bye_of_early_dialog_crosses_200",
        ),
        done(
            "3.1.4",
            "re-INVITE before the ACK",
            f"{_RACES}.MoratoriumTests.test_3_1_4_reinvite_before_ack_with_agreed_media",
        ),
        done(
            "3.1.5",
            "The same with an open offer",
            f"{_RACES}.MoratoriumTests.test_3_1_5_reinvite_before_ack_with_an_open_offer",
        ),
        done("3.1.6", "BYE before the ACK", f"{_RACES}.MoratoriumTests.test_3_1_6_bye_before_ack"),
        done("3.2.1", "BYE crosses BYE", f"{_RACES}.MortalTests.test_3_2_1_bye_crosses_bye"),
        done(
            "3.2.2",
            "re-INVITE crosses BYE",
            f"{_RACES}.MortalTests.test_3_2_2_reinvite_crosses_bye",
        ),
        done(
            "3.2.3",
            "200 of a re-INVITE crosses BYE",
            f"{_RACES}.MortalTests.test_3_2_3_200_of_reinvite_crosses_bye",
        ),
        done("3.2.4", "ACK after BYE", f"{_RACES}.MortalTests.test_3_2_4_ack_after_bye"),
        done(
            "3.3.1",
            "re-INVITE crosses re-INVITE",
            f"{_RACES}.OtherCrossingTests.test_3_3_1_reinvite_crosses_reinvite",
        ),
        done(
            "3.3.2",
            "UPDATE crosses re-INVITE",
            f"{_RACES}.OtherCrossingTests.test_3_3_2_update_crosses_reinvite",
            f"{_RACES}.OtherCrossingTests.test_update_crosses_update",
        ),
        done(
            "3.3.3",
            "REFER crosses BYE",
            f"{_RACES}.OtherCrossingTests.test_3_3_3_refer_crosses_bye",
            f"{_REFER}.TransfereeTests.test_bye_crosses_refer",
            f"{_REFER}.TransferorTests.test_the_peer_hangs_up",
        ),
        done(
            "A",
            "BYE in the early dialog",
            f"{_RACES}.EarlyByeTests.test_appendix_a_bye_in_the_early_dialog",
        ),
        done(
            "B",
            "BYE overlaps a re-INVITE",
            f"{_RACES}.EarlyByeTests.test_appendix_b_bye_overlaps_a_reinvite",
        ),
        done(
            "C",
            "CANCEL before anything came",
            f"{_RACES}.EarlyByeTests.test_appendix_c_cancel_before_anything_came",
        ),
        done(
            "D",
            "Requests in the mortal state",
            f"{_RACES}.EarlyByeTests.test_appendix_d_other_requests_in_the_mortal_state",
        ),
        done(
            "E",
            "New To tags of forks",
            f"{_RACES}.EarlyByeTests.test_appendix_e_new_to_tags_of_forks",
        ),
    ),
    rfc(
        5589,
        "Call transfer",
        done("6", "Blind", f"{_REPLACES}.ThreePartyTests.test_blind_transfer"),
        done("7", "Attended", f"{_REPLACES}.ThreePartyTests.test_attended_transfer"),
    ),
    rfc(
        5621,
        "Message bodies",
        done(
            "8.2",
            "Session descriptions in multipart bodies",
            "policy.test_session_bodies",
            "pure.test_message_multipart.MeaningTests",
        ),
    ),
    rfc(
        5626,
        "Outbound",
        partial(
            "4.4.1",
            "Keep-alive",
            "over connections; over UDP those of clients are taken, and ours are CRLF or OPTIONS",
            "shell.test_stream.FramingTests.test_ping",
            "shell.test_connections.LostTests.test_keep_alive",
            "policy.test_nat.KeepAliveTests",
            "policy.test_registrar.WayTests.test_nat_is_kept_open",
            "policy.test_registration_way.NATTests.test_kept_open",
            "shell.test_udp.VirtualTests.test_keep_alives",
            "pure.test_message_framing.StreamFramerTests.test_keep_alives",
        ),
        partial(
            "4.5",
            "Back-off of a registration",
            "of our own registrations; they have one flow, without ``reg-id``",
            "policy.test_registration.FailureTests",
        ),
        done(
            "5.3",
            "Calls take the flow of a binding, or the next one of the instance",
            "shell.test_registrar_streams.CallTests",
            "policy.test_registrar_location",
        ),
        partial(
            "6",
            "Registrar: instances, flows, ``Require: outbound``, 439",
            "what was bound to a flow that is gone stays until it expires; it is not called",
            f"{_REGISTRAR}.WayTests.test_instances",
            f"{_REGISTRAR}.WayTests.test_several_with_reg_id",
            f"{_REGISTRAR}.WayTests.test_first_hop",
        ),
    ),
    rfc(
        5806,
        "Diversion",
        done(
            "4",
            "Read, and sent by calls that follow a redirection",
            "pure.test_message_diversion",
            f"{_IDENTITY}.HistoryTests.test_diversion",
        ),
    ),
    rfc(
        5876,
        "Asserted identity in other requests and in responses",
        partial(
            "3",
            "Sent in INVITE, UPDATE, REFER and MESSAGE, and in responses",
            "other requests are silent",
            f"{_IDENTITY}.AssertTests.test_within_the_call",
            f"{_IDENTITY}.AssertTests.test_responses",
        ),
    ),
    rfc(
        5922,
        "Domain certificates",
        done("4", "The name that a connection must prove", "shell.test_tls.IdentityTests"),
        done("7.1", "Whom a certificate speaks for", "shell.test_identity.IdentityTests"),
        done("7.2", "Comparing", "shell.test_identity.IdentityTests.test_addresses"),
    ),
    rfc(
        5923,
        "Connection reuse",
        partial(
            "5",
            "Requests to who has connected",
            "this side honours ``alias`` and asks nobody for it; over TCP, which the RFC leaves "
            "out, it counts for the address that has connected",
            "shell.test_connections.AliasTests",
        ),
        done("8", "Over TLS: for proven domains only", "shell.test_tls.IdentityTests.test_alias"),
    ),
    rfc(
        6026,
        "Transactions and 2xx",
        done(
            "7.1",
            "Accepted state of the server; Timer L",
            f"{_SERVER}.InviteServerTests.test_accepted_absorbs_copies",
        ),
        done(
            "7.2",
            "Accepted state of the client; Timer M",
            f"{_CLIENT}.InviteClientTests.test_2xx_and_timer_m",
        ),
    ),
    rfc(
        6086,
        "INFO packages",
        done("4.2.1", "Packages are announced", f"{_INFO}.PackageTests.test_known_package"),
        done("4.2.2", "Packages received; 469", f"{_INFO}.PackageTests"),
        done(
            "5.2", "Recv-Info", "policy.test_supplement_info.PackageTests.test_what_the_peer_takes"
        ),
    ),
    rfc(
        6432,
        "Reason in responses",
        done("4", "Causes of Q.850 only", f"{_REASON}.SentTests.test_refusals"),
    ),
    rfc(
        6141,
        "re-INVITE and target refresh",
        done(
            "3.3",
            "A refused re-INVITE changes nothing",
            f"{_MEDIA}.ReofferTests.test_a_failed_offer_puts_all_back",
        ),
        done(
            "4.6",
            "The remote target",
            "policy.test_manager_dialogs.CalleeTests.test_target_refresh",
        ),
    ),
    rfc(
        6337,
        "Usage of offer and answer",
        done(
            "2.1",
            "The same patterns across a bridge whose media are left to the peers",
            "policy.test_passthrough.FirstTests",
            "policy.test_passthrough.AgainTests",
        ),
        done(
            "2.1",
            "The six patterns",
            f"{_MEDIA}.OfferTests",
            f"{_MEDIA}.LateOfferTests",
            "policy.test_session_reliable.CalleeTests",
            "policy.test_session_update.IncomingTests",
        ),
        done(
            "2.2",
            "Refused offers",
            f"{_MEDIA}.OfferTests.test_nothing_wanted",
            f"{_MEDIA}.LateOfferTests.test_bad_answers_in_the_ack",
        ),
    ),
    rfc(
        6665,
        "Event notification",
        partial(
            "",
            "Whole",
            "only the package refer, within a call; SUBSCRIBE gets 489",
            f"{_REFER}.TransferorTests",
            f"{_PROBES}.InDialogTests.test_subscribe",
        ),
    ),
    rfc(
        6455,
        "The WebSocket Protocol",
        done("4.1", "The hand-shake of a client", "shell.test_websocket_client.HandshakeTests"),
        done("5.5", "Pings and closing frames", "shell.test_websocket_client.EndTests"),
        partial(
            "9",
            "Extensions",
            "none is asked for, none is accepted",
            "shell.test_websocket_client.MessageTests",
        ),
    ),
    rfc(
        7044,
        "History-Info",
        partial(
            "7",
            "UAC: redirections that are followed",
            "the option tag histinfo is not announced, and responses tell no history",
            f"{_IDENTITY}.HistoryTests",
        ),
        done("10.1", "Entries", "pure.test_message_history_info"),
    ),
    rfc(
        7118,
        "SIP over WebSocket",
        done("4", "The hand-shake", "shell.test_websocket.HandshakeTests"),
        done("5", "Messages", "shell.test_websocket.MessageTests"),
        done(
            "6",
            "Keep-alive",
            "shell.test_websocket.MessageTests.test_keep_alives",
        ),
        partial(
            "7",
            "Authentication",
            "by digest; cookies of HTTP are not looked at, the origin is",
            "shell.test_websocket.OriginTests",
        ),
    ),
    rfc(
        7332,
        "Loops of back-to-back user agents",
        done(
            "4",
            "Max-Forwards goes along, one less",
            "policy.test_bridge.DialTests.test_leg",
            "policy.test_bridge.DialTests.test_circle",
        ),
    ),
    rfc(
        7433,
        "User-to-user information",
        partial(
            "4",
            "Passed on by bridges, in INVITE, responses and BYE",
            "no package is understood, and the option tag uui is not announced",
            "policy.test_b2bua.HeaderTests.test_stranger",
            "policy.test_b2bua.HeaderTests.test_back",
            "policy.test_b2bua.HeaderTests.test_given_up",
        ),
    ),
    rfc(
        7616,
        "Digest authentication",
        done("3.3", "Challenges", "pure.test_message_challenge", f"{_DIGEST}.NonceTests"),
        done(
            "3.4",
            "Credentials",
            "pure.test_message_digest",
            f"{_DIGEST}.ProofTests",
            f"{_DIGEST}.NonceTests.test_counted",
        ),
        partial(
            "3.4.2",
            "The -sess algorithms",
            "a challenge of one is left out, and none is offered",
            "pure.test_message_digest.AnswerTests.test_unknown_algorithm",
        ),
        partial(
            "3.4.4",
            "Hashed names",
            "a challenge that wants one is answered; none is asked for",
            "pure.test_message_digest.VectorTests.test_rfc_7616_sha_512_256",
        ),
        missing("3.5", "Authentication-Info", "it is neither sent nor read"),
        done("3.9", "Examples", "pure.test_message_digest.VectorTests"),
        done(
            "5",
            "Replay, guessing, unknown users",
            f"{_DIGEST}.NonceTests",
            f"{_DIGEST}.LoopTests",
            "policy.test_endpoint_nonces",
            "policy.test_endpoint_checkers.CheckerTests",
        ),
    ),
    rfc(
        7647,
        "REFER and events",
        partial(
            "",
            "Whole",
            "the subscription ends with the call; there is no GRUU",
            f"{_REFER}.TransfereeTests",
        ),
    ),
    rfc(
        8760,
        "Digest algorithms for SIP",
        done("2.1", "Algorithms", "pure.test_message_digest.VectorTests.test_algorithms"),
        done(
            "2.3",
            "UAS: a challenge for each algorithm",
            f"{_DIGEST}.ChallengeTests.test_challenges",
        ),
        done(
            "2.4",
            "UAC: the first that can be answered, MD5 last",
            "policy.test_endpoint_credentials.InCallsTests.test_strongest",
            "policy.test_supplement_credentials.CredentialsTests",
        ),
    ),
    rfc(
        6761,
        "Special-use domain names",
        done("6.3", "localhost", "policy.test_locating_names.HostsTests.test_special_names"),
        done("6.4", "invalid", "policy.test_locating_names.HostsTests.test_special_names"),
    ),
    rfc(
        7984,
        "Locating SIP servers in a dual-stack IP network",
        partial(
            "",
            "Whole",
            "IPv6 always comes before IPv4, unless this machine has no way there",
            "policy.test_locating_rules.ServerTests.test_addresses_of_the_domain",
        ),
    ),
    rfc(
        8866,
        "SDP: Session Description Protocol",
        done(
            "5",
            "Read tolerantly, written canonically",
            "pure.test_sdp_parser",
            "pure.test_sdp_properties.ParserProperties",
        ),
        done(
            "5.2",
            "Origin",
            "pure.test_sdp_values.OriginTests",
            f"{_PROBES}.MediaTests.test_the_answer_has_our_own_session_id",
        ),
        done("5.7", "Connection", "pure.test_sdp_values.ConnectionTests"),
        done("5.14", "Media", "pure.test_sdp_description.MediaTests"),
        done("6", "Attributes", "pure.test_sdp_description.ChangeTests"),
    ),
)

MEDIA = (
    rfc(
        3550,
        "RTP",
        done("5", "Packets", "pure.test_media_rtp"),
        done("6.1", "RTCP packets", "pure.test_media_rtcp"),
        done(
            "6.2",
            "When reports leave",
            "pure.test_media_reporting.IntervalTests",
            "policy.test_rtcp.ReportTests",
            "policy.test_rtcp.IdleTests",
        ),
        done("6.4", "Sender's and receiver's reports", "pure.test_media_reporting"),
        partial(
            "8.2",
            "Two of one SSRC",
            "we take another one, without a BYE for the old one",
            "pure.test_media_stream.CollisionTests",
        ),
        done("11", "Ports", "policy.test_rtcp.ReportTests.test_port_beside"),
        done("A.1", "Sequence numbers", "pure.test_media_latch.SequenceTests"),
        done("A.8", "Interarrival jitter", "pure.test_media_statistics.JitterTests"),
    ),
    rfc(
        3389,
        "Comfort noise",
        partial(
            "4",
            "Payload type 13",
            "taken for silence; never sent",
            "pure.test_media_stream.ListenTests.test_comfort_noise_is_silence",
        ),
    ),
    rfc(
        3551,
        "RTP profile for audio and video",
        done(
            "4.1",
            "Talk-spurts begin with the marker; silence is no loss",
            "pure.test_media_jitter.BufferTests.test_talk_spurt",
            "pure.test_media_jitter.HearingTests.test_silence_suppression_is_silence",
        ),
        partial(
            "4.5",
            "Codecs",
            "PCMU, PCMA, G722 and L16 mono; others come as plugins",
            "pure.test_media_codecs",
            "pure.test_media_g722",
            "pure.test_media_l16",
        ),
    ),
    rfc(
        4733,
        "Telephone events",
        done(
            "2.1",
            "The clock is that of the audio",
            "policy.test_audio_formats.ChoiceTests.test_events_follow_the_codec",
            "policy.test_codec_calls.WideTests.test_keys",
        ),
        done("2.5.1", "Sending digits", "pure.test_media_events.SenderTests"),
        done(
            "2.5.2",
            "Receiving digits; tones, when a peer knows no events",
            "pure.test_media_events.ReceiverTests",
            "policy.test_call_tones",
        ),
    ),
    rfc(
        6716,
        "Opus",
        done("3", "How long a packet lasts", "pure.test_media_opus.DescriptionTests"),
        done("3.4", "Broken packets are refused", "pure.test_media_opus.SignalTests"),
    ),
    rfc(
        7160,
        "Several clock rates in one stream",
        done(
            "4",
            "A codec with another clock begins anew",
            "pure.test_media_rates.HearTests.test_another_clock_while_listening",
        ),
    ),
    rfc(
        7587,
        "RTP payload of Opus",
        partial(
            "6.1",
            "Parameters",
            "maxaveragebitrate, maxplaybackrate, cbr and useinbandfec are kept; usedtx is not, "
            "and what we send is mono",
            "pure.test_media_opus.ParameterTests",
        ),
        done("7", "opus/48000/2 in SDP", "pure.test_media_opus.DescriptionTests.test_sdp"),
    ),
    rfc(
        4961,
        "Symmetric RTP",
        done("4", "Sent from the port it is received on", "pure.test_media_latch.LatchTests"),
        done(
            "6",
            "A claimed address gets little before it speaks",
            "pure.test_media_latch.UnprovenTests",
            "policy.test_audio.ClaimTests",
        ),
    ),
    rfc(
        3556,
        "Bandwidth of RTCP",
        partial(
            "2", "b=RS and b=RR", "0 for both alone", "policy.test_rtcp.ReportTests.test_unwanted"
        ),
    ),
    rfc(
        3605,
        "The port for RTCP in SDP",
        partial(
            "2.1",
            "a=rtcp",
            "another host than that of RTP gets none",
            "policy.test_rtcp.ReportTests.test_signalled_port",
            "policy.test_rtcp.ReportTests.test_signalled_host",
        ),
    ),
    rfc(
        5761,
        "RTP and RTCP on one port",
        done("4", "Told apart", "pure.test_media_rtp.ClassifyTests"),
        done("5.1.1", "a=rtcp-mux", "policy.test_rtcp.DescriptionTests"),
    ),
    rfc(
        7022,
        "Names for RTCP",
        done("4.2", "A new name for each stream", "pure.test_media_reporting.MakingTests"),
    ),
    rfc(
        3711,
        "SRTP",
        done("3.3", "RTP and RTCP are encrypted", "policy.test_srtp_parts.PortTests"),
        done("3.4", "Reports are encrypted", "policy.test_rtcp.SecureTests"),
        done(
            "3.3.2",
            "Repeated packets are dropped",
            "policy.test_srtp_parts.PortTests.test_bad_packets",
        ),
        done(
            "9.1",
            "No key is used for two packets of one number",
            "policy.test_srtp_parts.PortTests.test_same_keys_go_on",
        ),
        missing(
            "8.1", "Key derivation rate, re-keying by MKI", "lines that ask for it are not taken"
        ),
    ),
    rfc(
        4568,
        "Keys for SRTP in SDP",
        done(
            "5.1", "Offer and answer", "policy.test_srtp.AnswerTests", "policy.test_srtp.OfferTests"
        ),
        done("6.1", "Keys are read strictly", "policy.test_srtp_parts.CryptoTests"),
        partial(
            "6.3",
            "Session parameters",
            "WSH alone; a line with another one is not taken",
            "policy.test_srtp_parts.CryptoTests.test_refused",
        ),
        done("7.1.4", "Keys in later offers", "policy.test_srtp.ReofferTests"),
        done(
            "8.1",
            "Keys travel over TLS only",
            "policy.test_srtp.AnswerTests.test_without_tls",
            "policy.test_srtp.OfferTests.test_without_tls",
        ),
    ),
    rfc(
        7714,
        "AES-GCM for SRTP",
        done("14.2", "128 and 256 bits", "policy.test_srtp_parts.PortTests.test_all_suites"),
    ),
    rfc(
        4145,
        "Who begins: a=setup",
        partial(
            "4",
            "Roles",
            "of DTLS; holdconn is refused",
            "policy.test_dtls.CallTests.test_setup",
        ),
    ),
    rfc(
        5763,
        "SRTP with keys by DTLS",
        done("5", "Roles and fingerprints", "policy.test_dtls"),
        done(
            "6.7.1",
            "A certificate that is not the one of the description ends the call",
            "policy.test_dtls.CallTests.test_another_certificate",
        ),
    ),
    rfc(
        5764,
        "DTLS extension for SRTP",
        done("4.1", "Protection profiles", "policy.test_dtls_parts.HandshakeTests"),
        done(
            "4.2", "Keys", "policy.test_dtls_parts.HandshakeTests.test_both_roles_and_all_profiles"
        ),
    ),
    rfc(
        6347,
        "DTLS 1.2",
        done(
            "4.2.4",
            "Lost flights are sent again",
            "policy.test_dtls_parts.PortTests.test_lost_flight",
            "policy.test_dtls_parts.HandshakeTests.test_lost_flights",
        ),
        missing("4.2.1", "Cookies", "ICE has proven the address before"),
    ),
    rfc(
        7983,
        "STUN, DTLS and RTP on one port",
        done("7", "Told apart by the first byte", "policy.test_dtls_parts.PortTests"),
    ),
    rfc(
        8122,
        "Fingerprints of certificates",
        done("5", "Read strictly, SHA-256 and better", "policy.test_dtls_parts.FingerprintTests"),
    ),
    rfc(
        8445,
        "ICE",
        done("2.5", "The lite side", "policy.test_ice.AgentTests"),
        done(
            "7.3.1.1",
            "The full side chooses",
            "policy.test_ice.AgentTests.test_role_conflict",
        ),
        partial(
            "7.3",
            "Checks are answered",
            "forged ones are dropped, not refused with 400 or 401",
            "policy.test_ice.AgentTests.test_not_signed_by_the_peer",
        ),
        done("9", "Restarts", "policy.test_dtls.CallTests.test_restart"),
        missing("6", "The full side", "a server has an address that everybody reaches"),
    ),
    rfc(
        8838,
        "Trickle ICE",
        partial(
            "4",
            "Candidates may come late or never",
            "none is read; ours stands in the answer",
            "policy.test_dtls.CallTests.test_candidates_come_never_or_with_names",
        ),
    ),
    rfc(
        8839,
        "ICE in SDP",
        done("5", "Candidate and credentials", "policy.test_ice.CredentialsTests"),
        done("4.4", "Later offers", "policy.test_dtls.CallTests.test_offered_again"),
    ),
    rfc(
        8842,
        "DTLS in offers and answers",
        done(
            "5.3",
            "Roles stay, another certificate begins anew",
            "policy.test_dtls.CallTests.test_roles_stay",
            "policy.test_dtls.CallTests.test_another_association",
        ),
        partial(
            "5.2",
            "tls-id",
            "taken; none is sent",
            "policy.test_dtls_parts.PortTests.test_begun_again_by_us",
        ),
    ),
    rfc(
        9143,
        "BUNDLE",
        partial(
            "7.3",
            "Answers",
            "one audio stream; what else is in the bundle is declined",
            "policy.test_dtls.CallTests.test_bundle",
        ),
    ),
)

ALL: tuple[RFC, ...] = (*CORE, *MEDIA)
