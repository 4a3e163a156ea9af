"""The OpenAPI document: what FastAPI finds, with the ways to sign in that the contract names, streams and forms."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, cast

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from tertulia import events

PATH = "/v1/openapi.json"

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

_WITHOUT_TOKEN = {
    *_PUBLIC,
    "sign-in-with-api-key",
    "sign-in-with-email",
    "sign-in-with-mail-token",
    "get-identity-provider",
    "start-oidc-sign-in",
    "sign-in-with-oidc-code",
    "sign-in-with-id-token",
    "get-message-recording",
}
"""Operations that need no token, and so have no limit of a user."""

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


_STATUSES: dict[str, tuple[int, ...]] = {
    "create-conversation": (400, 409),
    "interact-with-conversation": (400, 409),
    "finish-conversation": (400, 409),
    "follow-interaction": (410,),
    "cancel-interaction": (409,),
    "recommend-responses-for-interaction": (400,),
    "generate-conversation-starter": (400,),
    "modify-tags-of-conversation": (400,),
    "retrieve-message-source": (400,),
    "get-message-recording": (403, 410, 416),
    "sign-in-with-api-key": (401, 429),
    "sign-in-with-email": (429,),
    "sign-in-with-mail-token": (401, 429),
    "get-identity-provider": (429,),
    "start-oidc-sign-in": (429,),
    "sign-in-with-oidc-code": (401, 409, 429),
    "sign-in-with-id-token": (401, 409, 429),
    "create-invited-user": (409,),
    "update-user-info": (409,),
    "delete-user": (400, 409),
    "create-role": (409,),
    "modify-role": (400,),
    "create-temporary-permission-grant": (409,),
    "create-api-key": (400, 409),
    "create-organization": (400, 409),
    "delete-organization": (400, 409),
    "create-agent": (409,),
    "create-agent-version": (400, 409),
    "delete-agent": (400, 409),
    "create-service-hierarchical-state-machine": (409,),
    "create-service-hierarchical-state-machine-version": (400, 409),
    "delete-service-hierarchical-state-machine": (400, 409),
    "create-service": (400, 409),
    "update-service": (400, 409),
    "upsert-service-version-set": (400,),
    "delete-service-version-set": (400,),
    "modify-user-variables": (400,),
    "create-tool": (400, 409),
    "modify-tool-envvars": (400, 409),
    "deprecate-tool": (409,),
    "publish-tool-version": (400, 409),
    "publish-tool-archive": (400, 409),
    "publish-http-tool": (400, 409),
    "publish-mcp-tool": (400, 409),
    "list-mcp-tools": (400,),
    "deprecate-tool-version": (409,),
    "test-tool": (400,),
    "invoke-tool-version": (400,),
    "get-tool-invocations": (400,),
    "create-dynamic-behavior-set": (409,),
    "update-dynamic-behavior-set": (409,),
    "create-dynamic-behavior-set-version": (400,),
}
"""The errors of single operations; those that follow from their parameters and bodies are found by `_errors_of`."""

_TEXTS = {
    400: "It is not possible now, or not as asked.",
    401: "Credentials are missing, wrong or expired.",
    403: "The caller may not do this.",
    404: "The organization or something else that is named does not exist.",
    408: "The body did not arrive in time.",
    409: "A related operation is running, or the state does not allow it.",
    410: "It is not kept any more, or its link has expired.",
    413: "The body is too large.",
    415: "The body is compressed, or a recording is of another format.",
    416: "The range is not in the recording.",
    422: "A field is missing or wrong.",
    429: "More requests than the limit allows.",
    500: "Internal error.",
    503: "Maintenance, too many turns, or something that this server needs cannot be reached.",
}
_ERROR = "ErrorDetail"
_WRONG = "HTTPValidationError"
_ERRORS: dict[str, Any] = {
    _ERROR: {
        "type": "object",
        "title": _ERROR,
        "required": ["detail"],
        "properties": {"detail": {"type": "string", "title": "Detail"}},
    },
    _WRONG: {
        "type": "object",
        "title": _WRONG,
        "required": ["detail", "message"],
        "properties": {
            "detail": {"type": "array", "title": "Detail", "items": {"$ref": "#/components/schemas/ValidationError"}},
            "message": {"type": "string", "title": "Message"},
        },
    },
    "ValidationError": {
        "type": "object",
        "title": "ValidationError",
        "required": ["loc", "msg", "type"],
        "properties": {
            "loc": {
                "type": "array",
                "title": "Location",
                "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            },
            "msg": {"type": "string", "title": "Message"},
            "type": {"type": "string", "title": "Error Type"},
        },
    },
}


def install(app: FastAPI, forms: Mapping[str, type[BaseModel]], complete: Callable[[], None]) -> None:
    """Have an application serve this document; it is made once, when it is first asked for, beside other requests.

    `forms` are the multipart bodies that FastAPI does not see, by operation; `complete` adds all routes.
    """
    making = threading.Lock()

    def openapi() -> dict[str, Any]:
        with making:
            if app.openapi_schema is None:
                complete()
                app.openapi_schema = _document(app, forms)
        return app.openapi_schema

    @cache
    def written() -> bytes:
        return msgspec.json.encode(openapi())

    async def show(_request: Request) -> Response:
        return Response(await asyncio.to_thread(written), media_type="application/json")

    app.openapi = openapi
    app.add_route(PATH, show, include_in_schema=False)


def _document(app: FastAPI, forms: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    document["components"].setdefault("securitySchemes", {}).update(_SCHEMES)
    document["components"]["schemas"] |= _schemas_of_events() | _ERRORS
    for name, schema in document["components"]["schemas"].items():
        schema["title"] = name.replace("-", "")  # of what is sent and what is answered, each its own
    for path, operation in _operations(document):
        if "{organization}" in path:
            operation["parameters"] = [*_OF_THE_ORGANIZATION, *operation.get("parameters", [])]
        if any(BEARER in alternative for alternative in operation.get("security", [])):
            operation["security"] = [{}, *_ALTERNATIVES] if operation["operationId"] in _PUBLIC else _ALTERNATIVES
        if operation["operationId"] in _STREAMS:
            document["components"]["schemas"] |= _describe_stream(operation)
        if operation["operationId"] in forms:
            form = forms[operation["operationId"]].model_json_schema()
            operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
        operation["responses"] |= {str(status): _error(status) for status in _errors_of(path, operation)}
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation


def _errors_of(path: str, operation: dict[str, Any]) -> list[int]:
    """List the errors that an operation may answer with. Return their statuses in order."""
    statuses = {404, 422, 500, 503, *_STATUSES.get(operation["operationId"], ())}
    if "{organization}" in path and operation["operationId"] not in _WITHOUT_TOKEN:
        statuses |= {401, 403, 429}
    if "requestBody" in operation:
        statuses |= {408, 413, 415}
    return sorted(statuses)


def _error(status: int) -> dict[str, Any]:
    name = _WRONG if status == 422 else _ERROR
    schema = {"$ref": _REFERENCE.format(name=name)}
    return {"description": _TEXTS[status], "content": {"application/json": {"schema": schema}}}


def _describe_stream(operation: dict[str, Any]) -> dict[str, Any]:
    """Describe the lines of a stream. Return the schema of one line by its name."""
    status, kinds = _STREAMS[operation["operationId"]]
    name = f"{operation['operationId'].title().replace('-', '')}Event"
    line = {"$ref": _REFERENCE.format(name=name)}
    operation["responses"][status]["content"] = {"application/x-ndjson": {"schema": line}}
    return {name: {"title": name, **_union(kinds)}}


def _schemas_of_events() -> dict[str, Any]:
    """Describe all events. Return their schemas by name; every event has all its fields, whatever their defaults."""
    actions = events.Action.__subclasses__()
    _, schemas = msgspec.json.schema_components(
        [events.ConversationCreated, *_INTERACTED, *actions], ref_template=_REFERENCE
    )
    for schema in schemas.values():
        schema["required"] = list(schema["properties"])
        _open_tuples(schema)
    schemas[events.Action.__name__] = _union(actions)
    schemas[events.CurrentAgentAction.__name__]["properties"]["action"] = _reference(events.Action)
    return schemas


def _open_tuples(schema: object) -> None:
    """Describe the items of tuples as generators of clients know them: no schema that is false, and none left out."""
    if isinstance(schema, dict):
        parts = cast("dict[str, object]", schema)
        if parts.get("items") is False:
            del parts["items"]
        if parts.get("maxItems") == 0:
            parts["items"] = {}
        for part in parts.values():
            _open_tuples(part)
    elif isinstance(schema, list):
        for part in cast("list[object]", schema):
            _open_tuples(part)


def _union(kinds: Sequence[type[events.Event | events.Action]]) -> dict[str, Any]:
    """Describe a value that is one of several kinds by its `type`. Return the schema, with the kind of each type."""
    mapping = {str(kind.__struct_config__.tag): _REFERENCE.format(name=kind.__name__) for kind in kinds}
    return {
        "oneOf": [_reference(kind) for kind in kinds],
        "discriminator": {"propertyName": "type", "mapping": mapping},
    }


def _reference(kind: type[events.Event | events.Action]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}
