"""People in the interface: keys that are shown once, users who are invited, roles that are made and assigned."""

import re

import httpx2
import pytest
from playwright.sync_api import expect

from support.browser import AXE, Open, find_barriers
from support.server import Server
from support.stage import Stage, Switch
from support.targets import invite

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def root(tertulia: Server) -> httpx2.Client:
    """A user above administrators, who make no keys and give no grants."""
    return Stage(tertulia, Switch()).root


def test_a_key_is_made_shown_once_and_deleted(tertulia: Server, open_page: Open, root: httpx2.Client) -> None:
    page = open_page(tertulia, "/settings", signed_in=False)
    page.goto(f"{tertulia.url}/ui/settings#token={token_of(root)}")
    page.get_by_role("button", name="New key").click()
    page.get_by_label("What it is for").fill("Nightly report")
    page.get_by_label("Good for").select_option("7")
    page.get_by_role("combobox", name="Role").select_option("DefaultAdministratorRole")
    page.get_by_role("button", name="Make it").click()
    dialog = page.get_by_role("dialog", name="New API key")
    expect(dialog).to_contain_text("It is shown this once")
    key = dialog.locator("[data-secret]").inner_text()
    key_id = dialog.locator("dd").first.inner_text()
    headers = {"x-api-key": key, "x-api-key-id": key_id, "x-user-id": tertulia.demo.user_id}
    assert tertulia.anonymous.post("/user/signin_with_api_key", headers=headers).status_code == 200
    page.get_by_role("button", name="Done").click()

    keys = page.get_by_role("region", name="API keys")
    row = keys.get_by_role("listitem").filter(has_text="Nightly report")
    expect(row).to_contain_text("DefaultAdministratorRole")
    expect(row.locator(".badge.warn")).to_contain_text("good until")  # within two weeks
    assert key not in page.content()
    row.get_by_role("button", name="Delete the key Nightly report").click()
    page.get_by_role("dialog", name="Delete the key").get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    assert key_id not in root.get("/organization/api_key/").text


def test_a_user_is_invited_and_given_a_role_that_was_made_here(tertulia: Server, open_page: Open) -> None:
    page = open_page(tertulia, "/roles")
    page.get_by_role("button", name="New role").click()
    page.get_by_label("Name", exact=True).fill("Reader")
    page.get_by_label("What it is for").fill("Reads conversations.")
    grants = page.get_by_label("Grants, as JSON")
    right = grants.input_value()  # those of a user, to begin with
    grants.fill('[{"permission_name": "Nothing:AtAll", "conditions": {}}]')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("permission grants, number 1 “Nothing:AtAll”")
    grants.fill(right)
    page.get_by_role("button", name="Save").click()
    reader = page.get_by_role("region", name="Reader")
    expect(reader).to_contain_text("permissions")
    page.get_by_role("button", name="Change Reader").click()
    page.get_by_label("What it is for").fill("Reads all conversations.")
    page.get_by_role("button", name="Save").click()
    expect(reader).to_contain_text("Reads all conversations.")

    page.get_by_role("link", name="Users").last.click()
    page.get_by_role("button", name="Invite").click()
    for label, value in {"First name": "Ada", "Last name": "Test", "E-mail address": "ada@example.com"}.items():
        page.get_by_role("dialog").get_by_label(label).fill(value)
    page.get_by_role("dialog").get_by_role("button", name="Invite").click()
    expect(page).to_have_url(re.compile("/ui/users/[0-9a-f]{24}$"))
    page.get_by_role("combobox", name="Role").select_option(label="Reader")
    page.reload()
    expect(page.get_by_role("combobox", name="Role").locator("option:checked")).to_have_text("Reader")


def test_a_permission_is_given_for_some_time_and_seen_among_what_the_user_may_do(
    tertulia: Server, open_page: Open, root: httpx2.Client
) -> None:
    page = open_page(tertulia, "/grants")
    expect(page.get_by_text("You need the permission Role:GetTemporaryPermissionGrant.")).to_be_visible()
    people = page.get_by_role("navigation", name="People").get_by_role("link")
    expect(people).to_have_text(["Users", "Roles", "What a user may do", "Audit log"])
    user = invite(tertulia.as_admin)
    page = open_page(tertulia, "/users", signed_in=False)
    page.goto(f"{tertulia.url}/ui/access?user={user}&permission=traces#token={token_of(root)}")
    expect(page.get_by_role("heading", name="No permission is like that")).to_be_visible()
    page.get_by_label("Permission").fill("insights")
    row = page.get_by_role("row").filter(has_text="Conversation:GetInteractionInsights")
    expect(row.get_by_role("cell").nth(1)).to_have_text("no")

    page.get_by_role("link", name="Temporary grants").click()
    page.get_by_role("button", name="Give a permission for some time").click()
    dialog = page.get_by_role("dialog", name="New grant")
    dialog.get_by_label("User", exact=True).fill("nobody@example.com")
    page.keyboard.press("Tab")
    dialog.get_by_role("combobox", name="Permission").select_option("Conversation:GetInteractionInsights")
    expect(dialog.get_by_role("alert")).to_have_text("There is no such user.")
    dialog.get_by_label("User", exact=True).fill(user)
    dialog.get_by_role("button", name="Condition", exact=True).click()
    dialog.get_by_label("Value of condition 1").fill(tertulia.demo.service_id)
    dialog.get_by_label("Reason").fill("Finds out why a reply was bad.")
    expect(dialog.get_by_role("alert")).to_have_count(0)
    barriers = find_barriers(page) if AXE.is_file() else []
    dialog.get_by_role("button", name="Give it").click()
    given = page.get_by_role("row").filter(has_text="Finds out why a reply was bad.")
    expect(given).to_contain_text("Get interaction insights, if the service is Reading circle")
    assert barriers + (find_barriers(page) if AXE.is_file() else []) == []

    given.get_by_role("link").click()
    page.get_by_label("Show").select_option("What they may do")
    page.get_by_label("Permission").fill("insights")
    expect(page.get_by_text("and 1 temporary grant.")).to_be_visible()
    expect(row.get_by_role("cell").nth(1)).to_have_text("in part")
    expect(row).to_contain_text(re.compile("if the service is Reading circle, until .*:"))
    page.get_by_label("Permission").fill("create conversation")
    expect(page.get_by_role("row").filter(has_text="Conversation:CreateConversation")).to_contain_text("only their own")


def token_of(client: httpx2.Client) -> str:
    return client.headers["Authorization"].removeprefix("Bearer ")


def test_a_person_is_erased_and_the_audit_log_has_the_proof(tertulia: Server, open_page: Open) -> None:
    page = open_page(tertulia, f"/users/{invite(tertulia.as_admin)}")
    page.get_by_role("button", name="Erase").click()
    page.get_by_role("dialog", name="Erase a person").get_by_role("button", name="Erase").click()
    page.get_by_role("link", name=re.compile("of the audit log")).click()
    expect(page.get_by_role("row").filter(has_text="erase-user")).to_have_count(1)
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_text("in order")).to_be_visible()


def test_days_of_retention_are_set(tertulia: Server, open_page: Open) -> None:
    page = open_page(tertulia, "/settings")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_label("Memories").fill("400")
    page.get_by_role("button", name="Save the days").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert tertulia.as_admin.get("/organization/retention/").json()["memories_days"] == 400
