"""`tertulia run`: what a newcomer pastes works."""

import json
import re
import shutil
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import httpx2
import jwt
import pytest
from rich.console import Console

from support.commands import PATIENCE_S, TERTULIA, Command, Process, Start
from support.pages import ROOT
from support.server import settings_of
from support.terminal import at_a_terminal
from tertulia.cli import installation, welcome
from tertulia.demo.content import ORGANIZATION
from tertulia.web import pages

END = "Ctrl-C stops"

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")


def _curl(running: Process) -> str:
    return "curl" + running.output.split("\ncurl", 1)[1].split("\n\n", 1)[0]


def _paste(text: str) -> list[dict[str, object]]:
    done = subprocess.run(["bash", "-c", text], check=True, capture_output=True, text=True, cwd="/", timeout=PATIENCE_S)
    return [json.loads(line) for line in done.stdout.splitlines()]


@needs_curl
def test_a_printed_curl_creates_a_conversation_from_any_folder(start: Start, data: Path) -> None:
    running = start("run", "--data", data / "of mine", "--port", "0", "--model", "scripted", until=END)
    line = _curl(running)
    events = _paste(line)
    assert events[0]["type"] == "conversation-created"
    assert events[-1]["type"] == "interaction-complete"
    again = _paste(line)
    assert list(again[0]) == ["detail"]
    finish = next(text for text in running.output.splitlines() if " finish --data" in text)
    subprocess.run(["bash", "-c", finish], check=True, capture_output=True, cwd="/", timeout=PATIENCE_S)
    assert _paste(line)[0]["type"] == "conversation-created"


@needs_curl
def test_a_printed_curl_works_where_the_database_is_set_in_the_environment(
    start: Start, data: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    running = start("run", "--data", data, "--port", "0", "--model", "scripted", until=END, TERTULIA_DATABASE_URL=url)
    line = _curl(running)
    assert _paste(line)[0]["type"] == "conversation-created"


def test_a_run_prints_its_model_and_voice_and_the_five_settings_of_the_official_client(
    start: Start, data: Path
) -> None:
    running = start("run", "--data", data, "--port", "0", "--model", "scripted", until=END)
    assert "model: scripted (the model that repeats); voice: scripted; " in running.output
    exported = dict(re.findall(r"^export (\w+)=(\S+)$", running.output, re.MULTILINE))
    names = {f"AMIGO_{name}" for name in ("API_KEY", "API_KEY_ID", "BASE_URL", "ORGANIZATION_ID", "USER_ID")}
    assert exported.keys() == names


def test_a_run_prints_the_address_of_the_interface_first_with_a_token_of_the_administrator(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index.html").touch()
    monkeypatch.setattr(pages, "BUILT", tmp_path)
    paper = StringIO()
    console = Console(file=paper, width=40)
    demo = installation.make_demo(settings_of(data=data), ORGANIZATION, None)
    credentials = welcome.make_credentials(settings_of(data=data), demo)
    welcome.greet(console, settings_of(data=data), demo, "http://127.0.0.1:8000", credentials)
    printed = paper.getvalue()
    address = next(line for line in printed.splitlines() if "/ui/#token=" in line)
    claims = jwt.decode(address.partition("#token=")[2], options={"verify_signature": False})
    assert claims["sub"] == demo.admin_user_id
    assert printed.index(address) < printed.index("curl -N")
    assert not (data / "open-interface.html").exists()  # nobody sits before a screen


@pytest.mark.parametrize(("variables", "limited"), [({}, False), ({"TERTULIA_RATE_LIMITS": "contract"}, True)])
def test_a_run_has_no_limits_unless_they_are_set(
    start: Start, command: Command, data: Path, variables: dict[str, str], limited: bool
) -> None:
    running = start("run", "--data", data, "--port", "0", "--model", "scripted", until=END, **variables)
    headers = {"Authorization": f"Bearer {command('token', '--data', data).stdout.strip()}"}
    address = running.output.split("export AMIGO_BASE_URL=", 1)[1].split()[0]
    answer = httpx2.get(f"{address}/v1/demo/service/", headers=headers, trust_env=False)
    assert answer.status_code == 200
    assert ("X-RateLimit-Limit" in answer.headers) is limited


def test_a_run_without_weights_says_so_in_one_line_and_the_model_that_repeats_answers(
    start: Start, command: Command, data: Path, made: dict[str, str], tmp_path: Path
) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": "/dev/null"}
    running = start("run", "--data", data, "--port", "0", TERTULIA_MODEL="local", **nowhere)
    said = running.output + (tmp_path / "log").read_text()
    assert len([line for line in said.splitlines() if "going on with the model that repeats" in line]) == 1
    assert "model: scripted (the model that repeats); voice: local; " in running.output
    url = next(word for word in running.lines[-1].split() if word.startswith("http"))
    chat = command("chat", "--data", data, "--url", url, stdin="Tea?\n/finish\n")
    assert 'You said: "Tea?"' in chat.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_a_make_run_that_is_interrupted_ends_without_an_error_of_make(data: Path, tmp_path: Path) -> None:
    variables = [f"BIN={Path(TERTULIA).parent}", f"DATA={data}", "PORT=0", "MODEL=scripted"]
    with at_a_terminal(["make", "-C", str(ROOT), "-o", "setup", "run", *variables], tmp_path) as terminal:
        terminal.until("Ctrl-C stops")
        terminal.interrupt_all()
        terminal.end()
    assert "***" not in terminal.shown
    assert "Traceback" not in terminal.shown


def test_a_program_that_is_interrupted_while_it_is_loaded_says_nothing() -> None:
    script = """if True:
        import signal, sys
        from tertulia.cli.__main__ import main
        class Interrupting:
            def find_spec(self, name, *_):
                if name == "tertulia.cli.main":
                    signal.raise_signal(signal.SIGINT)
        sys.meta_path.insert(0, Interrupting())
        main()
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")
