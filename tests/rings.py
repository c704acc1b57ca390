# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
Which module belongs to which ring, what a ring may import, and how much of it the tests must cover.

The only place where this is written down: ``tests/test_layering.py`` and ``.ci/coverage_gate.py``
read it. A module is named by its first part below ``sipsess`` (``message`` for
``sipsess/message/uri.py``).
"""

from __future__ import annotations

#: Standard library only; each part may import the parts that stand with it here, and itself.
_VOCABULARY = frozenset(
    {
        *("errors", "status", "flow", "turn", "ids", "counters", "machine", "tally"),
        *("expiring", "nat"),
    }
)
PURE: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "status": frozenset(),
    "ids": frozenset(),
    "flow": frozenset({"errors"}),
    "turn": frozenset({"errors", "flow"}),
    "counters": frozenset({"errors"}),
    "tally": frozenset(),
    "secret": frozenset(),
    "pattern": frozenset({"errors"}),
    "recent": frozenset(),
    "expiring": frozenset(),
    "nat": frozenset(),
    "overload": frozenset(),
    "machine": frozenset({"errors"}),
    "timers": _VOCABULARY,
    "message": _VOCABULARY,
    "sdp": _VOCABULARY,
    "media": _VOCABULARY | {"sdp"},
    "transaction": _VOCABULARY | {"message", "timers"},
    "dialog": _VOCABULARY | {"message", "timers", "sdp", "transaction"},
}

#: The pure ring, and besides it zope.interface, Deferred, Failure and Logger.
POLICY = frozenset(
    {
        "interfaces",
        "supplement",
        "sdphandler",
        "application",
        "codec",
        "registry",
        "admission",
        "core",
        "shedding",
        "defence",
        "keepalive",
        "failures",
        "flows",
        "manager",
        "reasons",
        "registrar",
        "registration",
        "routing",
        "users",
        "session",
        "srtp",
        "ice",
        "dtls",
        "locating",
        "endpoint",
        "engine",
        "call",
        "cdr",
        "mediastream",
        "trace",
        "supplements",
        "sdphandlers",
        "applications",
    }
)

#: What the policy ring may import from outside: these modules, and the standard library.
POLICY_PACKAGES = (
    "zope.interface",
    "twisted.internet.defer",
    "twisted.python.failure",
    "twisted.logger",
    # Who may log in; it touches no world either.
    "twisted.cred",
    # The mark that makes an instance a plugin; it does nothing.
    "twisted.plugin.IPlugin",
)

#: Modules of the policy ring that may import something more, and what; each with its reason.
POLICY_EXCEPTIONS: dict[str, tuple[str, ...]] = {
    # The only reader of the plugin package.
    "sipsess.registry": ("twisted.plugin", "twisted.python.modules"),
    # The only one who asks the DNS of this machine.
    "sipsess.locating.names": (
        "twisted.names",
        "twisted.python.filepath",
        "twisted.internet.interfaces.IReactorPluggableNameResolver",
    ),
    # The cryptography of SRTP is an extra's.
    "sipsess.srtp.context": ("pylibsrtp",),
    # So is that of DTLS, and the messages of ICE.
    "sipsess.dtls.identity": ("OpenSSL", "cryptography"),
    "sipsess.dtls.handshake": ("OpenSSL", "cryptography"),
    "sipsess.ice.stun": ("aioice",),
    # What a task of asyncio raises that was cancelled; Twisted's own is another.
    "sipsess.failures": ("asyncio.CancelledError",),
    # A store of bindings works in a thread of its own.
    "sipsess.registrar.sqlite": ("twisted.enterprise.adbapi",),
}

#: Everything that touches the world.
SHELL = frozenset(
    {
        "transport",
        "server",
        "collector",
        "datadir",
        "config",
        "doctor",
        "tap",
        "cli",
        "commands",
        "control",
        "mail",
        "websocket",
        # Puts the shipped plugins together from all rings; nobody imports it (see the tests).
        "plugins",
        "testing",
    }
)

#: The modules of the shell that find plugins; all others are given theirs as arguments.
REGISTRY_USERS = frozenset({"server", "tap", "cli", "commands", "config"})

#: Branch coverage that the tests must reach, in percent.
COVERAGE = {"pure": 100.0, "policy": 95.0, "shell": 95.0}


def part_of(module: str) -> str:
    """Return the first part of ``module`` below ``sipsess``, or ``""`` for the package itself."""
    return module.removeprefix("sipsess").lstrip(".").split(".")[0]


def ring_of(module: str) -> str:
    """
    Return ``"pure"``, ``"policy"`` or ``"shell"``.

    :param module: a dotted name that begins with ``sipsess``.
    :raises LookupError: for a module that stands in no ring; put it in one.
    """
    part = part_of(module)
    if part in PURE or part in ("", "__version__"):
        return "pure"
    if part in POLICY:
        return "policy"
    if part in SHELL:
        return "shell"
    raise LookupError(f"{module} stands in no ring of tests/rings.py")
