"""Pictures of every page for the documentation, light, dark and narrow: `make screenshots`, or some by their names."""

import shutil
import sys
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support import samples, talk  # noqa: E402 - found by the line above
from support.puppet import Puppet  # noqa: E402 - as above
from support.server import Server, settings_of, start  # noqa: E402 - as above
from support.stage import Switch  # noqa: E402 - as above
from tertulia.cli import installation  # noqa: E402 - as above
from tertulia.providers.models.registry import Models  # noqa: E402 - as above
from tertulia.providers.models.scripted import ScriptedModel  # noqa: E402 - as above
from tertulia.tools import scaffold  # noqa: E402 - as above

IMAGES = ROOT / "docs" / "images"


def playground(page: Page) -> None:
    page.get_by_role("button", name="Let the agent begin").or_(page.get_by_text("Begin a new one")).click()
    page.get_by_role("button", name="Why?").wait_for()
    for number, text in enumerate(["Can you recommend a funny book?", "When are the meetings?"], 2):
        page.get_by_label("Message", exact=True).fill(text)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Why?").nth(number - 1).wait_for()
    page.get_by_text("model calls").wait_for(state="attached")


def sound(page: Page) -> None:
    page.get_by_role("button", name="Aloud").click()
    page.get_by_role("button", name="Let the agent begin").or_(page.get_by_text("Begin a new one")).click()
    page.get_by_role("button", name="Why?").wait_for()
    show(page, "Turn")
    page.get_by_role("button", name="Sound", exact=True).click()
    page.get_by_role("list", name="The turn on one axis of time").wait_for()


def show(page: Page, name: str) -> None:
    """Choose a pane, if the screen has room for one alone."""
    tab = page.get_by_role("tablist", name="Panes").get_by_role("tab", name=name)
    if tab.is_visible():
        tab.click()


def compare(page: Page) -> None:
    page.get_by_role("link", name="Reading circle").click()
    page.wait_for_url("**/graphs/*")
    page.goto(f"{page.url}?with=1")
    page.locator(".cm-changedText").first.wait_for()


def behavior(page: Page) -> None:
    page.locator("main a", has_text="Lost umbrella").click()
    page.get_by_role("heading", name="What it does").wait_for()


def user(page: Page) -> None:
    page.get_by_role("link", name="Demo User").click()
    page.get_by_role("heading", name="Demo User").wait_for()


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


def table(page: Page) -> None:
    page.locator("table").wait_for()


def heading(page: Page) -> None:
    page.get_by_role("heading", level=1).first.wait_for()


PAGES: dict[str, tuple[str, Callable[[Page], None]]] = {
    "playground": ("/", playground),
    "sound": ("/", sound),
    "conversations": ("/conversations", table),
    "conversation": ("/conversations", conversation),
    "search": ("/conversations?words=book", lambda page: page.locator("mark").first.wait_for()),
    "feedback": ("/feedback", table),
    "services": ("/services", table),
    "graphs": ("/graphs", table),
    "graph": ("/graphs", graph),
    "compare": ("/graphs", compare),
    "agents": ("/agents", table),
    "agent": ("/agents", agent),
    "tools": ("/tools", table),
    "tool": ("/tools", tool),
    "behaviors": ("/behaviors", heading),
    "behavior": ("/behaviors", behavior),
    "user": ("/users", user),
    "users": ("/users", table),
    "roles": ("/roles", lambda page: page.get_by_role("region", name="DefaultUserRole").wait_for()),
    "grants": ("/grants", table),
    "access": ("/access?user={user}&permission=conversation", table),
    "audit": ("/audit", table),
    "settings": (
        "/settings",
        lambda page: page.get_by_role("button", name="Try it: the server's own voice").wait_for(),
    ),
    "running": (
        "/conversations/running",
        lambda page: page.get_by_text("speaking").wait_for() or page.get_by_text("Demo User", exact=True).wait_for(),
    ),
}
ABOVE = {"grants", "access"}
"""Pages that administrators see only in part."""


LOOKS = {"light": ("light", 1280), "dark": ("dark", 1280), "narrow": ("light", 380)}
"""A way to take a page: its theme, and the width of the screen in pixels."""


