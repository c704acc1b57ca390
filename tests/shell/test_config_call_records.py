# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Call records, as the configuration and the plugins ask for them."""

from __future__ import annotations

import json
from pathlib import Path

from sipsess.config import ConfigError
from sipsess.config.deployment import Deployment

from .test_config_deployment import DeploymentCase

TAKER = """
    from zope.interface import implementer
    from sipsess.interfaces import ICallRecords
    from sipsess.supplement import SessionSupplement

    @implementer(ICallRecords)
    class Taker(SessionSupplement):
        name = "taker"
        def __init__(self):
            self.taken = []
        def take_call_record(self, session, record):
            self.taken.append(record)

    taker = Taker()
"""


GREETING = '\n[plugins.greeter]\ngreeting = "hi"'


class CallRecordTests(DeploymentCase):
    """The table ``[cdr]``."""

    def deploy(self, text: str) -> Deployment:
        """Return the deployment of a file, with the table that the greeter needs."""
        return super().deploy(text + GREETING)

    def reload(self, deployment: Deployment, text: str) -> list[str]:
        """Let a file with another text hold."""
        return super().reload(deployment, text + GREETING)

    def names(self, deployment: Deployment) -> list[str]:
        """Return the names of the supplements of a server."""
        return [item.name for item in deployment.server.manager.chain.supplements]

    def records(self, name: str) -> list[str]:
        """Return who was called by the calls in a file."""
        path = Path(self.directory, name)
        return [json.loads(line)["dialled"] for line in path.read_text().splitlines()]

    def finish(self, deployment: Deployment) -> None:
        """Stop, and close the records."""
        self.stop(deployment)
        deployment.records.close()

    def test_off(self) -> None:
        """By default nothing is recorded, and nothing stands in the chain."""
        deployment = self.deploy("")
        self.assertNotIn("call-records", self.names(deployment))
        self.assertEqual(self.reload(deployment, ""), ["nothing has changed"])
        self.finish(deployment)

    def test_file(self) -> None:
        """Refused calls are recorded; a reload opens the file that was moved away anew."""
        text = 'application = "busy"\n[cdr]\npath = "calls"'
        deployment = self.deploy(text)
        self.assertEqual(self.outcome("one"), 486)
        self.net.run_for(2)
        self.assertEqual(self.records("calls"), ["sip:one@192.0.2.1"])
        Path(self.directory, "calls").rename(Path(self.directory, "calls.1"))
        self.assertEqual(self.reload(deployment, text), ["nothing has changed"])
        self.assertEqual(self.outcome("two"), 486)
        self.finish(deployment)
        self.assertEqual(self.records("calls"), ["sip:two@192.0.2.1"])
        self.assertEqual(self.records("calls.1"), ["sip:one@192.0.2.1"])

    def test_another_file(self) -> None:
        """A reload may name another file; one that cannot be opened changes nothing."""
        deployment = self.deploy('application = "busy"\n[cdr]\npath = "calls"')
        said = self.reload(deployment, 'application = "busy"\n[cdr]\npath = "others"')
        self.assertEqual(said, ["changed: cdr"])
        said = self.reload(deployment, 'application = "busy"\n[cdr]\npath = "none/calls"')
        self.assertIn("not changed, call records: ", said[-1])
        self.assertIn("No such file", said[-1])
        self.assertEqual(self.outcome("one"), 486)
        self.finish(deployment)
        self.assertEqual(self.records("others"), ["sip:one@192.0.2.1"])

    def test_on_and_off(self) -> None:
        """Whether there are records at all is said at the start."""
        deployment = self.deploy("")
        said = self.reload(deployment, '[cdr]\npath = "calls"')
        self.assertIn("not changed before a restart: cdr", said)
        self.finish(deployment)

    def test_bad_path(self) -> None:
        """A file that cannot be opened stops the start, with its line."""
        error = self.assertRaises(ConfigError, self.deploy, '[cdr]\npath = "none/calls"')
        self.assertIn("cannot be opened: No such file", str(error))
        self.alice.stopService()

    def test_plugin(self) -> None:
        """A plugin that wants records gets them without a file."""
        self.write("taker.py", TAKER)
        deployment = self.deploy('application = "busy"')
        self.assertIn("call-records", self.names(deployment))
        self.assertEqual(self.outcome("one"), 486)
        (record,) = self.plugin("taker").taken
        self.assertEqual((record.status, record.direction), (486, "incoming"))
        self.finish(deployment)
