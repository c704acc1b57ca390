# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Does what a page tells a reader to type, and compares what comes with what the page shows.

Theory of operation
    The blocks of a page are taken in order. A block of ``sh`` is run line by line in a folder that
    holds the files of the page; a block of ``text`` right after it is what the commands print. A
    line ``...`` stands for any number of lines. Times, ports, addresses and Call-IDs may differ,
    everything else must not.

    ``.venv/bin/`` means this Python. A server is started in the background, on a free port, which
    is put into every ``sip:USER@127.0.0.1`` of later commands; the next server, or the end of the
    page, ends it with TERM, and its exit status must be 0.
"""

from __future__ import annotations

import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import IO

from tests.examples import surroundings, write_files
from tests.test_docs import snippets

#: Seconds that anything may take here.
LIMIT = 30.0
#: Seconds after which what was to be seen should have happened.
PATIENCE = 10.0

_INSTALL = "python3 -m venv .venv && .venv/bin/pip install . && "
_PROGRAMS = {
    ".venv/bin/twistd": [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"],
    ".venv/bin/sipsess": [sys.executable, "-m", "sipsess.cli"],
    ".venv/bin/python": [sys.executable],
}
#: Commands that only look, and may be asked again until they see it.
_LOOKING = {"calls", "explain", "counters"}

#: What may differ, and the expression that takes its place.
_VARYING = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+\d{4}", r"\\S+"),
    (r"Call-ID [\w.@-]+", r"Call-ID [\\w.@-]+"),
    (r"sip:(?P<user>\w+)@[\d.:]+", r"sip:\g<user>@[\\w.:]*"),
    (r"\(0\.0\.0\.0 and ::\)", r"\\(0\\.0\\.0\\.0( and ::)?\\)"),
    (r"\d+\.\d+\.\d+\.\d+(:\d+)?", r"[\\d.:]+"),
    (r"\d+ packets, sent \d+", r"\\d+ packets, sent \\d+"),
    # Whether the far end of a short call has reported yet is chance.
    (r"MOS \d+\.\d+", r"MOS \\d+\\.\\d+(?:; the peer lost [^;]+)?(?:; round trip \\d+ ms)?"),
    (r"\d+\.\d+", r"\\d+\\.\\d+"),
    (r"\d{4,}", r"\\d+"),
    (r" {2,}", r" +"),
    (r"[-~]{3,}>?", r"[-~]+>?"),
)
_TOKEN = re.compile("|".join(f"(?:{pattern})" for pattern, _ in _VARYING))


def expression(text: str) -> str:
    """Return the regular expression of what a page shows."""
    return "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else f" *{_line_expression(line.strip())} *\n"
        for line in text.splitlines()
    )


def _line_expression(line: str) -> str:
    parts, end = [], 0
    for match in _TOKEN.finditer(line):
        parts.append(re.escape(line[end : match.start()]))
        for pattern, replacement in _VARYING:
            if re.fullmatch(pattern, match[0]):
                parts.append(re.sub(f"^{pattern}$", replacement, match[0]))
                break
        end = match.end()
    return "".join([*parts, re.escape(line[end:])])


def free_port() -> int:
    """Return a UDP port that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


class Console:
    """
    A reader who types what a page says.

    :param page: the page.
    :param folder: where; made by :meth:`prepare`.
    """

    def __init__(self, page: pathlib.Path, folder: pathlib.Path) -> None:
        self.page = page
        self.folder = folder
        self.port = 0
        #: Each command that was run, and its exit status.
        self.statuses: dict[str, int] = {}
        self._server: subprocess.Popen[str] | None = None
        self._log = folder / "server.log"
        #: What ends by itself, and what does not.
        self._background: list[subprocess.Popen[str]] = []
        self._helpers: list[subprocess.Popen[str]] = []

    def run(self) -> None:
        """
        Do the whole page.

        :raises AssertionError: when something is not as the page shows it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_files(self.page, self.folder)
        commands: list[str] = []
        try:
            for language, code in [*snippets(self.page), ("", "")]:
                if language == "text" and commands:
                    self._check(commands, code)
                else:
                    for command in commands:
                        self.type(command)
                commands = code.splitlines() if language == "sh" else []
            self.stop_server()
        finally:
            self.kill()

    def _check(self, commands: list[str], expected: str) -> None:
        """Run commands and compare; those that only look may look again for a while."""
        pattern = expression(expected)
        end = time.monotonic() + PATIENCE
        outputs = [self.type(command) for command in commands]
        while not re.fullmatch(pattern, "".join(outputs)):
            looking = [index for index, item in enumerate(commands) if _is_looking(item)]
            if not looking or time.monotonic() > end:
                raise AssertionError(
                    f"{self.page.name}: {commands}\nshould print\n{expected}\nbut printed\n"
                    + "".join(outputs)
                )
            for index in looking:
                outputs[index] = self.type(commands[index])

    def type(self, command: str) -> str:
        """Run one command as the page writes it; return what it prints."""
        words = shlex.split(command.removeprefix(_INSTALL))
        is_background = words[-1] == "&"
        if is_background:
            words.pop()
        if self.port:
            words = [re.sub(r"(@127\.0\.0\.1)$", rf"\1:{self.port}", word) for word in words]
        words = [*_PROGRAMS[words[0]], *words[1:]]
        if "twistd" in command:
            return self._start_server(words)
        if is_background:
            process = self._popen(words, subprocess.DEVNULL)
            (self._helpers if "python" in command else self._background).append(process)
            return ""
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=surroundings(self.folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
        )
        self.statuses[command] = done.returncode
        return done.stdout

    def _popen(self, words: list[str], output: IO[str] | int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env=surroundings(self.folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    # -- the server

    def _start_server(self, words: list[str]) -> str:
        self.stop_server()
        self.port = free_port()
        with self._log.open("w") as log:
            server = self._popen([*words, "--listen", f"udp:{self.port}"], log)
        self._server = server
        end = time.monotonic() + LIMIT
        while "sipsess.sock" not in self._log.read_text():
            with suppress(subprocess.TimeoutExpired):
                server.wait(0.05)
            if server.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the server did not start:\n{self._log.read_text()}")
        return self._log.read_text().replace(str(self.port), "5060")

    def stop_server(self) -> None:
        """
        End the server, if there is one.

        :raises AssertionError: when its exit status is not 0.
        """
        server, self._server = self._server, None
        if server is None:
            return
        server.send_signal(signal.SIGTERM)
        status = server.wait(LIMIT)
        for process in self._background:
            process.wait(LIMIT)
        if status:
            raise AssertionError(f"the server ended with {status}:\n{self._log.read_text()}")

    def kill(self) -> None:
        """End whatever still runs."""
        for process in [*self._background, *self._helpers, self._server]:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(LIMIT)


def _is_looking(command: str) -> bool:
    words = shlex.split(command)
    return len(words) > 1 and words[1] in _LOOKING
