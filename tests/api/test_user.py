"""Users: invited, listed, changed, deleted."""

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from support.server import Server
from tertulia.auth.secrets import SecretBox
from tertulia.storage.database.units import open_database
from tertulia.storage.user import get_user

both_databases = pytest.mark.both_databases
"""For what is SQL of its own: rows that come back, filters, orders and conflicts."""

_numbers = itertools.count()


def invitation(**changes: Any) -> dict[str, Any]:
    number = next(_numbers)
    return {
        "first_name": "Ada",
        "last_name": f"Number{number}",
        "email": f"user{number}@example.com",
        "role_name": "DefaultUserRole",
        **changes,
    }


def invite(client: httpx2.Client, **changes: Any) -> str:
    answer = client.post("/user/", json=invitation(**changes))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["user_id"])


def find(client: httpx2.Client, user_id: str) -> dict[str, Any]:
    users: list[dict[str, Any]] = client.get("/user/", params={"user_id": user_id}).json()["users"]
    assert len(users) == 1
    return users[0]


# --- Create ----------------------------------------------------------------------------------------------------------


@both_databases
def test_an_invited_user_is_listed_with_every_field(tertulia: Server, as_admin: httpx2.Client) -> None:
    body = invitation(
        first_name="  Ada ",
        last_name="Example",
        email="Ada.Example@Example.com",
        nonsensitive_user_variables={"plan": "gold"},
        sensitive_user_variables={"pin_code": "1234"},
        user_preferences={"preferred_language": "deu", "timezone": "Europe/Berlin", "audio_keyterms": ["ada lovelace"]},
    )

    answer = as_admin.post("/user/", json=body)

    assert answer.status_code == 201
    assert answer.json()["verify_link"] is None
    user = find(as_admin, answer.json()["user_id"])
    assert isinstance(user.pop("role"), str)
    assert user == {
        "org_id": tertulia.demo.organization_id,
        "user_id": answer.json()["user_id"],
        "first_name": "Ada",
        "last_name": "Example",
        "email": "ada.example@example.com",
        "user_stats": {"num_conversations": 0, "num_messages": 0, "last_message_time": None},
        "preferences": {
            "enable_response_recommendation": False,
            "preferred_language": "deu",
            "conversations_visible_to_admins": True,
            "user_model_visible_to_admins": True,
            "timezone": "Europe/Berlin",
            "audio_keyterms": ["ada lovelace"],
        },
        "nonsensitive_variables": {"plan": "gold"},
        "sensitive_variables": ["pin_code"],
        "enable_actions_access": False,
    }


def test_a_new_user_has_the_preferences_of_the_organization(as_admin: httpx2.Client) -> None:
    default = as_admin.get("/organization/").json()["default_user_preferences"]

    assert find(as_admin, invite(as_admin))["preferences"] == default


def test_a_login_link_comes_back_as_it_was_sent(as_admin: httpx2.Client) -> None:
    answer = as_admin.post("/user/", json=invitation(login_link="https://example.com?a=b"))

    assert answer.json()["verify_link"] == "https://example.com?a=b"


@both_databases
def test_an_email_is_taken_whatever_its_case(as_admin: httpx2.Client) -> None:
    invite(as_admin, email="taken@example.com")

    answer = as_admin.post("/user/", json=invitation(email="Taken@Example.COM"))

    assert answer.status_code == 409
    assert answer.json() == {"detail": "The organization has a user with this email already."}


def test_an_unknown_role_is_not_found(as_admin: httpx2.Client) -> None:
    assert as_admin.post("/user/", json=invitation(role_name="NoSuchRole")).status_code == 404


@pytest.mark.parametrize("role", ["DefaultAdministratorRole", "DefaultSuperAdministratorRole"])
def test_nobody_gives_a_role_of_their_own_rank_or_above(as_admin: httpx2.Client, role: str) -> None:
    assert as_admin.post("/user/", json=invitation(role_name=role)).status_code == 403


