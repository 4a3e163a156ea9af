"""Tools and their variables: names, tags, lists, secrets, and what stands in the way of a change."""

import asyncio
import threading
import time
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy.engine import Connection

from support import samples
from support.server import PATIENCE_S, Server
from support.targets import write
from support.tools import Publish, a_tool_name, an_echo, shown
from tertulia import clock
from tertulia.engine.toolbox import Tools
from tertulia.errors import Conflict
from tertulia.ids import new_id
from tertulia.storage import tool as tools

INSERT = {"name": "API_KEY", "value": "the-value-itself", "is_secret": True}


def test_a_tool_shows_its_fields_as_the_contract_has_them(as_admin: httpx2.Client, as_user: httpx2.Client) -> None:
    body = samples.tool(a_tool_name(), description="  Looks up rooms. ", tags={"kind": "hotel", "old": None})
    tool_id = as_admin.post("/tool/", json=body).json()["id"]

    found = shown(as_user, tool_id)

    assert found["tags"] == [{"key": "kind", "value": "hotel"}, {"key": "old", "value": None}]
    assert (found["name"], found["description"], found["deprecated"]) == (body["name"], "Looks up rooms.", False)
    assert (found["envvars"], found["secret_envvars"]) == ([], [])
    assert found["creator"] == found["updated_by"]


@pytest.mark.parametrize(
    ("name", "status"), [("a" * 64, 201), ("a" * 65, 400), ("Upper", 422), ("a-b", 422), ("ä", 422), ("", 422)]
)
def test_names_of_tools_are_those_that_models_take(as_admin: httpx2.Client, name: str, status: int) -> None:
    assert as_admin.post("/tool/", json=samples.tool(name)).status_code == status


def test_a_name_is_free_again_when_its_tool_is_deprecated(as_admin: httpx2.Client, tool: str, publish: Publish) -> None:
    publish(tool).raise_for_status()
    body = samples.tool(shown(as_admin, tool)["name"])

    assert as_admin.post("/tool/", json=body).status_code == 409
    assert as_admin.delete(f"/tool/{tool}").status_code == 204
    assert shown(as_admin, tool)["deprecated"] is True
    versions = as_admin.get(f"/tool/{tool}/version").json()["tool_versions"]
    assert [version["deprecated"] for version in versions] == [True]
    assert as_admin.post("/tool/", json=body).status_code == 201


def test_tools_are_listed_by_tag_state_and_name(as_admin: httpx2.Client) -> None:
    mark = a_tool_name()
    ids = [
        as_admin.post("/tool/", json=samples.tool(f"{mark}_{name}", tags={mark: name})).json()["id"] for name in "bac"
    ]
    as_admin.delete(f"/tool/{ids[2]}").raise_for_status()

    def listed(**query: Any) -> list[str]:
        page = as_admin.get("/tool/", params={"tag": f"{mark}:*", **query}).raise_for_status().json()
        return [found["name"].removeprefix(f"{mark}_") for found in page["tools"]]

    first = as_admin.get("/tool/", params={"tag": f"{mark}:*", "limit": 1}).json()
    rest = as_admin.get("/tool/", params={"tag": f"{mark}:*", "continuation_token": 1}).json()
    assert listed() == ["b", "a", "c"]
    assert listed(sort_by="+name") == ["a", "b", "c"]
    assert listed(deprecated=False, sort_by="-name") == ["b", "a"]
    assert listed(tag=f"{mark}:a") == ["a"]
    assert (first["has_more"], first["continuation_token"], mark in first["filter_values"]["tags"]) == (True, 1, True)
    assert (len(rest["tools"]), rest["has_more"], rest["filter_values"]) == (2, False, None)
    assert as_admin.get("/tool/", params={"limit": 0}).status_code == 422


def test_only_what_is_given_changes(as_admin: httpx2.Client, tool: str) -> None:
    as_admin.post(f"/tool/{tool}", json={"tags": {"a": "b"}}).raise_for_status()
    as_admin.post(f"/tool/{tool}", json={"description": "New."}).raise_for_status()

    assert shown(as_admin, tool)["tags"] == [{"key": "a", "value": "b"}]
    assert shown(as_admin, tool)["description"] == "New."


# --- Variables -------------------------------------------------------------------------------------------------------


def change(client: httpx2.Client, tool_id: str, **changes: Any) -> int:
    """Ask for changes of variables. Return the status."""
    return client.post(f"/tool/{tool_id}/envvar", json=changes).status_code


def test_values_of_variables_never_come_back(tertulia: Server, as_admin: httpx2.Client, tool: str) -> None:
    plain = {"name": "REGION_2", "value": "the-value-itself", "is_secret": False}
    assert change(as_admin, tool, inserts=[INSERT, plain]) == 204

    listed = as_admin.get("/tool/", params={"id": tool}).text
    assert "the-value-itself" not in listed
    assert (shown(as_admin, tool)["envvars"], shown(as_admin, tool)["secret_envvars"]) == (["REGION_2"], ["API_KEY"])
    stored: list[str] = []
    write(tertulia, lambda c: stored.extend(row.value for row in tools.list_variables(c, [tool])))
    assert len(stored) == 2
    assert not any("the-value-itself" in value for value in stored)


