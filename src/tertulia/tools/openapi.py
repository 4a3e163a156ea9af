"""Tools of an OpenAPI document, 3.0 or 3.1: each operation becomes the definition of an HTTP tool.

Pure: nothing is fetched, and references lead to places in the document alone.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any, cast

from pydantic import ValidationError

from tertulia.problems import text_of
from tertulia.tools.definitions import OUR_HEADERS, HttpOperation, OfferedTool, checked_url
from tertulia.tools.names import named_apart
from tertulia.tools.schemas import Document, DocumentWrong, Place

MOST_OPERATIONS = 200

_METHODS = ("get", "head", "post", "put", "patch", "delete")
_WITH_BODY = frozenset({"post", "put", "patch", "delete"})
_LONGEST_DESCRIPTION = 2000
_IGNORED_HEADERS = frozenset({"accept", "content-type", "authorization", "idempotency-key"})
_FORM = "application/x-www-form-urlencoded"
_SERVER_VARIABLE = re.compile(r"\{([^{}]*)\}")
_NOT_OF_A_VARIABLE = re.compile(r"[^A-Z]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

Operation = tuple[Place, str, str, dict[str, Any], dict[str, Any]]
"""The place of an operation, its path, its method, its item of the paths and itself."""


def tools_of(
    content: Mapping[str, Any], wanted: Collection[str] | None = None, base_url: str | None = None
) -> list[OfferedTool]:
    """Make tools of the operations of a document: of those whose ids are `wanted`, or of all that are not deprecated.

    `base_url` goes before the servers that the document names. Return the tools in the document's order.

    Raises:
        DocumentWrong: it is no such document, or one of the operations cannot be a tool; names the place.
    """
    if not str(content.get("openapi", "")).startswith(("3.0", "3.1")):
        raise DocumentWrong(("openapi",), "This must be an OpenAPI document, of version 3.0 or 3.1.")
    document = Document(content)
    found = list(_operations(document, wanted))
    missing = set(wanted or ()) - {str(operation.get("operationId")) for *_, operation in found}
    if missing:
        raise DocumentWrong(("paths",), f"There is no operation {min(missing)[:100]}.")
    if len(found) > MOST_OPERATIONS:
        raise DocumentWrong(("paths",), f"There are more than {MOST_OPERATIONS} operations: name those you want.")
    names = named_apart(str(one.get("operationId") or f"{method} {path}") for _, path, method, _, one in found)
    return [_tool(document, name, operation, base_url) for name, operation in zip(names, found, strict=True)]


def _operations(document: Document, wanted: Collection[str] | None) -> Iterator[Operation]:
    paths: object = document.content.get("paths")
    if not isinstance(paths, dict):
        raise DocumentWrong(("paths",), "This must be an object.")
    for path, item in cast("dict[str, object]", paths).items():
        place: Place = ("paths", path)
        resolved = document.resolved(item, place)
        for method in _METHODS:
            if method in resolved:
                operation = document.resolved(resolved[method], (*place, method))
                named = (
                    operation.get("operationId") in wanted if wanted is not None else not operation.get("deprecated")
                )
                if named:
                    yield (*place, method), path, method, resolved, operation


def _tool(document: Document, name: str, found: Operation, base_url: str | None) -> OfferedTool:
    place, path, method, item, operation = found
    arguments = _Arguments()
    parameters = list(_parameters(document, place, item, operation, arguments))
    body = _body(document, place, operation, arguments) if method in _WITH_BODY else None
    authorization, keys = _security(document, place, operation)
    url = base_url or _server(document, place, item, operation)
    definition: dict[str, Any] = {
        "method": method.upper(),
        "url": url.rstrip("/") + path,
        "parameters": [*parameters, *keys],
        **({"body": body} if body is not None else {}),
        **({"authorization": authorization} if authorization is not None else {}),
    }
    try:
        HttpOperation.model_validate(definition)
    except ValidationError as error:
        message = text_of(error.errors(include_url=False, include_input=False)[0])
        raise DocumentWrong(place, f"This operation cannot be a tool: {message}") from None
    told = " ".join(filter(None, [_string(operation, "summary"), _string(operation, "description")]))
    told = told.strip() or f"{method.upper()} {path}"  # a tool cannot be made without a description
    return OfferedTool(name, told[:_LONGEST_DESCRIPTION], "http", definition, arguments.schema)


class _Arguments:
    """The arguments of a tool, as the properties of one schema."""

    def __init__(self) -> None:
        self.properties: dict[str, Any] = {}
        self.required: list[str] = []

    @property
    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": self.properties,
            "required": self.required,
            "additionalProperties": False,
        }

    def add(self, name: str, schema: Mapping[str, Any], *, required: bool, other: str) -> str:
        """Add an argument. Return its name, which is `other`, or numbered, if the name is taken."""
        chosen = next(
            one for one in (name, other, *(f"{other}_{n}" for n in range(2, 200))) if one not in self.properties
        )
        self.properties[chosen] = schema
        if required:
            self.required.append(chosen)
        return chosen


def _parameters(
    document: Document, place: Place, item: Mapping[str, Any], operation: Mapping[str, Any], arguments: _Arguments
) -> Iterator[dict[str, Any]]:
    """Read the parameters of an operation, and those of its path that it does not replace. Return their definitions."""
    merged: dict[tuple[str, str], tuple[Place, dict[str, Any]]] = {}
    for at, owner in (((*place[:-1], "parameters"), item), ((*place, "parameters"), operation)):
        for number, value in enumerate(_list(owner, "parameters", at)):
            one = document.resolved(value, (*at, number))
            merged[_string(one, "name"), _string(one, "in")] = (*at, number), one
    for (name, where), (at, one) in merged.items():
        needed = one.get("required") is True or where == "path"
        if _is_left_out(name.lower(), where) and (not needed or name.lower() in _IGNORED_HEADERS):
            continue
        if where not in {"path", "query", "header"} or _string(one, "style") in {"matrix", "label", "spaceDelimited"}:
            raise DocumentWrong(at, "A parameter of this place and style cannot be sent.")
        schema = {**_schema_of(document, one, at)}
        if _string(one, "description"):
            schema.setdefault("description", _string(one, "description"))
        argument = arguments.add(name, schema, required=needed, other=f"{name}_{where}")
        joined = {"explode": False} if one.get("explode") is False or where != "query" else {}
        yield {"name": name, "in": where, **({"argument": argument} if argument != name else {}), **joined}


def _is_left_out(name: str, where: str) -> bool:
    """Return True for a parameter that is sent otherwise, or not at all."""
    return where == "cookie" or (where == "header" and (name in OUR_HEADERS or name in _IGNORED_HEADERS))


def _schema_of(document: Document, one: Mapping[str, Any], at: Place) -> dict[str, Any]:
    if "schema" in one:
        return document.schema(one["schema"], (*at, "schema"))
    for kind, media in _object(one, "content", at).items():
        described = document.resolved(media, (*at, "content", kind))
        return document.schema(described.get("schema", {}), (*at, "content", kind, "schema"))
    return {}


def _body(
    document: Document, place: Place, operation: Mapping[str, Any], arguments: _Arguments
) -> dict[str, Any] | None:
    """Read the body of an operation. Return its definition, or None if it has none."""
    if "requestBody" not in operation:
        return None
    at: Place = (*place, "requestBody")
    given = document.resolved(operation["requestBody"], at)
    needed = given.get("required") is True
    kinds = {kind.partition(";")[0].strip().lower(): kind for kind in _object(given, "content", at)}
    kind = next((one for one in kinds if one == "application/json" or one.endswith("+json")), _FORM)
    if kind not in kinds:
        if needed:
            raise DocumentWrong((*at, "content"), "A body of this type cannot be sent: only JSON and forms.")
        return None
    here: Place = (*at, "content", kinds[kind])
    media = document.resolved(given["content"][kinds[kind]], here)
    schema = _flat(document.schema(media.get("schema", {}), (*here, "schema")))
    definition: dict[str, Any] = {"format": "form" if kind == _FORM else "json"}
    properties = _object(schema, "properties", here)
    if not _is_simple(schema) or any(name in arguments.properties for name in properties):
        return {**definition, "argument": arguments.add("body", schema, required=needed, other="request_body")}
    for name, one in properties.items():
        arguments.add(name, one, required=needed and name in schema.get("required", []), other=f"{name}_body")
    return definition


def _flat(schema: dict[str, Any]) -> dict[str, Any]:
    """Join the objects of an `allOf`. Return one object, or the schema as it is."""
    parts = [_flat(cast("dict[str, Any]", part)) for part in schema.get("allOf", [])]
    if not parts or not all(_is_simple(part) for part in parts) or {"anyOf", "oneOf", "not"} & schema.keys():
        return schema
    joined = [*parts, {key: item for key, item in schema.items() if key != "allOf"}]
    properties = {name: one for part in joined for name, one in part.get("properties", {}).items()}
    required = [name for part in joined for name in part.get("required", [])]
    return {"type": "object", "properties": properties, "required": list(dict.fromkeys(required))}


def _is_simple(schema: Mapping[str, Any]) -> bool:
    """Return True for an object whose properties are all that there is."""
    others = {"allOf", "anyOf", "oneOf", "not", "if", "patternProperties"} & schema.keys()
    open_ended = schema.get("additionalProperties", False) not in (False, True)
    return bool(schema.get("properties")) and schema.get("type", "object") == "object" and not (others or open_ended)


def _security(
    document: Document, place: Place, operation: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Choose the first way to sign in that can be taken. Return an authorization and the parameters with keys."""
    owner: Mapping[str, Any] = operation if "security" in operation else document.content
    at: Place = (*place, "security") if "security" in operation else ("security",)
    wanted = [cast("dict[str, object]", one) for one in _list(owner, "security", at) if isinstance(one, dict)]
    schemes = _object(_object(document.content, "components", ()), "securitySchemes", ("components",))
    for needed in wanted:
        made = [_scheme(document, name, schemes.get(name)) for name in needed]
        if all(one is not None for one in made):
            authorizations = [one for one in made if one and "in" not in one]
            return (authorizations[0] if authorizations else None), [one for one in made if one and "in" in one]
    if wanted:
        raise DocumentWrong(at, "None of these ways to sign in can be taken: only bearer, basic, and keys.")
    return None, []


