"""A server whose language model is a puppet, another one for each test."""

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import cached_property
from typing import Any

from support.puppet import Puppet
from support.samples import make_agent, make_graph, make_service, short_graph
from support.server import Server, UserClient
from tertulia.auth import roles
from tertulia.providers.base import LanguageModel, Prompt
from tertulia.storage.database import dialect
from tertulia.storage.organization import DEFAULT_PREFERENCES
from tertulia.storage.user import NewUser, insert_user


class Switch:
    """The model that the server knows: it passes everything on to the one that is in use."""

    def __init__(self) -> None:
        self.model: LanguageModel = Puppet()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        async with aclosing(self.model.stream(prompt)) as pieces:
            async for piece in pieces:
                yield piece

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        return await self.model.choose(prompt, schema)


def _insert_root(server: Server) -> str:
    """Over the API nobody can make a user of their own rank, so the first of a rank comes from below."""
    engine = dialect.create_engine(server.settings.cluster_urls["default"], 1)
    org_id = server.demo.organization_id
    with engine.begin() as connection:
        role_id = roles.insert_builtin(connection, org_id)[roles.AMIGO_ADMINISTRATOR]
        new = NewUser(role_id, "Test", "Root", "root@example.com", DEFAULT_PREFERENCES)
        user_id = insert_user(connection, org_id, new)
    engine.dispose()
    return user_id


class Stage:
    """A server, its administrator, and the switch of its model."""

    def __init__(self, server: Server, switch: Switch) -> None:
        self.server = server
        self.switch = switch
        self.admin = server.as_admin
        self.root = server.client(server.sign_in(_insert_root(server)))
        """Outranks administrators, so it can invite some."""

    def play(self, puppet: Puppet) -> Puppet:
        """Let a puppet answer from now on."""
        self.switch.model = puppet
        return puppet

    def service(self, graph: dict[str, Any] | None = None, **fields: Any) -> str:
        """A new service of a graph; without one, of two states."""
        known = {"agent_id": self._agent_id} | ({"graph_id": self._graph_id} if graph is None else {})
        return make_service(self.admin, graph, **{**known, **fields})

    @cached_property
    def _agent_id(self) -> str:
        return make_agent(self.admin)

    @cached_property
    def _graph_id(self) -> str:
        return make_graph(self.admin, short_graph())

    def user(self, role: str = "DefaultUserRole", **fields: Any) -> UserClient:
        """A client of a new user."""
        body = {
            "first_name": "Test",
            "last_name": "Person",
            "email": f"{secrets.token_hex(6)}@example.com",
            "role_name": role,
            **fields,
        }
        answer = self.root.post("/user/", json=body)
        assert answer.status_code == 201, answer.text
        return self.server.client_of(answer.json()["user_id"])