def main() -> None:
    """Take the pictures of a demo organization, with the model that repeats."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("There is no Chromium here.")
    switch = Switch()
    switch.model = ScriptedModel()
    with TemporaryDirectory() as folder:
        settings = settings_of(data=Path(folder))
        server = start(settings, installation.make_demo(settings, "demo", None), Models(switch))
        link = _prepare(server)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            wanted = [name for name in PAGES if not sys.argv[1:] or name in sys.argv[1:]]
            for look in LOOKS:
                _take(browser, server, look, [name for name in wanted if name != "running"])
                _take_open(browser, server, look, link)
                with _running(server, switch):  # a puppet does not wait for ever
                    _take(browser, server, look, [name for name in wanted if name == "running"])
            browser.close()
        server.stop()


def _prepare(server: Server) -> str:
    """Fill the demo organization with what pages show. Return a link to a conversation."""
    _publish_greeting(server)
    conversation = _speak(server)
    _give_grants(server)
    _change_graph(server)
    behavior = {
        "name": "Lost umbrella",
        "initial_version": {
            "conversation_triggers": ["I have lost my umbrella.", "Did anybody find an umbrella?"],
            "actions": [
                {
                    "type": "inject-instruction",
                    "instruction": "Say that lost things are at the front desk.",
                    "overrides_instructions": False,
                }
            ],
            "is_active": True,
        },
        "applied_to_services": [server.demo.service_id],
        "tags": {},
    }
    server.as_admin.post("/dynamic_behavior_set/", json=behavior).raise_for_status()
    shared = server.as_admin.post(f"/conversation/{conversation}/share/", json={"duration": "P7D"}).raise_for_status()
    return f"{server.url}/ui/shared/{server.demo.organization_id}#share={shared.json()['token']}"


def _change_graph(server: Server) -> None:
    """Save a second version of the demo's graph, for a comparison to show."""
    path = "/organization/service_hierarchical_state_machine"
    graph = server.as_admin.get(path).json()["service_hierarchical_state_machines"][0]["id"]
    versions = server.as_admin.get(f"{path}/{graph}/version", params={"version": "1"}).json()
    version = versions["state_machine_versions"][0]
    body = {name: version[name] for name in version if name.startswith(("global_", "new_", "returning_", "terminal_"))}
    states = [{**one, "objective": f"{one['objective']} Be brief."} if one["name"] == "farewell" else one
              for one in version["states"]]  # fmt: skip
    thanks = {**samples.action("thanks", "farewell"), "objective": "Thank the person for coming."}
    changed = {**body, "description": version["description"], "states": [*states, thanks], "references": {}}
    server.as_admin.post(f"{path}/{graph}/", json=changed).raise_for_status()


@contextmanager
def _running(server: Server, switch: Switch) -> Generator[None]:
    """Let a turn of the demo user run while a picture is taken."""
    held, scripted = Puppet("A book on ", "gardens."), switch.model
    held.hold()
    user = server.client(server.sign_in(server.demo.user_id))
    with ThreadPoolExecutor(1) as thread:
        switch.model = held
        turn = thread.submit(
            talk.begin, user, server.demo.service_id, initial_message="Something about gardens, please."
        )
        held.asked.wait(20)
        held.release()
        switch.model = scripted
        yield
        held.release(5)
        talk.finish(user, talk.id_of(turn.result()))


def _publish_greeting(server: Server) -> None:
    body = {"name": scaffold.NAME, "description": "Greets a person by their name.", "tags": {}}
    made = server.as_admin.post("/tool/", json=body).raise_for_status().json()["id"]
    path, kind = f"/tool/{made}/version/archive?bump_type=major", {"content-type": "application/gzip"}
    server.as_admin.post(path, content=scaffold.archive(), headers=kind).raise_for_status()


def _speak(server: Server) -> str:
    """Let the demo user say something, and have an opinion on each of the replies. Return the conversation's id."""
    conversation = talk.id_of(
        talk.begin(server.as_user, server.demo.service_id, initial_message="Which book is good on a long journey?")
    )
    talk.go_on(server.as_user, conversation, "One that is not about trains, please.")
    replies = [one for one in talk.messages(server.as_admin, conversation) if one["message_type"] == "agent-message"]
    opinions = [("up", "Kind, and it asks what I like."), ("down", "It repeats what I said.")]
    for reply, (rating, comment) in zip(replies, opinions, strict=True):
        path = f"/conversation/{conversation}/messages/{reply['id']}/feedback"
        server.as_user.put(path, json={"rating": rating, "comment": comment}).raise_for_status()
    talk.finish(server.as_user, conversation)
    return conversation


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


def _take(browser: Browser, server: Server, look: str, wanted: list[str]) -> None:
    """Take the pages that people see who have signed in."""
    for client, names in (
        (server.as_admin, [name for name in wanted if name not in ABOVE]),
        (server.as_super, [name for name in wanted if name in ABOVE]),
    ):
        page = _open(browser, look)
        page.goto(f"{server.url}/ui/#token={client.headers['Authorization'].removeprefix('Bearer ')}")
        for name in names:
            path, prepare = PAGES[name]
            page.goto(f"{server.url}/ui{path.format(user=server.demo.user_id)}")
            prepare(page)
            _save(page, f"{name}-{look}")
        page.context.close()


def _take_open(browser: Browser, server: Server, look: str, link: str) -> None:
    """Take the pages that anybody sees: the form to sign in, and a shared conversation."""
    for name, address in (("sign-in", f"{server.url}/ui/"), ("shared", link)):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        page = _open(browser, look)
        page.goto(address)
        page.get_by_role("heading", level=1).first.wait_for()
        _save(page, f"{name}-{look}")
        page.context.close()


def _open(browser: Browser, look: str) -> Page:
    theme, width = LOOKS[look]
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
        locale="en-GB",
    )
    return context.new_page()


def _save(page: Page, name: str) -> None:
    page.wait_for_load_state("networkidle" if "running" not in name else "load")
    page.mouse.move(0, 0)
    page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
