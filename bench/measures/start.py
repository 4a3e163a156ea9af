"""The CPU of a start: of the list of commands, and of a server until it answers `/readyz`."""

import os
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Callable

from bench import servers
from bench.figures import PRODUCT, Bound, Figure, Section
from bench.machine import pinned
from bench.setting import Setting

MOST_HELP_S = 0.4
MOST_SERVE_S = 1.5
_TIMES = 7
_PATIENCE_S = 30

_TEXT = (
    f"The median of {_TIMES} starts after a first one, which compiles what is not compiled yet: seconds of CPU, user "
    "and system, of all processes. The server has the scripted model and an installation on SQLite whose schema is "
    "up to date; its start ends with an answer to `/readyz`."
)


def measure(setting: Setting) -> Section:
    """Start the program again and again. Return what that cost."""
    figures = [
        _figure("CPU of `tertulia --help`", MOST_HELP_S, lambda: _help_s(setting)),
        _figure("CPU of `tertulia serve` until `/readyz` answers", MOST_SERVE_S, lambda: _serve_s(setting)),
    ]
    return Section("Start", figures, _TEXT)


def _figure(name: str, most_s: float, cost_s: Callable[[], float]) -> Figure:
    value = statistics.median([cost_s() for _ in range(_TIMES + 1)][1:])
    return Figure(name, "s", {PRODUCT: value}, bound=Bound(value, most_s, "at most"))


def _help_s(setting: Setting) -> float:
    command = [sys.executable, "-m", "tertulia.cli", "--help"]
    before = os.times()
    with pinned(setting.cores.server):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=servers.environment())
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def _serve_s(setting: Setting) -> float:
    with servers.tertulia(setting.folder, setting.cores.server, {"VOICE": "scripted"}) as server:
        urllib.request.urlopen(f"{server.url}/readyz", timeout=_PATIENCE_S).close()  # noqa: S310 - our own server
        return server.cpu_s()
