# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""A configuration and plugins together: applications, options, tables."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from sipsess.applications.reject import RejectApplication
from sipsess.applications.ring import RingApplication
from sipsess.config import ConfigError, no_file, plan
from sipsess.config.plan import find_configured_plugins, make_plan
from sipsess.endpoint import ANONYMOUS, Endpoint
from sipsess.registry import PluginDirectoryError, find_plugins

from .configurations import ABSENT, GREETER, ConfigCase

#: The directory of the file holds the plugins, too.
HERE = 'plugin_directories = ["."]\n'


class PlanCase(ConfigCase):
    """The base: what is wrong with a plan."""

    def refuse(self, text: str) -> list[str]:
        """Return what is wrong, each without the file."""
        error = self.assertRaises(ConfigError, self.plan, text)
        file = str(self.directory / "sipsess.toml")
        return [str(item).removeprefix(f"{file}:") for item in error.mistakes]


class RouteTests(PlanCase):
    """Routes lead to applications."""

    def test_applications(self) -> None:
        """A route has its application, with options when it gives some."""
        router = self.plan(
            """
            [[routes]]
            user = "1"
            application = "ring"
            options = { seconds = "5s" }
            [[routes]]
            pattern = "2(?P<x>.)"
            application = "busy"
            options = { status = 600 }
            endpoints = ["trunk"]
            [[routes]]
            user = "3"
            application = "busy"
            [[endpoints]]
            name = "trunk"
            """
        ).router
        ring, busy, plain = (route.application for route in router.routes)
        assert isinstance(ring, RingApplication)
        assert isinstance(busy, RejectApplication)
        assert isinstance(plain, RejectApplication)
        self.assertEqual((ring.name, ring.seconds), ("ring", 5.0))
        self.assertEqual((busy.name, busy.status, plain.status), ("busy", 600, 486))
        found = router.find("2x", Endpoint("trunk"))
        assert found is not None
        self.assertEqual(found.groups, {"x": "x"})
        self.assertIsNone(router.find("2x", ANONYMOUS))
        self.assertIsNone(router.find("ring", ANONYMOUS))

    def test_without_routes(self) -> None:
        """Each application is a user, and there is a default."""
        router = self.plan("").router
        for user, name in (("echo", "echo"), ("nobody", "hello")):
            found = router.find(user, ANONYMOUS)
            assert found is not None
            self.assertEqual(found.application.name, name)

    def test_unknown_application(self) -> None:
        """An application that is not there, as the default or of a route."""
        known = ", ".join(sorted(item.name for item in find_plugins().applications))
        found = self.refuse(
            'application = "hallo"\n[[routes]]\nuser = "1"\napplication = "nonsense"\n'
        )
        self.assertEqual(
            found,
            [
                "1: application: there is no application 'hallo', did you mean 'hello'?",
                f"4: routes[0].application: there is no application 'nonsense'; there are: {known}",
            ],
        )

    def test_codecs_of_endpoints(self) -> None:
        """A codec that is not there is a mistake; one that is not installed is only missing."""
        self.assertEqual(
            self.refuse('[[endpoints]]\nname = "x"\ncodecs = ["PCMU", "g722"]\n'),
            ["3: endpoints[0].codecs: there is no codec 'g722', did you mean 'G722'?"],
        )
        self.write("absent.py", ABSENT)
        text = (
            HERE
            + """
            [[endpoints]]
            name = "x"
            codecs = ["ABSENT", "PCMU"]
            [[endpoints]]
            name = "y"
            """
        )
        [(codec, names)] = self.plan(text).missing_codecs()
        self.assertEqual((codec.missing, names), ("install it", ["x"]))

    def test_applications_of_endpoints(self) -> None:
        """An endpoint that may have only an application that is not there may have none."""
        self.assertEqual(
            self.refuse('[[endpoints]]\nname = "x"\napplications = ["echo", "hallo"]\n'),
            [
                "3: endpoints[0].applications: there is no application 'hallo', did you mean "
                "'hello'?"
            ],
        )

    def test_options(self) -> None:
        """Options are checked before anybody calls: names, types, and what makes sense."""
        for options, said in (
            ("{ secs = 5 }", "routes[0].options.secs: unknown key 'secs', did you mean 'seconds'?"),
            (
                '{ seconds = "five" }',
                'routes[0].options.seconds: is a number of seconds or a time such as "30s", "5m" '
                "or \"1h\", not 'five'",
            ),
            ("{ seconds = 0 }", "routes[0].options: seconds is more than 0, and at most 180"),
        ):
            text = f'[[routes]]\nuser = "1"\napplication = "ring"\noptions = {options}\n'
            self.assertEqual(self.refuse(text), [f"4: {said}"])
        early = '[[routes]]\nuser = "1"\napplication = "early"\noptions.seconds = 181\n'
        self.assertIn("at most 180", self.refuse(early)[0])
        reject = '[[routes]]\nuser = "1"\napplication = "reject"\noptions.status = 200\n'
        self.assertEqual(
            self.refuse(reject), ["4: routes[0].options: status is 400 to 699, not 200"]
        )
        echo = '[[routes]]\nuser = "1"\napplication = "echo"\noptions.loud = true\n'
        self.assertEqual(
            self.refuse(echo), ["4: routes[0].options: the application 'echo' has no options"]
        )

    def test_other_mistakes_are_told_too(self) -> None:
        """What the file alone shows, and what only the plugins show, comes together."""
        found = self.refuse('nonsense = 1\n[[routes]]\nuser = "1"\napplication = "ecoh"\n')
        self.assertEqual(
            [line.partition(":")[0] for line in found],
            ["1", "4"],
        )


