# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""Reloads, while calls go on: what is changed, what is kept, and what a mistake does: nothing."""

from __future__ import annotations

from typing import Any

from sipsess.config import ConfigError
from sipsess.config.deployment import Deployment
from sipsess.config.model import LoggingTable
from sipsess.config.plan import make_plan
from sipsess.dialog.usage import CONFIRMED
from sipsess.errors import LocalError
from sipsess.manager import MAX_SESSIONS
from sipsess.sdphandlers.audio import AudioHandler
from sipsess.server import SIPServer
from sipsess.testing import VirtualNetwork

from .configurations import GREETER, ConfigCase

ROUTES = """
    [[routes]]
    user = "1000"
    application = "{first}"
    options = {{ seconds = {seconds} }}
    [[routes]]
    pattern = "2.*"
    application = "echo"
"""


class DeploymentCase(ConfigCase):
    """The base: a server at 192.0.2.1 with a file, and a client at 192.0.2.2."""

    def setUp(self) -> None:
        """Make the network and the plugins."""
        super().setUp()
        self.write("greeter.py", GREETER)
        self.net = VirtualNetwork(seed=1)
        self.host = self.net.host("192.0.2.1", name="server")
        self.alice = SIPServer(self.net.host("192.0.2.2", name="alice"), handlers=[AudioHandler()])
        self.alice.startService()

    def deploy(self, text: str) -> Deployment:
        """Return the deployment of a file, with a server that runs."""
        plan = self.plan('plugin_directories = ["."]\n' + text)
        self.plugins = plan.plugins
        server = SIPServer(
            self.host,
            plan.config.listeners,
            supplements=plan.plugins.supplements,
            handlers=plan.plugins.handlers,
        )
        deployment = Deployment(server, plan)
        server.startService()
        return deployment

    def reload(self, deployment: Deployment, text: str) -> list[str]:
        """Let a file with another text hold."""
        loaded = self.load('plugin_directories = ["."]\n' + text)
        return deployment.reload(make_plan(loaded, self.plugins))

    def call(self, user: str) -> Any:
        """Return what a call of a user came to within a second."""
        calling = self.alice.dial(f"sip:{user}@192.0.2.1")
        self.net.run_for(1)
        return calling

    def outcome(self, user: str) -> int:
        """Return the final status that a user's calls are refused with."""
        reason = self.failureResultOf(self.call(user)).value.reason
        return int(reason.status)

    def stop(self, deployment: Deployment) -> None:
        """Stop both sides; nothing is left."""
        for side in (self.alice, deployment.server):
            stopping = side.stopService()
            self.net.run_for(40)
            self.successResultOf(stopping)
        self.assertEqual(deployment.server.leftovers(), [])
        self.net.assert_closed()

    def plugin(self, name: str) -> Any:
        """Return one of the plugins."""
        [found] = [item.plugin for item in self.plugins.origins if item.plugin.name == name]
        return found


class StartTests(DeploymentCase):
    """What holds from the start."""

    def test_everything(self) -> None:
        """Routes, endpoints, limits and tables reach the server."""
        deployment = self.deploy(
            """
            application = "busy"
            [[endpoints]]
            name = "anonymous"
            max_redirects = 0
            [plugins.greeter]
            greeting = "hi"
            [limits]
            sessions = 9
            transactions = 100
            transactions_per_peer = 70
            transaction_bytes = "1MiB"
            dial = "10s"
            drain = "1s"
            """
        )
        server = deployment.server
        manager, layer = server.manager, server.core.layer
        self.assertEqual((manager.max_sessions, manager.max_sessions_per_peer), (9, 6))
        self.assertEqual((layer.limit, layer.peer_limit, layer.byte_limit), (100, 70, 1 << 20))
        self.assertEqual((manager.dial_limit, server.drain_limit), (10.0, 1.0))
        self.assertEqual(server.core.endpoints["anonymous"].max_redirects, 0)
        self.assertEqual(self.plugin("greeter").tables[0].greeting, "hi")
        self.assertEqual(self.plugin("a-counter").starts, [0])
        self.assertEqual(self.outcome("1000"), 486)
        self.stop(deployment)

    def test_refused_table(self) -> None:
        """A plugin that does not want its table stops the start."""
        error = self.assertRaises(ConfigError, self.deploy, '[plugins.greeter]\ngreeting="rude"')
        self.assertRegex(str(error), r"sipsess.toml:2: plugins.greeter: a greeting is polite$")
        self.stop_client()

    def test_log_that_cannot_be_opened(self) -> None:
        """A log in a directory that is not there stops the start."""
        text = '[plugins.greeter]\ngreeting="hi"\n[logging]\nfile = "gone/x.log"\n'
        error = self.assertRaises(ConfigError, self.deploy, text)
        self.assertRegex(
            str(error),
            r"sipsess.toml:5: logging.file: /.*/gone/x.log cannot be opened: No such file",
        )
        self.stop_client()

    def stop_client(self) -> None:
        """Stop the only side that has started."""
        stopping = self.alice.stopService()
        self.net.run_for(1)
        self.successResultOf(stopping)


