"""`tertulia chat`, `finish`, `token`, `demo`, `keys`: a person at a terminal, or a script in their place."""

import asyncio
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from providers.chat_server import DONE, HEAD, Answer, chat_server_beside, chunked, completes, event
from support.commands import PATIENCE_S, TERTULIA, Command, Process, Start, Starter
from support.terminal import Terminal, at_a_terminal
from tertulia import __version__
from tertulia.demo.content import CONTEXT_GRAPH

GREETING = CONTEXT_GRAPH["states"][0]["actions"][0].partition(" In words like these: ")[0]


@dataclass(frozen=True)
class Held:
    """A server whose model waits for `go_on`."""

    server: Process
    go_on: threading.Event
    start_again: Callable[[], Process]
    """Starts another server at the same address."""

    @property
    def url(self) -> str:
        return self.server.url


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
        assert "You have left." in terminal.shown


PASTED = "\x1b[200~Two things:\ra poem,\ra play.\x1b[201~"
LEFT, UP = "\x1b[D", "\x1b[A"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (PASTED, "Two things:\na poem,\na play."),
        (f"A pem{LEFT}{LEFT}o", "A poem"),
        ("日本\x7f語", "日語"),
        ("a play\x15a poem", "a poem"),
        (f"/nothing\n{UP}" + "\x7f" * 8 + "a poem", "a poem"),
    ],
    ids=["pasted", "left", "wide", "ctrl-u", "up"],
)
def test_a_message_is_edited_and_pasted_as_one(
    command: Command, shared: Path, url: str, tmp_path: Path, keys: str, said: str
) -> None:
    there = ("--data", str(shared), "--url", url)
    with at_a_terminal([TERTULIA, "chat", *there], tmp_path) as terminal:
        terminal.until("you\x1b")
        terminal.type(keys)
        terminal.until("You said: ")
        assert terminal.leave() == 130
    token = command("token", "--data", shared).stdout.strip()
    assert _said_last(url, token) == said


def _said_last(url: str, token: str) -> str:
    client = httpx2.Client(
        base_url=f"{url}/v1/demo/conversation", headers={"Authorization": f"Bearer {token}"}, trust_env=False
    )
    with client:
        [conversation] = client.get("/", params={"is_finished": False}).json()["conversations"]
        messages = client.get(f"/{conversation['id']}/messages/", params={"sort_by": "-created_at"}).json()["messages"]
    return next(each["message"] for each in messages if each["message_type"] == "user-message")


