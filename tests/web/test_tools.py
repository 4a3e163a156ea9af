"""Tools in the interface: made, published, called by hand and by a turn, and found on record."""

import re

import httpx2
import pytest
from playwright.sync_api import Page, expect

from support import samples
from support.browser import Open
from support.samples import action, graph, tool_call, tool_spec
from support.server import Server
from support.tools import a_tool_name, an_archive

pytestmark = pytest.mark.heavy

MANIFEST = """
name = "book_table"
[input_schema]
type = "object"
required = ["hour"]
additionalProperties = false
[input_schema.properties.hour]
type = "integer"
maximum = 18
"""
BOOKS = """
def run(arguments, context):
    if arguments["hour"] == 13:
        raise ValueError("Nobody eats at 13.")
    return f"Booked at {arguments['hour']}."
"""


def a_tool(client: httpx2.Client, *bumps: str) -> str:
    """Make a tool that books, with a version for each number that counts up. Return its id."""
    body = samples.tool(a_tool_name(), description="Books a table.")
    tool_id = str(client.post("/tool/", json=body).raise_for_status().json()["id"])
    kind = {"content-type": "application/gzip"}
    sent = an_archive({"tool.toml": MANIFEST, "tool.py": BOOKS})
    for bump in bumps:
        path = f"/tool/{tool_id}/version/archive?bump_type={bump}"
        client.post(path, content=sent, headers=kind).raise_for_status()
    return tool_id


def write_json(page: Page, old: str, new: str) -> None:
    """Replace a text in the editor of a version, as a person would."""
    page.get_by_label("Version as JSON").click()
    page.keyboard.press("Control+f")
    page.keyboard.type(old)
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.keyboard.insert_text(new)


def open_part(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def test_a_tool_is_made_published_and_given_a_variable(tertulia: Server, open_page: Open) -> None:
    name = a_tool_name()
    page = open_page(tertulia, "/tools")
    page.get_by_role("button", name="New tool").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("What it does").fill("Books a table.")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", name="No version yet")).to_be_visible()

    open_part(page, "Publish")
    write_json(page, '"in": "query"', '"in": "nowhere"')
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(
        page.get_by_role("button", name=re.compile(r"^definition, parameters, number \d “\w+”, in:"))
    ).to_be_visible()
    write_json(page, '"in": "nowhere"', '"in": "query"')
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.get_by_text("Published as version 1.0.0.")).to_be_visible()
    expect(page.get_by_role("tabpanel")).to_contain_text("HTTP")

    open_part(page, "Variables")
    page.get_by_label("Name", exact=True).fill("API_KEY")
    page.get_by_label("Secret").check()
    page.get_by_label("Value").fill("hush")
    page.get_by_role("button", name="Set it").click()
    expect(page.get_by_role("listitem").filter(has_text="API_KEY")).to_contain_text("secret")
    made = [tool for tool in tertulia.as_admin.get("/tool/").json()["tools"] if tool["name"] == name]
    assert [tool["secret_envvars"] for tool in made] == [["API_KEY"]]
    page.get_by_role("button", name="Delete API_KEY").click()
    expect(page.get_by_text("There is none.")).to_be_visible()


def test_a_tool_is_called_by_hand_and_a_version_is_deprecated(tertulia: Server, open_page: Open) -> None:
    tool_id = a_tool(tertulia.as_admin, "major", "minor")
    page = open_page(tertulia, f"/tools/{tool_id}?view=call")
    page.get_by_label("hour").fill("19")
    page.get_by_role("button", name="Call it").click()
    expect(page.get_by_role("alert")).to_contain_text("18")
    page.get_by_label("hour").fill("13")
    page.get_by_role("button", name="Call it").click()
    expect(page.get_by_label("Outcome")).to_contain_text("Nobody eats at 13.")
    expect(page.get_by_label("Outcome")).to_contain_text("tool.py, line 4")
    page.get_by_label("hour").fill("12")
    page.get_by_role("button", name="Call it").click()
    expect(page.get_by_label("Outcome")).to_contain_text("Booked at 12.")

    open_part(page, "Versions")
    page.get_by_role("button", name="Deprecate version 1.0.0").click()
    page.get_by_role("dialog").get_by_role("button", name="Deprecate").click()
    expect(page.get_by_text("Version 1.0.0 is out of use.")).to_be_visible()
    in_use = tertulia.as_admin.get(f"/tool/{tool_id}/version", params={"deprecated": False}).json()["tool_versions"]
    assert [(version["kind"], version["version"]["minor"]) for version in in_use] == [("code", 1)]


def clinic(client: httpx2.Client, tool_id: str) -> str:
    """Make a service that books in a state of its own, if the user says yes. Return its id."""
    use = {**tool_spec(tool_id), "result_persistence": "persisted-preferred", "needs_confirmation": True}
    book = {**tool_call("book", "booked", tool_id), "designated_tool": use}
    return samples.make_service(client, graph(action("start", "book"), book, action("booked", "end"), action("end")))


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send", exact=True).click()


def test_a_call_waits_for_a_yes_is_shown_from_inside_and_is_on_record(tertulia: Server, open_page: Open) -> None:
    tool_id = a_tool(tertulia.as_admin, "major")
    page = open_page(tertulia, f"/?service={clinic(tertulia.as_admin, tool_id)}")
    page.get_by_role("button", name="Let the agent begin").click()
    expect(page.get_by_role("button", name="Why?")).to_have_count(1)
    say(page, "I want to book: hour=9")
    calls = page.get_by_role("list", name="Calls of tools")
    expect(calls).to_contain_text("waits for a yes")
    expect(calls).to_contain_text('{"hour":9}')
    page.get_by_role("button", name="tool call book").click()
    expect(page.get_by_label("State book")).to_contain_text("if the user says yes")
    calls.get_by_role("button", name="Yes").click()

    expect(page.get_by_role("button", name="Why?")).to_have_count(3)
    expect(calls).to_contain_text(re.compile(r"1\.0\.0\s*[<\d].* m?s.*Booked at 9\.", re.DOTALL))
    page.get_by_role("region", name="The turn's trace").get_by_role("button", name=re.compile("1.0.0")).click()
    expect(page.get_by_role("heading", name="Result")).to_be_visible()
    page.reload()
    expect(calls).to_contain_text("Booked at 9.")

    calls.get_by_role("link").click()
    open_part(page, "Invocations")
    page.get_by_label("Outcome").select_option("failed")
    expect(page.get_by_role("heading", name="No call is like that")).to_be_visible()
    page.get_by_label("Outcome").select_option("succeeded")
    page.get_by_label("Find").fill("booked nothing")
    page.get_by_label("Find").press("Enter")
    page.get_by_role("tabpanel").get_by_role("button", name=re.compile("Booked at 9")).click()
    page.get_by_role("link", name="To the conversation").click()
    expect(page.get_by_role("log")).to_contain_text("I want to book: hour=9")
