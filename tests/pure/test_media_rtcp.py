# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""RTCP packets: layout, what is read over, and refusals."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipsess.media.rtcp import MAX_PACKETS, Block, Report, SenderInfo
from sipsess.media.rtp import REASONS, MediaError

WORDS = st.integers(0, 0xFFFFFFFF)
BLOCKS = st.builds(
    Block,
    WORDS,
    st.integers(0, 255),
    st.integers(-0x800000, 0x7FFFFF),
    WORDS,
    WORDS,
    WORDS,
    WORDS,
)
REPORTS = st.builds(
    Report,
    WORDS,
    st.none() | st.builds(SenderInfo, st.integers(0, 2**64 - 1), WORDS, WORDS, WORDS),
    st.lists(BLOCKS, max_size=3).map(tuple),
    st.text("az09@+/=", min_size=1, max_size=40),
    st.lists(WORDS, max_size=3).map(tuple),
)

SR = bytes.fromhex(
    "81c8000c 01020304 00000005 80000000 0000ffff 00000002 00000140"
    "0a0b0c0d 40fffffe 00010002 00000007 00058000 00010000"
)
RR = bytes.fromhex("80c90001 01020304")
SDES = bytes.fromhex("81ca0003 01020304 0103") + b"abc" + bytes(3)
BYE = bytes.fromhex("81cb0001 01020304")
BLOCK = Block(0x0A0B0C0D, 0x40, -2, 0x10002, 7, 0x58000, 0x10000)
INFO = SenderInfo(0x580000000, 0xFFFF, 2, 320)


class LayoutTests(SynchronousTestCase):
    """The bytes of RFC 3550 section 6.4 to 6.6."""

    def test_sender_report(self) -> None:
        """A sender's report with one block and a name is written and read byte by byte."""
        report = Report(0x01020304, INFO, (BLOCK,), "abc")
        self.assertEqual(report.pack(), SR + SDES)
        self.assertEqual(Report.parse(SR + SDES), report)

    def test_receiver_report(self) -> None:
        """A receiver's report without a block and a goodbye, too."""
        report = Report(0x01020304, cname="abc", gone=(0x01020304,))
        self.assertEqual(report.pack(), RR + SDES + BYE)
        self.assertEqual(Report.parse(RR + SDES + BYE), report)

    @given(REPORTS)
    def test_what_is_written_is_read(self, report: Report) -> None:
        """Any report comes back as it was."""
        data = report.pack()
        self.assertEqual(len(data) % 4, 0)
        self.assertEqual(Report.parse(data), report)

    def test_numbers_that_do_not_fit(self) -> None:
        """Losses are cut to 24 bits, counters roll over, waits are cut at both ends."""
        block = replace_block(lost=0x900000, delay=2**33)
        info = INFO._replace(bytes=2**32 + 5)
        found = Report.parse(Report(1, info, (block,), "x" * 300).pack())
        self.assertEqual((found.blocks[0].lost, found.blocks[0].delay), (0x7FFFFF, 0xFFFFFFFF))
        self.assertEqual(found.sender, INFO._replace(bytes=5))
        self.assertEqual(found.cname, "x" * 255)
        low = Report.parse(Report(1, None, (replace_block(lost=-0x900000, delay=-1),)).pack())
        self.assertEqual((low.blocks[0].lost, low.blocks[0].delay), (-0x800000, 0))


def replace_block(**values: int) -> Block:
    """Return a block with other values."""
    return BLOCK._replace(**values)


