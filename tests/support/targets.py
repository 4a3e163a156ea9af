"""Targets: one of everything that an operation of `operations.py` can be about."""

import hashlib
import json
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Concatenate, ParamSpec
from urllib.parse import parse_qsl, urlsplit

import httpx2
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from operations import BY_ID, INVITATION, ROLE, VERSION_SET, Operation, Targets
from support import samples
from support.server import Server
from tertulia import clock
from tertulia.auth import api_keys, roles
from tertulia.cli import installation
from tertulia.ids import new_id
from tertulia.storage import mail_token as mail_tokens
from tertulia.storage import memory as memories
from tertulia.storage.database import dialect
from tertulia.storage.memory import Memory
from tertulia.storage.role import get_role
from tertulia.storage.tables import users
from tertulia.storage.tool_invocation import ToolInvocation, insert_invocation
from tertulia.storage.versioned import Author
from tertulia.tools import scaffold

P = ParamSpec("P")

NOWHERE = "0" * 24


def nowhere(operation: Operation) -> Targets:
    """Name what does not exist. Return the parameters of an operation's path."""
    return dict.fromkeys(operation.parameters, NOWHERE)


def make_targets(server: Server, client: httpx2.Client, user_id: str | None = None) -> dict[str, str]:
    """Make one of everything; the conversation is the client's. Return the identifiers by the names of parameters.

    The user is a new one, unless `user_id` names another. The agent and the graph are used by no service, so that they
    can be deleted; no conversation of the service has begun.
    """
    admin = server.as_admin
    agent_id = samples.make_agent(admin, voice_config={"voice_id": "default"})
    used_graph = samples.make_graph(admin, samples.short_graph())
    spare_graph = samples.make_graph(admin, samples.short_graph())
    service_id, talked_to = (
        str(admin.post("/service/", json=samples.service(agent_id, used_graph)).raise_for_status().json()["id"])
        for _ in range(2)
    )
    path = f"/service/{service_id}/version_sets/test/"
    admin.put(path, json={"version_set": VERSION_SET}).raise_for_status()
    person = user_id or invite(admin)
    BY_ID["create-temporary-permission-grant"].ask(server.as_super, {"user_id": person}).raise_for_status()
    talk = _begin(client, talked_to)
    BY_ID["put-message-feedback"].ask(client, talk).raise_for_status()
    shared = BY_ID["create-share"].ask(server.as_admin, talk).raise_for_status().json()
    return {
        "agent_id": samples.make_agent(admin),
        "api_key": server.demo.api_key,
        "api_key_id": _make_ended_key(server),
        "demo_key_id": server.demo.api_key_id,
        "dynamic_behavior_set_id": samples.make_behavior(admin),
        "email": an_email(),
        "mail_token": make_mail_token(server, person),
        "requested_user_id": person,
        "role_name": make_role(admin),
        "service_hierarchical_state_machine_id": spare_graph,
        "service_id": service_id,
        "state_machine_id": spare_graph,
        "user_id": person,
        "version_set_name": "test",
        "share_id": shared["id"],
        "share_token": shared["token"],
        "memory_id": _remember(server, person, talk),
        **_make_tool(server, person, talk, service_id),
        **talk,
    }


def an_email() -> str:
    """Make up an address. Return one that nobody else has."""
    return f"{secrets.token_hex(6)}@example.com"


def make_role(admin: httpx2.Client, *permission_grants: samples.Json) -> str:
    """Make a role with these grants. Return its name."""
    name = samples.a_name()
    body = {**ROLE, "role_name": name, "permission_grants": list(permission_grants)}
    admin.post("/role/", json=body).raise_for_status()
    return name


def make_mail_token(server: Server, user_id: str, life: timedelta = timedelta(minutes=1)) -> str:
    """Make a token as a mail brings it to a user. Return it."""
    token = secrets.token_urlsafe(32)
    hashed = hashlib.sha256(token.encode()).hexdigest()
    org_id = server.demo.organization_id
    write(server, mail_tokens.insert_mail_token, org_id, user_id, hashed, clock.now() + life)
    return token


def make_key(client: httpx2.Client, **changes: str) -> dict[str, str]:
    """Make an API key. Return it."""
    made = client.post("/organization/api_key/", json={"name": "A key", "duration": "P1D", **changes})
    return dict(made.raise_for_status().json())


