# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Call records: what stands in one, and how it gets into the file."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any, cast
from unittest import mock

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipsess.applications.hello import HelloApplication
from sipsess.cdr import CallRecord, CallRecords, RecordFile, file, open_file
from sipsess.cdr.record import VERSION, format_time
from sipsess.cdr.supplement import MAX_TEXT
from sipsess.counters import Counters
from sipsess.endpoint import Endpoint
from sipsess.interfaces import ICallRecords
from sipsess.media.statistics import StreamStatistics
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.server import SIPServer
from sipsess.session import Session
from sipsess.supplement import SessionSupplement
from sipsess.supplements.reason import ReasonSupplement
from sipsess.testing import VirtualNetwork
from tests.policy.agents import PEER, US, Box, Gate, ring
from tests.policy.sessions import SessionTestCase
from tests.policy.test_bridge import BridgeCase
from tests.source import ROOT

#: 2026-11-29 00:00:00 UTC.
MIDNIGHT = 1795910400.0


@implementer(ICallRecords)
class Taker(SessionSupplement):
    """Takes records; one of no name fails over them."""

    name = "taker"

    def __init__(self) -> None:
        self.taken: list[tuple[Session, CallRecord]] = []
        self.is_broken = False

    def take_call_record(self, session: Session, record: CallRecord) -> None:
        """Keep it, or fail."""
        if self.is_broken:
            raise RuntimeError("broken")
        self.taken.append((session, record))


