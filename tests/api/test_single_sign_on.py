"""Single sign-on: an identity provider signs people in, by ID tokens and by codes; their groups are their roles."""

import io
import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from support.accounts import demote
from support.identity_provider import CLIENT_ID, PAGE, RunningProvider, SigningKey
from support.server import Serve, Server
from support.targets import an_email
from tertulia.auth import roles
from tertulia.cli import installation

GROUPS = {"leads": roles.ADMINISTRATOR, "staff": roles.USER, "ghosts": "NoSuchRole"}
REFUSED = {"detail": "You are not signed in: an administrator of this server finds the reason in its log."}


@pytest.fixture(scope="module")
def provider() -> Iterator[RunningProvider]:
    provider = RunningProvider()
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def server(serve: Serve, provider: RunningProvider) -> Server:
    """A server that makes users of people whom nobody has invited."""
    return serve(oidc={"providers": {"demo": provider.settings(roles=GROUPS, make_users=True)}})


@pytest.fixture(scope="module")
def strict(serve: Serve, provider: RunningProvider) -> Server:
    """A server whose people have to be invited, and keep the roles that administrators give them."""
    return serve(oidc={"providers": {"demo": provider.settings(redirect_uri="")}})


@pytest.fixture
def person(provider: RunningProvider) -> dict[str, Any]:
    """A person in the group `staff`, as whom the provider signs in."""
    email = an_email()
    provider.person = {"sub": email, "email": email, "email_verified": True, "groups": ["staff"], "name": "Ada Test"}
    provider.faults.clear()
    provider.id_token_changes = {}
    return provider.person


def by_token(server: Server, id_token: str) -> httpx2.Response:
    return server.anonymous.post("/user/signin_with_id_token", json={"id_token": id_token})


def find(server: Server, email: str) -> list[dict[str, Any]]:
    users = server.as_super.get("/user/", params={"email": email}).json()["users"]
    names = {role_id: name for name, role_id in role_ids(server).items()}
    return [{**user, "role": names[user["role"]]} for user in users]


def role_ids(server: Server) -> dict[str, str]:
    return {role["name"]: role["id"] for role in server.as_super.get("/role/").json()["roles"]}


def lines(server: Server, user_id: str) -> list[dict[str, Any]]:
    return list(server.as_super.get("/audit/", params={"object_id": user_id}).raise_for_status().json()["audit_lines"])


def invite(server: Server, email: str, role: str = roles.USER) -> str:
    body = {"first_name": "Ada", "last_name": "Test", "email": email, "role_name": role}
    return str(server.as_super.post("/user/", json=body).raise_for_status().json()["user_id"])


# --- Users and roles -------------------------------------------------------------------------------------------------


def test_a_person_becomes_a_user_with_the_role_of_their_groups_which_follows_them(
    server: Server, provider: RunningProvider, person: dict[str, Any]
) -> None:
    first = by_token(server, provider.id_token())
    (made,) = find(server, person["email"])

    assert first.status_code == 200
    assert server.client(first.json()["id_token"]).get("/user/").json()["users"][0]["user_id"] == made["user_id"]
    assert (made["first_name"], made["last_name"], made["role"]) == ("Ada", "Test", roles.USER)
    assert by_token(server, provider.id_token(groups=["staff", "leads"])).status_code == 200
    assert find(server, person["email"])[0]["role"] == roles.ADMINISTRATOR
    assert by_token(server, provider.id_token()).status_code == 200
    assert find(server, person["email"])[0]["role"] == roles.USER
    assert by_token(server, provider.id_token()).status_code == 200  # nothing changes

    told = lines(server, made["user_id"])
    assert [line["action"] for line in told] == ["sign-in-with-id-token"] * 3
    assert {line["actor"]["user_id"] for line in told} == {made["user_id"]}
    assert told[0]["change"]["after"] == {"role_id": role_ids(server)[roles.USER]}
    assert told[2]["change"]["after"]["email"] == person["email"]
    assert told[2]["change"]["request"] == {"issuer": provider.url}


@pytest.mark.parametrize("groups", [["others"], [], None, "staffing", {"staff": 1}, [["staff"]], ["STAFF"], ["ghosts"]])
def test_a_person_whose_groups_have_no_role_is_refused_even_if_they_had_one(
    groups: Any, server: Server, provider: RunningProvider, person: dict[str, Any]
) -> None:
    known = by_token(server, provider.id_token())
    assert known.status_code == 200

    answer = by_token(server, provider.id_token(groups=groups))

    assert (answer.status_code, answer.json()) == (401, REFUSED)
    assert find(server, person["email"])[0]["role"] == roles.USER