@pytest.mark.parametrize("name", ["a_B", "A-B", "1A", "A=B", "", "Ä", "xA"])
def test_a_variable_has_a_name_that_every_process_takes(as_admin: httpx2.Client, tool: str, name: str) -> None:
    assert change(as_admin, tool, inserts=[{**INSERT, "name": name}]) == 422


def test_a_variable_is_inserted_once_and_its_name_rests_for_a_minute(
    tertulia: Server, as_admin: httpx2.Client, tool: str
) -> None:
    assert change(as_admin, tool, inserts=[INSERT]) == 204
    assert change(as_admin, tool, inserts=[INSERT]) == 409
    assert change(as_admin, tool, updates=[{"name": "API_KEY", "value": "other"}]) == 204
    assert change(as_admin, tool, deletes=[{"name": "API_KEY"}]) == 204
    assert change(as_admin, tool, inserts=[{**INSERT, "is_secret": False}]) == 409
    assert change(as_admin, tool, updates=[{"name": "API_KEY", "value": "other"}]) == 400
    assert change(as_admin, tool, deletes=[{"name": "API_KEY"}]) == 400

    a_minute_later(tertulia, tool)

    assert change(as_admin, tool, inserts=[{**INSERT, "is_secret": False}]) == 204
    assert shown(as_admin, tool)["envvars"] == ["API_KEY"]


def a_minute_later(server: Server, tool_id: str) -> None:
    """Let the deleted variables of a tool be so for a minute longer."""
    this = tools.tool_variables
    old = clock.now() - tools.REMEMBERED
    write(server, lambda c: c.execute(this.update().where(this.c.tool_id == tool_id).values(deleted_at=old)) and None)


def test_one_change_that_cannot_be_undoes_the_others(as_admin: httpx2.Client, tool: str) -> None:
    assert change(as_admin, tool, inserts=[INSERT], deletes=[{"name": "ABSENT"}]) == 400
    assert change(as_admin, tool, inserts=[INSERT], updates=[{"name": "API_KEY", "value": "x"}]) == 422
    assert shown(as_admin, tool)["secret_envvars"] == []


def test_a_variable_stays_while_a_version_in_use_requires_it(
    as_admin: httpx2.Client, tool: str, publish: Publish
) -> None:
    change(as_admin, tool, inserts=[INSERT])
    publish(tool, archive=an_echo(secret=("API_KEY",))).raise_for_status()

    assert change(as_admin, tool, deletes=[{"name": "API_KEY"}]) == 400
    assert as_admin.delete(f"/tool/{tool}/version/%3C2").status_code == 204
    assert change(as_admin, tool, deletes=[{"name": "API_KEY"}]) == 204


def test_a_publication_that_takes_its_time_keeps_the_tool_and_one_that_has_died_does_not(
    tertulia: Server, as_admin: httpx2.Client, tool: str, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "BUSY", timedelta(seconds=0.3))
    org_id, shown_to_live = tertulia.demo.organization_id, threading.Event()
    renew, renewals = tools.renew_operation, list[str]()

    def renewed(connection: Connection, tool_id: str, token: str) -> None:
        renew(connection, tool_id, token)
        renewals.append(token)
        if len(renewals) > 5:  # longer than the mark of a dead one counts
            shown_to_live.set()

    async def prepare(_tools: Tools, _digest: str) -> None:
        await asyncio.to_thread(shown_to_live.wait, PATIENCE_S)
        assert publish_beside() == [409]

    def publish_beside() -> list[int]:
        answers: list[int] = []
        write(tertulia, lambda c: answers.append(_status_of_lock(c, org_id, tool)))
        return answers

    monkeypatch.setattr(tools, "renew_operation", renewed)
    monkeypatch.setattr(Tools, "prepare", prepare)
    assert publish(tool).status_code == 201
    assert len(renewals) > 5

    write(tertulia, lambda c: tools.begin_operation(c, tools.lock_tool(c, org_id, tool)))
    until = time.monotonic() + PATIENCE_S
    while (changed := change(as_admin, tool, inserts=[INSERT])) == 409:
        assert time.monotonic() < until
    assert changed == 204


def _status_of_lock(connection: Connection, org_id: str, tool_id: str) -> int:
    try:
        tools.lock_idle_tool(connection, org_id, tool_id)
    except Conflict as error:
        return error.status
    return 200


def test_while_an_operation_changes_a_tool_no_other_does(
    tertulia: Server, as_admin: httpx2.Client, tool: str, publish: Publish
) -> None:
    org_id = tertulia.demo.organization_id
    token: list[str] = []
    write(tertulia, lambda c: token.append(tools.begin_operation(c, tools.lock_tool(c, org_id, tool))))

    assert publish(tool).status_code == 409
    assert change(as_admin, tool, inserts=[INSERT]) == 409
    assert as_admin.delete(f"/tool/{tool}/version/%3C2").status_code == 409
    assert as_admin.delete(f"/tool/{tool}").status_code == 409
    assert as_admin.post(f"/tool/{tool}", json={"tags": {}}).status_code == 204

    write(tertulia, tools.end_operation, tool, new_id())  # another one's token ends nothing
    assert publish(tool).status_code == 409
    write(tertulia, tools.end_operation, tool, token[0])
    assert publish(tool).status_code == 201
