"""The requests to the server: creates, each by a user who has no unfinished conversation of the service."""

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path

from sqlalchemy.engine import Connection

from bench.http import Create, path_of
from tertulia.auth import roles
from tertulia.auth.secrets import SecretBox
from tertulia.auth.tokens import Tokens
from tertulia.cli import installation
from tertulia.demo.organization import ORGANIZATION, Demo
from tertulia.ids import new_id
from tertulia.settings import DatabaseSettings, Settings
from tertulia.storage import organization, role, service, user
from tertulia.storage.clusters import Clusters
from tertulia.storage.user import NewUser

USERS = 2000
SERVICES = 400


class Workload:
    """The creates of an installation, each given out once: users and services come in their product's order."""

    org_id = ORGANIZATION
    path = path_of(ORGANIZATION)

    def __init__(
        self, user_ids: list[str], tokens: list[str], service_ids: list[str], demo: Demo, admin_token: str
    ) -> None:
        self.demo = demo
        self.admin_token = admin_token
        self.user_ids = user_ids
        self.service_ids = service_ids
        self._creates = (Create(token, service_id) for service_id, token in itertools.product(service_ids, tokens))

    def take(self, count: int) -> list[Create]:
        """So many creates that nobody has been given yet."""
        taken = list(itertools.islice(self._creates, count))
        if len(taken) < count:
            raise ValueError("the workload is used up: it needs more users or services")
        return taken


def prepare(data: Path, database_url: str = "") -> Workload:
    """Make an installation in a folder: the demo organization, and more users and services in it."""
    settings = Settings(data=data, database=DatabaseSettings(url=database_url))
    demo = installation.make_demo(settings, ORGANIZATION, None)
    clusters = Clusters(settings)
    try:
        return asyncio.run(_fill(clusters, SecretBox.open(settings), demo))
    finally:
        clusters.close()


async def _fill(clusters: Clusters, box: SecretBox, demo: Demo) -> Workload:
    users = await clusters.default.write(_insert_users, demo)
    services = await clusters.default.write(_insert_services, demo)
    tokens = Tokens(clusters.default, box)
    issued = [(await tokens.issue(demo.organization_id, user_id))[0] for user_id in users]
    admin_token, _ = await tokens.issue(demo.organization_id, demo.admin_user_id)
    return Workload(users, issued, services, demo, admin_token)


def _insert_users(connection: Connection, demo: Demo) -> list[str]:
    reader = role.get_role(connection, demo.organization_id, roles.USER)
    preferences = organization.DEFAULT_PREFERENCES
    return [
        user.insert_user(
            connection,
            demo.organization_id,
            NewUser(reader.id, "Reader", str(number), f"reader-{number}@example.com", preferences),
        )
        for number in range(USERS)
    ]


def _insert_services(connection: Connection, demo: Demo) -> list[str]:
    """Copies of the demo's service, which differ in their names alone."""
    original = service.lock_service(connection, demo.organization_id, demo.service_id)
    copies = [replace(original, id=new_id(), name=f"{original.name} {number}") for number in range(SERVICES)]
    for copy in copies:
        service.insert_service(connection, copy, {"edge": service.EDGE, "release": service.EDGE})
    return [copy.id for copy in copies]
