# Copyright (c) the sipsess contributors. MIT licence, see LICENSE.
"""
A network with a real NAT: three network namespaces of Linux, and nftables in the middle one.

::

    inside 10.77.0.2 ----- 10.77.0.1 nat 203.0.113.1 ----- 203.0.113.2 outside

Whoever is inside reaches the world by the address of the NAT, at a port that the NAT chooses; from
outside nobody reaches 10.77.0.2. Nothing of it touches the machine's own network. That takes root,
``ip`` (iproute2) and ``nft`` (nftables).
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess

from twisted.trial.unittest import SkipTest

INSIDE, OUTSIDE = "10.77.0.2", "203.0.113.2"
#: The NAT, as each side sees it.
GATEWAY, PUBLIC = "10.77.0.1", "203.0.113.1"

#: Seconds that one command may take.
_LIMIT = 20.0
_numbers = itertools.count()


class NATNetwork:
    """
    The three namespaces; :meth:`close` removes them.

    :raises SkipTest: when this machine does not let us.
    """

    def __init__(self) -> None:
        for program in ("ip", "nft"):
            if shutil.which(program) is None:
                raise SkipTest(f"{program} is not installed: apt-get install iproute2 nftables")
        if os.geteuid() != 0:
            raise SkipTest("network namespaces need root")
        name = f"sipsess{os.getpid()}-{next(_numbers)}"
        self.inside, self.nat, self.outside = (f"{name}{part}" for part in "ino")
        try:
            self._build()
        except subprocess.CalledProcessError as error:
            self.close()
            raise SkipTest(f"no network namespaces with a NAT here: {error.stderr}") from error

    def close(self) -> None:
        """Remove everything; what is not there does not matter."""
        for name in (self.inside, self.nat, self.outside):
            subprocess.run(
                ["ip", "netns", "del", name], capture_output=True, timeout=_LIMIT, check=False
            )

    def command(self, place: str, *words: str) -> list[str]:
        """Return the command that runs another one in a namespace."""
        return ["ip", "netns", "exec", place, *words]

    def _build(self) -> None:
        for name in (self.inside, self.nat, self.outside):
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        self._join(self.inside, INSIDE, GATEWAY)
        self._join(self.outside, OUTSIDE, PUBLIC)
        _run("ip", "-n", self.inside, "route", "add", "default", "via", GATEWAY)
        self.set("net/ipv4/ip_forward", 1)
        # Like many home routers: the port that the world sees is none that one could guess.
        self.rule("add table ip nat")
        self.rule("add chain ip nat before { type nat hook prerouting priority -100; }")
        self.rule("add chain ip nat after { type nat hook postrouting priority 100; }")
        self.rule(f'add rule ip nat after oifname "{_end(PUBLIC)}" masquerade fully-random')

    def _join(self, place: str, address: str, gateway: str) -> None:
        """Draw a cable between a namespace and the NAT."""
        end, other = _end(address), _end(gateway)
        cable = ("type", "veth", "peer", "name", other, "netns", self.nat)
        _run("ip", "-n", place, "link", "add", end, *cable)
        for name, device, host in ((place, end, address), (self.nat, other, gateway)):
            _run("ip", "-n", name, "addr", "add", f"{host}/24", "dev", device)
            _run("ip", "-n", name, "link", "set", device, "up")

    def set(self, name: str, value: int) -> None:
        """Set a variable of the NAT's kernel (``sysctl``)."""
        _run(*self.command(self.nat, "sh", "-c", f"echo {value} > /proc/sys/{name}"))

    def rule(self, text: str) -> None:
        """Add a rule to the NAT."""
        _run(*self.command(self.nat, "nft", text))

    def forget_after(self, seconds: int) -> None:
        """Let the NAT forget a UDP mapping on which so long nothing came or went."""
        for name in ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"):
            self.set(f"net/netfilter/{name}", seconds)

    def forward(self, ports: str) -> None:
        """Let the NAT pass UDP from the world to the inside, on some ports."""
        arrives = f'iifname "{_end(PUBLIC)}" udp dport {ports}'
        self.rule(f"add rule ip nat before {arrives} dnat to {INSIDE}")


def is_refused() -> bool:
    """Tell whether this machine has all that is needed, and does not let us use it."""
    if shutil.which("ip") is None or shutil.which("nft") is None:
        return False
    try:
        NATNetwork().close()
    except SkipTest:
        return True
    return False


def _end(address: str) -> str:
    """Return the name of the device that has an address."""
    return "v" + address.replace(".", "-")


def _run(*words: str) -> None:
    subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT, check=True)
