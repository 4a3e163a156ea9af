"""The contract's OpenAPI document, which lies outside this repository, and a client that checks its own calls."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

Json = dict[str, Any]

_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "contract"
_FILE = Path(os.environ.get("TERTULIA_CONTRACT") or _BESIDE) / "openapi.json"

requires_contract = pytest.mark.skipif(
    not _FILE.is_file(), reason=f"The contract's document is not here: {_FILE} (TERTULIA_CONTRACT names its folder)."
)

_formats = FormatChecker(formats=())


@_formats.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@_formats.checks("email")
def _is_email(value: object) -> bool:
    return not isinstance(value, str) or "@" in value


class Document:
    """An OpenAPI document (3.1, so that its schemas are JSON Schema 2020-12) whose references can be followed."""

    def __init__(self, content: Json) -> None:
        self.content = content
        self._registry = Registry().with_resource("document:", DRAFT202012.create_resource(content))

    @cached_property
    def operations(self) -> dict[str, "Operation"]:
        """Every operation by its id."""
        return {
            operation["operationId"]: Operation(self, ("paths", path, method), operation)
            for path, methods in self.content["paths"].items()
            for method, operation in methods.items()
        }

    def resolve(self, schema: Json) -> Json:
        """The schema itself, where it is but a reference."""
        while "$ref" in schema:
            node: Any = self.content
            for part in schema["$ref"].removeprefix("#/").split("/"):
                node = node[part.replace("~1", "/").replace("~0", "~")]
            schema = node
        return schema

    def problems(self, where: Iterable[str], value: Any) -> list[str]:
        """List what is wrong with a value by the schema at a place of the document."""
        pointer = "/".join(part.replace("~", "~0").replace("/", "~1") for part in where)
        schema = {"$ref": f"document:#/{pointer}"}
        validator = Draft202012Validator(schema, registry=self._registry, format_checker=_formats)
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


@dataclass(frozen=True)
class Operation:
    """An operation, and where it is in its document."""

    document: Document
    where: tuple[str, ...]
    content: Json

    @property
    def path(self) -> str:
        return self.where[1]

    @property
    def method(self) -> str:
        return self.where[2].upper()

    @property
    def success(self) -> str:
        """The status of success; each operation has one."""
        (status,) = [status for status in self.content["responses"] if status.startswith("2")]
        return status

    def parameters(self) -> Iterator[tuple[tuple[str, ...], Json]]:
        """Each parameter, and where its schema is."""
        for index, parameter in enumerate(self.content.get("parameters", [])):
            yield (*self.where, "parameters", str(index), "schema"), parameter


def contract() -> Document:
    return Document(json.loads(_FILE.read_text()))


@dataclass
class Walker:
    """Calls operations of the contract, and holds each request and each answer against it."""

    document: Document
    client: httpx2.Client
    seen: dict[str, set[int]] = field(default_factory=dict[str, set[int]])

    def call(
        self,
        operation_id: str,
        status: int | None = None,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        client: httpx2.Client | None = None,
        **body: Any,
    ) -> Any:
        """Send a request and check it; the answer's JSON (the list of events of a stream), or None.

        `status` is that of success unless given; a 422 is what a request that the contract forbids has to get.
        The body is `json=` or, for a form, `form=`: lists of values by their part's name.
        """
        operation = self.document.operations[operation_id]
        status = status or int(operation.success)
        problems = [
            *_request_problems(operation, query or {}, path or {}, headers or {}),
            *_body_problems(operation, body.get("json", _flat(body["form"]) if "form" in body else None)),
        ]
        assert bool(problems) == (status == 422), problems or f"{operation_id}: the contract allows this request"
        if "form" in body:
            body = {"files": [(name, (None, value)) for name, values in body["form"].items() for value in values]}
        address = operation.path.removeprefix("/v1/{organization}").format(**(path or {}))
        params = {
            name: json.dumps(value) if isinstance(value, dict) else value for name, value in (query or {}).items()
        }
        answer = (client or self.client).request(
            operation.method, address, params=params, headers=dict(headers or {}), **body
        )
        assert answer.status_code == status, f"{operation_id}: {answer.status_code} {answer.text}"
        self.seen.setdefault(operation_id, set()).add(status)
        return checked(operation, answer)


def checked(operation: Operation, answer: httpx2.Response) -> Any:
    """The answer's JSON, or the bytes of an archive, when the contract allows this answer."""
    name, status = operation.content["operationId"], str(answer.status_code)
    assert status in operation.content["responses"], f"{name}: {status} is no status of it"
    content_type = answer.headers.get("content-type", "").partition(";")[0]
    if status != operation.success:
        assert content_type == "application/json", f"{name}: {content_type}"
        detail = answer.json()["detail"]
        assert isinstance(detail, list if status == "422" else str), f"{name}: {detail}"
        return answer.json()
    allowed = operation.content["responses"][status].get("content", {})
    if not answer.content:
        nothing = [
            operation.document.problems((*operation.where, "responses", status, "content", kind, "schema"), None)
            for kind in allowed
        ]
        assert not any(nothing), f"{name}: {nothing}"
        return None
    assert content_type in allowed, f"{name}: {content_type}"
    where = (*operation.where, "responses", status, "content", content_type, "schema")
    if content_type in {"application/zip", "application/gzip"}:
        return answer.content
    if content_type == "application/x-ndjson":
        assert answer.text.endswith("\n")
        values = [json.loads(line) for line in answer.text.splitlines()]
    else:
        values = [answer.json()]
    problems = [problem for value in values for problem in operation.document.problems(where, value)]
    assert not problems, f"{name}: {problems}"
    return values if content_type == "application/x-ndjson" else values[0]


def _request_problems(
    operation: Operation, query: Mapping[str, Any], path: Mapping[str, str], headers: Mapping[str, str]
) -> list[str]:
    given = {"query": query, "path": path, "header": headers}
    problems: list[str] = []
    known = {(parameter["in"], parameter["name"].lower()) for _, parameter in operation.parameters()}
    sent = {(place, name.lower()) for place, values in given.items() for name in values}
    assert sent <= known, f"no parameters of this operation: {sent - known}"
    for where, parameter in operation.parameters():
        values = given[parameter["in"]]
        if parameter["name"] in values:
            problems += operation.document.problems(where, values[parameter["name"]])
        elif parameter["required"] and parameter["name"] not in {"organization", "content-type"}:
            problems.append(f"{parameter['name']} is missing")
    return problems


def _body_problems(operation: Operation, value: object) -> list[str]:
    body = operation.content.get("requestBody")
    if body is None or value is None:
        return [] if body is None or not body.get("required") else ["the body is missing"]
    ((content_type, _),) = body["content"].items()
    return operation.document.problems((*operation.where, "requestBody", "content", content_type, "schema"), value)


def _flat(form: Mapping[str, list[str | bytes]]) -> Json:
    """A form as the schema has it: a part that may be repeated is a list, and bytes are text."""
    texts = {
        name: [value if isinstance(value, str) else value.decode("latin-1") for value in values]
        for name, values in form.items()
    }
    return {name: values if name.startswith("external_event") else values[0] for name, values in texts.items()}