class TableTests(PlanCase):
    """Tables of plugins."""

    def setUp(self) -> None:
        """Write plugins that have tables."""
        super().setUp()
        self.write("greeter.py", GREETER)

    def tables(self, text: str) -> dict[str, Any]:
        """Return the table of each plugin."""
        return {item.name: item.table for item in self.plan(text).tables}

    def test_table(self) -> None:
        """A plugin gets an object of its own class; without a table it is that of the defaults."""
        tables = self.tables(HERE + '[plugins.greeter]\ngreeting = "hi"\npause = "1m"\n')
        greeter = tables["greeter"]
        self.assertEqual((greeter.greeting, greeter.pause, greeter.password), ("hi", 60.0, None))
        self.assertEqual(tables["a-counter"].start, 0)

    def test_mistakes(self) -> None:
        """What is wrong in a table, and a table that is nobody's."""
        found = self.refuse(
            HERE
            + """\
[plugins.greeter]
greting = "hi"
password = "sesame"
[plugins.a-countre]
start = 1
[plugins.echo]
loud = true
"""
        )
        self.assertEqual(
            found,
            [
                "2: plugins.greeter.greeting: is missing",
                "3: plugins.greeter.greting: unknown key 'greting', did you mean 'greeting'?",
                '4: plugins.greeter.password: does not stand in this file: write { env = "NAME" } '
                'or { file = "PATH" }, one of them',
                "5: plugins.a-countre: there is no plugin 'a-countre' with a table, did you mean "
                "'a-counter'?",
                "7: plugins.echo: the plugin 'echo' has no table",
            ],
        )

    def test_without_a_file(self) -> None:
        """A plugin that needs a table stops a start without a file, too."""
        loaded = no_file()
        plugins = find_configured_plugins(self.load(HERE))[0]
        error = self.assertRaises(ConfigError, make_plan, loaded, plugins)
        self.assertEqual(str(error), "plugins.greeter.greeting: is missing")

    def test_tables_that_are_none(self) -> None:
        """Who has written a number for a table is not told that the table is missing."""
        found = self.refuse(HERE + "[plugins]\ngreeter = 5\n")
        self.assertEqual(found, ["3: plugins.greeter: is a table, and not a number"])


class PluginTests(PlanCase):
    """Finding plugins."""

    def test_required(self) -> None:
        """A plugin that must be there."""
        known = ", ".join(sorted(find_plugins().names))
        self.assertEqual(
            self.refuse('required_plugins = ["echo", "doorman"]'),
            [f"1: required_plugins[1]: the plugin 'doorman' was not found; there are: {known}"],
        )

    def test_directories(self) -> None:
        """Each directory that is none; what it would have held is not missed."""
        self.save("", "file")
        found = self.refuse(
            """\
            plugin_directories = ["gone", "file"]
            required_plugins = ["doorman"]
            application = "menu"
            """
        )
        directory = f"the plugin directory {self.directory}"
        self.assertEqual(
            found,
            [
                f"1: plugin_directories[0]: {directory}/gone does not exist",
                f"1: plugin_directories[1]: {directory}/file is no directory",
            ],
        )

    def test_directory_that_goes_away(self) -> None:
        """A directory that vanishes while it is looked at."""
        gone = PluginDirectoryError("the plugin directory x does not exist")
        with patch.object(plan, "find_plugins", side_effect=gone):
            found = self.refuse("")
        self.assertEqual(found, [" plugin_directories: the plugin directory x does not exist"])

    def test_broken_plugins(self) -> None:
        """A broken plugin is told with its own file and line."""
        file = self.write("bad.py", "x = 0\n1 / x\n")
        found = self.refuse(HERE + "nonsense = 1\n")
        self.assertEqual(len(found), 2)
        self.assertIn(f"{file}:2: bad: it cannot be loaded: ZeroDivisionError", "\n".join(found))
