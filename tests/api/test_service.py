"""Services, their version sets, and what they may run."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from support.samples import (
    GRAPHS,
    a_name,
    make_agent,
    make_graph,
    make_service,
    service,
    short_graph,
)
from tertulia.ids import new_id

both_databases = pytest.mark.both_databases
"""For what is SQL of its own: rows that come back, filters, orders and conflicts."""

EDGE = {
    "agent_version_number": None,
    "service_hierarchical_state_machine_version_number": None,
    "llm_model_preferences": {},
}


def pinned(agent: int | None = None, graph_version: int | None = None, **preferences: Any) -> dict[str, Any]:
    return {
        "agent_version_number": agent,
        "service_hierarchical_state_machine_version_number": graph_version,
        "llm_model_preferences": preferences,
    }


def get(client: httpx2.Client, service_id: str) -> dict[str, Any]:
    [found] = client.get("/service/", params={"id": service_id}).json()["services"]
    return dict(found)


def put(client: httpx2.Client, service_id: str, name: str, version_set: dict[str, Any]) -> httpx2.Response:
    return client.put(f"/service/{service_id}/version_sets/{name}/", json={"version_set": version_set})


# --- Create ----------------------------------------------------------------------------------------------------------


@both_databases
def test_a_new_service_has_the_version_sets_edge_and_release(as_admin: httpx2.Client) -> None:
    agent_id, graph_id, name = make_agent(as_admin), make_graph(as_admin, short_graph()), a_name()
    body = service(agent_id, graph_id, name=name, tags={"kind": "demo", "flag": None}, keyterms=["tea time"])
    answer = as_admin.post("/service/", json=body)
    assert answer.status_code == 201
    found = get(as_admin, answer.json()["id"])
    creator = found.pop("creator")
    assert set(creator) == {"org_id", "user_id"}
    assert found.pop("updated_by") == creator
    tags = sorted(found.pop("tags"), key=lambda tag: tag["key"])
    assert tags == [{"key": "flag", "value": None}, {"key": "kind", "value": "demo"}]
    assert found == {
        "id": answer.json()["id"],
        "name": name,
        "description": "A service of the tests",
        "version_sets": {"edge": EDGE, "release": EDGE},
        "is_active": True,
        "service_hierarchical_state_machine_id": graph_id,
        "agent_id": agent_id,
        "keyterms": ["tea time"],
        "result_schema": None,
    }


def test_a_release_can_be_pinned_at_once(as_admin: httpx2.Client) -> None:
    release = pinned(1, 1, EngageUser={"llm_name": "openai_gpt-5.6-sol", "params": {"temperature": 0.5}})
    service_id = make_service(as_admin, release_version_set=release)
    assert get(as_admin, service_id)["version_sets"] == {"edge": EDGE, "release": release}


@both_databases
def test_two_active_services_never_share_a_name(as_admin: httpx2.Client) -> None:
    agent_id, graph_id, name = make_agent(as_admin), make_graph(as_admin, short_graph()), a_name()
    body = service(agent_id, graph_id, name=name)
    assert as_admin.post("/service/", json=body).status_code == 201
    assert as_admin.post("/service/", json=body).status_code == 409
    inactive = as_admin.post("/service/", json={**body, "is_active": False})
    assert inactive.status_code == 201
    path = f"/service/{inactive.json()['id']}/"
    assert as_admin.post(path, json={"is_active": True}).status_code == 409
    assert as_admin.post(path, json={"is_active": True, "name": a_name()}).status_code == 200
    assert as_admin.post(path, json={"name": name}).status_code == 409


@both_databases
def test_of_many_active_services_of_one_name_made_at_once_one_is_made(as_admin: httpx2.Client) -> None:
    body = service(make_agent(as_admin), make_graph(as_admin, short_graph()))

    def create(_: int) -> int:
        return as_admin.post("/service/", json=body).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(create, range(4))) == [201, 409, 409, 409]


@pytest.mark.parametrize(
    "change",
    [
        {"name": " "},
        {"description": ""},
        {"agent_id": "short"},
        {"is_active": None},
        {"keyterms": ["Upper"]},
        {"keyterms": ["one two three four"]},
        {"keyterms": ["a"] * 21},
        {"tags": {"a-b": "x"}},
        {"tags": {"a": "x!"}},
        {"tags": {"a": "x", " a": "y"}},
        {"tags": {f"k{number}": None for number in range(21)}},
        {"release_version_set": {"llm_model_preferences": {"EngageUser": {"params": {}}}}},
        {"release_version_set": {"agent_version_number": "one"}},
        {"release_version_set": pinned(10**12)},
    ],
)
def test_a_wrong_field_of_a_service_is_named(as_admin: httpx2.Client, change: dict[str, Any]) -> None:
    answer = as_admin.post("/service/", json={**service(new_id(), new_id()), **change})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["body", *change]


def test_a_service_of_an_agent_or_graph_that_is_not_there_is_not_found(as_admin: httpx2.Client) -> None:
    agent_id, graph_id = make_agent(as_admin), make_graph(as_admin, short_graph())
    assert as_admin.post("/service/", json=service(new_id(), graph_id)).status_code == 404
    assert as_admin.post("/service/", json=service(agent_id, new_id())).status_code == 404


def test_a_service_needs_an_agent_and_a_graph_with_a_version(as_admin: httpx2.Client) -> None:
    agent_id, graph_id = make_agent(as_admin), make_graph(as_admin, short_graph())
    for body in (
        service(make_agent(as_admin, versions=0), graph_id),
        service(agent_id, make_graph(as_admin)),
        service(make_agent(as_admin, versions=0), graph_id, is_active=False),
    ):
        answer = as_admin.post("/service/", json=body)
        assert answer.status_code == 400
        assert "version" in answer.json()["detail"]


def test_a_service_cannot_use_what_is_deprecated(as_admin: httpx2.Client) -> None:
    agent_id, graph_id = make_agent(as_admin), make_graph(as_admin, short_graph())
    as_admin.delete(f"/organization/agent/{agent_id}/").raise_for_status()
    assert as_admin.post("/service/", json=service(agent_id, graph_id)).status_code == 400
    as_admin.delete(f"{GRAPHS}/{graph_id}/").raise_for_status()
    assert as_admin.post("/service/", json=service(make_agent(as_admin), graph_id)).status_code == 400


@pytest.mark.parametrize("release", [pinned(2), pinned(None, 2), pinned(0), pinned(-1)])
def test_a_version_set_cannot_pin_a_version_that_is_not_there(as_admin: httpx2.Client, release: dict[str, Any]) -> None:
    body = service(make_agent(as_admin), make_graph(as_admin, short_graph()), release_version_set=release)
    answer = as_admin.post("/service/", json=body)
    assert answer.status_code == 400
    assert "no version" in answer.json()["detail"]


# --- Models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["openai_gpt-6-luna", "google_gemini-3.5-flash", "scripted", "local", "local:small", "openai:x", "acme:y"]
)
def test_a_model_of_the_contract_or_of_ours_can_be_preferred(as_admin: httpx2.Client, name: str) -> None:
    version_set = pinned(EngageUser={"llm_name": name, "params": {}})
    assert put(as_admin, make_service(as_admin), "custom", version_set).status_code == 204


@pytest.mark.parametrize("name", ["gpt-4", "openai_", "scripted:", "LOCAL", "acme:", ":x"])
def test_a_model_that_is_not_there_cannot_be_preferred(as_admin: httpx2.Client, name: str) -> None:
    version_set = pinned(EngageUser={"llm_name": name, "params": {}})
    assert put(as_admin, make_service(as_admin), "custom", version_set).status_code == 400


@pytest.mark.parametrize(
    ("interaction", "params", "status"),
    [
        ("SelectNextAction", {}, 204),
        ("SelectNextActionForDecisionState", {"min_confidence": 0.5}, 204),
        ("CheckIfActiveMemoryNeeded", {}, 204),
        ("CheckIfActiveMemoryNeeded", {"min_confidence": 0.5}, 400),
        ("EngageUser", {}, 400),
    ],
)
def test_the_model_that_decides_is_for_decisions_only(
    as_admin: httpx2.Client, interaction: str, params: dict[str, Any], status: int
) -> None:
    config = {"llm_name": "openai_decisions_gpt-6-luna", "params": params}
    version_set = {**pinned(), "llm_model_preferences": {interaction: config}}
    assert put(as_admin, make_service(as_admin), "custom", version_set).status_code == status


# --- Version sets ----------------------------------------------------------------------------------------------------


@both_databases
def test_a_version_set_is_made_replaced_and_deleted(as_admin: httpx2.Client) -> None:
    service_id = make_service(as_admin)
    assert put(as_admin, service_id, "preview-1", pinned(1)).status_code == 204
    assert get(as_admin, service_id)["version_sets"]["preview-1"] == pinned(1)
    assert put(as_admin, service_id, "preview-1", pinned(None, 1)).status_code == 204
    assert get(as_admin, service_id)["version_sets"]["preview-1"] == pinned(None, 1)
    path = f"/service/{service_id}/version_sets/preview-1/"
    assert as_admin.delete(path).status_code == 204
    assert "preview-1" not in get(as_admin, service_id)["version_sets"]
    assert as_admin.delete(path).status_code == 404


def test_edge_never_changes_and_neither_edge_nor_release_go(as_admin: httpx2.Client) -> None:
    service_id = make_service(as_admin)
    assert put(as_admin, service_id, "edge", pinned(1)).status_code == 400
    assert put(as_admin, service_id, "release", pinned(1)).status_code == 204
    for name in ("edge", "release"):
        assert as_admin.delete(f"/service/{service_id}/version_sets/{name}/").status_code == 400


@pytest.mark.parametrize("name", ["a b", "ä", "x" * 41, "a.b"])
def test_a_name_that_no_version_set_can_have_is_refused(as_admin: httpx2.Client, name: str) -> None:
    assert put(as_admin, make_service(as_admin), name, pinned()).status_code == 422


def test_version_sets_of_a_service_that_is_not_there_are_not_found(as_admin: httpx2.Client) -> None:
    assert put(as_admin, new_id(), "x", pinned()).status_code == 404
    assert as_admin.delete(f"/service/{new_id()}/version_sets/x/").status_code == 404


# --- Update ----------------------------------------------------------------------------------------------------------


@both_databases
def test_an_update_changes_what_it_names_and_nothing_else(as_admin: httpx2.Client) -> None:
    service_id = make_service(as_admin, tags={"kind": "demo"})
    before = get(as_admin, service_id)
    answer = as_admin.post(f"/service/{service_id}/", json={"description": " New. ", "name": None, "tags": {}})
    assert answer.status_code == 200
    assert get(as_admin, service_id) == {**before, "description": "New.", "tags": []}


def test_an_update_cannot_bring_in_an_agent_or_graph_that_cannot_be_used(as_admin: httpx2.Client) -> None:
    service_id = make_service(as_admin, release_version_set=pinned(1, 1))
    before = get(as_admin, service_id)
    deprecated = make_agent(as_admin)
    as_admin.delete(f"/organization/agent/{deprecated}/").raise_for_status()
    for change in (
        {"agent_id": new_id()},
        {"agent_id": deprecated},
        {"agent_id": make_agent(as_admin, versions=0)},
        {"service_hierarchical_state_machine_id": new_id()},
        {"service_hierarchical_state_machine_id": make_graph(as_admin)},
    ):
        assert as_admin.post(f"/service/{service_id}/", json=change).status_code == 400
    assert get(as_admin, service_id) == before


def test_an_update_cannot_leave_a_version_set_without_its_versions(as_admin: httpx2.Client) -> None:
    service_id = make_service(as_admin, agent_id=make_agent(as_admin, versions=2), release_version_set=pinned(2))
    answer = as_admin.post(f"/service/{service_id}/", json={"agent_id": make_agent(as_admin)})
    assert answer.status_code == 400
    assert as_admin.post(f"/service/{service_id}/", json={"agent_id": make_agent(as_admin, 2)}).status_code == 200


def test_a_service_whose_agent_was_deprecated_cannot_be_activated(as_admin: httpx2.Client) -> None:
    agent_id = make_agent(as_admin)
    service_id = make_service(as_admin, agent_id=agent_id, is_active=False)
    as_admin.delete(f"/organization/agent/{agent_id}/").raise_for_status()
    answer = as_admin.post(f"/service/{service_id}/", json={"is_active": True})
    assert answer.status_code == 400
    assert "deprecated" in answer.json()["detail"]
    assert as_admin.post(f"/service/{service_id}/", json={"description": "Still there."}).status_code == 200


def test_a_service_that_is_not_there_cannot_be_updated(as_admin: httpx2.Client) -> None:
    assert as_admin.post(f"/service/{new_id()}/", json={}).status_code == 404


# --- List ------------------------------------------------------------------------------------------------------------


@both_databases
def test_services_are_filtered_by_tags_that_must_all_match(as_admin: httpx2.Client) -> None:
    mark = a_name()
    blue = make_service(as_admin, tags={mark: "x", "colour": "blue"})
    red = make_service(as_admin, tags={mark: "x", "colour": "red"})
    none = make_service(as_admin, tags={mark: None})

    def found(*tags: str) -> list[str]:
        return [item["id"] for item in as_admin.get("/service/", params={"tags": tags}).json()["services"]]

    assert found(f"{mark}:*") == [blue, red, none]
    assert found(f"{mark}:x") == [blue, red]
    assert found(f"{mark}:") == [none]
    assert found(f"{mark}:x", "colour:red") == [red]
    assert found(f"{mark}:y") == []


@pytest.mark.parametrize("tag", ["", "key", ":value", '":x', "a.b:c", "$:x"])
def test_a_tag_filter_that_is_none_is_refused(as_admin: httpx2.Client, tag: str) -> None:
    assert as_admin.get("/service/", params={"tags": tag}).status_code == 422


@both_databases
def test_the_first_page_lists_the_tags_there_are(as_admin: httpx2.Client) -> None:
    mark = a_name()
    make_service(as_admin, tags={mark: "x"})
    make_service(as_admin, tags={mark: None})
    first = as_admin.get("/service/", params={"limit": 1}).json()
    assert {f"{mark}:", f"{mark}:x"} <= set(first["filter_values"]["tags"])
    second = as_admin.get("/service/", params={"limit": 1, "continuation_token": first["continuation_token"]}).json()
    assert second["filter_values"] is None


@both_databases
def test_services_are_sorted_and_filtered(as_admin: httpx2.Client) -> None:
    mark = a_name()
    name = a_name()
    ids = [
        make_service(as_admin, name=f"{name} b", tags={mark: None}),
        make_service(as_admin, name=f"{name} a", tags={mark: None}),
        make_service(as_admin, name=f"{name} a", tags={mark: None}, is_active=False),
    ]

    def listed(**query: Any) -> list[int]:
        page = as_admin.get("/service/", params={"tags": f"{mark}:*", **query}).json()
        return [ids.index(item["id"]) for item in page["services"]]

    assert listed() == [0, 1, 2]
    assert listed(sort_by=["+name", "-is_active"]) == [1, 2, 0]
    assert listed(sort_by=["-name", "+is_active"]) == [0, 2, 1]
    assert listed(is_active=True) == [0, 1]
    assert listed(is_active=False) == [2]
    assert listed(id=ids[1]) == [1]


def test_a_user_sees_services_but_may_not_change_them(as_admin: httpx2.Client, as_user: httpx2.Client) -> None:
    service_id = make_service(as_admin)
    body = service(new_id(), new_id())
    assert as_user.post("/service/", json=body).status_code == 403
    assert as_user.post(f"/service/{service_id}/", json={}).status_code == 403
    assert put(as_user, service_id, "release", pinned()).status_code == 403
    assert put(as_user, service_id, "mine", pinned()).status_code == 403
    assert as_user.delete(f"/service/{service_id}/version_sets/edge/").status_code == 403
    assert as_user.delete(f"/service/{service_id}/version_sets/none/").status_code == 404
