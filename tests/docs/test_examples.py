"""The examples of the guide, run as they stand: each page's `sh` blocks, in order, in one shell.

`sh` is for what must succeed, `sh refused` for requests that the server answers with an error; other blocks are shown
only. The pages say port 8000 and `.venv/bin/tertulia`, in the folder of the installation: so it is here.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import pages
from support.commands import PATIENCE_S, TERTULIA, run_here

SHOWN_URL = "http://127.0.0.1:8000"
LIMIT_S = 120

# A request that is refused shows its answer; elsewhere it ends the script.
PRELUDE = """set -euo pipefail
curl() { command curl --silent --show-error --fail-with-body "$@"; }
"""

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the examples need curl")


@dataclass(frozen=True)
class Installation:
    """A folder as the guide has it, and a server of its data."""

    folder: Path
    url: str
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def finish(self) -> None:
        """Finish what a page has left open, for the next one."""
        for who in ([], ["--admin"]):
            done = run_here(["finish", "--url", self.url, "--data", str(self.folder / ".data"), *who], "", {})
            assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("installation")
    (folder / ".venv").symlink_to(Path(sys.prefix))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("TERTULIA_", "AMIGO_"))},
        "TERTULIA_MODEL": "scripted",
        "TERTULIA_VOICE": "scripted",
        "TERTULIA_RATE_LIMITS": "off",
        "TERTULIA_LOG_LEVEL": "error",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "NO_PROXY": "127.0.0.1",
        "COLUMNS": "120",
    }
    subprocess.run([TERTULIA, "init"], cwd=folder, env=environment, check=True, capture_output=True)
    with subprocess.Popen(
        [TERTULIA, "serve", "--port", "0"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        yield Installation(folder, url, environment)
        server.terminate()
        server.wait(PATIENCE_S)


def script_of(page: str) -> str:
    lines = [PRELUDE]
    for block in pages.blocks(pages.read(page)):
        if block.info == "sh":
            lines.append(block.text)
        elif block.info == "sh refused":
            lines.append(f"{{\n{block.text}}} > refused || true\ncat refused; echo\ngrep -q '\"detail\"' refused\n")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "page",
    [
        "docs/guide/getting-started.md",
        "docs/guide/conversations.md",
        "docs/guide/agents-as-files.md",
        "docs/guide/agents-and-graphs.md",
        "docs/guide/behaviors.md",
        "docs/guide/memory.md",
        "docs/guide/models.md",
        "docs/guide/voice.md",
        "docs/guide/users-and-permissions.md",
        "docs/guide/running.md",
    ],
)
def test_the_examples_of_a_page_run(installation: Installation, page: str):
    script = script_of(page).replace(SHOWN_URL, installation.url)
    output = installation.run("bash", "-c", script)
    assert '"type":"error"' not in output
    installation.finish()


def test_the_official_client_s_example_of_the_readme_runs(installation: Installation):
    (sample,) = [block.text for block in pages.blocks(pages.read("README.md")) if block.info == "python"]
    made = json_of(installation.run(TERTULIA, "init", "--json"))
    installation.environment.update(
        AMIGO_BASE_URL=installation.url,
        AMIGO_ORGANIZATION_ID=made["organization_id"],
        AMIGO_USER_ID=made["user_id"],
        AMIGO_API_KEY_ID=made["api_key_id"],
        AMIGO_API_KEY=made["api_key"],
    )
    assert "kind of book" in installation.run(sys.executable, "-c", sample)
    installation.finish()


def json_of(text: str) -> dict[str, str]:
    return json.loads(text.splitlines()[-1])