class ReadingTests(SynchronousTestCase):
    """Compounds of others."""

    def refuse(self, data: bytes) -> str:
        """Return the reason of a refusal."""
        code = self.assertRaises(MediaError, Report.parse, data).reason_code
        self.assertIn(code, REASONS)
        return str(code)

    def test_unknown_packets_and_items(self) -> None:
        """What is not understood is read over: packet types, SDES items, profile extensions."""
        other = bytes.fromhex("8fcc0002 01020304 41424344")
        tool = bytes.fromhex("81ca0003 01020304 0601 78 0101 79 00 00")
        extended = RR[:2] + b"\0\3" + RR[4:] + b"extended"
        found = Report.parse(extended + other + tool)
        self.assertEqual(found, Report(0x01020304, cname="y"))

    def test_names_of_others(self) -> None:
        """A name that belongs to another source, or is cut off, is none."""
        alien = SDES.replace(bytes.fromhex("01020304"), bytes(4))
        nothing = bytes.fromhex("80ca0000")
        endless = bytes.fromhex("81ca0002 01020304 06ff7878")
        for data in (alien, nothing, endless):
            self.assertEqual(Report.parse(RR + data).cname, "")
        self.assertEqual(Report.parse(RR + alien + SDES + SDES).cname, "abc")

    def test_name_in_no_known_letters(self) -> None:
        """A name that is no UTF-8 is read as far as it can be."""
        self.assertEqual(Report.parse(RR + SDES.replace(b"abc", b"a\xffc")).cname, "a\ufffdc")

    def test_more_than_one_report(self) -> None:
        """Further reports bring further blocks; the first says who it is."""
        more = SR[:28].replace(b"\x81\xc8\0\x0c\x01", b"\x80\xc8\0\x06\x09")
        found = Report.parse(SR + more + SR)
        self.assertEqual((found.ssrc, found.sender), (0x01020304, INFO))
        self.assertEqual(found.blocks, (BLOCK, BLOCK))

    def test_padding(self) -> None:
        """Padding at the end is cut off (RFC 3550 section 6.4.1)."""
        padded = bytes.fromhex("a1cb0002 01020304 00000004")
        self.assertEqual(Report.parse(RR + padded).gone, (0x01020304,))

    def test_goodbye_with_a_reason(self) -> None:
        """The reason is no source; a source that is not there is none."""
        data = bytes.fromhex("81cb0002 01020304 03646965")
        self.assertEqual(Report.parse(RR + data).gone, (0x01020304,))
        self.assertEqual(Report.parse(RR + bytes.fromhex("9fcb0001 01020304")).gone, (0x01020304,))

    def test_goodbye_whose_padding_cuts_a_source(self) -> None:
        """What padding leaves of a source is none, and nothing is raised."""
        cut = bytes.fromhex("a2cb0002 01020304 00000003")
        self.assertEqual(Report.parse(RR + cut).gone, (0x01020304,))
        self.assertEqual(Report.parse(RR + bytes.fromhex("a1cb0001 00000003")).gone, ())

    def test_first_is_no_report(self) -> None:
        """RFC 3550 6.1: each compound begins with a report."""
        self.assertEqual(self.refuse(SDES), "rtcp-no-report")
        self.assertEqual(self.refuse(BYE + RR), "rtcp-no-report")

    def test_broken(self) -> None:
        """Too short, too long, another version, more padding or blocks than bytes."""
        for data in (
            b"",
            b"\x80\xc9\0",
            RR[:-1],
            RR + b"\0",
            RR + bytes(4),
            RR + SDES[:-4],
            b"\x81" + RR[1:],
            SR[:2] + b"\0\6" + SR[4:28],
            b"\x80\xc9\0\0",
            b"\xa0" + RR[1:-1] + b"\x05",
        ):
            self.assertEqual(self.refuse(data), "rtcp-broken", data.hex())

    def test_too_many_packets(self) -> None:
        """A datagram of nothing but headers costs no more than :data:`MAX_PACKETS` of them."""
        empty = bytes.fromhex("80cc0000")
        Report.parse(RR + empty * (MAX_PACKETS - 1))
        self.assertEqual(self.refuse(RR + empty * MAX_PACKETS), "rtcp-broken")

    @given(st.binary(max_size=200) | REPORTS.map(Report.pack), st.integers(0, 200), st.binary())
    def test_any_bytes_never_raise(self, data: bytes, at: int, change: bytes) -> None:
        """Whatever comes is read or refused with a reason."""
        data = data[:at] + change + data[at + len(change) :]
        try:
            report = Report.parse(data)
        except MediaError as error:
            self.assertIn(error.reason_code, REASONS)
        else:
            self.assertEqual(report, replace(report))
