"""`tertulia serve`, and what signs in there."""

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from support.commands import Command, Process, Start


def _address(process: Process) -> str:
    return process.lines[-1].split()[-1]


def _sign_in(url: str, made: dict[str, str], user_id: str) -> httpx2.Response:
    keys = {"x-api-key": made["api_key"], "x-api-key-id": made["api_key_id"], "x-user-id": user_id}
    address = f"{url}/v1/{made['organization_id']}/user/signin_with_api_key"
    return httpx2.post(address, headers=keys, trust_env=False)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_printed_key_signs_in_as_both_demo_users(
    start: Start, data: Path, made: dict[str, str], workers: int
) -> None:
    url = _address(start("serve", "--data", data, "--port", "0", "--workers", workers))
    for user_id in (made["user_id"], made["admin_user_id"]):
        assert _sign_in(url, made, user_id).status_code == 200


def test_a_key_of_the_first_init_is_good_after_the_second(
    start: Start, command: Command, data: Path, made: dict[str, str]
) -> None:
    command("init", "--data", data)
    url = _address(start("serve", "--data", data, "--port", "0"))
    assert _sign_in(url, made, made["user_id"]).status_code == 200


def test_limits_are_the_contracts_unless_they_are_set(start: Start, data: Path, made: dict[str, str]) -> None:
    url = _address(start("serve", "--data", data, "--port", "0"))
    assert "X-RateLimit-Limit" in _sign_in(url, made, made["user_id"]).headers
    url = _address(start("serve", "--data", data, "--port", "0", TERTULIA_RATE_LIMITS="off"))
    assert "X-RateLimit-Limit" not in _sign_in(url, made, made["user_id"]).headers


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_is_told_to_stop_ends_well(start: Start, data: Path, how: int, workers: int) -> None:
    assert start("serve", "--data", data, "--port", "0", "--workers", workers).stop(how) == 0


def test_workers_end_when_their_parent_is_killed(start: Start, data: Path) -> None:
    server = start("serve", "--data", data, "--port", "0", "--workers", "2")
    workers = psutil.Process(server.process.pid).children(recursive=True)
    assert len(workers) >= 2
    server.stop(signal.SIGKILL)
    _gone, left = psutil.wait_procs(workers, timeout=30)
    assert left == []


def test_an_open_stream_ends_before_the_server_does(
    start: Start, command: Command, data: Path, made: dict[str, str]
) -> None:
    slow = {"TERTULIA_SCRIPTED_PIECES": "10", "TERTULIA_SCRIPTED_DELAY_MS": "100"}
    server = start("serve", "--data", data, "--port", "0", **slow)
    token = command("token", "--data", data).stdout.strip()
    request: dict[str, Any] = {
        "params": {"response_format": "text"},
        "json": {"service_id": made["service_id"]},
        "headers": {"Authorization": f"Bearer {token}"},
    }
    client = httpx2.Client(trust_env=False)
    with client, client.stream("POST", f"{_address(server)}/v1/demo/conversation/", **request) as response:
        lines = response.iter_lines()
        assert json.loads(next(lines))["type"] == "conversation-created"
        server.process.terminate()
        assert json.loads(list(lines)[-1])["type"] == "interaction-complete"
    assert server.process.wait(30) == 0


def test_a_port_in_use_is_one_line(command: Command, data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("serve", "--data", data, "--port", port)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"tertulia: Port {port} is in use")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TERTULIA_RATE_LIMITS", "some"),
        ("TERTULIA_TURN_STALL_S", "-1"),
        ("TERTULIA_SCRIPTED_PIECES", "none"),
        ("TERTULIA_SCRIPTED_SPEED", "fast"),
        ("TERTULIA_CONFIG", "/nowhere/tertulia.toml"),
        ("TERTULIA_DATABASE_URL", "mysql://somewhere/something"),
        ("TERTULIA_CLUSTERS_EU", "nonsense"),
        ("TERTULIA_SECRET_KEY", "short"),
        ("TERTULIA_MODEL", "openai"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(command: Command, data: Path, name: str, value: str) -> None:
    done = command("serve", "--data", data, "--port", "0", **{name: value})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"tertulia: {name}: ")
    assert done.stderr.count("\n") == 1


def test_a_wrong_setting_of_the_file_is_named_too(command: Command, data: Path) -> None:
    data.mkdir()
    (data / "tertulia.toml").write_text('rate_limits = "some"\n')
    done = command("serve", "--data", data, "--port", "0")
    assert done.returncode == 2
    assert done.stderr.startswith("tertulia: TERTULIA_RATE_LIMITS: ")


def test_a_secret_is_not_shown_when_it_is_wrong(command: Command, data: Path) -> None:
    done = command("serve", "--data", data, "--port", "0", TERTULIA_DATABASE_URL="mysql://user:hidden@somewhere/x")
    assert "hidden" not in done.stderr


def test_a_database_that_cannot_be_reached_is_one_line(command: Command, data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    began = time.monotonic()
    url = f"postgresql://user:hidden@127.0.0.1:{port}/nothing"
    done = command("serve", "--data", data, "--port", "0", TERTULIA_DATABASE_URL=url)
    assert done.returncode == 1
    assert done.stderr.startswith("tertulia: The database does not work: ")
    assert done.stderr.count("\n") == 1
    assert "hidden" not in done.stderr
    assert time.monotonic() - began < 30