def test_input_that_is_not_utf_8_is_said_as_far_as_it_can_be_read(shared: Path, url: str) -> None:
    done = subprocess.run(
        [TERTULIA, "chat", "--data", str(shared), "--url", url],
        check=False,
        input="A poem about a café.\n/finish\n".encode("latin-1"),
        capture_output=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "A poem about a caf\ufffd." in done.stdout.decode()


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_no_word_is_cut_at_the_edge_of_a_terminal(shared: Path, url: str, tmp_path: Path, columns: int) -> None:
    command = [TERTULIA, "chat", "--data", str(shared), "--url", url]
    with at_a_terminal(command, tmp_path, columns=columns) as terminal:
        terminal.until("you\x1b")
        begin = next(number for number, line in enumerate(terminal.lines) if line.startswith("Tula "))
        lines = terminal.lines[begin:-2]
    assert [line for line in lines if len(line) > columns] == []
    assert " ".join(lines).startswith(f"Tula Hello! {GREETING}")
    assert len(lines) > 1


@pytest.fixture
def held(shared: Path, tmp_path: Path) -> Iterator[Held]:
    """A server whose model says nothing until it is let."""
    go_on = threading.Event()

    async def reply(writer: Any) -> None:
        writer.write(HEAD + b"\r\n")
        await asyncio.to_thread(go_on.wait, PATIENCE_S)
        writer.write(chunked(event("A late reply.")) + chunked(DONE) + b"0\r\n\r\n")

    def decide(asked: dict[str, Any]) -> Answer:
        return reply if asked.get("stream") else completes('{"choice": "action-1"}')

    with chat_server_beside(decide=decide) as model:
        starter = Starter(tmp_path)
        settings = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": model.url, "TERTULIA_MODEL": "openai:held"}
        serve = partial(starter, "serve", "--data", shared, TERTULIA_TURN_LEASE_S="6", **settings)
        server = serve("--port", "0")
        yield Held(server, go_on, partial(serve, "--port", server.url.rpartition(":")[2]))
        go_on.set()
        starter.end()


def test_a_turn_that_was_left_with_ctrl_c_is_followed_by_the_next_chat(
    shared: Path, held: Held, tmp_path: Path
) -> None:
    chat = [TERTULIA, "chat", "--data", str(shared), "--url", held.url]
    with at_a_terminal(chat, tmp_path) as terminal:
        terminal.until("Tula is thinking")
        bookmarked(terminal, tmp_path)
        assert terminal.leave() == 130
        assert "Tula goes on with the reply: the same command shows it." in terminal.shown
    with at_a_terminal(chat, tmp_path) as terminal:
        terminal.until("Tula is thinking")
        held.go_on.set()
        terminal.until("A late reply.")
        terminal.until("you\x1b")
        terminal.type("/finish")
        assert terminal.end() == 0
    assert not list((tmp_path / "state" / "tertulia" / "chats").iterdir())


def test_a_turn_whose_server_has_died_is_waited_for_until_that_is_known(
    shared: Path, held: Held, tmp_path: Path
) -> None:
    chat = [TERTULIA, "chat", "--data", str(shared), "--url", held.url]
    held.go_on.set()
    with at_a_terminal(chat, tmp_path) as terminal:
        terminal.until("you\x1b")
        held.go_on.clear()
        terminal.type("Are you there?")
        bookmarked(terminal, tmp_path)
        held.server.process.kill()
        held.server.process.wait()
        assert terminal.end() == 1
        assert "broke" in terminal.shown
    held.go_on.set()
    held.start_again()
    with at_a_terminal(chat, tmp_path) as terminal:
        terminal.until("What you said last was not answered: say it again.")
        terminal.until("you\x1b")
        terminal.type("/finish")
        assert terminal.end() == 0


def test_a_turn_that_somebody_else_began_is_followed(
    command: Command, shared: Path, held: Held, tmp_path: Path
) -> None:
    there = ("--data", str(shared), "--url", held.url)
    headers = {"Authorization": f"Bearer {command('token', '--data', shared).stdout.strip()}"}
    service_id = json.loads(command("services", *there, "--json").stdout)[0]["id"]
    asked: Any = {"params": {"response_format": "text"}, "json": {"service_id": service_id}}
    with (
        httpx2.Client(base_url=f"{held.url}/v1/demo/conversation", headers=headers, trust_env=False) as client,
        client.stream("POST", "/", **asked) as stream,
    ):
        refused = client.post("/", **asked)
        named = [f"x-tertulia-{name}-id" for name in ("conversation", "interaction")]
        assert refused.status_code == 409
        assert [refused.headers[name] for name in named] == [stream.headers[name] for name in named]
        with at_a_terminal([TERTULIA, "chat", *there], tmp_path) as terminal:
            bookmarked(terminal, tmp_path)
            held.go_on.set()
            terminal.until("A late reply.")
            terminal.until("you\x1b")
            terminal.type("/finish")
            assert terminal.end() == 0


def bookmarked(terminal: Terminal, folder: Path) -> None:
    """Wait until a chat at a terminal knows which turn it waits for."""
    while not list((folder / "state").rglob("*.json")):
        terminal.read()


def test_a_reply_that_was_left_is_shown_also_if_the_conversation_was_finished_meanwhile(
    command: Command, shared: Path, url: str, tmp_path: Path
) -> None:
    there = ("--data", str(shared), "--url", url)
    with at_a_terminal([TERTULIA, "chat", *there], tmp_path) as terminal:
        terminal.until("you\x1b")
        terminal.type("Recommend a poem, please.")
        terminal.until("You said: ")
        terminal.leave()
    assert command("finish", *there).returncode == 0
    with at_a_terminal([TERTULIA, "chat", *there], tmp_path) as terminal:
        terminal.until("you\x1b")
        terminal.type("Are you there?")
        terminal.until('You said: "Are you there?"')


def test_services_are_listed_and_found_by_name(command: Command, shared: Path, url: str) -> None:
    there = ("--data", shared, "--url", url)
    told = json.loads(command("services", *there, "--json").stdout)
    assert [(service["name"], service["is_active"]) for service in told] == [("Reading circle", True)]
    assert command("services", *there).stdout == f"{told[0]['id']}  Reading circle\n"
    for name in ("Reading circle", "reading CIRCLE", told[0]["id"]):
        done = command("chat", *there, "--service", name, stdin="/finish\n")
        assert done.stdout.startswith("Reading circle at")


def test_a_service_that_is_not_there_is_one_line_that_says_where_to_look(
    command: Command, shared: Path, url: str
) -> None:
    done = command("chat", "--data", shared, "--url", url, "--service", "Chess club")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "tertulia: There is no active service Chess club: `tertulia services` lists them.\n"


@pytest.mark.parametrize("options", [(), ("--admin",)])
def test_each_reply_begins_with_the_agent_s_name(
    command: Command, shared: Path, url: str, options: tuple[str, ...]
) -> None:
    stdin = "Recommend a poem, please.\n/finish\n"
    done = command("chat", "--data", shared, "--url", url, *options, stdin=stdin)
    assert done.stdout.count("\nTula ") == 2


def test_a_demo_shows_every_event_and_ends_well(program: Command) -> None:
    done = program("demo", TERTULIA_RATE_LIMITS="nonsense that is not asked for")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split(" ", 1)[0] for line in done.stdout.splitlines()]
    assert lines.count("conversation-created") == 1
    assert lines.count("user-message-available") == 2
    assert lines.count("interaction-complete") == 3
    assert lines.count("new-message") == 63
    assert done.stdout.splitlines()[-1] == "204 the conversation is finished"


def test_a_version_is_printed(program: Command) -> None:
    assert program("--version").stdout == f"tertulia {__version__}\n"


def test_help_names_every_command(command: Command) -> None:
    done = command("--help")
    assert done.returncode == 0
    commands = (
        "run",
        "serve",
        "init",
        "chat",
        "services",
        "finish",
        "token",
        "demo",
        "migrate",
        "keys",
        "jobs",
        "maintenance",
    )
    listed = done.stdout.partition("\nCommands:\n")[2]
    assert [name for name in commands if f"\n  {name} " not in f"\n{listed}"] == []