def test_a_role_that_an_administrator_has_given_is_that_of_the_groups_again(
    server: Server, provider: RunningProvider, person: dict[str, Any]
) -> None:
    user_id = invite(server, person["email"], roles.ADMINISTRATOR)

    assert by_token(server, provider.id_token()).status_code == 200
    (user,) = find(server, person["email"])
    assert (user["user_id"], user["role"]) == (user_id, roles.USER)


def test_nobody_makes_a_role_that_sign_ins_would_give_them_above_their_own(
    serve: Serve, provider: RunningProvider, person: dict[str, Any]
) -> None:
    groups = {"staff": "Staff", "owners": "Owners"}
    server = serve(oidc={"providers": {"demo": provider.settings(roles=groups, default_role="Guests")}})
    powerful = [{"permission_name": "Organization:CreateAPIKey", "conditions": {}}]
    body = {"description": "X", "permission_grants": powerful, "frontend_view": "admin"}

    made = {
        name: server.as_admin.post("/role/", json={**body, "role_name": name})
        for name in ("Owners", "Guests", "Others")
    }
    plain = {**body, "role_name": "Staff", "permission_grants": []}

    assert {name: answer.status_code for name, answer in made.items()} == {"Owners": 403, "Guests": 403, "Others": 201}
    assert made["Owners"].json()["detail"].startswith("An identity provider gives this role")
    assert server.as_admin.post("/role/", json=plain).status_code == 201
    assert server.as_super.post("/role/", json={**body, "role_name": "Owners"}).status_code == 201
    email = person["email"]
    invite(server, email, roles.USER)
    assert by_token(server, provider.id_token(groups=["owners"])).status_code == 200
    assert find(server, email)[0]["role"] == "Owners"


def test_a_person_is_known_by_their_subject_not_by_their_address(
    server: Server, provider: RunningProvider, person: dict[str, Any]
) -> None:
    email = person["email"]
    assert by_token(server, provider.id_token()).status_code == 200

    other = by_token(server, provider.id_token(sub="somebody else"))
    moved = by_token(server, provider.id_token(email="new@example.com"))
    plain = by_token(server, provider.id_token(email=None, email_verified=None))

    assert (other.status_code, other.json()) == (401, REFUSED)
    assert (moved.status_code, plain.status_code) == (200, 200)
    assert [user["email"] for user in find(server, email)] == [email]
    assert find(server, "new@example.com") == []


@pytest.mark.parametrize(
    "claims",
    [
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "true"},
        {"email_verified": 1},
        {"email": None},
        {"email": "no address"},
        {"email": "=?utf-8?q?a?=@example.com"},
        {"email": "a@example.com\r\nBcc: b@example.com"},
        {"email": "{email}\u200b"},
        {"email": " {email}"},
        {"email": "\u212a{email}"},
        {"email": "{email}" + "\0" * 400},
    ],
)
def test_an_address_that_is_not_verified_or_none_brings_nobody_in(
    claims: dict[str, Any], server: Server, provider: RunningProvider, person: dict[str, Any]
) -> None:
    for address in (person["email"], "k" + person["email"]):
        invite(server, address, roles.ADMINISTRATOR)
    claims = {name: value.format(**person) if name == "email" and value else value for name, value in claims.items()}

    answer = by_token(server, provider.id_token(**claims))

    assert (answer.status_code, answer.json()) == (401, REFUSED)


def test_who_has_to_be_invited_keeps_the_role_that_an_administrator_gives(
    strict: Server, provider: RunningProvider, person: dict[str, Any]
) -> None:
    assert by_token(strict, provider.id_token()).status_code == 401

    invite(strict, person["email"].upper(), roles.ADMINISTRATOR)
    assert by_token(strict, provider.id_token(groups=["staff"])).status_code == 200
    (user,) = find(strict, person["email"])
    assert user["role"] == roles.ADMINISTRATOR
    assert len(lines(strict, user["user_id"])) == 1  # the invitation
    demote(strict, user["user_id"])
    assert by_token(strict, provider.id_token()).status_code == 200
    assert find(strict, person["email"])[0]["role"] == roles.USER


