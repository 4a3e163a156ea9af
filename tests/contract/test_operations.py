"""The table of operations is the OpenAPI document, and each of them is walked: its example, its limit, odd requests."""

from collections.abc import Callable, Iterable
from typing import Any

import httpx2
import pytest

from operations import ASKED, BY_ID, CLOSED, OPERATIONS, Operation, Targets
from support.contract import Document
from support.contract import Operation as Documented
from support.server import Serve, Server
from support.targets import make_targets, nowhere
from tertulia.auth.permissions import Permission

PREFIX = "/v1/{organization}"

WITH_PARAMETERS = [operation for operation in OPERATIONS if operation.parameters]

each = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)


def each_of(operations: Iterable[Operation]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", list(operations), ids=lambda operation: operation.id)


@pytest.fixture(scope="module")
def document(tertulia: Server) -> Document:
    return Document(tertulia.anonymous.get(f"{tertulia.url}/v1/openapi.json").json())


Ask = Callable[..., httpx2.Response]


@pytest.fixture(scope="module")
def ask(document: Document) -> Ask:
    """Makes the example call of an operation, and sees to it that the status of the answer is documented."""

    def make(operation: Operation, client: httpx2.Client, targets: Targets, **changes: Any) -> httpx2.Response:
        answer = operation.ask(client, targets, **changes)
        assert str(answer.status_code) in document.operations[operation.id].content["responses"], answer.text
        return answer

    return make


# --- The table -------------------------------------------------------------------------------------------------------


def in_document(operation: Documented) -> dict[str, object]:
    body = operation.content.get("requestBody", {})
    return {
        "address": f"{operation.method} {operation.path}",
        "success": next(status for status in operation.content["responses"] if status.startswith("2")),
        "open": {} in operation.content.get("security", [{}]),
        "body": next(iter(body.get("content", {})), None),
    }


def in_table(operation: Operation) -> dict[str, object]:
    bodies = {
        "application/json": operation.json,
        "multipart/form-data": operation.form,
        "application/gzip": operation.archive,
    }
    return {
        "address": f"{operation.method} {PREFIX}{operation.path}",
        "success": str(operation.success),
        "open": operation.least == "nobody",
        "body": next((kind for kind, body in bodies.items() if body), None),
    }


def test_the_table_has_every_operation_of_the_document_and_no_other(document: Document) -> None:
    assert len(BY_ID) == len(OPERATIONS)
    assert {operation.id: in_table(operation) for operation in OPERATIONS} == {
        name: in_document(operation) for name, operation in document.operations.items()
    }


def test_a_row_names_permissions_that_there_are_and_only_an_open_or_unnamed_one_names_none() -> None:
    assert [each for each in OPERATIONS if each not in ASKED and not (each.least == "nobody" or each.unnamed)] == []
    assert {name for operation in OPERATIONS for name in operation.permissions} <= {*map(str, Permission)}


# --- Examples --------------------------------------------------------------------------------------------------------


@each
def test_the_example_of_an_operation_succeeds(tertulia: Server, ask: Ask, operation: Operation) -> None:
    answer = ask(operation, operation.by(tertulia), make_targets(tertulia, tertulia.as_admin))

    assert answer.status_code == (operation.at_rest or operation.success), answer.text
    if answer.headers.get("content-type") == "application/x-ndjson":
        assert '"interaction-complete"' in answer.text.splitlines()[-1]


@each_of(WITH_PARAMETERS)
def test_what_does_not_exist_is_not_found(tertulia: Server, ask: Ask, targets: Targets, operation: Operation) -> None:
    answer = ask(operation, operation.by(tertulia), {**targets, **nowhere(operation)})

    wanted = 403 if operation.least == "nobody" else 404  # a link's signature comes first
    assert answer.status_code == wanted, answer.text
    assert isinstance(answer.json()["detail"], str)


@pytest.fixture(scope="module")
def targets(tertulia: Server) -> Targets:
    return make_targets(tertulia, tertulia.as_admin)


# --- Limits ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def limited(serve: Serve) -> Server:
    return serve(rate_limits="contract")


@each
def test_an_operation_has_its_limit(limited: Server, ask: Ask, targets: Targets, operation: Operation) -> None:
    answer = ask(operation, limited.as_user, {**targets, **nowhere(operation)})

    limit = answer.headers.get("x-ratelimit-limit")
    assert limit == (None if operation.per_minute is None else str(operation.per_minute))


# --- Odd requests ----------------------------------------------------------------------------------------------------


@each_of(CLOSED)
def test_both_slash_forms_of_a_path_are_one_operation(tertulia: Server, operation: Operation) -> None:
    path = operation.at(nowhere(operation))
    other = path.removesuffix("/") if path.endswith("/") else path + "/"

    assert tertulia.anonymous.request(operation.method, other).status_code == 401


NO_IDENTIFIERS = ["x", "0" * 23, "0" * 25, "0" * 23 + "%0A", "%F0%9F%98%80", "x" * 4000]


def is_of_a_user(operation: Operation) -> bool:
    """Tell if the path names a user, a role or a key, whose identifier may be any text."""
    return operation.parameters[0].endswith(("user_id", "role_name", "api_key_id"))


@each_of(operation for operation in WITH_PARAMETERS if not is_of_a_user(operation))
@pytest.mark.parametrize("identifier", NO_IDENTIFIERS)
def test_an_identifier_that_is_none_is_refused(
    tertulia: Server, ask: Ask, targets: Targets, operation: Operation, identifier: str
) -> None:
    first = operation.parameters[0]
    answer = ask(operation, operation.by(tertulia), {**targets, first: identifier})

    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [["path", first]]


@each_of(operation for operation in WITH_PARAMETERS if is_of_a_user(operation))
@pytest.mark.parametrize("identifier", NO_IDENTIFIERS)
def test_a_user_of_an_odd_name_is_not_found(
    tertulia: Server, ask: Ask, targets: Targets, operation: Operation, identifier: str
) -> None:
    answer = ask(operation, operation.by(tertulia), {**targets, operation.parameters[0]: identifier})

    assert answer.status_code == 404


@each_of(WITH_PARAMETERS)
def test_a_nul_in_a_path_is_refused(tertulia: Server, ask: Ask, targets: Targets, operation: Operation) -> None:
    answer = ask(operation, operation.by(tertulia), {**targets, operation.parameters[-1]: "a%00b"})

    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [["path"]]


JSON = {"content-type": "application/json"}


def with_type(operation: Operation, kind: str) -> dict[str, str]:
    """The headers of an example call, with another type of the body."""
    return {**(operation.headers or {}), "content-type": kind}


HOSTILE = {
    "cut off": b"{",
    "a text": b'"text"',
    "a list": b"[]",
    "not a number": b'{"FIELD": NaN}',
    "not UTF-8": b'{"FIELD": "\xff"}',
    "half a character": b'{"FIELD": "\\ud800"}',
    "a NUL": b'{"FIELD": "b\\u0000c"}',
    "a NUL in a key": b'{"FIELD\\u0000": "b"}',
    "a deep list": b"[" * 100_000,
    "a deep field": b'{"FIELD": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
}


@each_of(operation for operation in OPERATIONS if operation.json)
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_body_that_is_no_json_of_ours_is_refused(
    tertulia: Server, ask: Ask, targets: Targets, operation: Operation, body: bytes
) -> None:
    answer = ask(
        operation,
        operation.by(tertulia),
        targets,
        json=None,
        content=body,
        headers=with_type(operation, JSON["content-type"]),
    )

    assert answer.status_code == 422, answer.text
    assert {problem["loc"][0] for problem in answer.json()["detail"]} == {"body"}


@each_of(operation for operation in OPERATIONS if operation.json or operation.form)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "nonsense", ""])
def test_a_body_of_another_type_is_refused(
    tertulia: Server, ask: Ask, targets: Targets, operation: Operation, kind: str
) -> None:
    answer = ask(
        operation,
        operation.by(tertulia),
        targets,
        json=None,
        files=None,
        content=b"{}",
        headers=with_type(operation, kind),
    )

    assert answer.status_code == 422, answer.text
