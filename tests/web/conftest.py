"""A real Chromium on the built interface. Tests are skipped, and say so, if there is no browser or nothing is built."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from support.browser import Open, finish_all
from support.server import Serve, Server
from tertulia.web.pages import is_built

PATIENCE_MS = 20_000
REFUSED = "Failed to load resource"
"""The browser's own words in the console about an answer of 4xx, which tests ask for."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no browser here")
    if not is_built():
        pytest.skip("the interface is not built: make ui")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        expect.set_options(timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def serve(serve: Serve) -> Iterator[Serve]:
    """Make servers in a thread of their own: the browser's driver has an event loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        yield lambda *given, **named: thread.submit(serve, *given, **named).result()


HARMLESS = (REFUSED, "https://svelte.dev/e/derived_inert")
"""The last is Svelte's, about a value that is read while its part of the page goes away."""


@pytest.fixture
def complaints() -> list[str]:
    """Complaints about pages: their own errors, anything in their console, and requests to another host."""
    return []


@pytest.fixture
def open_page(browser: Browser, complaints: list[str]) -> Iterator[Open]:
    contexts: list[Any] = []
    seen: dict[str, Server] = {}

    def open_one(
        server: Server,
        path: str = "/",
        *,
        dark: bool = False,
        width: int = 1440,
        signed_in: bool = True,
        user_id: str = "",
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            permissions=["clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda said: None if any(one in said.text for one in HARMLESS) else complaints.append(said.text)
        )
        page.on(
            "request",
            lambda request: None if request.url.startswith(f"{server.url}/") else complaints.append(request.url),
        )
        token = server.sign_in(user_id or server.demo.admin_user_id)
        seen[token] = server
        page.goto(f"{server.url}/ui{path}" + (f"#token={token}" if signed_in else ""))
        return page

    yield open_one
    for context in contexts:
        context.close()
    for token, server in seen.items():
        finish_all(server, token)
    assert complaints == []
