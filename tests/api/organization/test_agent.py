"""Agents and their versions."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from support.samples import AGENT, a_name, make_agent
from support.server import Serve, Server
from tertulia.ids import new_id
from tertulia.providers.voices.fallback import Voices


def test_a_new_agent_has_no_version(as_admin: httpx2.Client) -> None:
    name = a_name()
    answer = as_admin.post("/organization/agent", json={"agent_name": f"  {name} "})
    assert answer.status_code == 201
    agent_id = answer.json()["id"]
    [listed] = as_admin.get("/organization/agent", params={"id": agent_id}).json()["agents"]
    assert listed == {"id": agent_id, "name": name, "deprecated": False, "latest_version": None}


def test_a_second_agent_of_the_same_name_is_a_conflict(as_admin: httpx2.Client) -> None:
    name = a_name()
    assert as_admin.post("/organization/agent", json={"agent_name": name}).status_code == 201
    assert as_admin.post("/organization/agent", json={"agent_name": name}).status_code == 409


@pytest.mark.parametrize("name", ["", "   ", None, 5, "x" * 257, "a\x00b", "\ud800"])
def test_a_name_that_is_no_name_is_refused_and_named(as_admin: httpx2.Client, name: object) -> None:
    body = json.dumps({"agent_name": name})
    answer = as_admin.post("/organization/agent", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][0] == "body"


def test_a_first_version_has_every_field_it_was_given(as_admin: httpx2.Client) -> None:
    agent_id = make_agent(as_admin, versions=0)
    answer = as_admin.post(f"/organization/agent/{agent_id}/", json={**AGENT, "voice_config": {"voice_id": "tone"}})
    assert answer.status_code == 201
    assert answer.json()["version"] == 1
    assert answer.json()["created_at"].endswith(("Z", "+00:00"))
    [version] = as_admin.get(f"/organization/agent/{agent_id}/version").json()["agent_versions"]
    assert {field: version[field] for field in AGENT} == AGENT
    assert version["voice_config"] == {"voice_id": "tone"}
    assert (version["org_id"], version["agent_id"], version["version"]) == ("demo", agent_id, 1)
    assert version["created_at"] == answer.json()["created_at"]
    assert set(version["creator"]) == {"org_id", "user_id"}


def test_a_voice_that_this_server_does_not_know_is_kept_with_a_warning(as_admin: httpx2.Client) -> None:
    agent_id = make_agent(as_admin, versions=0)
    answer = as_admin.post(f"/organization/agent/{agent_id}/", json={**AGENT, "voice_config": {"voice_id": "nobody"}})
    assert answer.status_code == 201
    assert answer.headers["x-tertulia-warning"] == (
        "voice_config: this server does not know the voice nobody; the default one speaks."
    )
    [version] = as_admin.get(f"/organization/agent/{agent_id}/version").json()["agent_versions"]
    assert version["voice_config"] == {"voice_id": "nobody"}


def test_the_default_voice_is_known_without_any_voice(serve: Serve) -> None:
    as_admin = serve(voice=("off",)).as_admin
    path = f"/organization/agent/{make_agent(as_admin, versions=0)}/"
    for voice_id, warnings in (("default", 0), ("tone", 1)):
        answer = as_admin.post(path, json={**AGENT, "voice_config": {"voice_id": voice_id}})
        assert answer.status_code == 201
        assert len(answer.headers.get_list("x-tertulia-warning")) == warnings


def test_who_may_create_no_version_has_no_voice_looked_up(
    tertulia: Server, as_admin: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def knows(_voices: Voices, voice_id: str) -> bool:
        asked.append(voice_id)
        return True

    monkeypatch.setattr(Voices, "knows", knows)
    body = {**AGENT, "voice_config": {"voice_id": "elsewhere"}}
    path = f"/organization/agent/{make_agent(as_admin)}/"

    assert tertulia.as_user.post(path, json=body).status_code == 403
    assert asked == []
    assert as_admin.post(path, json=body).status_code == 201
    assert asked == ["elsewhere"]


def test_an_agent_may_have_no_voice(as_admin: httpx2.Client) -> None:
    agent_id = make_agent(as_admin)
    [version] = as_admin.get(f"/organization/agent/{agent_id}/version").json()["agent_versions"]
    assert version["voice_config"] is None


@pytest.mark.parametrize("field", sorted(AGENT))
def test_a_first_version_that_lacks_a_field_is_refused_and_leaves_nothing(as_admin: httpx2.Client, field: str) -> None:
    agent_id = make_agent(as_admin, versions=0)
    body = {key: value for key, value in AGENT.items() if key != field}
    answer = as_admin.post(f"/organization/agent/{agent_id}/", json=body)
    assert answer.status_code == 400
    assert field in answer.json()["detail"]
    assert as_admin.get(f"/organization/agent/{agent_id}/version").json()["agent_versions"] == []


def test_a_later_version_keeps_what_it_does_not_change(as_admin: httpx2.Client) -> None:
    agent_id = make_agent(as_admin)
    changed = as_admin.post(f"/organization/agent/{agent_id}/", json={"background": "Another one.", "initials": None})
    assert changed.json()["version"] == 2
    versions = as_admin.get(f"/organization/agent/{agent_id}/version").json()["agent_versions"]
    assert [version["background"] for version in versions] == [AGENT["background"], "Another one."]
    assert versions[1]["initials"] == AGENT["initials"]
    assert versions[1]["identity"] == AGENT["identity"]


@pytest.mark.parametrize(
    "change",
    [
        {"initials": "ABCD"},
        {"background": " "},
        {"behaviors": [""]},
        {"identity": {**AGENT["identity"], "default_spoken_language": "english"}},
        {"identity": {**AGENT["identity"], "default_spoken_language": "qqq"}},
        {"identity": {key: value for key, value in AGENT["identity"].items() if key != "role"}},
    ],
)
def test_a_wrong_field_of_a_version_is_named(as_admin: httpx2.Client, change: dict[str, Any]) -> None:
    agent_id = make_agent(as_admin)
    answer = as_admin.post(f"/organization/agent/{agent_id}/", json=change)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["body", *change]


def test_the_number_of_a_new_version_can_be_demanded(as_admin: httpx2.Client) -> None:
    agent_id = make_agent(as_admin)
    path = f"/organization/agent/{agent_id}/"
    assert as_admin.post(path, json={}, params={"version": 1}).status_code == 409
    assert as_admin.post(path, json={}, params={"version": 3}).status_code == 409
    assert as_admin.post(path, json={}, params={"version": 0}).status_code == 422
    assert as_admin.post(path, json={}, params={"version": 2}).json()["version"] == 2


def test_of_two_who_create_the_same_version_at_once_one_is_told_of_a_conflict(as_admin: httpx2.Client) -> None:
    agent_id = make_agent(as_admin)

    def create(_: int) -> int:
        return as_admin.post(f"/organization/agent/{agent_id}/", json={}, params={"version": 2}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(create, range(8)))
    assert statuses == [201, *[409] * 7]


def test_of_many_who_create_versions_at_once_each_gets_its_own_number(as_admin: httpx2.Client) -> None:
    agent_id = make_agent(as_admin, versions=0)

    def create(_: int) -> int:
        return int(as_admin.post(f"/organization/agent/{agent_id}/", json=AGENT).json()["version"])

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(create, range(8))) == list(range(1, 9))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("3", [3]),
        ("latest", [5]),
        ("2-4", [2, 3, 4]),
        ("4-latest", [4, 5]),
        ("1-latest", [1, 2, 3, 4, 5]),
        ("9", []),
        ("4-9", [4, 5]),
    ],
)
def test_versions_can_be_asked_for_by_number(as_admin: httpx2.Client, asked: str, found: list[int]) -> None:
    agent_id = make_agent(as_admin, versions=5)
    answer = as_admin.get(f"/organization/agent/{agent_id}/version", params={"version": asked})
    assert [version["version"] for version in answer.json()["agent_versions"]] == found


@pytest.mark.parametrize("asked", ["", "0", "-1", "first", "3-1", "1-2-3", "latest-1", "1-", "99999999999", "٣"])
def test_a_version_that_is_no_version_is_refused(as_admin: httpx2.Client, asked: str) -> None:
    agent_id = make_agent(as_admin)
    answer = as_admin.get(f"/organization/agent/{agent_id}/version", params={"version": asked})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", "version"]


def test_the_latest_version_of_an_agent_without_one_is_none(as_admin: httpx2.Client) -> None:
    agent_id = make_agent(as_admin, versions=0)
    answer = as_admin.get(f"/organization/agent/{agent_id}/version", params={"version": "latest"})
    assert answer.json() == {"agent_versions": [], "has_more": False, "continuation_token": None}


def test_versions_are_sorted_and_paged(as_admin: httpx2.Client) -> None:
    agent_id = make_agent(as_admin, versions=5)
    path = f"/organization/agent/{agent_id}/version"
    first = as_admin.get(path, params={"sort_by": "-version", "limit": 2}).json()
    assert [version["version"] for version in first["agent_versions"]] == [5, 4]
    assert (first["has_more"], first["continuation_token"]) == (True, 2)
    last = as_admin.get(path, params={"sort_by": "-version", "limit": 2, "continuation_token": 4}).json()
    assert [version["version"] for version in last["agent_versions"]] == [1]
    assert (last["has_more"], last["continuation_token"]) == (False, None)


def test_a_plus_that_arrives_as_a_space_sorts_upwards(as_admin: httpx2.Client) -> None:
    agent_id = make_agent(as_admin, versions=2)
    answer = as_admin.get(f"/organization/agent/{agent_id}/version?sort_by=+version")
    assert [version["version"] for version in answer.json()["agent_versions"]] == [1, 2]


@pytest.mark.parametrize("sort_by", ["+created_at", "version", "-", ""])
def test_an_unknown_field_to_sort_by_is_refused(as_admin: httpx2.Client, sort_by: str) -> None:
    agent_id = make_agent(as_admin)
    answer = as_admin.get(f"/organization/agent/{agent_id}/version", params={"sort_by": sort_by})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", "sort_by", 0]


def test_agents_are_paged_and_filtered(as_admin: httpx2.Client) -> None:
    ids = [make_agent(as_admin, versions=0) for _ in range(3)]
    query: dict[str, Any] = {"id": ids, "limit": 2}
    first = as_admin.get("/organization/agent", params=query).json()
    rest = as_admin.get(
        "/organization/agent", params={**query, "continuation_token": first["continuation_token"]}
    ).json()
    assert [agent["id"] for agent in first["agents"] + rest["agents"]] == ids
    assert (rest["has_more"], rest["continuation_token"]) == (False, None)


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 21}, {"continuation_token": -1}, {"continuation_token": 2**31}, {"id": "x"}]
)
def test_a_page_that_cannot_be_is_refused(as_admin: httpx2.Client, query: dict[str, Any]) -> None:
    assert as_admin.get("/organization/agent", params=query).status_code == 422


def test_a_deleted_agent_is_deprecated_and_keeps_its_versions(as_admin: httpx2.Client) -> None:
    agent_id = make_agent(as_admin)
    assert as_admin.delete(f"/organization/agent/{agent_id}/").status_code == 200
    listed = as_admin.get("/organization/agent", params={"id": agent_id, "deprecated": True}).json()["agents"]
    assert [agent["deprecated"] for agent in listed] == [True]
    assert as_admin.get("/organization/agent", params={"id": agent_id, "deprecated": False}).json()["agents"] == []
    assert len(as_admin.get(f"/organization/agent/{agent_id}/version").json()["agent_versions"]) == 1
    assert as_admin.delete(f"/organization/agent/{agent_id}/").status_code == 409


def test_an_agent_of_an_active_service_cannot_be_deleted(as_admin: httpx2.Client) -> None:
    service = as_admin.get("/service/", params={"is_active": True}).json()["services"][0]
    answer = as_admin.delete(f"/organization/agent/{service['agent_id']}/")
    assert answer.status_code == 400
    assert service["name"] in answer.json()["detail"]


def test_an_agent_that_is_not_there_is_not_found(as_admin: httpx2.Client) -> None:
    path = f"/organization/agent/{new_id()}"
    assert as_admin.post(f"{path}/", json=AGENT).status_code == 404
    assert as_admin.delete(f"{path}/").status_code == 404
    assert as_admin.get(f"{path}/version").status_code == 404


def test_a_user_may_not_change_agents(as_admin: httpx2.Client, as_user: httpx2.Client) -> None:
    agent_id = make_agent(as_admin)
    assert as_user.post("/organization/agent", json={"agent_name": a_name()}).status_code == 403
    assert as_user.post(f"/organization/agent/{agent_id}/", json={}).status_code == 403
    assert as_user.delete(f"/organization/agent/{agent_id}/").status_code == 403
    assert as_user.delete(f"/organization/agent/{new_id()}/").status_code == 404


def test_a_version_with_the_values_of_the_one_before_is_made_and_warned_of(as_admin: httpx2.Client) -> None:
    agent_id = make_agent(as_admin)
    again = as_admin.post(f"/organization/agent/{agent_id}/", json={"behaviors": AGENT["behaviors"]})
    assert again.json()["version"] == 2
    assert again.headers.get_list("x-tertulia-warning") == ["This version is the same as the one before."]
    other = as_admin.post(f"/organization/agent/{agent_id}/", json={"behaviors": ["Be kind."]})
    assert "x-tertulia-warning" not in other.headers
