"""`tertulia chat`, `finish`, `token`, `demo`, `keys`: a person at a terminal, or a script in their place."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from support.commands import TERTULIA, Command, Process, Start
from support.terminal import at_a_terminal
from tertulia import __version__


@pytest.fixture
def url(server: Process, shared: Path, command: Command) -> Iterator[str]:
    """The module's server; afterwards nobody has an unfinished conversation there."""
    yield server.url
    for options in ([], ["--admin"]):
        assert command("finish", "--data", shared, "--url", server.url, *options).returncode == 0


def _unfinished(url: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx2.get(f"{url}/v1/demo/conversation/", headers=headers, params={"is_finished": False}, trust_env=False)
    return len(answer.json()["conversations"])


def test_a_token_is_a_user_s_and_nothing_else_is_printed(command: Command, shared: Path, url: str) -> None:
    for options in ([], ["--admin"]):
        done = command("token", "--data", shared, *options)
        assert (done.returncode, done.stderr) == (0, "")
        assert _unfinished(url, done.stdout.strip()) == 0


@pytest.mark.usefixtures("made")
def test_a_token_for_nobody_is_refused(command: Command, data: Path) -> None:
    done = command("token", "--data", data, "--user", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "tertulia: The organization demo has no user nobody.\n"


def test_a_folder_without_an_installation_is_said_to_be_one(command: Command, data: Path) -> None:
    done = command("token", "--data", data)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("holds no installation: run `tertulia init` first.\n")
    assert not data.exists()


@pytest.mark.usefixtures("made")
def test_a_rotated_key_leaves_tokens_good(start: Start, command: Command, data: Path) -> None:
    url = start("serve", "--data", data, "--port", "0").url
    before = command("token", "--data", data).stdout.strip()
    assert command("keys", "rotate", "--data", data).returncode == 0
    after = command("token", "--data", data).stdout.strip()
    assert before.split(".")[0] != after.split(".")[0]
    assert [_unfinished(url, token) for token in (before, after)] == [0, 0]


def test_a_chat_talks_until_the_conversation_ends(command: Command, shared: Path, url: str) -> None:
    done = command("chat", "--data", shared, "--url", url, stdin="Recommend a poem, please.\nGoodbye!\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert 'You said: "Recommend a poem, please."' in done.stdout
    assert done.stdout.endswith("The conversation has come to its end.\n")


def test_a_chat_goes_on_where_it_was_left(command: Command, shared: Path, url: str) -> None:
    command("chat", "--data", shared, "--url", url, stdin="Recommend a poem, please.\n/quit\n")
    done = command("chat", "--data", shared, "--url", url, stdin="/finish\n")
    assert "Going on with your conversation" in done.stdout
    assert "Recommend a poem, please." in done.stdout
    assert _unfinished(url, command("token", "--data", shared).stdout.strip()) == 0


def test_a_chat_begins_another_conversation(command: Command, shared: Path, url: str) -> None:
    done = command("chat", "--data", shared, "--url", url, stdin="/new\n/quit\n")
    assert done.returncode == 0
    assert _unfinished(url, command("token", "--data", shared).stdout.strip()) == 1


def test_an_administrator_sees_the_agent_s_actions(command: Command, shared: Path, url: str) -> None:
    done = command("chat", "--admin", "--data", shared, "--url", url, stdin="/quit\n")
    assert "action-state-action-selected: " in done.stdout


def test_a_chat_signs_in_as_the_official_client_does(
    command: Command, url: str, installation: tuple[Path, dict[str, str]]
) -> None:
    _folder, made = installation
    settings = {
        "AMIGO_BASE_URL": url,
        "AMIGO_ORGANIZATION_ID": made["organization_id"],
        "AMIGO_USER_ID": made["user_id"],
        "AMIGO_API_KEY_ID": made["api_key_id"],
        "AMIGO_API_KEY": made["api_key"],
    }
    assert command("chat", stdin="/quit\n", **settings).returncode == 0
    refused = command("chat", stdin="/quit\n", **{**settings, "AMIGO_API_KEY": "wrong"})
    assert refused.returncode == 1
    assert refused.stderr == "tertulia: HTTP 401: The API key or the user is not valid.\n"


@pytest.mark.usefixtures("made")
def test_a_server_that_is_not_there_is_one_line(command: Command, data: Path) -> None:
    done = command("chat", "--data", data, "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr == "tertulia: There is no server at http://127.0.0.1:9: start one with `tertulia run`.\n"


def test_a_person_at_a_terminal_leaves_with_ctrl_c(shared: Path, url: str, tmp_path: Path) -> None:
    with at_a_terminal([TERTULIA, "chat", "--data", str(shared), "--url", url], tmp_path) as terminal:
        terminal.until("you\x1b")
        terminal.type("Recommend a poem, please.")
        terminal.until("You said: ")
        assert terminal.leave() == 130
        assert "Traceback" not in terminal.shown


def test_a_demo_shows_every_event_and_ends_well(program: Command) -> None:
    done = program("demo", TERTULIA_RATE_LIMITS="nonsense that is not asked for")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split(" ", 1)[0] for line in done.stdout.splitlines()]
    assert lines.count("conversation-created") == 1
    assert lines.count("user-message-available") == 2
    assert lines.count("interaction-complete") == 3
    assert lines.count("new-message") == 60
    assert done.stdout.splitlines()[-1] == "204 the conversation is finished"


def test_a_version_is_printed(program: Command) -> None:
    assert program("--version").stdout == f"tertulia {__version__}\n"


def test_help_names_every_command(command: Command) -> None:
    done = command("--help")
    assert done.returncode == 0
    commands = ("run", "serve", "init", "chat", "finish", "token", "demo", "migrate", "keys", "jobs", "maintenance")
    assert all(f"\n│ {name} " in done.stdout for name in commands)