class RecordTests(SessionTestCase):
    """What is recorded of a call."""

    def begin(self, **kwargs: Any) -> Box:
        """Begin anew, at midnight."""
        self.records: list[CallRecord] = []
        self.taker = Taker()

        def wall() -> float:
            return MIDNIGHT + self.net.seconds() - self.first

        supplement = CallRecords(wall, self.records.append, [self.taker, ReasonSupplement()])
        box = self.start(supplement, self.taker, ReasonSupplement(), **kwargs)
        self.first = self.net.seconds()
        return box

    @property
    def record(self) -> CallRecord:
        """The only record."""
        (record,) = self.records
        return record

    def test_answered(self) -> None:
        """Of a call that came: who, when, how long, and who hung up and why."""
        self.begin()
        success = self.call()
        self.net.run_for(10)
        self.peer.bye(success, headers={"Reason": "Q.850;cause=16"})
        self.peer.expect(200)
        record = self.record
        self.assertEqual(
            (record.version, record.call_id, record.local_tag, record.remote_tag),
            (VERSION, success.call_id, success.to_tag, success.from_tag),
        )
        self.assertEqual(record.direction, "incoming")
        self.assertEqual(record.caller, success.from_.uri)
        self.assertEqual(record.callee, success.to.uri)
        self.assertEqual(record.dialled, f"sip:bob@{US}")
        self.assertEqual((record.identity, record.identity_source), (record.caller, "From"))
        self.assertEqual((record.endpoint, record.application), ("anonymous", "script"))
        self.assertEqual(record.transport, "UDP")
        self.assertEqual(record.local_address, f"{US}:5060")
        self.assertEqual(record.remote_address, f"{PEER}:5060")
        self.assertEqual(record.begin[:17], "2026-11-29T00:00:")
        self.assertEqual(record.end[-1], "Z")
        self.assertGreater(record.end, record.answered or "Z")
        self.assertIsNone(record.ringing)
        self.assertGreaterEqual(record.answered_seconds, 10)
        self.assertGreaterEqual(record.seconds, record.answered_seconds)
        self.assertEqual((record.ended_by, record.ended_with), ("remote", "BYE"))
        self.assertIsNone(record.status)
        self.assertEqual(record.reasons, ("Q.850 16 Normal call clearing",))
        self.assertEqual(record.media, ())
        self.finish()

    def test_rang_and_cancelled(self) -> None:
        """A call that nobody answered has rung, and talked for no time."""
        self.begin(play=ring)
        invite = self.invite()
        self.peer.expect(180)
        self.net.run_for(3)
        self.peer.cancel(invite)
        self.peer.ack(self.peer.expect(487))
        record = self.record
        self.assertIsNotNone(record.ringing)
        self.assertIsNone(record.answered)
        self.assertEqual(record.answered_seconds, 0.0)
        self.assertEqual((record.ended_by, record.ended_with), ("remote", "CANCEL"))
        self.assertEqual(record.remote_tag, invite.from_tag)
        self.finish()

    def test_refused(self) -> None:
        """A call of ours that is refused has the status and the reason, and no remote tag."""
        self.begin()
        session, invite = self.placed()
        session.invite_client.answered.addErrback(lambda failure: None)
        refusal = self.peer.reply(invite, 486, headers={"Reason": "Q.850;cause=17"})
        self.peer.expect("ACK")
        record = self.record
        self.assertEqual(record.direction, "outgoing")
        self.assertEqual((record.status, record.ended_by), (486, "remote"))
        self.assertEqual(record.reasons, ("Q.850 17 User busy",))
        self.assertEqual((record.application, record.identity_source), ("", "To"))
        self.assertEqual(record.remote_tag, "")
        self.assertIsNotNone(refusal)
        self.finish()

    def test_nobody_answers(self) -> None:
        """A call of ours to which nobody says anything ends by the network."""
        self.begin()
        session, _ = self.placed()
        session.invite_client.answered.addErrback(lambda failure: None)
        self.net.run_for(40)
        record = self.record
        self.assertEqual((record.ended_by, record.status), ("network", 408))
        self.assertEqual((record.identity, record.identity_source), (record.callee, "To"))
        self.finish()

    def test_outgoing(self) -> None:
        """A re-INVITE changes nothing about when a call of ours was answered."""
        self.begin()
        session, invite = self.placed()
        self.peer.reply(invite, 180)
        self.net.run_for(2)
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        self.net.run_for(2)
        session.send_reinvite()
        again = self.peer.expect("INVITE")
        self.peer.reply(again, 183)
        self.peer.reply(again, 200)
        self.peer.expect("ACK")
        self.hang_up(session)
        self.net.run_for(1)
        record = self.record
        self.assertEqual((record.ended_by, record.ended_with), ("local", "BYE"))
        assert record.answered is not None and record.ringing is not None
        self.assertLess(record.ringing, record.answered)
        self.assertGreaterEqual(record.answered_seconds, 2)
        self.finish()

    def test_ringing(self) -> None:
        """A call of ours rings from the first of 101 to 199; a 100 says nothing of the callee."""
        self.begin()
        session, invite = self.placed()
        for status in (100, 180, 183):
            self.net.run_for(1)
            self.peer.reply(invite, status)
        self.net.run_for(1)
        self.peer.reply(invite, 200)
        self.peer.expect("ACK")
        self.hang_up(session)
        self.net.run_for(1)
        self.assertEqual((self.record.ringing or "")[-7:-5], "02")
        self.finish()

    def test_long_texts(self) -> None:
        """What a peer has written does not make a record long."""
        self.begin()
        self.invite(uri=f"sip:{'x' * 3000}@{US}", call_id="z" * 3000)
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.peer.bye(success, headers={"Reason": f"{'y' * 3000};cause=200"})
        self.peer.expect(200)
        record = self.record
        self.assertEqual(record.call_id, "z" * MAX_TEXT)
        self.assertEqual(record.dialled, f"sip:{'x' * (MAX_TEXT - 4)}")
        self.assertEqual(record.reasons, ("y" * MAX_TEXT,))
        self.assertEqual(len(record.text), MAX_TEXT)
        self.finish()

    def test_asserted_identity(self) -> None:
        """A peer that is trusted says who it is in a header of its own."""
        friend = Endpoint("friend", is_trusted=True)
        self.begin(gates=[Gate(lambda admission: setattr(admission, "endpoint", friend))])
        self.invite(headers={"P-Asserted-Identity": "<sip:real@example.net>"})
        success = self.peer.expect(200)
        self.peer.ack(success)
        self.peer.bye(success)
        self.peer.expect(200)
        record = self.record
        self.assertEqual(record.identity, "sip:real@example.net")
        self.assertEqual(record.identity_source, "P-Asserted-Identity")
        self.assertEqual(record.caller, success.from_.uri)
        self.assertEqual(record.endpoint, "friend")
        self.finish()

    def test_takers(self) -> None:
        """Other supplements get the record too; one that fails keeps it from nobody."""
        self.begin()
        success = self.call()
        session = self.session
        self.peer.bye(success)
        self.peer.expect(200)
        self.assertEqual(self.taker.taken, [(session, self.record)])
        self.taker.is_broken = True
        success = self.call()
        self.peer.bye(success)
        self.peer.expect(200)
        self.assertEqual(len(self.records), 2)
        self.finish(failures=1)

    def test_taker_after_one_that_fails(self) -> None:
        """Whoever comes after a supplement that fails gets the record, too."""
        broken, good = Taker(), Taker()
        broken.is_broken = True
        self.start(CallRecords(self.zero, takers=[broken, good]))
        self.peer.bye(self.call())
        self.peer.expect(200)
        self.assertEqual(len(good.taken), 1)
        self.finish(failures=1)

    def test_takers_alone(self) -> None:
        """Without a writer the takers are enough."""
        taker = Taker()
        self.start(CallRecords(self.zero, takers=[taker]))
        self.peer.bye(self.call())
        self.peer.expect(200)
        self.assertEqual(taker.taken[0][1].begin, "1970-01-01T00:00:00.000Z")
        self.finish()

    def zero(self) -> float:
        """Stand in for a wall clock."""
        return 0.0


