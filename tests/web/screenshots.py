"""Pictures of every page for the documentation, light and dark: `make screenshots`, or some pages by their names."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support import talk  # noqa: E402 - found by the line above
from support.server import Server, settings_of, start  # noqa: E402 - as above
from tertulia.cli import installation  # noqa: E402 - as above
from tertulia.tools import scaffold  # noqa: E402 - as above

IMAGES = ROOT / "docs" / "images"


def playground(page: Page) -> None:
    page.get_by_role("button", name="Let the agent begin").or_(page.get_by_text("Begin a new one")).click()
    page.get_by_role("button", name="Why?").wait_for()
    for number, text in enumerate(["Can you recommend a funny book?", "When are the meetings?"], 2):
        page.get_by_label("Message", exact=True).fill(text)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Why?").nth(number - 1).wait_for()
    page.get_by_text("model calls").wait_for()


def conversation(page: Page) -> None:
    page.locator("a.words").first.click()
    page.get_by_role("button", name="Why?").last.click()
    page.get_by_text("model calls").wait_for()


def graph(page: Page) -> None:
    page.get_by_role("link", name="Reading circle").click()
    page.locator("g.node[data-state=books]").click()
    page.get_by_label("Objective").wait_for()


def agent(page: Page) -> None:
    page.get_by_role("link", name="Reading circle host").click()
    page.locator(".cm-content").wait_for()


def tool(page: Page) -> None:
    page.get_by_role("link", name="greeting").click()
    page.get_by_role("tab", name="Call it").click()
    page.get_by_label("name").fill("Ada")
    page.get_by_role("button", name="Call it").click()
    page.get_by_label("Outcome").wait_for()


def heading(page: Page) -> None:
    page.get_by_role("heading", level=1).first.wait_for()


PAGES: dict[str, tuple[str, Callable[[Page], None]]] = {
    "playground": ("/", playground),
    "conversations": ("/conversations", lambda page: page.locator("table").wait_for()),
    "conversation": ("/conversations", conversation),
    "search": ("/conversations?words=book", lambda page: page.locator("mark").first.wait_for()),
    "feedback": ("/feedback", lambda page: page.locator("table").wait_for()),
    "services": ("/services", lambda page: page.locator("table").wait_for()),
    "graph": ("/graphs", graph),
    "agent": ("/agents", agent),
    "tools": ("/tools", lambda page: page.locator("table").wait_for()),
    "tool": ("/tools", tool),
    "users": ("/users", lambda page: page.locator("table").wait_for()),
    "roles": ("/roles", lambda page: page.get_by_role("region", name="DefaultUserRole").wait_for()),
    "grants": ("/grants", lambda page: page.locator("table").wait_for()),
    "access": ("/access?user={user}&permission=conversation", lambda page: page.locator("table").wait_for()),
    "audit": ("/audit", lambda page: page.locator("table").wait_for()),
    "settings": ("/settings", heading),
}
ABOVE = {"grants", "access"}
"""Pages that administrators see only in part."""


def main() -> None:
    """Take the pictures of a demo organization, with the model that repeats."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("There is no Chromium here.")
    with TemporaryDirectory() as folder:
        settings = settings_of(data=Path(folder))
        server = start(settings, installation.make_demo(settings, "demo", None), None)
        _publish_greeting(server)
        _speak(server)
        _give_grants(server)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            for theme in ("light", "dark"):
                _take(browser, server, theme)
            browser.close()
        server.stop()


def _publish_greeting(server: Server) -> None:
    body = {"name": scaffold.NAME, "description": "Greets a person by their name.", "tags": {}}
    made = server.as_admin.post("/tool/", json=body).raise_for_status().json()["id"]
    path, kind = f"/tool/{made}/version/archive?bump_type=major", {"content-type": "application/gzip"}
    server.as_admin.post(path, content=scaffold.archive(), headers=kind).raise_for_status()


def _speak(server: Server) -> None:
    """Let the demo user say something, and have an opinion on each of the replies."""
    conversation = talk.id_of(
        talk.begin(server.as_user, server.demo.service_id, initial_message="Which book is good on a long journey?")
    )
    talk.go_on(server.as_user, conversation, "One that is not about trains, please.")
    replies = [one for one in talk.messages(server.as_admin, conversation) if one["message_type"] == "agent-message"]
    opinions = [("up", "Kind, and it asks what I like."), ("down", "It repeats what I said.")]
    for reply, (rating, comment) in zip(replies, opinions, strict=True):
        path = f"/conversation/{conversation}/messages/{reply['id']}/feedback"
        server.as_user.put(path, json={"rating": rating, "comment": comment}).raise_for_status()


def _give_grants(server: Server) -> None:
    own = {"org_id": {"type": "Equals", "value": "{self_org_id}"}}
    service = {"service_id": {"type": "Equals", "value": server.demo.service_id}}
    wanted = [
        ("User:GetUserInfo", own, "PT8H", "Answers members' questions while the host is away."),
        ("Conversation:GetConversation", own | service, "P2D", "Reads what was said, to find out why a reply was bad."),
    ]
    for permission, conditions, duration, why in wanted:
        body = {
            "user_id": server.demo.user_id,
            "duration": duration,
            "permission_grant": {"permission_name": permission, "conditions": conditions},
            "tags": {},
            "justification": why,
        }
        server.as_super.post("/role/temporary_permission_grant/", json=body).raise_for_status()


def _take(browser: Browser, server: Server, theme: str) -> None:
    scheme = "dark" if theme == "dark" else "light"
    wanted = [name for name in PAGES if not sys.argv[1:] or name in sys.argv[1:]]
    for client, names in (
        (server.as_admin, [name for name in wanted if name not in ABOVE]),
        (server.as_super, [name for name in wanted if name in ABOVE]),
    ):
        context = browser.new_context(
            viewport={"width": 1280, "height": 800}, color_scheme=scheme, reduced_motion="reduce", locale="en-GB"
        )
        page = context.new_page()
        page.goto(f"{server.url}/ui/#token={client.headers['Authorization'].removeprefix('Bearer ')}")
        for name in names:
            path, prepare = PAGES[name]
            page.goto(f"{server.url}/ui{path.format(user=server.demo.user_id)}")
            prepare(page)
            page.wait_for_load_state("networkidle")
            page.mouse.move(0, 0)
            page.screenshot(path=IMAGES / f"{name}-{theme}.png")
        context.close()


if __name__ == "__main__":
    main()
