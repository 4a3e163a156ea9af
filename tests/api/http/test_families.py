"""Operations whose modules are imported when they are first asked for: the table is complete, and nobody notices."""

import asyncio
import importlib
import pkgutil
from typing import Any

import pytest
from fastapi import APIRouter

from tertulia import api
from tertulia.api import FAMILIES, ROUTERS
from tertulia.api.http.families import Families, family_of, load
from tertulia.app import create_app
from tertulia.settings import Settings


def found() -> dict[str, APIRouter]:
    """The routers of all modules of the API, by the module's name below `tertulia.api`."""
    names = [each.name for each in pkgutil.walk_packages(api.__path__, f"{api.__name__}.")]
    modules = {name.removeprefix(f"{api.__name__}."): importlib.import_module(name) for name in names}
    return {name: module.router for name, module in modules.items() if hasattr(module, "router")}


def paths(router: APIRouter) -> list[str]:
    return [str(getattr(route, "path", "")) for route in router.routes]


async def answer(app: Any, path: str, method: str = "GET") -> int:
    """Ask an application that has not been started. The status of its answer."""
    sent: list[dict[str, Any]] = []
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asking = {**scope, "headers": [], "root_path": "", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)}
    await app({**asking, "scheme": "http", "http_version": "1.1", "asgi": {"version": "3.0"}}, receive, send)
    return int(sent[0]["status"])


def test_every_router_is_there_from_the_beginning_or_in_a_family():
    routers = found()
    in_families = [module for modules in FAMILIES.values() for module in modules]
    assert len(in_families) == len(set(in_families))
    assert {name for name, router in routers.items() if router not in ROUTERS} == set(in_families)
    assert all(router in routers.values() for router in ROUTERS)


def test_every_path_of_a_family_leads_to_it_and_no_other_does():
    for family, modules in FAMILIES.items():
        for module in modules:
            assert {family_of(path) for path in paths(load(module))} == {family}, module
    first = {family_of(path) for router in ROUTERS for path in paths(router)}
    assert not first & FAMILIES.keys()


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_path_is_answered_although_its_family_is_not_there_yet(family: str):
    app = create_app(Settings())
    begun = {id(route) for route in app.routes}
    assert await answer(app, f"/v1/somebody/{family}/no/such/path/at/all") == 404
    missing = {id(route) for module in FAMILIES[family] for route in load(module).routes}
    assert {id(route) for route in app.routes} - begun == missing


async def test_methods_are_told_whether_a_family_is_there_or_not():
    app = create_app(Settings())
    assert [await answer(app, "/v1/somebody/role/", "PUT") for _ in range(2)] == [405, 405]


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/somebody", "/v2/somebody/tool", "/", "", "/v1//", "//v1/a/tool"])
def test_other_paths_lead_to_no_family(path: str):
    assert family_of(path) not in FAMILIES


async def test_the_order_of_routes_is_that_of_the_table_whichever_was_asked_for_first():
    whole = create_app(Settings())
    whole.openapi()
    app = create_app(Settings())
    for family in reversed([*FAMILIES]):
        await answer(app, f"/v1/somebody/{family}/no/such/path/at/all")
    assert [getattr(route, "path", "") for route in app.routes] == [
        getattr(route, "path", "") for route in whole.routes
    ]
    assert app.openapi()["paths"].keys() == whole.openapi()["paths"].keys()


async def test_families_come_by_themselves_when_there_is_time(monkeypatch: pytest.MonkeyPatch):
    steps: list[int] = []
    router = APIRouter()
    families = Families({"role": ["role"], "user": ["user", "memory"]}, router)

    async def sleep(_seconds: float) -> None:
        steps.append(len(router.routes))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await families.add_beside_requests()
    assert len(steps) == 4  # before the first, and after each module
    assert len(router.routes) == sum(len(load(module).routes) for module in ("role", "user", "memory"))