def test_a_deleted_user_is_a_stranger_again(strict: Server, provider: RunningProvider, person: dict[str, Any]) -> None:
    user_id = invite(strict, person["email"])
    assert by_token(strict, provider.id_token()).status_code == 200
    with zipfile.ZipFile(io.BytesIO(strict.as_super.get(f"/user/{user_id}/export").content)) as archive:
        assert json.loads(archive.read("identities.jsonl"))["subject"] == person["sub"]

    strict.as_admin.delete(f"/user/{user_id}").raise_for_status()

    assert by_token(strict, provider.id_token()).status_code == 401
    again = invite(strict, person["email"])
    assert by_token(strict, provider.id_token(sub="another")).status_code == 200
    assert find(strict, person["email"])[0]["user_id"] == again


# --- ID tokens -------------------------------------------------------------------------------------------------------


def test_an_id_token_is_good_once(server: Server, provider: RunningProvider, person: dict[str, Any]) -> None:
    id_token = provider.id_token()

    assert [by_token(server, id_token).status_code for _ in range(3)] == [200, 401, 401]
    assert by_token(server, id_token).json() == REFUSED


def test_of_many_who_bring_one_id_token_or_one_code_at_once_one_is_signed_in(
    server: Server, provider: RunningProvider, person: dict[str, Any]
) -> None:
    id_token, started = provider.id_token(), start(server)
    came = visit(started)
    with ThreadPoolExecutor(8) as threads:
        by_one_token = threads.map(lambda _: by_token(server, id_token).status_code, range(16))
        by_one_code = threads.map(lambda _: by_code(server, started, came).status_code, range(8))

    assert sorted(by_one_token) == [200] + [401] * 15
    assert sorted(by_one_code) == [200] + [401] * 7


def test_what_is_of_one_organizations_provider_signs_nobody_in_to_another(
    serve: Serve, provider: RunningProvider, person: dict[str, Any]
) -> None:
    second = RunningProvider()
    second.person = person
    both = {"demo": provider.settings(roles=GROUPS, make_users=True)}
    both["other"] = second.settings(roles=GROUPS, make_users=True)
    server = serve(oidc={"providers": both})
    other = replace(server, demo=installation.make_demo(server.settings, "other", None))
    started = start(server)
    came = visit(started)

    mixed = [
        by_token(other, provider.id_token()),
        by_token(other, provider.id_token(iss=second.url)),
        by_token(server, second.id_token(iss=provider.url)),
        by_code(other, started, came),
    ]
    second.stop()

    assert [(answer.status_code, answer.json()) for answer in mixed] == [(401, REFUSED)] * 4
    assert find(other, person["email"]) == []
    assert by_code(server, started, came).status_code == 200


def test_every_wrong_id_token_is_the_same_refusal(
    server: Server, provider: RunningProvider, person: dict[str, Any]
) -> None:
    mine = SigningKey.make()
    wrong = [
        provider.id_token(aud="other"),
        provider.id_token(iss="https://other.example"),
        provider.id_token(exp=1),
        mine.sign(provider.claims()),
        mine.sign(provider.claims(), kid=provider.key.kid),
        "x",
        server.sign_in(server.demo.user_id),
    ]
    answers = [by_token(server, each) for each in wrong]

    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
    assert answers[0].json() == REFUSED
    assert answers[0].headers["www-authenticate"] == "Bearer"
    assert find(server, person["email"]) == []


@pytest.mark.parametrize("body", [{}, {"id_token": ""}, {"id_token": "ä"}, {"id_token": "x" * 60_000}, {"id_token": 1}])
def test_a_body_of_another_form_names_its_field(body: dict[str, Any], server: Server) -> None:
    answer = server.anonymous.post("/user/signin_with_id_token", json=body)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "id_token"]


def test_a_provider_that_is_down_is_503_and_an_organization_without_one_404(
    serve: Serve, server: Server, provider: RunningProvider, person: dict[str, Any]
) -> None:
    down = serve(oidc={"providers": {"demo": provider.settings(issuer="http://127.0.0.1:1")}})
    bare = serve()

    for path, body in (("id_token", {"id_token": "x"}), ("oidc", None)):
        answer = down.anonymous.post(f"/user/signin_with_{path}", json=body)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert bare.anonymous.post(f"/user/signin_with_{path}", json=body).status_code == 404
    assert bare.anonymous.get("/user/signin_with_oidc").json() == {"name": None}


