"""Every page of the interface, by everybody: signed in or not, in both themes, on a narrow screen."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from support.browser import AXE, Open, find_barriers
from support.server import Server

pytestmark = pytest.mark.heavy

PAGES = {
    "/": "Reading circle",
    "/conversations": "Conversations",
    "/conversations?state=finished&tag=nothing": "No conversation is like that",
    "/conversations?words=nothing-at-all": "Nobody said that",
    "/conversations/running": "Running now",
    "/feedback": "Feedback",
    "/feedback?rating=down": "No feedback is like that",
    "/services": "Services",
    "/agents": "Agents",
    "/graphs": "Graphs",
    "/graphs/{graph}": "Reading circle",
    "/graphs/{graph}?view=json": "Reading circle",
    "/agents/{agent}": "Reading circle host",
    "/behaviors": "No behaviours yet",
    "/tools": "Tools",
    "/tools/{tool}": "forecast",
    "/tools/{tool}?view=call": "Arguments",
    "/tools/{tool}?view=variables": "forecast",
    "/tools/{tool}?view=publish": "The next version",
    "/users": "Users",
    "/users/{user}": "Demo User",
    "/roles": "Roles",
    "/grants": "Temporary grants",
    "/access": "Whose permissions?",
    "/access?user={user}": "Conversation",
    "/access?user={user}&permission=nothing": "No permission is like that",
    "/audit": "Audit log",
    "/audit?action=nothing": "No change is like that",
    "/settings": "Settings",
    "/nowhere": "There is no such page",
}
"""The pages, and a heading of each that is there when it is ready."""

GO = "path => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')); }"
"""Goes to a page within the application, as a link does."""

WIDE = (
    "[...document.querySelectorAll('main .page, main header')]"
    ".filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.className)"
)


def test_a_person_signs_in_by_an_api_key(tertulia: Server, open_page: Open) -> None:
    page = open_page(tertulia, "/settings", signed_in=False)
    page.get_by_label("Organization").fill(tertulia.demo.organization_id)
    page.get_by_label("User's id").fill(tertulia.demo.admin_user_id)
    page.get_by_label("API key's id").fill(tertulia.demo.api_key_id)
    page.get_by_label("API key", exact=True).fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()

    page.get_by_label("API key", exact=True).fill(tertulia.demo.api_key)
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    assert page.context.cookies() == []
    page.get_by_role("button", name="Sign out").first.click()
    expect(page.get_by_role("heading", name="Sign in to Tertulia")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_token_that_is_none_any_more_leads_to_the_form(tertulia: Server, open_page: Open) -> None:
    page = open_page(tertulia, "/conversations")
    expect(page.get_by_role("heading", name="Conversations", exact=True)).to_be_visible()
    page.evaluate(
        "sessionStorage.setItem('tertulia.token', sessionStorage.getItem('tertulia.token').slice(0, -3) + 'xxx')"
    )
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("The token is not valid.")


def test_a_link_signs_nobody_in_as_another_user_without_a_yes(tertulia: Server, open_page: Open) -> None:
    page = open_page(tertulia, "/settings")
    whose = page.get_by_text(tertulia.demo.admin_user_id).last
    expect(whose).to_be_visible()
    another = tertulia.sign_in(tertulia.demo.user_id)
    asked: list[str] = []
    page.on("dialog", lambda dialog: asked.append(dialog.message))

    page.once("dialog", lambda dialog: dialog.dismiss())
    page.evaluate("token => { location.hash = 'token=' + token }", another)
    page.wait_for_function("location.hash === ''")
    expect(whose).to_be_visible()
    page.evaluate("location.hash = 'token=nonsense'")
    page.reload()
    expect(whose).to_be_visible()

    page.once("dialog", lambda dialog: dialog.accept())
    page.evaluate("token => { location.hash = 'token=' + token }", another)
    expect(page.get_by_text(tertulia.demo.user_id).last).to_be_visible()
    assert [tertulia.demo.user_id in question for question in asked] == [True, True]


def test_a_user_is_offered_nothing_that_they_may_not_do(tertulia: Server, open_page: Open) -> None:
    page = open_page(tertulia, "/settings", user_id=tertulia.demo.user_id)
    expect(page.get_by_text("You need the permission Admin:GetModels.").first).to_be_visible()
    rail = page.get_by_role("navigation", name="Pages").get_by_role("listitem")
    expect(rail).to_have_text(["Playground", "Conversations", "Settings"])
    page.get_by_role("link", name="Playground", exact=True).click()
    page.get_by_role("button", name="Let the agent begin").click()
    expect(page.get_by_role("log")).to_contain_text("Hello!")
    expect(page.get_by_text("The graph is not for you to see.")).to_be_visible()
    expect(page.get_by_text("The trace is not for you to see.")).to_be_visible()


def begun(server: Server, **tags: str) -> str:
    """Begin a conversation as the administrator, over the API. Return its id."""
    body = {"service_id": server.demo.service_id, "tags": tags}
    created = server.as_admin.post("/conversation/", params={"response_format": "text"}, json=body)
    assert created.status_code == 201, created.text
    return created.headers["X-Tertulia-Conversation-Id"]


def test_a_conversation_is_found_read_tagged_and_finished(tertulia: Server, open_page: Open) -> None:
    conversation = begun(tertulia, channel="web")
    page = open_page(tertulia, "/conversations")
    expect(page.get_by_role("table")).to_be_visible()
    page.get_by_label("Tag").fill("channel:phone")
    page.get_by_label("Tag").press("Enter")
    expect(page.get_by_role("heading", name="No conversation is like that")).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?tag=channel%3Aphone$"))
    page.get_by_label("Tag").fill("channel")
    page.get_by_label("Tag").press("Enter")
    row = page.get_by_role("row").filter(has_text="Hello!")
    expect(row).to_contain_text("books")
    expect(row).to_contain_text("1 message")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export").click()
    exported = [json.loads(line) for line in saved.value.path().read_text("utf-8").splitlines()]
    assert [(line["id"], line["state"], line["num_turns"]) for line in exported] == [(conversation, "books", 1)]
    page.get_by_label("Tests").select_option("only")
    expect(page.get_by_role("heading", name="No conversation is like that")).to_be_visible()
    page.get_by_label("Tests").select_option("none")
    page.get_by_role("link", name=re.compile("^Hello!")).click()

    expect(page).to_have_url(re.compile(f"/ui/conversations/{conversation}$"))
    expect(page.get_by_role("log")).to_contain_text("Hello!")
    expect(page.get_by_role("button", name="action books, the current state")).to_be_visible()
    page.get_by_role("button", name="Why?").click()
    expect(page.get_by_role("region", name="The turn's trace")).to_contain_text("Engage user")
    page.get_by_role("tab", name="About").click()
    page.get_by_label("Key of a new tag").fill("seen")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("button", name="Remove the tag seen")).to_be_visible()
    page.get_by_role("button", name="Remove the tag channel").click()
    expect(page.get_by_role("button", name="Remove the tag channel")).to_have_count(0)
    page.get_by_role("button", name="Finish").click()
    expect(page.get_by_role("log")).to_contain_text("The conversation is finished.")

    listed = tertulia.as_admin.get("/conversation/", params={"id": conversation}).json()["conversations"][0]
    assert (listed["tags"], listed["is_finished"]) == ({"seen": None}, True)


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not here: make ui")
@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 380)], ids=["light", "dark and narrow"])
def test_no_page_has_a_barrier_or_is_wider_than_its_screen(
    tertulia: Server, open_page: Open, dark: bool, width: int
) -> None:
    found: dict[str, list[tuple[str, str]]] = {}
    tool = forecast(tertulia)
    page = open_page(tertulia, "/", dark=dark, width=width)
    console: list[str] = []
    page.on("console", lambda said: console.append(said.text))
    for path, heading in PAGES.items():
        show(page, tertulia, path.replace("{tool}", tool), heading)
        found[path] = find_barriers(page)
        page.emulate_media(color_scheme="light" if dark else "dark")  # another theme changes nothing but colours
        found[f"{path}, in the other theme"] = find_barriers(page, "color-contrast")
        page.emulate_media(color_scheme="dark" if dark else "light")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert page.evaluate(WIDE) == [], path
    page.set_viewport_size({"width": 800, "height": 900})  # the rail has no words there
    found["rail"] = find_barriers(page)
    page.keyboard.press("Control+k")
    expect(page.get_by_role("option").first).to_be_visible()
    found["palette"] = find_barriers(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Sign out").first.click()
    found["sign in"] = find_barriers(page)
    assert {where: barriers for where, barriers in found.items() if barriers} == {}
    assert console == []


def forecast(server: Server) -> str:
    """Find the tool of this module, or make it, with a variable and a version. Return its id."""
    admin = server.as_admin
    if found := [tool["id"] for tool in admin.get("/tool/").json()["tools"] if tool["name"] == "forecast"]:
        return str(found[0])
    body = {"name": "forecast", "description": "Tells the weather.", "tags": {}}
    made = admin.post("/tool/", json=body).raise_for_status().json()["id"]
    variable = {"name": "API_KEY", "value": "-", "is_secret": True}
    admin.post(f"/tool/{made}/envvar", json={"inserts": [variable]}).raise_for_status()
    version = {
        "bump_type": "major",
        "definition": {"url": "https://api.example.com/now", "parameters": [{"name": "city", "in": "query"}]},
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
    admin.post(f"/tool/{made}/version/http", json=version).raise_for_status()
    return str(made)


def show(page: Page, server: Server, path: str, heading: str) -> None:
    service = server.as_admin.get("/service/").json()["services"][0]
    ids = {
        "agent": service["agent_id"],
        "graph": service["service_hierarchical_state_machine_id"],
        "user": server.demo.user_id,
    }
    page.evaluate(GO, f"/ui{path.format(**ids)}")
    expect(page.get_by_role("heading", name=heading).first).to_be_attached()
    expect(page.get_by_text("Loading")).to_have_count(0)
