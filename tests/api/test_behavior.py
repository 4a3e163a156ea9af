"""Dynamic behaviour sets: making, changing, finding and reading them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from support.samples import a_name, behavior, instruction, make_behavior, make_service, tool_spec
from support.server import Server
from tertulia.cli import installation
from tertulia.ids import new_id

both_databases = pytest.mark.both_databases

SETS = "/dynamic_behavior_set/"


def listed(client: httpx2.Client, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(SETS, params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["dynamic_behavior_sets"])


def get(client: httpx2.Client, set_id: str) -> dict[str, Any]:
    [found] = listed(client, id=set_id)
    return found


def found(client: httpx2.Client, query: str, **filters: Any) -> list[str]:
    answer = client.get(f"{SETS}search", params={"query": query, **filters})
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["dynamic_behavior_sets"]]


def versions(client: httpx2.Client, set_id: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(f"{SETS}{set_id}/version/", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["dynamic_behavior_set_versions"])


def add_version(client: httpx2.Client, set_id: str, trigger: str = "It snows.", **query: Any) -> httpx2.Response:
    body = {"conversation_triggers": [trigger], "actions": []}
    return client.post(f"{SETS}{set_id}/version/", params=query, json=body)


# --- Create ----------------------------------------------------------------------------------------------------------


@both_databases
def test_a_new_set_has_what_it_was_given_and_its_first_version(tertulia: Server, as_admin: httpx2.Client) -> None:
    service_id, name = make_service(as_admin), a_name()
    actions = [instruction("Be calm."), instruction("Say 112.", overrides=True)]
    tags = {"kind": "safety", "flag": None}
    set_id = make_behavior(as_admin, service_id, service_id, name=f" {name} ", tags=tags, actions=actions)

    made = get(as_admin, set_id)
    [version] = versions(as_admin, set_id)
    admin = {"org_id": tertulia.demo.organization_id, "user_id": tertulia.demo.admin_user_id}

    assert made.pop("created_at") == made.pop("updated_at")
    assert made == {
        "id": set_id,
        "name": name,
        "is_active": True,
        "applied_to_services": [service_id],
        "tags": tags,
        "creator": admin,
        "updated_by": admin,
    }
    assert len(version.pop("_id")) == 24
    assert version.pop("created_at") == version.pop("updated_at")
    assert version == {
        "org_id": tertulia.demo.organization_id,
        "dynamic_behavior_set_id": set_id,
        "version": 1,
        "conversation_triggers": ["The user talks about the weather."],
        "actions": actions,
        "creator": admin,
    }


@both_databases
def test_two_active_sets_never_share_a_name(as_admin: httpx2.Client) -> None:
    body = behavior()
    first = as_admin.post(SETS, json=body).json()["dynamic_behavior_set_id"]
    assert as_admin.post(SETS, json=body).status_code == 409
    second = make_behavior(as_admin, name=body["name"], is_active=False)
    path = f"{SETS}{second}/"
    assert as_admin.post(path, json={"is_active": True}).status_code == 409
    assert as_admin.post(path, json={"is_active": True, "name": a_name()}).status_code == 204
    assert as_admin.post(path, json={"name": body["name"]}).status_code == 409
    assert as_admin.delete(f"{SETS}{first}/").status_code == 200
    assert as_admin.post(path, json={"name": body["name"]}).status_code == 204


@both_databases
def test_of_many_active_sets_of_one_name_made_at_once_one_is_made(as_admin: httpx2.Client) -> None:
    body = behavior(make_service(as_admin))

    def create(_: int) -> int:
        return as_admin.post(SETS, json=body).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(create, range(4))) == [201, 409, 409, 409]


def test_a_service_that_does_not_exist_is_named(as_admin: httpx2.Client) -> None:
    nowhere = new_id()
    for answer in (
        as_admin.post(SETS, json=behavior(make_service(as_admin), nowhere)),
        as_admin.post(f"{SETS}{make_behavior(as_admin)}/", json={"applied_to_services": [nowhere]}),
    ):
        assert (answer.status_code, answer.json()) == (404, {"detail": f"There is no service {nowhere}."})


def test_a_tool_that_is_not_there_is_refused_by_its_id(as_admin: httpx2.Client) -> None:
    tool_id = new_id()
    change = {"type": "change-tool-candidates", "overrides_existing_tool_call_specs": True}
    named = {**change, "tool_call_specs": [{**tool_spec(tool_id), "tool_name": "Barometer"}]}
    answer = as_admin.post(SETS, json=behavior(actions=[instruction(), named]))
    assert answer.status_code == 404
    assert tool_id in answer.json()["detail"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"name": "a\0b"}, None),
        ({"tags": {"a-b": "x"}}, "tags"),
        ({"tags": {"a": "x!"}}, "tags"),
        ({"tags": {f"k{number}": None for number in range(21)}}, "tags"),
        ({"applied_to_services": ["short"]}, "applied_to_services"),
        ({"applied_to_services": ["0" * 24] * 1001}, "applied_to_services"),
        ({"conversation_triggers": []}, "initial_version"),
        ({"conversation_triggers": ["  "]}, "initial_version"),
        ({"conversation_triggers": ["x"] * 51}, "initial_version"),
        ({"conversation_triggers": ["x" * 1001]}, "initial_version"),
        ({"actions": [{"type": "inject-instruction", "instruction": " "}]}, "initial_version"),
        ({"actions": [instruction("x" * 10_001)]}, "initial_version"),
        ({"actions": [instruction()] * 21}, "initial_version"),
        ({"actions": [{"type": "sing"}]}, "initial_version"),
        ({"is_active": None}, "initial_version"),
    ],
)
def test_a_wrong_field_of_a_new_set_is_named(as_admin: httpx2.Client, change: dict[str, Any], place: str) -> None:
    answer = as_admin.post(SETS, json=behavior(**change))
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][: 2 if place else 1] == (["body", place] if place else ["body"])


def test_triggers_beyond_the_body_s_bound_are_not_read(as_admin: httpx2.Client) -> None:
    answer = as_admin.post(SETS, json=behavior(conversation_triggers=["x" * 1_000_000] * 50))
    assert answer.status_code == 413


# --- Update and delete -----------------------------------------------------------------------------------------------


@both_databases
def test_an_update_changes_what_it_names_and_leaves_the_rest(as_admin: httpx2.Client) -> None:
    service_id = make_service(as_admin)
    set_id = make_behavior(as_admin, service_id, tags={"kind": "safety"})
    before = get(as_admin, set_id)

    answer = as_admin.post(f"{SETS}{set_id}/", json={"is_active": False, "tags": None})
    after = get(as_admin, set_id)
    assert (answer.status_code, answer.content) == (204, b"")
    assert after.pop("updated_at") > before.pop("updated_at")
    assert after == {**before, "is_active": False}

    other = make_service(as_admin)
    as_admin.post(f"{SETS}{set_id}/", json={"applied_to_services": [other], "tags": {}}).raise_for_status()
    assert get(as_admin, set_id)["applied_to_services"] == [other]
    assert get(as_admin, set_id)["tags"] == {}


@both_databases
def test_a_deleted_set_is_gone_but_for_its_invocations(as_admin: httpx2.Client) -> None:
    name = a_name()
    set_id = make_behavior(as_admin, make_service(as_admin), name=name)

    answer = as_admin.delete(f"{SETS}{set_id}/")

    assert (answer.status_code, answer.json()) == (200, None)
    assert listed(as_admin, id=set_id) == []
    assert set_id not in found(as_admin, name)
    assert as_admin.delete(f"{SETS}{set_id}/").status_code == 404
    assert as_admin.post(f"{SETS}{set_id}/", json={"is_active": True}).status_code == 404
    assert add_version(as_admin, set_id).status_code == 404
    assert as_admin.get(f"{SETS}{set_id}/version/").status_code == 404
    assert as_admin.get(f"{SETS}{set_id}/invocation/").status_code == 200


@both_databases
def test_sets_that_share_services_can_be_changed_at_once(as_admin: httpx2.Client) -> None:
    services = [make_service(as_admin) for _ in range(4)]
    sets = [make_behavior(as_admin, *order) for order in (services, services[::-1], services[1:], services[:2])]

    def change(number: int) -> int:
        path = f"{SETS}{sets[number % 4]}/"
        order = services[number % 3 :] if number % 2 else services[::-1]
        if number % 5 == 0:
            return add_version(as_admin, sets[number % 4]).status_code
        return as_admin.post(path, json={"applied_to_services": order}).status_code

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(change, range(40))) == {201, 204}


# --- Versions --------------------------------------------------------------------------------------------------------


@both_databases
def test_versions_are_counted_and_listed(as_admin: httpx2.Client) -> None:
    set_id = make_behavior(as_admin)
    assert add_version(as_admin, set_id, "It snows.").json() == {"new_version_number": 2}
    assert add_version(as_admin, set_id, "It hails.", version=3).json() == {"new_version_number": 3}
    assert add_version(as_admin, set_id, version=3).status_code == 400
    assert add_version(as_admin, set_id, version=1).status_code == 422

    def numbers(**query: Any) -> list[int]:
        return [version["version"] for version in versions(as_admin, set_id, **query)]

    assert numbers() == [1, 2, 3]
    assert numbers(sort_by="-version") == [3, 2, 1]
    assert numbers(version="latest") == [3]
    assert numbers(version="2-latest") == [2, 3]
    assert numbers(version="2") == [2]
    assert numbers(limit=1, continuation_token=1) == [2]
    assert as_admin.get(f"{SETS}{set_id}/version/", params={"limit": 0}).status_code == 422


@both_databases
def test_of_many_versions_that_want_one_number_one_gets_it(as_admin: httpx2.Client) -> None:
    set_id = make_behavior(as_admin)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: add_version(as_admin, set_id, version=2).status_code, range(4)))
    assert sorted(answers) == [201, 400, 400, 400]


# --- Lists and searches ----------------------------------------------------------------------------------------------


@both_databases
def test_lists_can_be_narrowed_and_sorted(tertulia: Server, as_admin: httpx2.Client) -> None:
    service_id, org_id = make_service(as_admin), tertulia.demo.organization_id
    first = make_behavior(as_admin, service_id, tags={"kind": "a", "none": None})
    second = make_behavior(as_admin, service_id, tags={"kind": "b"}, is_active=False)

    def ids(**query: Any) -> list[str]:
        return [each["id"] for each in listed(as_admin, applied_to_service=service_id, **query)]

    assert ids() == [first, second]
    assert ids(is_active=False) == [second]
    assert ids(tag="kind:a") == [first]
    assert ids(tag="none:") == [first]
    assert ids(tag=["kind:*", "kind:b"]) == [second]
    assert ids(creator=f"{org_id},{tertulia.demo.admin_user_id}") == [first, second]
    assert ids(creator=f"{org_id},nobody") == []
    as_admin.post(f"{SETS}{first}/", json={"tags": {}}).raise_for_status()
    assert ids(sort_by="+updated_at") == [second, first]
    assert ids(sort_by="-updated_at") == [first, second]


@both_databases
def test_pages_follow_each_other_and_the_first_has_the_values_of_the_filters(
    tertulia: Server, as_admin: httpx2.Client
) -> None:
    service_id = make_service(as_admin)
    made = [make_behavior(as_admin, service_id, tags={f"key {n}": None}) for n in range(3)]
    query: dict[str, Any] = {"applied_to_service": service_id, "limit": 2}

    first = as_admin.get(SETS, params=query).json()
    second = as_admin.get(SETS, params={**query, "continuation_token": first["continuation_token"]}).json()
    none = as_admin.get(SETS, params={**query, "limit": 0}).json()

    assert [each["id"] for page in (first, second) for each in page["dynamic_behavior_sets"]] == made
    assert (first["has_more"], second["has_more"], second["continuation_token"]) == (True, False, None)
    assert first["filter_values"] == {
        "applied_to_services_ids": [service_id],
        "creators": [{"org_id": tertulia.demo.organization_id, "user_id": tertulia.demo.admin_user_id}],
        "tags": ["key 0", "key 1", "key 2"],
    }
    assert second["filter_values"] is None
    assert (none["dynamic_behavior_sets"], none["has_more"]) == ([], True)


@pytest.mark.parametrize(
    "query", [{"limit": 51}, {"sort_by": "+name"}, {"creator": "nobody"}, {"tag": "kind"}, {"id": "short"}]
)
def test_a_wrong_parameter_of_a_list_is_named(as_admin: httpx2.Client, query: dict[str, Any]) -> None:
    answer = as_admin.get(SETS, params=query)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["query", *query]


@both_databases
def test_a_search_finds_words_of_names_and_latest_triggers_the_best_first(as_admin: httpx2.Client) -> None:
    word, other = f"Zürich{new_id()}", f"Bern{new_id()}"
    triggered = make_behavior(as_admin, conversation_triggers=["Trams.", f"They ask about {word}."])
    named = make_behavior(as_admin, name=f"Trips to {word}")
    both = make_behavior(as_admin, name=f"{other} and {word}")
    assert found(as_admin, word.upper()) == [both, named, triggered]
    assert found(as_admin, f"{other} {word}")[0] == both
    assert found(as_admin, word, is_active=False) == []

    add_version(as_admin, triggered, "Trams.").raise_for_status()
    assert triggered not in found(as_admin, word)


@both_databases
@pytest.mark.parametrize("query", [".*", "(a+)+$", "%", "_", "100% of\\", "'; DROP TABLE services; --", "ⅷ" * 200])
def test_a_search_takes_every_text_as_words(as_admin: httpx2.Client, query: str) -> None:
    make_behavior(as_admin)
    assert found(as_admin, query) == []
    named = make_behavior(as_admin, name=f"{query} {a_name()}")
    assert found(as_admin, query) == [named]
    as_admin.delete(f"{SETS}{named}/").raise_for_status()


@pytest.mark.parametrize("query", ["", "  ", "\x1c", "\x1d \x1f", "x" * 257, "a\0b"])
def test_a_search_without_a_proper_query_is_refused(as_admin: httpx2.Client, query: str) -> None:
    answer = as_admin.get(f"{SETS}search", params={"query": query})
    assert answer.status_code == 422


def test_a_search_has_the_fifty_best(as_admin: httpx2.Client) -> None:
    word = new_id()
    for _ in range(51):
        make_behavior(as_admin, name=f"{word} {a_name()}")
    assert len(found(as_admin, word)) == 50


# --- Others ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tertulia: Server) -> Iterator[httpx2.Client]:
    """The administrator of another organization, in it."""
    other = installation.make_demo(tertulia.settings, "elsewhere", None)
    keys = {"x-api-key": other.api_key, "x-api-key-id": other.api_key_id, "x-user-id": other.admin_user_id}
    url = f"{tertulia.url}/v1/elsewhere"
    token = tertulia.anonymous.post(f"{url}/user/signin_with_api_key", headers=keys).json()["id_token"]
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as client:
        yield client


def test_sets_of_another_organization_do_not_exist(as_admin: httpx2.Client, elsewhere: httpx2.Client) -> None:
    theirs, service_id = make_behavior(elsewhere), make_service(elsewhere)

    assert listed(as_admin, id=theirs) == []
    assert as_admin.post(f"{SETS}{theirs}/", json={}).status_code == 404
    assert as_admin.delete(f"{SETS}{theirs}/").status_code == 404
    assert add_version(as_admin, theirs).status_code == 404
    assert as_admin.get(f"{SETS}{theirs}/version/").status_code == 404
    assert as_admin.get(f"{SETS}{theirs}/invocation/").status_code == 404
    assert as_admin.post(SETS, json=behavior(service_id)).status_code == 404