def _scheme(document: Document, name: str, given: object) -> dict[str, Any] | None:
    """Read a way to sign in. Return an authorization, or a parameter with a key; None if it cannot be taken."""
    scheme = document.resolved(given, ("components", "securitySchemes", name))
    variable = _NOT_OF_A_VARIABLE.sub("_", _HUMP.sub("_", name).upper()).strip("_") or "KEY"
    match (_string(scheme, "type"), _string(scheme, "scheme").lower(), _string(scheme, "in")):
        case ("http", "basic", _):
            return {"basic": {"user": f"{variable}_USER", "password": f"{variable}_PASSWORD"}}
        case ("http", "bearer", _) | ("oauth2" | "openIdConnect", _, _):
            return {"bearer": variable}
        case ("apiKey", _, "header" | "query" as where):
            return {"name": _string(scheme, "name"), "in": where, "variable": variable}
        case _:
            return None


def _server(document: Document, place: Place, item: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    """Find the address that paths are below. Return it, with its variables' defaults."""
    at, owner = next(
        ((here, one) for here, one in ((place, operation), (place[:-1], item)) if one.get("servers")),
        ((), document.content),
    )
    for number, value in enumerate(_list(owner, "servers", (*at, "servers"))):
        here: Place = (*at, "servers", number)
        server = document.resolved(value, here)
        url = _SERVER_VARIABLE.sub(partial(_default, _object(server, "variables", here)), _string(server, "url"))
        try:
            checked_url(url)
        except ValueError as error:
            raise DocumentWrong((*here, "url"), f"{error} Give a base_url.") from None
        return url.partition("?")[0]
    raise DocumentWrong(("servers",), "The document names no server: give a base_url.")


def _default(variables: Mapping[str, Any], found: re.Match[str]) -> str:
    variable = variables.get(found[1])
    return _string(cast("dict[str, Any]", variable), "default") if isinstance(variable, dict) else ""


def _string(owner: Mapping[str, Any], key: str) -> str:
    value: object = owner.get(key)
    return value if isinstance(value, str) else ""


def _list(owner: Mapping[str, Any], key: str, place: Place) -> list[object]:
    value: object = owner.get(key, [])
    if not isinstance(value, list):
        raise DocumentWrong(place, "This must be a list.")
    return cast("list[object]", value)


def _object(owner: Mapping[str, Any], key: str, place: Place) -> dict[str, Any]:
    value: object = owner.get(key, {})
    if not isinstance(value, dict):
        raise DocumentWrong((*place, key), "This must be an object.")
    return cast("dict[str, Any]", value)
