"""The demo organization: two users, an agent, a context graph and a service worth talking to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.auth import api_keys, roles
from tertulia.demo.content import AGENT, CONTEXT_GRAPH, ORGANIZATION, SERVICE
from tertulia.engine.graph.context_graph import ContextGraph
from tertulia.engine.graph.rules import problems
from tertulia.ids import new_id
from tertulia.storage import agent as agents
from tertulia.storage import context_graph as context_graphs
from tertulia.storage import organization as organizations
from tertulia.storage import service as services
from tertulia.storage import user as users
from tertulia.storage import versioned
from tertulia.storage.api_key import prune_api_keys
from tertulia.storage.database import dialect
from tertulia.storage.service import EDGE, Service
from tertulia.storage.user import NewUser
from tertulia.storage.versioned import Author, Kind, Versioned

TITLE = "Tertulia demo"
"""The title of the organization that is there for nothing but the demo; another one has its identifier."""
USER_EMAIL = "user@example.com"
ADMINISTRATOR_EMAIL = "administrator@example.com"
SUPER_EMAIL = "super@example.com"

KEY_NAME = "tertulia init"
KEPT_KEYS = 10
"""The keys made here that stay: a daily `init` does not fill the organization with keys."""


T = TypeVar("T", bound=Versioned)


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo organization as `tertulia init` prints it. `api_key` is known here and never again."""

    organization_id: str
    user_id: str
    admin_user_id: str
    super_user_id: str
    api_key_id: str
    api_key: str
    service_id: str


@dataclass(frozen=True, slots=True)
class Founded:
    """An organization with nothing but two administrators and a key. `api_key` is known here and never again."""

    organization_id: str
    admin_user_id: str
    super_user_id: str
    api_key_id: str
    api_key: str


def found(connection: Connection, org_id: str) -> Founded:
    """Make what is missing of an organization and its administrators, and a new API key. Return them."""
    dialect.lock_schema(connection)  # of several that begin at once, one makes it and the others find it
    if organizations.find_organization(connection, org_id) is None:
        organizations.insert_organization(connection, org_id, TITLE if org_id == ORGANIZATION else org_id)
    role_ids = roles.insert_builtin(connection, org_id)
    admin_id = _user(connection, org_id, "Administrator", ADMINISTRATOR_EMAIL, role_ids[roles.ADMINISTRATOR])
    super_id = _user(connection, org_id, "Super Administrator", SUPER_EMAIL, role_ids[roles.SUPER_ADMINISTRATOR])
    prune_api_keys(connection, org_id, KEY_NAME, KEPT_KEYS - 1)
    key = api_keys.issue(
        connection, org_id, role_ids[roles.SUPER_ADMINISTRATOR], Author(org_id, admin_id), name=KEY_NAME
    )
    return Founded(org_id, admin_id, super_id, key.api_key_id, key.api_key)


def bootstrap(connection: Connection, org_id: str = ORGANIZATION) -> Demo:
    """Make what is missing of the demo organization, and a new API key that outranks its users. Return both."""
    made = found(connection, org_id)
    role_ids = roles.insert_builtin(connection, org_id)
    user_id = _user(connection, org_id, "User", USER_EMAIL, role_ids[roles.USER])
    service_id = _service(connection, Author(org_id, made.admin_user_id))
    return Demo(org_id, user_id, made.admin_user_id, made.super_user_id, made.api_key_id, made.api_key, service_id)


def find_user(connection: Connection, org_id: str, *, administrator: bool = False) -> str | None:
    """Look for the demo user or administrator of an organization. Return their id, or None."""
    return users.find_user_id(connection, org_id, ADMINISTRATOR_EMAIL if administrator else USER_EMAIL)


def add_visitor(connection: Connection, org_id: str) -> str:
    """Make a user for one conversation, who may see what agents do. Return their id."""
    role_id = roles.insert_builtin(connection, org_id)[roles.ADMINISTRATOR]
    email = f"visitor-{new_id()}@example.com"
    return users.insert_user(
        connection, org_id, NewUser(role_id, "Test", "Visitor", email, organizations.DEFAULT_PREFERENCES)
    )


def _user(connection: Connection, org_id: str, last_name: str, email: str, role_id: str) -> str:
    found = users.find_user_id(connection, org_id, email)
    if found is not None:
        return found
    preferences = organizations.DEFAULT_PREFERENCES
    return users.insert_user(connection, org_id, NewUser(role_id, "Demo", last_name, email, preferences))


def _service(connection: Connection, author: Author) -> str:
    found = services.find_service_id(connection, author.org_id, SERVICE)
    if found is not None:
        return found
    made = Service(
        id=new_id(),
        org_id=author.org_id,
        name=SERVICE,
        description=CONTEXT_GRAPH["description"],
        is_active=True,
        agent_id=_versioned(connection, agents.AGENT, "Reading circle host", AGENT, author),
        context_graph_id=_versioned(connection, context_graphs.CONTEXT_GRAPH, SERVICE, _checked_graph(), author),
        tags={},
        keyterms=(),
        creator_org_id=author.org_id,
        creator_user_id=author.user_id,
        updated_by_org_id=author.org_id,
        updated_by_user_id=author.user_id,
        created_at=clock.now(),
    )
    services.insert_service(connection, made, {"edge": EDGE, "release": EDGE})
    return made.id


def _versioned(connection: Connection, kind: Kind[T], name: str, body: Mapping[str, Any], author: Author) -> str:
    """Find an agent or a context graph of this name, or make one with a first version. Return its id."""
    found = versioned.find_id(connection, kind, author.org_id, name)
    if found is not None:
        return found
    thing_id = versioned.create(connection, kind, author.org_id, name)
    thing = versioned.lock(connection, kind, author.org_id, thing_id)
    versioned.create_version(connection, kind, thing, body, author, expected=1)
    return thing_id


def _checked_graph() -> dict[str, Any]:
    graph = ContextGraph.model_validate(CONTEXT_GRAPH)
    wrong = problems(graph)
    if wrong:
        raise ValueError(wrong)
    return graph.model_dump(mode="json")