def test_a_user_invites_nobody(as_user: httpx2.Client) -> None:
    answer = as_user.post("/user/", json=invitation())

    assert answer.status_code == 403
    assert answer.json() == {"detail": "You need the permission User:InviteUser."}


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"first_name": "  "}, ["body", "first_name"]),
        ({"email": "nobody"}, ["body", "email"]),
        ({"login_link": "no link"}, ["body", "login_link"]),
        ({"login_link": "https://example.com/" + "x" * 2083}, ["body", "login_link"]),
        ({"nonsensitive_user_variables": {"user_id": "1"}}, ["body", "nonsensitive_user_variables"]),
        ({"nonsensitive_user_variables": {"Plan": "1"}}, ["body", "nonsensitive_user_variables"]),
        ({"nonsensitive_user_variables": {f"v{n}": "1" for n in range(20)}}, ["body", "nonsensitive_user_variables"]),
        ({"sensitive_user_variables": {f"v{n}": "1" for n in range(21)}}, ["body", "sensitive_user_variables"]),
        ({"user_preferences": {"preferred_language": "xx"}}, ["body", "user_preferences", "preferred_language"]),
        ({"user_preferences": {"timezone": "Mars/Base"}}, ["body", "user_preferences", "timezone"]),
        ({"user_preferences": {"audio_keyterms": ["A B"]}}, ["body", "user_preferences", "audio_keyterms"]),
    ],
)
def test_a_wrong_field_is_named_and_nobody_is_invited(
    as_admin: httpx2.Client, wrong: dict[str, Any], where: list[str]
) -> None:
    body = invitation(**wrong)

    answer = as_admin.post("/user/", json=body)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][: len(where)] == where
    if "email" not in wrong:
        assert as_admin.get("/user/", params={"email": body["email"]}).json()["users"] == []


@both_databases
def test_of_two_who_take_an_email_at_once_one_gets_it(as_admin: httpx2.Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: as_admin.post("/user/", json=invitation(email="race@example.com")), range(8)))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


@both_databases
def test_a_sensitive_variable_is_encrypted_in_the_database(tertulia: Server, as_admin: httpx2.Client) -> None:
    user_id = invite(as_admin, sensitive_user_variables={"pin_code": "swordfish"})

    database = open_database(tertulia.settings.cluster_urls["default"], 1)
    user = asyncio.run(database.read(get_user, tertulia.demo.organization_id, user_id))
    database.close()

    stored = user.sensitive_variables["pin_code"]
    assert "swordfish" not in stored
    assert SecretBox.open(tertulia.settings).decrypt(stored) == "swordfish"


def test_a_secret_is_never_echoed(as_admin: httpx2.Client) -> None:
    answer = as_admin.post("/user/", json=invitation(sensitive_user_variables={"PIN": "swordfish"}))

    assert answer.status_code == 422
    assert "swordfish" not in answer.text


# --- List ------------------------------------------------------------------------------------------------------------


def test_a_user_lists_themselves(tertulia: Server, as_user: httpx2.Client) -> None:
    assert [user["user_id"] for user in as_user.get("/user/").json()["users"]] == [tertulia.demo.user_id]


@both_databases
def test_users_are_found_by_id_and_by_email_whatever_its_case(as_admin: httpx2.Client) -> None:
    one, two = invite(as_admin, email="one@example.com"), invite(as_admin, email="two@example.com")

    by_id = as_admin.get("/user/", params={"user_id": [one, two, one]}).json()["users"]
    by_email = as_admin.get("/user/", params={"email": ["ONE@example.com", "none@example.com"]}).json()["users"]

    assert [user["user_id"] for user in by_id] == [one, two]
    assert [user["user_id"] for user in by_email] == [one]


