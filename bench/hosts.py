"""Two hosts on this machine: network namespaces on a bridge, which go with the run."""

import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

HERE = "10.201.77.1"
"""The address of this machine on the bridge."""


class Host(NamedTuple):
    """A namespace and its address."""

    name: str
    address: str


def missing() -> str:
    """Why there can be no hosts; empty where there can."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    return "" if shutil.which("ip") else "needs iproute2"


@contextmanager
def hosts() -> Generator[list[Host]]:
    """Two hosts that reach each other and this machine, at `HERE`."""
    bridge = f"tb{os.getpid()}"
    made = [Host(f"{bridge}-{number}", f"10.201.77.{10 + number}") for number in (1, 2)]
    try:
        _ip("link", "add", "name", bridge, "type", "bridge")
        _ip("addr", "add", f"{HERE}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for host in made:
            _add(host, bridge)
        yield made
    finally:
        for host in made:
            _ip("netns", "del", host.name, check=False)  # its end of the cable goes with it, and so does ours
        _ip("link", "del", bridge, check=False)


def _add(host: Host, bridge: str) -> None:
    inside, outside = f"{host.name}i", f"{host.name}o"
    _ip("netns", "add", host.name)
    _ip("link", "add", inside, "netns", host.name, "type", "veth", "peer", "name", outside)
    _ip("link", "set", outside, "master", bridge, "up")
    _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", inside)
    for device in ("lo", inside):
        _ip("-n", host.name, "link", "set", device, "up")


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)
