"""Families of operations, whose modules are imported when one of their paths is first asked for.

The bodies and routes of all operations took a sixth of the work of a start. A process begins with those of
conversations; the others come with the first request for one of them, or soon after the start.
"""

import asyncio
import importlib
import threading
from collections.abc import Mapping, Sequence

from fastapi import APIRouter
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

PAUSE_S = 0.05
"""The time between two modules that are imported beside requests, in seconds."""

SETTLED_S = 1.0
"""The time after a start in which a process has something better to do, in seconds."""


def load(module: str) -> APIRouter:
    """Import a module of `tertulia.api`. Return its router."""
    router: APIRouter = importlib.import_module(f"tertulia.api.{module}").router
    return router


class Families:
    """The families of operations that a router's paths can lead to; `modules` lists the modules of each.

    The order of the routes is that of the table, whichever family was asked for first.
    """

    def __init__(self, modules: Mapping[str, Sequence[str]], router: APIRouter) -> None:
        self._modules = modules
        self._router = router
        self._first = [*router.routes]
        self._added: dict[str, list[BaseRoute]] = {}
        self._adding = threading.Lock()
        """The document of the API is made in a thread, and adds what is missing there."""
        self._not_found = router.default
        router.default = self._find

    async def _find(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that no route matches, once more if the routes of its family were missing."""
        family = family_of(scope["path"])
        if family in self._added or family not in self._modules:
            await self._not_found(scope, receive, send)
            return
        self._add(family)
        await self._router(scope, receive, send)

    def _add(self, family: str) -> None:
        routes = [route for module in self._modules[family] for route in load(module).routes]
        with self._adding:
            self._added[family] = routes
            added = [route for name in self._modules for route in self._added.get(name, ())]
            self._router.routes[:] = [*self._first, *added]

    def add_all(self) -> None:
        """Add the routes that are missing."""
        for family in self._modules.keys() - self._added.keys():
            self._add(family)

    async def add_beside_requests(self) -> None:
        """Add the routes that are missing, soon, a module at a time: no request waits for more than one of them."""
        await asyncio.sleep(SETTLED_S)
        for modules in self._modules.values():
            for module in modules:
                load(module)
                await asyncio.sleep(PAUSE_S)
        self.add_all()


def family_of(path: str) -> str:
    """Read the name of a path's family, `/v1/{organization}/FAMILY/...`. Return it; of other paths an empty text."""
    parts = path.split("/", 4)
    return parts[3] if len(parts) > 3 and parts[1] == "v1" else ""