def _make_ended_key(server: Server) -> str:
    """Make a key that has ended, of which there may be any number. Return its identifier."""
    made: list[str] = []

    def issue(connection: Connection) -> None:
        org_id = server.demo.organization_id
        role = get_role(connection, org_id, roles.USER)
        author = Author(org_id, server.demo.super_user_id)
        made.append(api_keys.issue(connection, org_id, role.id, author, life=-timedelta(seconds=1)).api_key_id)

    write(server, issue)
    return made[0]


def invite(admin: httpx2.Client) -> str:
    """Invite a user. Return its identifier."""
    body = {**INVITATION, "first_name": "Target", "email": an_email()}
    return str(admin.post("/user/", json=body).raise_for_status().json()["user_id"])


def _begin(client: httpx2.Client, service_id: str) -> dict[str, str]:
    """Begin a spoken conversation. Return its identifiers, and the query of the link to its recording."""
    stream = client.post("/conversation/", params={"response_format": "voice"}, json={"service_id": service_id})
    events = [json.loads(line) for line in stream.raise_for_status().text.splitlines()]
    conversation_id, last = events[0]["conversation_id"], events[-1]
    source = client.get(f"/conversation/{conversation_id}/messages/{last['message_id']}/source").raise_for_status()
    return {
        "conversation_id": conversation_id,
        "interaction_id": last["interaction_id"],
        "trace_id": last["interaction_id"],
        "message_id": last["message_id"],
        **dict(parse_qsl(urlsplit(source.json()["url"]).query)),
    }


def _make_tool(server: Server, user_id: str, talk: Targets, service_id: str) -> dict[str, str]:
    """Publish a tool, and have it called by a turn of the user. Return what paths name of it."""
    admin = server.as_admin
    body = samples.tool(samples.a_name().lower().replace(" ", "_"))
    tool_id = str(admin.post("/tool/", json=body).raise_for_status().json()["id"])
    archive, kind = scaffold.archive(), {"content-type": "application/gzip"}
    path, query = f"/tool/{tool_id}/version/archive", {"bump_type": "major"}
    admin.post(path, params=query, content=archive, headers=kind).raise_for_status()
    made = ToolInvocation(
        id=new_id(),
        org_id=server.demo.organization_id,
        tool_id=tool_id,
        major=1,
        minor=0,
        patch=0,
        succeeded=True,
        output="Hello, Ada!",
        exception_type="",
        exception_message="",
        exception_stack_trace=[],
        duration_ms=1,
        inputs={"name": "Ada"},
        user_id=user_id,
        service_id=service_id,
        conversation_id=talk["conversation_id"],
        interaction_id=talk["interaction_id"],
        place={"type": "engage-user", "current_state_machine_and_version": [NOWHERE, 1], "tool_call_round_index": 1},
        created_at=clock.now(),
    )
    write(server, insert_invocation, made)
    return {"tool_id": tool_id, "version": "1.0.0", "versions": "%3E%3D9"}


def write(
    server: Server, unit: Callable[Concatenate[Connection, P], object], *args: P.args, **kwargs: P.kwargs
) -> None:
    """Run a unit of storage in a server's database."""
    engine = dialect.create_engine(server.settings.cluster_urls["default"], 1)
    with engine.begin() as connection:
        dialect.begin_write(connection)
        unit(connection, *args, **kwargs)
    engine.dispose()


def founder_of(server: Server, org_id: str) -> httpx2.Client:
    """Sign in the first user of an organization, below whose paths the client's begin. Return the client."""
    found: list[str] = []

    def find(connection: Connection) -> None:
        found.extend(connection.execute(sa.select(users.c.id).where(users.c.org_id == org_id)).scalars())

    write(server, find)
    (user_id,) = found
    client = server.client(installation.issue_token(server.settings, org_id, user_id, administrator=True).token)
    client.base_url = f"{server.url}/v1/{org_id}"
    return client


def _remember(server: Server, user_id: str, talk: Targets) -> str:
    """Have a user remembered for a message. Return the identifier of the memory."""
    made = Memory(
        id=new_id(),
        org_id=server.demo.organization_id,
        user_id=user_id,
        conversation_id=talk["conversation_id"],
        content="I live in Berlin.",
        context="",
        message_ids=[talk["message_id"]],
        cites_user=True,
        cites_event=False,
        replaced_by=None,
        created_at=clock.now(),
        corrected_at=None,
    )
    write(server, memories.insert_memory, made, ["berlin"], None)
    return made.id