class MediaTests(SynchronousTestCase):
    """What is recorded of the media of a call between two servers."""

    def test_codec_and_packets(self) -> None:
        """Each audio stream has its codec and its packets, as long as the call has them."""
        records: list[CallRecord] = []
        net = VirtualNetwork(seed=1)
        supplement = CallRecords(lambda: MIDNIGHT, records.append)
        audio = [AudioHandler()]
        alice = SIPServer(net.host("192.0.2.2"), supplements=[supplement], handlers=audio)
        bob = SIPServer(net.host("192.0.2.1"), applications=[HelloApplication()], handlers=audio)
        for server in (alice, bob):
            server.startService()
        calling = alice.dial("sip:hello@192.0.2.1")
        net.run_for(1)
        call = self.successResultOf(calling)
        net.run_for(1)
        call.session.terminate()
        net.run_for(1)
        (record,) = records
        (media,) = record.media
        self.assertEqual(media["codec"], "PCMU")
        self.assertGreater(media["packets_received"], 10)
        self.assertEqual(media["lost"], 0)
        self.assertGreater(media["mos"], 4)
        stopping = [server.stopService() for server in (alice, bob)]
        net.run_for(40)
        for each in stopping:
            self.successResultOf(each)


class LegTests(BridgeCase):
    """What is recorded of a call that is dialled for another one."""

    def test_dialled_for(self) -> None:
        """The leg's record names the call that it was dialled for, answered or not."""
        records: list[CallRecord] = []
        for status in (486, 200):
            del records[:]
            self.start(supplements=[CallRecords(lambda: MIDNIGHT, records.append)])
            leg = self.far.expect("INVITE")
            self.far.reply(leg, status, body=self.far.sdp() if status == 200 else b"")
            self.far.expect("ACK")
            answer = self.near.expect(status)
            self.near.ack(answer)
            if status == 200:
                self.near.bye(answer)
                self.far.reply(self.far.expect("BYE"), 200)
            self.settle()
            found = {record.call_id: record.dialled_for for record in records}
            self.assertEqual(found, {self.invite.call_id: "", leg.call_id: self.invite.call_id})


def make_record(call_id: str = "1", **kwargs: Any) -> CallRecord:
    """Return a record of no particular call."""
    texts: dict[str, Any] = dict.fromkeys(CallRecord._fields, "")
    texts.update(version=VERSION, call_id=call_id, seconds=1.0, answered_seconds=0.0)
    texts.update(status=None, reasons=(), media=())
    return CallRecord(**{**texts, **kwargs})


