"""Nothing of one organization is to be had by way of another's paths: its identifiers are as good as made up ones."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
import structlog
from sqlalchemy.engine import Connection

from operations import CLOSED, GRAPH, Operation, Targets
from support import samples
from support.server import Server
from support.targets import NOWHERE, make_targets
from tertulia.cli import installation
from tertulia.storage.database.units import SqliteDatabase

LONG = len(NOWHERE)
"""Characters of an identifier."""


@pytest.fixture(scope="module")
def theirs(tertulia: Server, as_admin: httpx2.Client) -> Targets:
    """One of everything, of the demo organization."""
    return make_targets(tertulia, as_admin, tertulia.demo.admin_user_id)


@pytest.fixture(scope="module")
def stranger(tertulia: Server) -> httpx2.Client:
    """An administrator of another organization, at the paths of that one."""
    other = installation.make_demo(tertulia.settings, "other", None)
    base = f"{tertulia.url}/v1/other"
    headers = {"x-api-key": other.api_key, "x-api-key-id": other.api_key_id, "x-user-id": other.admin_user_id}
    token = tertulia.anonymous.post(f"{base}/user/signin_with_api_key", headers=headers).json()["id_token"]
    client = tertulia.client(token)
    client.base_url = base
    return client


def answer_of(client: httpx2.Client, operation: Operation, targets: Targets) -> tuple[int, str]:
    """Make an example call. Return its status and its text, in which identifiers that were named are dots."""
    answer = operation.ask(client, targets)
    text = answer.text
    for value in set(targets.values()):
        text = text.replace(value, "...") if len(value) == LONG else text
    return answer.status_code, text


def test_what_another_organization_has_is_as_unknown_as_what_nobody_has(
    stranger: httpx2.Client, theirs: Targets
) -> None:
    made_up = {name: NOWHERE if len(value) == LONG else value for name, value in theirs.items()}
    about = [operation for operation in CLOSED if operation.parameters and "version_set_name" not in operation.path]

    answers = {operation.id: answer_of(stranger, operation, theirs) for operation in about}

    assert answers == {operation.id: answer_of(stranger, operation, made_up) for operation in about}
    assert {operation_id for operation_id, (status, _text) in answers.items() if status != 404} == set()


@pytest.mark.parametrize("filtered", [False, True])
def test_lists_tell_nothing_of_another_organization(
    stranger: httpx2.Client, theirs: Targets, *, filtered: bool
) -> None:
    lists = [operation for operation in CLOSED if operation.method == "GET" and not operation.parameters]
    names = ("tool_id", "service_id", "conversation_id", "user_id", "id")
    query: dict[str, Any] = {"id": theirs["tool_id"], "applied_to_services": theirs["service_id"], **theirs}

    for operation in lists:
        params = {**(operation.query or {}), **({name: query[name] for name in names} if filtered else {})}
        found = stranger.get(operation.path, params=params).text
        told = {name for name, value in theirs.items() if len(value) == LONG and value in found}
        assert told == set(), operation.id


def test_a_graph_names_another_organizations_tool_as_one_that_is_not(stranger: httpx2.Client, theirs: Targets) -> None:
    answers = []
    for tool_id in (theirs["tool_id"], NOWHERE):
        graph = samples.short_graph()
        graph["states"][0]["action_tool_call_specs"] = [samples.tool_spec(tool_id)]
        answer = stranger.post(GRAPH, json=graph)
        warning = answer.headers.get("X-Tertulia-Warning", "").replace(tool_id, "...")
        answers.append((answer.status_code, sorted(answer.json()), warning))

    assert answers[0] == answers[1]


# --- Time ------------------------------------------------------------------------------------------------------------

_VALUE = re.compile(r"'(?:[^']|'')*'|\b\d+\b")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements of requests, without values, as SQLite gets them; those of work beside requests are left out."""
    found: list[str] = []

    @contextmanager
    def listening(connection: Connection) -> Generator[None]:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(lambda text: found.append(_VALUE.sub("?", text)))
        try:
            yield
        finally:
            driver.set_trace_callback(None)

    def watch(name: str) -> None:
        original = getattr(SqliteDatabase, name)

        async def run(database: object, unit: Any, /, *args: Any, **kwargs: Any) -> Any:
            if "request_id" not in structlog.contextvars.get_contextvars():
                return await original(database, unit, *args, **kwargs)

            def heard(connection: Connection, *more: Any) -> Any:
                with listening(connection):
                    return unit(connection, *more)

            return await original(database, heard, *args, **kwargs)

        monkeypatch.setattr(SqliteDatabase, name, run)

    watch("read")
    watch("_write")
    return found


def test_what_another_organization_has_takes_the_work_of_what_nobody_has(
    stranger: httpx2.Client, theirs: Targets, asked: list[str]
) -> None:
    made_up = {name: NOWHERE if len(value) == LONG else value for name, value in theirs.items()}
    work: dict[str, list[list[str]]] = {}
    for operation in CLOSED:
        if not operation.parameters or "version_set_name" in operation.path:
            continue
        answer_of(stranger, operation, made_up)  # what is remembered of the caller
        for targets in (theirs, made_up):
            asked.clear()
            answer_of(stranger, operation, targets)
            work.setdefault(operation.id, []).append([*asked])

    assert {name: there for name, (there, nowhere) in work.items() if there != nowhere} == {}
    assert all(there for there, _nowhere in work.values())
