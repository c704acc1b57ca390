# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Who is compared: ours, the floor, and the others, each with the settings that suit it best.

All of them answer an INVITE with 180 and 200, the 200 with an SDP, and a BYE with 200. They differ
in what they do beyond that: ``docs/performance.rst`` says so.
"""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import twisted
from benchmarks.environments import MissingError, python_with
from benchmarks.messages import make_sdp
from sipsess import __version__
from tests.interop.tools import LISTENING, free_port, server_command

HERE = pathlib.Path(__file__).resolve().parent

#: Shared memory and private memory of kamailio, in megabytes: with less, a lack of memory limits
#: it before its processor does.
_KAMAILIO_MEMORY = ("-m", "1024", "-M", "64")


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one server."""

    command: list[str]
    port: int
    #: It is ready when it listens and its log matches this.
    ready: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where servers keep their files."""

    #: For the files of one run.
    folder: pathlib.Path
    #: For environments, kept from run to run.
    cache: pathlib.Path


@dataclass(frozen=True, slots=True)
class Server:
    """One of those that are compared."""

    name: str
    #: What it is, for the table.
    about: str
    #: Returns how to start it; raises :class:`.MissingError` when it is not installed.
    launch: Callable[[Place], Launch]
    #: Returns its version.
    version: Callable[[Place], str]
    #: The same as ``launch``, but the log says at the end how long the collector's pauses were.
    launch_watched: Callable[[Place], Launch] | None = None


def launch_ours(place: Place, *folders: str, application: str = "answer") -> Launch:
    """
    Return how to start ``twistd sipsess``.

    :param folders: more plugins, by the name of their folder here.
    """
    port = free_port()
    options = ["--control", str(place.folder / f"control-{port}")]
    for folder in ("plugins", *folders):
        options += ["--plugin-dir", str(HERE / folder)]
    command = server_command(*options, port=port, application=application)
    return Launch(command, port, LISTENING)


def launch_floor(place: Place, streams: int = 0) -> Launch:
    """
    Return how to start the reflector.

    :param streams: ports that send back what comes; the log names them.
    """
    port = free_port()
    command = [sys.executable, "-u", "-m", "benchmarks.reflector", str(port), str(streams)]
    return Launch(command, port, LISTENING)


def _sipp(place: Place) -> Launch:
    require("sipp", "sip-tester")
    port = free_port()
    ports = ("-p", str(port), "-mp", str(free_port()))
    return Launch(["sipp", "-sn", "uas", "-i", "127.0.0.1", *ports, "-nostdin"], port)


def _kamailio(place: Place) -> Launch:
    require("kamailio", "kamailio")
    port = free_port()
    folder = place.folder / f"kamailio-{port}"
    folder.mkdir()
    sdp = make_sdp("127.0.0.1", 40000).decode("ascii").replace("\r\n", "\\r\\n")
    text = (HERE / "peers" / "kamailio.cfg").read_text()
    configuration = folder / "kamailio.cfg"
    configuration.write_text(text.replace("@PORT@", str(port)).replace("@SDP@", sdp))
    command = ["kamailio", "-f", str(configuration), "-DD", "-E", *_KAMAILIO_MEMORY]
    return Launch([*command, "-Y", str(folder), "-P", str(folder / "pid")], port)


def _of_package(requirement: str, script: str, *options: str) -> Callable[[Place], Launch]:
    """Return how to start a script of ``peers/`` in an environment with a package."""

    def launch(place: Place) -> Launch:
        port = free_port()
        answer = place.folder / "answer.sdp"
        answer.write_bytes(make_sdp("127.0.0.1", 40000))
        python = python_with(requirement, place.cache)
        return Launch(
            [python, *options, str(HERE / "peers" / script), str(port), str(answer)], port
        )

    return launch


def require(program: str, package: str) -> None:
    """
    Check that a program is installed.

    :raises MissingError: when it is not.
    """
    if shutil.which(program) is None:
        raise MissingError(f"{program} is not installed: apt-get install {package}")


def _printed_version(*command: str) -> Callable[[Place], str]:
    """Return what finds the version in what a command prints."""

    def version(place: Place) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        found = re.search(r"v?(\d+\.\d+(\.\d+)?)", done.stdout + done.stderr)
        return found[1] if found else "?"

    return version


def _ours_version(place: Place) -> str:
    return __version__


def _package(name: str, about: str, requirement: str, *options: str) -> Server:
    launch = _of_package(requirement, f"{name}_uas.py", *options)
    return Server(name, about, launch, lambda place: requirement.partition("==")[2])


_ALL = (
    Server(
        "ours",
        "twistd sipsess, an RTP port for each call",
        launch_ours,
        _ours_version,
        lambda place: launch_ours(place, "watch"),
    ),
    Server(
        "ours-portless",
        "twistd sipsess without RTP ports",
        lambda place: launch_ours(place, "portless"),
        _ours_version,
        lambda place: launch_ours(place, "portless", "watch"),
    ),
    Server(
        "floor", "a stateless reflector on Twisted", launch_floor, lambda _: twisted.__version__
    ),
    Server("sipp", "SIPp as the server", _sipp, _printed_version("sipp", "-v")),
    Server(
        "kamailio", "kamailio, a stateful replier", _kamailio, _printed_version("kamailio", "-v")
    ),
    _package("sippy", "sippy, its UA class", "sippy==2.5.0"),
    _package("aiosipua", "aiosipua, its SipUAS", "aiosipua==0.7.1", "-O"),
    _package("sipua", "sipua, its Dialog", "sipua==0.5.7"),
)

#: Everybody, by name.
SERVERS = {server.name: server for server in _ALL}
