"""The organization: a public name, and details for those who may see them."""

import httpx2

from support.server import Server

PREFERENCES = {
    "enable_response_recommendation": False,
    "preferred_language": None,
    "conversations_visible_to_admins": True,
    "user_model_visible_to_admins": True,
    "timezone": None,
    "audio_keyterms": [],
}


def test_an_administrator_sees_all_of_it(tertulia: Server, as_admin: httpx2.Client) -> None:
    answer = as_admin.get("/organization/")

    assert answer.status_code == 200
    assert answer.json() == {
        "org_id": tertulia.demo.organization_id,
        "org_name": "Tertulia demo",
        "default_user_preferences": PREFERENCES,
        "tenant_id": tertulia.demo.organization_id,
    }


def test_strangers_and_users_see_its_name(tertulia: Server, as_user: httpx2.Client, anonymous: httpx2.Client) -> None:
    public = {
        "org_id": tertulia.demo.organization_id,
        "org_name": "Tertulia demo",
        "default_user_preferences": None,
        "tenant_id": None,
    }

    assert anonymous.get("/organization").json() == public
    assert as_user.get("/organization/").json() == public
    assert tertulia.client("a-token-that-is-none").get("/organization/").json() == public


def test_an_unknown_organization_is_not_found(tertulia: Server, as_admin: httpx2.Client) -> None:
    answer = as_admin.get(f"{tertulia.url}/v1/nowhere/organization/")

    assert answer.status_code == 404


def test_its_own_storage_cluster_may_be_named_and_no_other(anonymous: httpx2.Client) -> None:
    def named(cluster: str) -> int:
        return anonymous.get("/organization/", headers={"x-mongo-cluster-name": cluster}).status_code

    assert named("default") == 200
    assert named("") == 200
    assert named("unknown") == 404