@both_databases
@pytest.mark.parametrize(
    ("sort_by", "expected"),
    [
        (["+first_name"], "abc"),
        ([" first_name"], "abc"),
        (["-email"], "acb"),
        (["-user_stats.last_message_time", "+last_name"], "cab"),
        (["+user_stats.num_messages", "-first_name"], "cba"),
    ],
)
def test_a_list_is_sorted_as_asked(as_admin: httpx2.Client, sort_by: list[str], expected: str) -> None:
    mark = f"Sorted{next(_numbers)}"
    ids = {
        invite(as_admin, first_name=f"{first} {mark}", last_name=last, email=f"{email}.{mark}@example.com"): first
        for first, last, email in (("a", "2", "z"), ("b", "3", "x"), ("c", "1", "y"))
    }

    answer = as_admin.get("/user/", params={"sort_by": sort_by, "user_id": list(ids)})

    assert "".join(ids[user["user_id"]] for user in answer.json()["users"]) == expected


@both_databases
def test_a_page_leads_to_the_next_and_the_last_to_none(as_admin: httpx2.Client) -> None:
    ids = [invite(as_admin) for _ in range(3)]
    asked: dict[str, Any] = {"user_id": ids, "limit": 2}

    first = as_admin.get("/user/", params=asked).json()
    second = as_admin.get("/user/", params={**asked, "continuation_token": first["continuation_token"]}).json()

    assert [user["user_id"] for user in first["users"] + second["users"]] == ids
    assert first["has_more"]
    assert (second["has_more"], second["continuation_token"]) == (False, None)


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 101}, {"limit": -1}, {"continuation_token": -1}, {"sort_by": "first_name"}, {"email": "nobody"}],
)
def test_a_wrong_query_is_refused(as_admin: httpx2.Client, wrong: dict[str, Any]) -> None:
    assert as_admin.get("/user/", params=wrong).status_code == 422


# --- Update ----------------------------------------------------------------------------------------------------------


@both_databases
def test_only_what_is_sent_is_changed(as_admin: httpx2.Client) -> None:
    user_id = invite(as_admin, user_preferences={"preferred_language": "spa", "timezone": "Asia/Tokyo"})
    before = find(as_admin, user_id)

    answer = as_admin.post(
        f"/user/{user_id}",
        json={
            "first_name": "Grace",
            "last_name": None,
            "enable_response_recommendation": True,
            "preferred_language": {},
            "conversations_visible_to_admins": False,
        },
    )

    assert (answer.status_code, answer.content) == (204, b"")
    changed = {"enable_response_recommendation": True, "conversations_visible_to_admins": False}
    assert find(as_admin, user_id) == {
        **before,
        "first_name": "Grace",
        "preferences": {**before["preferences"], **changed},
    }


@both_databases
def test_null_erases_the_language_and_the_time_zone(as_admin: httpx2.Client) -> None:
    user_id = invite(as_admin, user_preferences={"preferred_language": "spa", "timezone": "Asia/Tokyo"})

    as_admin.post(f"/user/{user_id}", json={"preferred_language": None, "timezone": None})

    preferences = find(as_admin, user_id)["preferences"]
    assert (preferences["preferred_language"], preferences["timezone"]) == (None, None)


def test_an_empty_update_changes_nothing(as_admin: httpx2.Client) -> None:
    user_id = invite(as_admin, user_preferences={"preferred_language": "spa"})
    before = find(as_admin, user_id)

    assert as_admin.post(f"/user/{user_id}", json={}).status_code == 204
    assert find(as_admin, user_id) == before


def test_a_user_changes_themselves_and_nobody_else(tertulia: Server, as_user: httpx2.Client) -> None:
    own = as_user.post(f"/user/{tertulia.demo.user_id}", json={"additional_context": ["Likes short books."]})
    other = as_user.post(f"/user/{tertulia.demo.admin_user_id}", json={"first_name": "X"})

    assert (own.status_code, other.status_code) == (204, 403)
    model = as_user.get(f"/user/{tertulia.demo.user_id}/user_model").json()
    assert model == {"user_models": [], "additional_context": ["Likes short books."]}