def test_sign_ins_of_one_client_are_limited(serve: Serve, provider: RunningProvider, person: dict[str, Any]) -> None:
    limited = serve(rate_limits="contract", oidc={"providers": {"demo": provider.settings(roles=GROUPS)}})

    statuses = [by_token(limited, "x").status_code for _ in range(21)]

    assert statuses == [401] * 20 + [429]


# --- Codes -----------------------------------------------------------------------------------------------------------


def start(server: Server) -> dict[str, str]:
    return dict(server.anonymous.post("/user/signin_with_oidc").raise_for_status().json())


def visit(started: dict[str, str]) -> dict[str, str]:
    """Sign in at the provider's page. Returns what it gives to the page of this server."""
    led = httpx2.get(started["authorization_url"], trust_env=False)
    assert led.status_code == 302, led.text
    place, _, query = led.headers["location"].partition("?")
    assert place == PAGE
    return dict(parse_qsl(query))


def by_code(server: Server, started: dict[str, str], came: dict[str, str], **changes: str) -> httpx2.Response:
    body = {"code": came["code"], "state": came["state"], "sealed": started["sealed"], **changes}
    return server.anonymous.post("/user/signin_with_oidc_code", json=body)


def test_the_page_signs_a_person_in_by_a_code(
    server: Server, strict: Server, provider: RunningProvider, person: dict[str, Any]
) -> None:
    assert server.anonymous.get("/user/signin_with_oidc").json() == {"name": "Acme"}
    assert strict.anonymous.get("/user/signin_with_oidc").json() == {"name": None}
    assert strict.anonymous.post("/user/signin_with_oidc").status_code == 404

    started = start(server)
    asked = dict(parse_qsl(urlsplit(started["authorization_url"]).query))
    answer = by_code(server, started, visit(started))

    assert (asked["client_id"], asked["redirect_uri"], asked["scope"]) == (CLIENT_ID, PAGE, "openid email profile")
    assert (asked["response_type"], asked["code_challenge_method"], asked["state"]) == (
        "code",
        "S256",
        started["state"],
    )
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"id_token", "expires_at"}
    (user,) = find(server, person["email"])
    assert user["role"] == roles.USER
    assert [line["action"] for line in lines(server, user["user_id"])] == ["sign-in-with-oidc-code"]


def test_every_wrong_code_is_the_same_refusal(
    server: Server, strict: Server, provider: RunningProvider, person: dict[str, Any]
) -> None:
    one, other = start(server), start(server)
    answers = {
        "another state": by_code(server, one, visit(one), state=other["state"]),
        "what another page has kept": by_code(server, other, visit(one)),
        "another verifier": by_code(server, other, {**visit(one), "state": other["state"]}),
        "nothing kept": by_code(server, one, visit(one), sealed="x"),
        "an unknown code": by_code(server, one, {"code": "x", "state": one["state"]}),
        "another installation": by_code(strict, one, visit(one)),
    }
    used = start(server)
    came = visit(used)
    assert by_code(server, used, came).status_code == 200
    answers["a code again"] = by_code(server, used, came)
    answers["a sign-in again"] = by_code(server, used, {**visit(used), "state": came["state"]})
    provider.id_token_changes = {"nonce": "other"}
    answers["another nonce"] = by_code(server, one, visit(one))
    provider.id_token_changes = {"nonce": None}
    answers["no nonce"] = by_code(server, one, visit(one))

    assert {name: (answer.status_code, answer.json()) for name, answer in answers.items()} == dict.fromkeys(
        answers, (401, REFUSED)
    )


def test_nothing_of_a_sign_in_can_be_read_by_the_page_and_no_parameter_leads_elsewhere(
    server: Server, provider: RunningProvider
) -> None:
    started = server.anonymous.post(
        "/user/signin_with_oidc", params={"redirect_uri": "https://evil.example/"}, json={"redirect_uri": "https://e"}
    ).json()
    parts = urlsplit(started["authorization_url"])

    assert started["authorization_url"].startswith(f"{provider.url}/authorize?")
    assert dict(parse_qsl(parts.query))["redirect_uri"] == PAGE
    assert set(started) == {"authorization_url", "state", "sealed"}