class ReloadTests(DeploymentCase):
    """Another file, while the server runs."""

    TABLE = '[plugins.greeter]\ngreeting = "{}"\n'

    def test_live_call_is_kept(self) -> None:
        """A call keeps its application and its endpoint; the next one gets the new ones."""
        before = ROUTES.format(first="ring", seconds=20) + self.TABLE.format("hi")
        endpoint = '[[endpoints]]\nname = "anonymous"\nreliable = "{}"\n'
        deployment = self.deploy(before + endpoint.format("no"))
        manager = deployment.server.manager
        echoing, ringing = self.call("2000"), self.call("1000")
        self.assertEqual(len(manager.sessions), 2)
        after = ROUTES.format(first="early", seconds=1).replace('"echo"', '"busy"')
        done = self.reload(
            deployment, after + self.TABLE.format("hi") + endpoint.format("supported")
        )
        self.assertEqual(done, ["changed: routes, endpoints"])
        first = self.successResultOf(echoing).session
        states = {(item.runner.name, item.endpoint.reliable) for item in manager.sessions}
        self.assertEqual(states, {("echo", "no"), ("ring", "no")})
        self.net.run_for(25)
        second = self.successResultOf(ringing).session
        self.assertEqual([first.usage.state, second.usage.state], [CONFIRMED] * 2)
        self.assertEqual(self.outcome("2000"), 486)
        third = self.call("1000")
        self.net.run_for(1)
        self.successResultOf(third)
        endpoints = [item.endpoint.reliable for item in manager.sessions]
        self.assertEqual(endpoints, ["no", "no", "supported"])
        self.stop(deployment)

    def test_limits_and_default(self) -> None:
        """Limits and the default application count for the next call."""
        deployment = self.deploy('application = "echo"\n' + self.TABLE.format("hi"))
        self.successResultOf(self.call("a"))
        done = self.reload(
            deployment, 'application = "busy"\nlimits.sessions = 1\n' + self.TABLE.format("hi")
        )
        self.assertEqual(done, ["changed: application, limits"])
        self.assertEqual(self.outcome("b"), 503)
        self.reload(deployment, 'application = "busy"\n' + self.TABLE.format("hi"))
        self.assertEqual(deployment.server.manager.max_sessions, MAX_SESSIONS)
        self.assertEqual(self.outcome("b"), 486)
        self.stop(deployment)

    def test_tables(self) -> None:
        """A plugin is told only when its table is another one."""
        deployment = self.deploy(self.TABLE.format("hi"))
        greeter, counter = self.plugin("greeter"), self.plugin("a-counter")
        self.assertEqual(self.reload(deployment, self.TABLE.format("hi")), ["nothing has changed"])
        done = self.reload(deployment, self.TABLE.format("hello"))
        self.assertEqual(done, ["changed: plugins.greeter"])
        self.assertEqual([item.greeting for item in greeter.tables], ["hi", "hello"])
        self.assertEqual(counter.starts, [0])
        self.stop(deployment)

    def test_refused_table_changes_nothing(self) -> None:
        """When one plugin refuses, the others have their old tables again, and routes stay."""
        deployment = self.deploy(self.TABLE.format("hi"))
        plan = deployment.plan
        counter = "[plugins.a-counter]\nstart = 5\n"
        text = 'application = "busy"\n' + counter + self.TABLE.format("rude")
        error = self.assertRaises(ConfigError, self.reload, deployment, text)
        self.assertRegex(str(error), r":5: plugins.greeter: a greeting is polite$")
        self.assertEqual(self.plugin("a-counter").starts, [0, 5, 0])
        self.assertIs(deployment.plan, plan)
        self.assertEqual(deployment.server.manager.router, plan.router)
        self.assertEqual(len(self.plugin("greeter").tables), 1)
        self.stop(deployment)

    def test_failing_plugins(self) -> None:
        """A plugin that fails is logged, and so is one that does not take its old table back."""
        deployment = self.deploy(self.TABLE.format("hi"))
        counter = self.plugin("a-counter")

        class Fickle(list[int]):
            """Lets the counter refuse as soon as it has taken a table."""

            def append(self, value: int) -> None:
                super().append(value)
                counter.refuses = True

        counter.starts = Fickle()
        text = "[plugins.a-counter]\nstart = 5\n" + self.TABLE.format("fatal")
        error = self.assertRaises(ConfigError, self.reload, deployment, text)
        self.assertIn("plugins.greeter: the plugin failed: KeyError: 'boom'", str(error))
        self.assertEqual(counter.starts, [5])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.stop(deployment)

    def test_fixed_keys(self) -> None:
        """What a server is made of stays as it is until a restart, and that is said."""
        deployment = self.deploy(self.TABLE.format("hi"))
        done = self.reload(
            deployment,
            'listeners = ["udp:5070"]\nadvertise = "203.0.113.5"\ncontrol = "x"\n'
            'rtp.ports = "20000-20999"\nlogging.level = "warn"\n' + self.TABLE.format("hi"),
        )
        self.assertEqual(
            done,
            [
                "nothing has changed",
                "not changed before a restart: listeners, advertise, rtp, control, logging",
            ],
        )
        self.assertEqual(len(deployment.server.listeners), 1)
        self.successResultOf(self.call("echo"))
        self.stop(deployment)

    def test_endpoint_of_a_registration(self) -> None:
        """A registration keeps the password that it began with, and the answer says so."""
        text = """
            [[endpoints]]
            name = "provider"
            credentials = [{{ realm = "*", user = "me", password = {{ file = "{name}" }} }}]
            [[registrations]]
            aor = "sip:me@192.0.2.2"
            endpoint = "provider"
            [plugins.greeter]
            greeting = "hello"
        """
        for name in ("old", "new"):
            self.write(name, f"{name}\n")
        deployment = self.deploy(text.format(name="old"))
        self.assertEqual(self.reload(deployment, text.format(name="old")), ["nothing has changed"])
        self.assertEqual(
            self.reload(deployment, text.format(name="new")),
            ["changed: endpoints", "not changed before a restart: registrations"],
        )
        # What waits for a restart is said again, until it is done.
        self.assertEqual(
            self.reload(deployment, text.format(name="new")),
            ["nothing has changed", "not changed before a restart: registrations"],
        )
        self.stop(deployment)

    def test_other_plugin_directories(self) -> None:
        """Other plugins take a restart; such a file is refused as a whole."""
        deployment = self.deploy(self.TABLE.format("hi"))
        loaded = self.load('plugin_directories = [".", "more"]\n' + self.TABLE.format("hi"))
        plan = make_plan(loaded, self.plugins)
        error = self.assertRaises(ConfigError, deployment.reload, plan)
        self.assertRegex(
            str(error),
            r":1: plugin_directories: other plugins take a restart; nothing was changed$",
        )
        self.stop(deployment)

    def test_log(self) -> None:
        """The log obeys the new file, and is opened anew; when that fails nothing changes."""
        log = '[logging]\nfile = "{}"\nlevel = "{}"\n'
        deployment = self.deploy(self.TABLE.format("hi") + log.format("a.log", "info"))
        done = self.reload(deployment, self.TABLE.format("hi") + log.format("b.log", "warn"))
        self.assertEqual(done, ["changed: logging"])
        self.assertEqual(
            sorted(path.name for path in self.directory.glob("*.log")), ["a.log", "b.log"]
        )
        text = self.TABLE.format("hello") + log.format("gone/c.log", "warn")
        error = self.assertRaises(ConfigError, self.reload, deployment, text)
        self.assertIn("logging.file", str(error))
        text = self.TABLE.format("rude") + log.format("d.log", "warn")
        self.assertRaises(ConfigError, self.reload, deployment, text)
        self.assertEqual(len(self.plugin("greeter").tables), 1)
        done = self.reload(deployment, self.TABLE.format("hi"))
        self.assertEqual(done, ["nothing has changed", "not changed before a restart: logging"])
        assert deployment.log is not None
        deployment.log.configure(LoggingTable(), None)
        self.stop(deployment)

    def test_certificates(self) -> None:
        """Certificates are read again; one that cannot be stays as it was, which is said."""
        deployment = self.deploy(self.TABLE.format("hi"))
        read: list[bool] = []
        server: Any = deployment.server
        server.reload_certificates = lambda: read.append(True)
        self.reload(deployment, self.TABLE.format("hi"))
        self.assertEqual(read, [True])

        def fail() -> None:
            raise LocalError("c.pem cannot be read")

        server.reload_certificates = fail
        done = self.reload(deployment, self.TABLE.format("hi"))
        self.assertEqual(
            done, ["nothing has changed", "not changed, certificates: c.pem cannot be read"]
        )
        self.stop(deployment)
