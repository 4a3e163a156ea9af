"""Nothing of one organization is to be had by way of another's paths: its identifiers are as good as made up ones."""

import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
import structlog
from sqlalchemy.engine import Connection

from operations import BY_ID, CLOSED, GRAPH, Operation, Targets, filled
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
def elsewhere(tertulia: Server) -> Server:
    """The same server, for those of another organization."""
    return replace(tertulia, demo=installation.make_demo(tertulia.settings, "other", None))


@pytest.fixture(scope="module")
def stranger(elsewhere: Server) -> httpx2.Client:
    """An administrator of the other organization, at its paths."""
    return elsewhere.as_admin


@pytest.fixture(scope="module")
def mine(elsewhere: Server, stranger: httpx2.Client) -> Targets:
    """One of everything, of the other organization."""
    return make_targets(elsewhere, stranger, elsewhere.demo.admin_user_id)


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


NAMING: dict[str, dict[str, str]] = {
    "create-conversation": {"service_id": "service_id"},
    "generate-conversation-starter": {"service_id": "service_id"},
    "create-service": {"agent_id": "agent_id", "service_hierarchical_state_machine_id": "state_machine_id"},
    "create-share": {"message_id": "message_id"},
    "create-dynamic-behavior-set": {"applied_to_services": "service_id"},
    "update-dynamic-behavior-set": {"applied_to_services": "service_id"},
    "create-temporary-permission-grant": {"user_id": "user_id"},
    "assign-role": {"user_id": "user_id"},
    "create-api-key": {"role_name": "role_name"},
    "create-invited-user": {"role_name": "role_name"},
    "sign-in-with-mail-token": {"token": "mail_token"},
}
"""The fields of bodies that name what there is, by operation, and what they name."""

HEADERS = {
    "sign-in-with-api-key": {"x-api-key": "api_key", "x-api-key-id": "demo_key_id", "x-user-id": "user_id"},
    "get-shared-conversation": {"x-share-token": "share_token"},
}
"""The headers that name what there is."""


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, fields in NAMING.items() for field in fields])
def test_a_body_that_names_what_another_organization_has_is_refused_as_if_nobody_had_it(
    elsewhere: Server, theirs: Targets, mine: Targets, name: str, field: str
) -> None:
    operation = BY_ID[name]
    body = dict(filled(operation.json, mine))
    answers: list[tuple[int, str]] = []
    for value in (theirs[NAMING[name][field]], made_up(theirs[NAMING[name][field]])):
        named = [value] if field == "applied_to_services" else value
        answer = operation.ask(operation.by(elsewhere), mine, json={**body, field: named})
        answers.append((answer.status_code, answer.text.replace(value, "...")))

    assert answers[0] == answers[1]
    assert 400 <= answers[0][0] < 500


@pytest.mark.parametrize(("name", "header"), [(name, header) for name, found in HEADERS.items() for header in found])
def test_a_header_that_names_what_another_organization_has_is_refused_as_if_nobody_had_it(
    elsewhere: Server, theirs: Targets, mine: Targets, name: str, header: str
) -> None:
    right = dict(filled(BY_ID[name].headers, mine))
    answers = [
        BY_ID[name].ask(elsewhere.anonymous, mine, headers={**right, header: value})
        for value in (theirs[HEADERS[name][header]], made_up(theirs[HEADERS[name][header]]))
    ]

    assert answers[0].status_code == answers[1].status_code
    assert answers[0].text == answers[1].text
    assert answers[0].status_code in {401, 404}
    assert BY_ID[name].ask(elsewhere.anonymous, mine).status_code == 200


def made_up(value: str) -> str:
    """Make up what is like a value, and nobody's. Return it."""
    return secrets.token_hex(LONG // 2) if len(value) == LONG else f"{value[:-1]}x"


def test_a_filter_by_all_that_another_organization_has_finds_what_one_by_nothing_finds(
    elsewhere: Server, theirs: Targets, mine: Targets
) -> None:
    document = elsewhere.anonymous.get(f"{elsewhere.url}/v1/openapi.json").json()
    parameters = {
        each["operationId"]: each.get("parameters", []) for path in document["paths"].values() for each in path.values()
    }
    known = [*{value for value in theirs.values() if _ID.fullmatch(value)}]
    unknown = [made_up(value) for value in known]
    asked: list[str] = []
    for operation in CLOSED:
        lists = [each["name"] for each in parameters[operation.id] if each["schema"].get("type") == "array"]
        for name in [name for name in lists if operation.method == "GET" and name != "sort_by"]:
            first, second = (
                operation.ask(elsewhere.as_super, mine, params={**(operation.query or {}), name: values})
                for values in (known, unknown)
            )
            asked.append(f"{operation.id} {name}")
            assert first.status_code == second.status_code, asked[-1]
            assert hidden(first.text, known) == hidden(second.text, unknown), asked[-1]

    assert len(asked) > 40


_ID = re.compile(r"[0-9a-f]{24}")


def hidden(text: str, values: list[str]) -> str:
    for value in values:
        text = text.replace(value, "...")
    return text


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