class JSONTests(SynchronousTestCase):
    """The line of a record."""

    def test_line(self) -> None:
        """It is one line of ASCII, whatever a peer has written."""
        line = make_record(caller="sip:\n\u2028\x00é@x").to_json()
        self.assertTrue(line.isascii())
        self.assertNotIn("\n", line)
        self.assertEqual(json.loads(line)["caller"], "sip:\n\u2028\x00é@x")

    def test_page(self) -> None:
        """The page on call records names each key, those of the media as well."""
        page = ROOT.joinpath("docs/how-to/keep-call-records.rst").read_text(encoding="utf-8")
        names = (*CallRecord._fields, *(item.name for item in fields(StreamStatistics)))
        self.assertEqual([name for name in names if f"``{name}``" not in page], [])

    def test_times(self) -> None:
        """A time is rounded to milliseconds, also across the second."""
        self.assertEqual(format_time(MIDNIGHT + 1.2344), "2026-11-29T00:00:01.234Z")
        self.assertEqual(format_time(MIDNIGHT + 1.9996), "2026-11-29T00:00:02.000Z")


class FileTests(SynchronousTestCase):
    """The file."""

    def setUp(self) -> None:
        """Make a directory and a file in it."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name, "calls.jsonl")
        self.clock, self.counters = Clock(), Counters()
        self.file = RecordFile(self.path, self.clock, self.counters)
        self.log: list[str] = []
        observer = cast("ILogObserver", self.note)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def note(self, event: Any) -> None:
        """Keep what the file says in the log."""
        if event["log_namespace"] == "sipsess.cdr.file":
            self.log.append(event["log_level"].name)

    def written(self, path: Path | None = None) -> list[str]:
        """Return the Call-IDs in a file."""
        lines = (path or self.path).read_text().splitlines()
        return [json.loads(line)["call_id"] for line in lines]

    def write(self, *names: str) -> None:
        """Write records."""
        for name in names:
            self.file.write(make_record(name))

    def test_delay(self) -> None:
        """Records wait for others, a moment long; then nothing is left to do."""
        self.write("1", "2")
        self.assertEqual(self.written(), [])
        self.clock.advance(file.DELAY)
        self.assertEqual(self.written(), ["1", "2"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.file.close()

    def test_batch(self) -> None:
        """When many wait they are written at once."""
        self.patch(file, "BATCH", 2)
        self.write("1", "2", "3")
        self.assertEqual(self.written(), ["1", "2"])
        self.file.close()
        self.assertEqual(self.written(), ["1", "2", "3"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_mode(self) -> None:
        """Not everybody may read who calls whom."""
        self.assertEqual(os.stat(self.path).st_mode & 0o007, 0)
        self.file.close()

    def test_reopen(self) -> None:
        """After the file was moved away, a new one goes on; no record is lost."""
        self.write("1")
        moved = self.path.with_suffix(".1")
        self.path.rename(moved)
        self.file.reopen(self.path, open_file(self.path))
        self.write("2")
        self.file.close()
        self.assertEqual((self.written(moved), self.written()), (["1"], ["2"]))

    def fill(self, *taken: int | OSError) -> Any:
        """Let each write take so many bytes, or fail."""
        real = os.write
        pending = list(taken)

        def write(descriptor: int, data: bytes) -> int:
            if not pending:
                raise OSError(28, "full")
            result = pending.pop(0)
            if isinstance(result, OSError):
                raise result
            return real(descriptor, data[:result])

        return mock.patch("os.write", write)

    def test_full_disk(self) -> None:
        """What the disk does not take waits and is tried again; the log says it once."""
        self.write("1")
        with self.fill():
            self.clock.advance(file.DELAY)
            self.clock.advance(file.RETRY_DELAY)
            self.write("2")
        self.assertEqual((self.written(), self.log), ([], ["error"]))
        self.clock.advance(file.RETRY_DELAY)
        self.assertEqual((self.written(), self.log), (["1", "2"], ["error", "info"]))
        self.file.close()
        self.assertEqual(self.counters.refused, {})

    def test_full_disk_under_load(self) -> None:
        """While the disk takes nothing, no call has it tried: that is done now and then."""
        self.patch(file, "BATCH", 2)
        with self.fill(), mock.patch("os.write", wraps=os.write) as write:
            self.write("1", "2")
            count = write.call_count
            self.write("3", "4", "5")
            self.assertEqual((write.call_count, count), (count, 1))
        self.file.close()
        self.assertEqual(self.written(), ["1", "2", "3", "4", "5"])

    def test_torn_line(self) -> None:
        """When the disk takes half a line, its other half is what comes next."""
        self.write("1", "2")
        size = len(make_record("1").to_json()) + 1
        with self.fill(size + 5):
            self.clock.advance(file.DELAY)
        self.clock.advance(file.RETRY_DELAY)
        self.assertEqual(self.written(), ["1", "2"])
        self.file.close()

    def test_torn_line_and_reopen(self) -> None:
        """The other half of a line is not written into another file; it is counted."""
        self.write("1", "2")
        with self.fill(5):
            new = self.path.with_suffix(".new")
            self.file.reopen(new, open_file(new))
        self.file.close()
        self.assertEqual(self.written(self.path.with_suffix(".new")), ["2"])
        self.assertEqual(self.counters.refused, {"call-record-lost": 1})

    def test_line_torn_by_a_crash(self) -> None:
        """What a crash has left of a line spoils no other one."""
        self.file.close()
        new = self.path.with_suffix(".new")
        for path in (self.path, new):
            path.write_bytes(b'{"version":1,"call_')
        self.file = RecordFile(self.path, self.clock, self.counters)
        self.write("1")
        self.file.reopen(new, open_file(new))
        self.write("2")
        self.file.close()
        for path, name in ((self.path, "1"), (new, "2")):
            torn, *lines = path.read_text().splitlines()
            self.assertEqual(torn, '{"version":1,"call_')
            self.assertEqual([json.loads(line)["call_id"] for line in lines], [name])

    def test_file_that_cannot_be_read(self) -> None:
        """A file that may only be written is written."""
        with mock.patch("builtins.open", side_effect=PermissionError(13, "no")):
            self.file.reopen(self.path, open_file(self.path))
        self.write("1")
        self.file.close()
        self.assertEqual(self.written(), ["1"])

    def test_lost(self) -> None:
        """The oldest of too many are lost and counted, and so is what waits at the very end."""
        self.patch(file, "MAX_WAITING", 2)
        self.patch(file, "BATCH", 2)
        with self.fill():
            self.write("1", "2", "3", "4")
            self.assertEqual(self.counters.refused, {"call-record-lost": 2})
            self.file.close()
        self.assertEqual(self.counters.refused, {"call-record-lost": 4})
        self.assertEqual(self.log, ["error"])

    def test_lost_after_a_torn_line(self) -> None:
        """The line of which the disk took a half is never the one that is lost."""
        self.patch(file, "MAX_WAITING", 2)
        with self.fill(5):
            self.write("1")
            self.clock.advance(file.DELAY)
            self.write("2", "3")
        self.file.close()
        self.assertEqual(self.written(), ["1", "3"])
        self.assertEqual(self.counters.refused, {"call-record-lost": 1})

    def test_no_file(self) -> None:
        """What is no file, but can be written, is written."""
        self.file.reopen("/dev/null", open_file("/dev/null"))
        self.write("1")
        self.file.close()
        self.assertEqual((self.written(), self.counters.refused), ([], {}))

    def test_pipe_that_nobody_reads(self) -> None:
        """A pipe without a reader is an error, and nothing waits for one."""
        self.file.close()
        pipe = self.path.with_suffix(".pipe")
        os.mkfifo(pipe)
        self.assertRaises(OSError, RecordFile, pipe, self.clock, self.counters)
