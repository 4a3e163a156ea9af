"""Two servers behind a real PgBouncer in transaction mode, whose few connections every transaction may get."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from support import pgbouncer, talk
from support.commands import Command
from support.postgres import Postgres
from support.server import Serve, Server

CONNECTIONS = 3
READS, SPEAKERS = 200, 8
AT_ONCE = 16

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(pgbouncer.PROGRAM is None, reason="pgbouncer is not installed: see .ci/packages"),
]


@pytest.fixture(scope="module")
def pooled_url(postgres_server: Postgres) -> Iterator[str]:
    """The URL, through PgBouncer and as clouds write it, of a new database without a schema."""
    empty = postgres_server.create_empty()
    with pgbouncer.running(postgres_server, CONNECTIONS) as url:
        yield f"{url}/{empty.rsplit('/', 1)[1]}?sslmode=disable"
    postgres_server.drop(empty)


@pytest.fixture(scope="module")
def servers(serve: Serve, pooled_url: str) -> list[Server]:
    """Two servers of one installation: what one prepares on a connection, the other would meet there."""
    same = {"database": {"url": pooled_url, "pool_size": 8}, "secret_key": secrets.token_hex(20)}
    return [serve(**same), serve(**same)]


@pytest.fixture
def speakers(servers: list[Server]) -> list[httpx2.Client]:
    """Clients of users of their own, half of them at each server."""
    return [_new_user(servers[number % 2]) for number in range(SPEAKERS)]


def _new_user(server: Server) -> httpx2.Client:
    email = f"{secrets.token_hex(6)}@example.com"
    body = {"first_name": "Test", "last_name": "Person", "email": email, "role_name": "DefaultUserRole"}
    answer = server.as_admin.post("/user/", json=body)
    assert answer.status_code == 201, answer.text
    return server.client(server.sign_in(answer.json()["user_id"]))


def _speak(client: httpx2.Client, service_id: str) -> list[str]:
    """Hold a conversation of two turns. Returns what was said, as it is read back."""
    begun = talk.begin(client, service_id)
    talk.go_on(client, talk.id_of(begun), "Is anybody there?")
    said = [message["message"] for message in talk.messages(client, talk.id_of(begun))]
    assert talk.finish(client, talk.id_of(begun)).status_code == 204
    return said


def _look(server: Server, number: int) -> Any:
    """Read something, another thing each time. Returns the list."""
    path, query, name = _LOOKS[number % len(_LOOKS)]
    answer = server.as_admin.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()[name]


_LOOKS: list[tuple[str, dict[str, Any], str]] = [
    ("/service/", {"is_active": True}, "services"),
    ("/user/", {"limit": 1}, "users"),
    ("/conversation/", {"is_finished": True, "limit": 1}, "conversations"),
    ("/organization/agent", {}, "agents"),
]


def test_reads_and_turns_at_once_are_all_right(servers: list[Server], speakers: list[httpx2.Client]) -> None:
    service_id = servers[0].demo.service_id
    talk.finish(servers[0].as_admin, talk.id_of(talk.begin(servers[0].as_admin, service_id)))
    with ThreadPoolExecutor(AT_ONCE) as threads:
        spoken = [threads.submit(_speak, speaker, service_id) for speaker in speakers]
        looked = [threads.submit(_look, servers[number % 2], number // 2) for number in range(READS)]
        assert [len(look.result()) for look in looked] == [1] * READS
        conversations = [conversation.result() for conversation in spoken]
    assert {tuple(said) for said in conversations} == {tuple(conversations[0])}
    assert conversations[0][1] == "Is anybody there?"


def test_servers_that_start_at_once_bring_the_schema_up_to_date_once(
    serve: Serve, postgres_server: Postgres, pooled_url: str
) -> None:
    empty = postgres_server.create_empty().rsplit("/", 1)[1]
    url = pooled_url.replace(pooled_url.rsplit("/", 1)[1], empty)
    same = {"database": {"url": url, "pool_size": 2}, "secret_key": secrets.token_hex(20)}
    with ThreadPoolExecutor(2) as threads:
        begun = [threads.submit(serve, **same) for _ in range(2)]
        first, second = [begin.result() for begin in begun]
    assert first.demo.service_id == second.demo.service_id


def test_a_server_that_has_no_tls_is_refused_where_the_url_requires_it(
    command: Command, data: Any, postgres_server: Postgres
) -> None:
    url = postgres_server.create_empty().replace("postgresql://", "postgres://")
    kept = command("init", "--data", data, TERTULIA_DATABASE_URL=f"{url}?sslmode=prefer")
    assert kept.returncode == 0, kept.stderr
    done = command("init", "--data", data, TERTULIA_DATABASE_URL=f"{url}?sslmode=require")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "does not support SSL" in done.stderr
