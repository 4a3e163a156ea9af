"""Looking at pages of the interface in a real browser."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page

from support.pages import ROOT
from support.server import Server

Open = Callable[..., Page]
"""Opens a page as the administrator: `open_page(server, "/settings", dark=True, width=380)`."""

AXE = ROOT / "ui" / "node_modules" / "axe-core" / "axe.min.js"


def find_barriers(page: Page, *rules: str) -> list[tuple[str, str]]:
    """Look for barriers with axe-core, by all its rules or by some. Return a rule and a place for each."""
    if not page.evaluate("'axe' in window"):  # half a megabyte, once a document
        page.evaluate(AXE.read_text("utf-8") + "; 0")
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    found: Any = page.evaluate("options => axe.run(document, options)", options)
    return [(rule["id"], node["html"][:160]) for rule in found["violations"] for node in rule["nodes"]]


def press_until(page: Page, key: str, name: str, most: int = 60) -> None:
    """Press a key until what has the focus is called so.

    Raises:
        AssertionError: the focus does not come there.
    """
    for _ in range(most):
        page.keyboard.press(key)
        focused = page.evaluate("(document.activeElement.ariaLabel || document.activeElement.innerText || '').trim()")
        if focused == name:
            return
    raise AssertionError(f"{key} does not lead to {name}")


def finish_all(server: Server, token: str) -> None:
    """Finish what a test has left open: to the next one, the page would offer to go on with it."""
    client = server.client(token)
    for conversation in client.get("/conversation/", params={"is_finished": False}).json()["conversations"]:
        client.post(f"/conversation/{conversation['id']}/finish/")
