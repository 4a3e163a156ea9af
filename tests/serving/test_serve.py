"""`tertulia serve`, and what signs in there."""

import json
import socket
import time
from pathlib import Path

import httpx2
import pytest

from support.commands import Command, Process, Start


def _sign_in(url: str, made: dict[str, str], user_id: str) -> httpx2.Response:
    keys = {"x-api-key": made["api_key"], "x-api-key-id": made["api_key_id"], "x-user-id": user_id}
    address = f"{url}/v1/{made['organization_id']}/user/signin_with_api_key"
    return httpx2.post(address, headers=keys, trust_env=False)


def test_a_printed_key_signs_in_as_both_demo_users_after_another_init_too(
    start: Start, command: Command, data: Path, made: dict[str, str]
) -> None:
    command("init", "--data", data)
    url = start("serve", "--data", data, "--port", "0").url
    for user_id in (made["user_id"], made["admin_user_id"]):
        answer = _sign_in(url, made, user_id)
        assert answer.status_code == 200
        assert "X-RateLimit-Limit" in answer.headers


def test_there_are_no_limits_where_the_settings_say_so(
    server: Process, installation: tuple[Path, dict[str, str]]
) -> None:
    _folder, made = installation
    assert "X-RateLimit-Limit" not in _sign_in(server.url, made, made["user_id"]).headers


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
        ("TERTULIA_RELAY_HOST", "203.0.113.1"),
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


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("name", ["TERTULIA_MODLE", "tertulia_rate_limit"])
def test_a_variable_that_is_no_setting_is_named_in_one_line_without_its_value(
    command: Command, data: Path, name: str
) -> None:
    known = {"TERTULIA_CLUSTERS_EU": "sqlite://", "TERTULIA_TURN_STALL_S": "1", "TERTULIA_MODEL": "scripted"}
    done = command("token", "--data", data, **known, **{name: "hidden"})
    assert done.returncode == 0
    assert done.stderr == f"tertulia: there is no setting {name}; it is ignored.\n"


@pytest.mark.usefixtures("made")
def test_a_name_of_the_settings_file_that_is_no_setting_is_named_in_one_line(command: Command, data: Path) -> None:
    (data / "tertulia.toml").write_text('model = ["scripted"]\nmodle = "hidden"\n[lmit]\nbody_bytes = 5\n')
    done = command("token", "--data", data)
    assert (done.returncode, done.stderr.splitlines()) == (
        0,
        [f"tertulia: there is no setting {name} in the settings file; it is ignored." for name in ("lmit", "modle")],
    )


KUBERNETES = {
    "TERTULIA_SERVICE_HOST": "10.0.0.1",
    "TERTULIA_SERVICE_PORT": "80",
    "TERTULIA_SERVICE_PORT_HTTP": "80",
    "TERTULIA_PORT": "tcp://10.0.0.1:80",
    "TERTULIA_PORT_80_TCP": "tcp://10.0.0.1:80",
    "TERTULIA_PORT_80_TCP_PROTO": "tcp",
    "TERTULIA_PORT_80_TCP_PORT": "80",
    "TERTULIA_PORT_80_TCP_ADDR": "10.0.0.1",
    "TERTULIA_DATABASE_SERVICE_HOST": "10.0.0.2",
    "TERTULIA_DATABASE_SERVICE_PORT": "5432",
    "TERTULIA_DATABASE_PORT": "tcp://10.0.0.2:5432",
    "TERTULIA_DATABASE_PORT_5432_TCP_ADDR": "10.0.0.2",
    "TERTULIA_CLUSTERS_SERVICE_HOST": "10.0.0.3",
    "TERTULIA_TURN_SERVICE_PORT_TURN_UDP": "3478",
    "TERTULIA_TURN_PORT_3478_UDP": "udp://10.0.0.3:3478",
}


@pytest.mark.usefixtures("made")
def test_start_and_stop_are_lines_of_the_log_and_the_model_is_named(start: Start, data: Path, tmp_path: Path) -> None:
    server = start("serve", "--data", data, "--port", "0")
    assert server.stop() == 0
    first, *lines = (tmp_path / "log").read_text().splitlines()
    assert first == "Model: scripted (the model that repeats); TERTULIA_MODEL names another one."
    process = server.process.pid
    told = [(line["event"], line["process"]) for line in map(json.loads, lines) if "process" in line]
    assert told == [(event, process) for event in ("server started", "server stops", "server stopped")]


@pytest.mark.usefixtures("made")
def test_variables_of_kubernetes_services_are_no_settings(command: Command, data: Path) -> None:
    done = command("token", "--data", data, **KUBERNETES)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("made")
def test_variables_of_kubernetes_services_do_not_stop_a_server(start: Start, data: Path) -> None:
    server = start("serve", "--data", data, "--port", "0", **KUBERNETES)
    assert server.url.startswith("http://127.0.0.1:")


def test_host_port_and_workers_are_settings_and_options_go_before_them(start: Start, data: Path, made: object) -> None:
    with socket.create_server(("127.0.0.2", 0)) as free:
        port = free.getsockname()[1]
    variables = {"TERTULIA_HOST": "127.0.0.2", "TERTULIA_PORT": str(port), "TERTULIA_WORKERS": "2"}
    server = start("serve", "--data", data, "--workers", "1", **variables)
    assert server.url == f"http://127.0.0.2:{port}"
    assert server.workers() == []


@pytest.mark.parametrize(("name", "value"), [("PORT", "70000"), ("PORT", "http"), ("WORKERS", "0")])
def test_a_wrong_address_of_the_server_is_named(command: Command, data: Path, name: str, value: str) -> None:
    done = command("serve", "--data", data, **{f"TERTULIA_{name}": value})
    assert (done.returncode, done.stderr.startswith(f"tertulia: TERTULIA_{name}: ")) == (2, True)


def test_a_wrong_setting_ends_the_process_as_scripts_expect(program: Command, data: Path) -> None:
    done = program("serve", "--data", data, TERTULIA_RATE_LIMITS="some")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
