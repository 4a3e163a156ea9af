"""This server's own OpenAPI document, beside the contract's: who reads it can call either."""

from collections.abc import Iterator

import pytest

from operations import OPERATIONS
from support.contract import Document, Json, Operation, contract, requires_contract
from support.server import Server

pytestmark = requires_contract

SHARED = [operation.id for operation in OPERATIONS if not operation.extension]
"""The operations that the contract has too."""

UNDOCUMENTED = {"sec-websocket-protocol", "content-type"}
"""Headers that every request may have, or that a form cannot be without."""


@pytest.fixture
def ours(tertulia: Server) -> Document:
    return Document(tertulia.anonymous.get(f"{tertulia.url}/v1/openapi.json").json())


def test_the_document_names_no_modules(tertulia: Server) -> None:
    document = tertulia.anonymous.get(f"{tertulia.url}/v1/openapi.json").json()

    assert [name for name in document["components"]["schemas"] if "__" in name] == []


def test_the_document_offers_what_the_contract_does(ours: Document) -> None:
    theirs = contract()

    found = [
        f"{name}: {difference}"
        for name in SHARED
        for difference in differences(ours.operations[name], theirs.operations[name])
    ]

    assert ours.operations.keys() & theirs.operations.keys() == set(SHARED)
    assert not found, "\n".join(found)


def differences(ours: Operation, theirs: Operation) -> Iterator[str]:
    if (ours.method, ours.path) != (theirs.method, theirs.path):
        yield f"{ours.method} {ours.path}"
    yield from _differences_of_parameters(ours, theirs)
    yield from _differences_of_requests(ours, theirs)
    if ours.success != theirs.success:
        yield f"answers {ours.success}"
    else:
        yield from _differences_of_answers(ours, theirs)


def _differences_of_parameters(ours: Operation, theirs: Operation) -> Iterator[str]:
    mine, wanted = _parameters(ours), _parameters(theirs)
    yield from (f"has no parameter {name}" for name in wanted.keys() - mine.keys())
    yield from (f"requires the parameter {name}" for name in _required(mine) - _required(wanted))
    yield from (f"does not require the parameter {name}" for name in _required(wanted) - _required(mine))


def _differences_of_requests(ours: Operation, theirs: Operation) -> Iterator[str]:
    """Null is the same as nothing to this server: the official client leaves out what is null."""
    mine, wanted = _request(ours), _request(theirs)
    if mine.keys() != wanted.keys():
        yield f"takes {list(mine)}"
        return
    for kind, schema in wanted.items():
        accepted, expected = Fields(ours.document, mine[kind]), Fields(theirs.document, schema)
        yield from (f"does not know {path}" for path in expected.all - accepted.all)
        yield from (f"requires {path}" for path in accepted.required - expected.required)
        yield from (f"does not require {path}" for path in expected.required - expected.nullable - accepted.required)


def _differences_of_answers(ours: Operation, theirs: Operation) -> Iterator[str]:
    """Of a union of kinds, this server may answer with some."""
    mine, wanted = _answer(ours), _answer(theirs)
    if mine.keys() != wanted.keys():
        yield f"answers with {list(mine)}"
        return
    for kind, schema in wanted.items():
        given, expected = Fields(ours.document, mine[kind]), Fields(theirs.document, schema)
        for path in expected.required - given.required:
            if all(variant in given.variants for variant in _variants_of(path)):
                yield f"does not promise {path}"


def _parameters(operation: Operation) -> dict[tuple[str, str], bool]:
    """List the parameters of an operation. Return for each if it is required."""
    return {
        (parameter["in"], parameter["name"].lower()): parameter.get("required", False)
        for _, parameter in operation.parameters()
        if parameter["name"].lower() not in UNDOCUMENTED
    }


def _required(parameters: dict[tuple[str, str], bool]) -> set[tuple[str, str]]:
    return {name for name, required in parameters.items() if required}


def _request(operation: Operation) -> dict[str, Json]:
    content = operation.content.get("requestBody", {}).get("content", {})
    return {kind: media["schema"] for kind, media in content.items()}


