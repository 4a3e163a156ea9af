"""Tools in the interface: made, published, called by hand and by a turn, and found on record."""

import re

import httpx2
import pytest
from playwright.sync_api import Page, expect

from support import samples
from support.browser import Open
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
    page = open_page(tertulia, "/tools")
    page.get_by_role("button", name="Make the first one").click()
    page.get_by_label("Name", exact=True).fill("book_table")
    page.get_by_label("What it does").fill("Books a table.")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", name="No version yet")).to_be_visible()

    open_part(page, "Publish")
    write_json(page, '"in": "query"', '"in": "nowhere"')
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.get_by_role("button", name=re.compile(r"definition\.parameters\.\d\.in"))).to_be_visible()
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
    assert tertulia.as_admin.get("/tool/").json()["tools"][0]["secret_envvars"] == ["API_KEY"]
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
