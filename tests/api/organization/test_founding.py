"""Organizations: made by a super administrator, and deleted with every row that they have."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from operations import ORGANIZATION
from support import samples
from support.server import Serve, Server
from support.targets import founder_of, make_mail_token, make_targets, write
from tertulia.background import leftovers
from tertulia.cli import installation
from tertulia.mail import Mailer
from tertulia.settings import MailSettings
from tertulia.storage import organization_erasure
from tertulia.storage.clusters import remove_entry
from tertulia.storage.database.units import open_database
from tertulia.storage.tables import metadata, organizations, search_progress, statistics_progress

pytestmark = pytest.mark.both_databases

HEADER = {"x-mongo-cluster-name": "default"}


def a_slug() -> str:
    return samples.a_name().lower().replace(" ", "-").replace("_", "-")


def make(client: httpx2.Client, org_id: str, headers: dict[str, str] = HEADER, **changes: Any) -> httpx2.Response:
    body = {**ORGANIZATION, "org_name": "New", **changes}
    server = str(client.base_url).rsplit("/v1/", 1)[0]
    return client.put(f"{server}/v1/{org_id}/organization/", headers=headers, json=body)


def test_a_super_administrator_makes_an_organization_and_is_its_super_administrator(
    tertulia: Server, as_super: httpx2.Client
) -> None:
    org_id = a_slug()

    made = make(as_super, org_id, user_dimensions=[{"description": "Taste", "tags": []}])

    assert (made.status_code, made.json()) == (201, {"org_id": org_id})
    assert tertulia.anonymous.get(f"{tertulia.url}/v1/{org_id}/organization/").json()["org_name"] == "New"
    theirs = founder_of(tertulia, org_id)
    assert [role["name"] for role in theirs.get("/role/").json()["roles"]] == [
        "DefaultUserRole",
        "DefaultAdministratorRole",
        "DefaultAmigoAdministratorRole",
        "DefaultSuperAdministratorRole",
    ]
    assert theirs.get("/organization/user_dimensions/").json()["user_dimensions"][0]["description"] == "Taste"
    assert theirs.get(f"{tertulia.base}/service/").status_code == 403
    assert theirs.post("/organization/api_key/", json={"name": None, "duration": "P1D"}).status_code == 201


def test_of_several_who_make_one_organization_at_once_one_does(as_super: httpx2.Client) -> None:
    org_id = a_slug()

    with ThreadPoolExecutor(4) as pool:
        answers = [answer.status_code for answer in pool.map(lambda _: make(as_super, org_id), range(4))]

    assert sorted(answers) == [201, 409, 409, 409]


def test_an_organization_that_cannot_be_is_refused(
    tertulia: Server, as_super: httpx2.Client, as_admin: httpx2.Client
) -> None:
    assert make(as_super, "admin").status_code == 400
    assert make(as_super, "demo").status_code == 409
    assert [make(as_super, name).status_code for name in ("a_b", "-a", "x" * 64)] == [422] * 3
    assert make(as_super, a_slug(), headers={}).status_code == 422
    assert make(as_super, a_slug(), headers={"x-mongo-cluster-name": "nowhere"}).status_code == 404
    assert make(as_super, a_slug(), logo="not base64!").status_code == 422
    assert make(as_admin, a_slug()).status_code == 403
    assert make(tertulia.anonymous, a_slug()).status_code == 401


def test_an_organization_that_the_directory_does_not_know_is_not_made_again_elsewhere(
    serve: Serve, new_database: Callable[[], str]
) -> None:
    """Else all its users would be led to the new one."""
    server = serve(clusters={"eu": new_database()})
    write(server, remove_entry, "demo")

    assert make(server.as_super, "demo", headers={"x-mongo-cluster-name": "eu"}).status_code == 409
    assert server.as_user.get("/service/").status_code == 200
    assert make(server.as_super, "new", headers={"x-mongo-cluster-name": "eu"}).status_code == 201


def rows_of(server: Server, org_id: str) -> dict[str, int]:
    """Count the rows of an organization, in every table."""
    found: dict[str, int] = {}

    def count(connection: sa.Connection) -> None:
        for table in metadata.sorted_tables:
            if table in {search_progress, statistics_progress}:  # they are the installation's
                continue
            theirs = sa.select(sa.func.count()).select_from(table).where(table.c.org_id == org_id)
            found[table.name] = connection.execute(theirs).scalar_one()

    write(server, count)
    return found


def test_a_deleted_organization_leaves_no_row_in_any_table(serve: Serve) -> None:
    """Also where the first request broke off in the middle. Others keep what they have."""
    server = serve()
    installation.make_demo(server.settings, "other", None)
    targets = make_targets(server, server.as_admin)
    make_mail_token(server, targets["user_id"])
    kept, before = rows_of(server, "other"), rows_of(server, "demo")
    late = server.sign_in(server.demo.user_id)

    def begin(connection: sa.Connection) -> None:
        organization_erasure.begin_deletion(connection, "demo", server.demo.super_user_id)
        assert organization_erasure.erase_organization_portion(connection, "demo")

    write(server, begin)

    assert server.client(late).get("/service/").status_code == 401
    assert server.anonymous.get("/organization/").status_code == 404
    assert make(server.as_super, "demo").status_code == 409
    assert server.as_super.delete("/organization/").status_code == 204

    assert {name: number for name, number in rows_of(server, "demo").items() if number} == {}
    assert rows_of(server, "other") == kept
    assert sum(1 for number in before.values() if number) > 25
    assert server.as_super.delete("/organization/").status_code == 404
    made = installation.make_demo(server.settings, "demo", None)
    assert made.super_user_id != server.demo.super_user_id


def test_commands_make_list_and_delete_organizations(tertulia: Server) -> None:
    name = a_slug()
    installation.make_organization(tertulia.settings, name, None, "org create")
    assert (name, name, "default") in installation.list_organizations(tertulia.settings)

    installation.delete_organization(tertulia.settings, name)

    assert name not in {found[0] for found in installation.list_organizations(tertulia.settings)}
    assert sum(rows_of(tertulia, name).values()) == 0


def test_the_log_of_the_process_says_who_has_deleted_an_organization(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(log_level="warning")
    capsys.readouterr()

    server.as_super.delete("/organization/").raise_for_status()

    (line,) = (line for line in capsys.readouterr().err.splitlines() if "organization deleted" in line)
    told = json.loads(line)
    assert (told["organization"], told["user"]) == ("demo", server.demo.super_user_id)
    assert told["request_id"]


@pytest.mark.anyio
async def test_the_mails_of_a_deleted_organization_leave_the_outbox(tertulia: Server, tmp_path: Path) -> None:
    mailer = Mailer(tertulia.settings.model_copy(update={"data": tmp_path, "mail": MailSettings()}))
    for org_id in ("demo", "gone"):
        await mailer.send(org_id, "a@example.com", "A mail", "A text.")
    database = open_database(tertulia.settings.cluster_urls["default"], 1)

    await leftovers.remove_leftovers(tmp_path, [database])

    database.close()
    assert [name.partition(".")[0] for name in os.listdir(tmp_path / "outbox")] == ["demo"]


def test_an_administrator_may_not_delete_and_a_rehearsal_deletes_nothing(
    tertulia: Server, as_admin: httpx2.Client, as_super: httpx2.Client
) -> None:
    assert as_admin.delete("/organization/").status_code == 403
    assert as_super.delete("/organization/", params={"dry_run": True}).status_code == 204
    assert rows_of(tertulia, "demo")[organizations.name] == 1