@pytest.mark.parametrize("wrong", [{"first_name": ""}, {"timezone": "Nowhere"}, {"audio_keyterms": ["a"] * 21}])
def test_a_wrong_update_is_refused(as_admin: httpx2.Client, wrong: dict[str, Any]) -> None:
    assert as_admin.post(f"/user/{invite(as_admin)}", json=wrong).status_code == 422


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("DELETE", ""), ("GET", "/user_model")])
def test_an_unknown_user_is_not_found(as_admin: httpx2.Client, method: str, path: str) -> None:
    body = {} if method == "POST" else None

    assert as_admin.request(method, f"/user/nobody{path}", json=body).status_code == 404


# --- Delete ----------------------------------------------------------------------------------------------------------


@both_databases
def test_a_deleted_user_is_gone_and_the_email_is_free(as_admin: httpx2.Client) -> None:
    user_id = invite(as_admin, email="again@example.com")

    assert as_admin.delete(f"/user/{user_id}").status_code == 204

    assert as_admin.get("/user/", params={"user_id": user_id}).json()["users"] == []
    assert as_admin.delete(f"/user/{user_id}").status_code == 404
    invite(as_admin, email="again@example.com")


def test_a_user_deletes_nobody(tertulia: Server, as_user: httpx2.Client) -> None:
    assert as_user.delete(f"/user/{tertulia.demo.user_id}").status_code == 403


# --- User model ------------------------------------------------------------------------------------------------------


@both_databases
def test_an_administrator_sees_the_user_models_that_are_left_visible(as_admin: httpx2.Client) -> None:
    shown = invite(as_admin)
    hidden = invite(as_admin, user_preferences={"user_model_visible_to_admins": False})

    assert as_admin.get(f"/user/{shown}/user_model").status_code == 200
    assert as_admin.get(f"/user/{hidden}/user_model").status_code == 403


@pytest.mark.parametrize("name", ["conversations_visible_to_admins", "user_model_visible_to_admins"])
def test_nobody_but_the_user_widens_what_administrators_see(
    as_user: httpx2.Client, as_admin: httpx2.Client, name: str, tertulia: Server
) -> None:
    path = f"/user/{tertulia.demo.user_id}"
    assert as_user.post(path, json={name: False}).status_code == 204

    refused = as_admin.post(path, json={name: True})
    narrowed = as_admin.post(path, json={name: False})

    assert refused.status_code == 403
    assert name in refused.json()["detail"]
    assert narrowed.status_code == 204
    assert as_user.post(path, json={name: True}).status_code == 204


# --- Search ----------------------------------------------------------------------------------------------------------


@both_databases
def test_a_search_finds_names_and_emails_that_contain_a_text_whatever_its_case(as_admin: httpx2.Client) -> None:
    person = invite(as_admin, first_name="Åsa", last_name="Straße", email="Find.Me@example.com")
    percent = invite(as_admin, first_name="100%", last_name="_x_", email="wild@example.com")

    def found(query: str, **more: Any) -> set[str]:
        answer = as_admin.get("/user/search/", params={"query": query, **more}).raise_for_status()
        return {user["user_id"] for user in answer.json()["users"]} & {person, percent}

    for query in ("åsa", "A\u030aSA", "STRASSE", "sa str", "find.me@", "FIND", "  me@exa "):
        assert found(query) == {person}, query
    assert found("%") == found("_x") == found("0%") == {percent}
    assert found("x%y") == found("'; DROP") == set()
    assert found("", user_id=percent) == {percent}
    as_admin.post(f"/user/{person}", json={"first_name": "Renamed"}).raise_for_status()
    assert found("åsa") == set()
    assert found("renamed straße") == {person}


def test_a_search_shows_a_user_themselves_alone(tertulia: Server, as_user: httpx2.Client) -> None:
    users = as_user.get("/user/search/", params={"query": "example.com"}).json()["users"]

    assert [user["user_id"] for user in users] == [tertulia.demo.user_id]
    assert "enable_actions_access" not in users[0]