def _answer(operation: Operation) -> dict[str, Json]:
    content = operation.content["responses"][operation.success].get("content", {})
    return {kind: media["schema"] for kind, media in content.items()}


def _variants_of(path: str) -> Iterator[str]:
    return (path[: index + 1] for index, character in enumerate(path) if character == ">")


class Fields:
    """The fields of a schema by their paths: `.states[]<action>.name` is a field of one kind of state."""

    def __init__(self, document: Document, schema: Json) -> None:
        self._document = document
        self.all: set[str] = set()
        self.required: set[str] = set()
        self.nullable: set[str] = set()
        self.variants: set[str] = set()
        self._add(schema, "")

    def _add(self, schema: Json, path: str) -> None:
        kinds = list(self._kinds(schema))
        objects = [kind for kind in kinds if kind.get("properties")]
        for kind in objects:
            label = self._label(kind)
            here = f"{path}<{label}>" if len(objects) > 1 and label else path
            self.variants.add(here)
            self._add_object(kind, here)
        for kind in kinds:
            if "items" in kind and isinstance(kind["items"], dict):
                self._add(kind["items"], path + "[]")
            if isinstance(kind.get("additionalProperties"), dict):
                self._add(kind["additionalProperties"], path + "{}")

    def _add_object(self, schema: Json, path: str) -> None:
        for name, field in schema["properties"].items():
            here = f"{path}.{name}"
            self.all.add(here)
            if name in schema.get("required", []):
                self.required.add(here)
            if any(kind.get("type") == "null" for kind in self._kinds(field)):
                self.nullable.add(here)
            self._add(field, here)

    def _kinds(self, schema: Json) -> Iterator[Json]:
        """The schema, or each of those that it is a union of."""
        schema = self._document.resolve(schema)
        union = schema.get("anyOf") or schema.get("oneOf")
        if not union:
            yield schema
        for kind in union or []:
            yield from self._kinds(kind)

    def _label(self, schema: Json) -> str:
        kind = self._document.resolve(schema["properties"].get("type", {}))
        return str(kind.get("const") or (kind.get("enum") or [""])[0])


def test_every_status_that_the_contract_has_is_in_our_document(ours: Document) -> None:
    theirs = contract()
    missing = {
        name: found
        for name in SHARED
        if (
            found := theirs.operations[name].content["responses"].keys()
            - ours.operations[name].content["responses"].keys()
        )
    }
    assert missing == {}


def test_every_error_of_our_document_has_a_body(ours: Document) -> None:
    for name, operation in ours.operations.items():
        errors = {status: answer for status, answer in operation.content["responses"].items() if status >= "400"}
        assert {"404", "422", "500", "503"} <= errors.keys(), name
        for status, answer in errors.items():
            kind = "HTTPValidationError" if status == "422" else "ErrorDetail"
            schema = answer["content"]["application/json"]["schema"]
            assert schema == {"$ref": f"#/components/schemas/{kind}"}, (name, status)
        with_body = "requestBody" in operation.content
        assert ({"408", "413", "415"} <= errors.keys()) is with_body, name


def test_every_union_by_type_says_which_schema_each_type_is(ours: Document) -> None:
    """A generated client takes the type for the name of a schema if no mapping says otherwise."""
    schemas = ours.content["components"]["schemas"]
    unions = {name: schema for name, schema in schemas.items() if "oneOf" in schema}
    assert {
        "Action",
        "CreateConversationEvent",
        "InteractWithConversationEvent",
        "FollowInteractionEvent",
    } <= unions.keys()
    for name, union in unions.items():
        mapping = union["discriminator"]["mapping"]
        assert set(mapping.values()) == {kind["$ref"] for kind in union["oneOf"]}, name
        for tag, reference in mapping.items():
            assert schemas[reference.rpartition("/")[2]]["properties"]["type"]["enum"] == [tag]


def test_names_of_schemas_are_names_and_titles_differ(ours: Document) -> None:
    schemas = ours.content["components"]["schemas"]
    assert [name for name in schemas if not name.replace("-", "").isalnum()] == []
    assert len({schema["title"] for schema in schemas.values()}) == len(schemas)
