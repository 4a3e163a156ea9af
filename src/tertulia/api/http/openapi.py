"""The OpenAPI document: what FastAPI finds, with the ways to sign in that the contract names, streams and forms."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from tertulia import events

BEARER = "Bearer-Authorization"
ISSUER = "Bearer-Authorization-Organization"
BASIC = "Basic"

_SCHEMES: dict[str, Any] = {
    ISSUER: {
        "type": "apiKey",
        "in": "header",
        "name": "X-ORG-ID",
        "description": "The organization that issued the token; optional.",
    },
    BASIC: {
        "type": "http",
        "scheme": "basic",
        "description": "The username is `ORGANIZATION_USER`, the password a token.",
    },
}
_ALTERNATIVES: list[dict[str, list[str]]] = [{BEARER: []}, {BEARER: [], ISSUER: []}, {BASIC: []}]
_OF_THE_ORGANIZATION: list[dict[str, Any]] = [
    {"name": "organization", "in": "path", "required": True, "schema": {"type": "string"}},
    {
        "name": "x-mongo-cluster-name",
        "in": "header",
        "required": False,
        "schema": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "description": "The storage cluster to look in; usually not needed.",
    },
]
"""Parameters of every operation on an organization, which find_organization reads."""
_PUBLIC = {"get-organization"}
"""Operations that answer without credentials too, and tell more to who has some."""

_REFERENCE = "#/components/schemas/{name}"
_REPLY = (events.CurrentAgentAction, events.NewMessage, events.InteractionComplete, events.Error)
_CREATED = (events.ConversationCreated, *_REPLY)
_INTERACTED = (events.UserMessageAvailable, *_REPLY)
_STREAMS: dict[str, tuple[str, tuple[type[events.Event], ...]]] = {
    "create-conversation": ("201", _CREATED),
    "interact-with-conversation": ("200", _INTERACTED),
    "follow-interaction": ("200", (events.ConversationCreated, *_INTERACTED)),
}
"""The operations that answer with lines of JSON, and the events that may be in them."""


def install(app: FastAPI, forms: Mapping[str, type[BaseModel]]) -> None:
    """Have an application serve this document; it is made once, when it is first asked for.

    `forms` are the multipart bodies that FastAPI does not see, by operation.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, forms)
        return app.openapi_schema

    app.openapi = openapi


def _document(app: FastAPI, forms: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    document["components"].setdefault("securitySchemes", {}).update(_SCHEMES)
    document["components"]["schemas"] |= _schemas_of_events()
    for path, operation in _operations(document):
        if "{organization}" in path:
            operation["parameters"] = [*_OF_THE_ORGANIZATION, *operation.get("parameters", [])]
        if any(BEARER in alternative for alternative in operation.get("security", [])):
            operation["security"] = [{}, *_ALTERNATIVES] if operation["operationId"] in _PUBLIC else _ALTERNATIVES
        if operation["operationId"] in _STREAMS:
            _describe_stream(operation)
        if operation["operationId"] in forms:
            form = forms[operation["operationId"]].model_json_schema()
            operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation


def _describe_stream(operation: dict[str, Any]) -> None:
    status, kinds = _STREAMS[operation["operationId"]]
    line = {"oneOf": [_reference(kind) for kind in kinds], "discriminator": {"propertyName": "type"}}
    operation["responses"][status]["content"] = {"application/x-ndjson": {"schema": line}}


def _schemas_of_events() -> dict[str, Any]:
    """Every event has all its fields, whatever their defaults."""
    actions = events.Action.__subclasses__()
    _, schemas = msgspec.json.schema_components(
        [events.ConversationCreated, *_INTERACTED, *actions], ref_template=_REFERENCE
    )
    for schema in schemas.values():
        schema["required"] = list(schema["properties"])
    schemas[events.Action.__name__] = {"oneOf": [_reference(action) for action in actions]}
    schemas[events.CurrentAgentAction.__name__]["properties"]["action"] = _reference(events.Action)
    return schemas


def _reference(kind: type[events.Event | events.Action]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}
