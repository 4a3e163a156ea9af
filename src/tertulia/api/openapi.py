"""The OpenAPI document: what FastAPI finds, with the ways to sign in that the contract names."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

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


def install(app: FastAPI) -> None:
    """Have an application serve this document; it is made once, when it is first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    document["components"].setdefault("securitySchemes", {}).update(_SCHEMES)
    for operations in document["paths"].values():
        for operation in operations.values():
            if any(BEARER in alternative for alternative in operation.get("security", [])):
                operation["security"] = _ALTERNATIVES
    return document
