"""The page of the interface in Chromium: bytes of its first load, and the frames of long replies and long lists."""

import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, Request, sync_playwright

from bench import servers, store
from bench.clients import Caller
from bench.figures import PRODUCT, Bound, Figure, Section
from bench.http import Create, interact_of, path_of, request_of
from bench.setting import Setting
from bench.workload import Workload
from tertulia.cli import installation
from tertulia.demo.organization import ORGANIZATION
from tertulia.settings import Settings
from tertulia.web.pages import is_built

FIRST_LOAD_KB = 80.0
LONGEST_SCRIPT_MS = 50.0
PIECES, PAUSE_MS, REPLIES = 500, 10, 3
LIBRARIES = ("/dagre", "/markdown")
"""Files that draw graphs and Markdown: the page asks for them when it stands already."""
CONVERSATIONS, PRESSES, FRAMES = 100_000, 20, 300
MESSAGE = "Hm."
"""The model that repeats takes no exit for it, so that a conversation never ends."""

_TEXT = (
    "The built page in a headless Chromium without a graphics card, signed in as the demo administrator. First load: "
    "the bodies that the browser fetches below `/ui/`, compressed as they are, until the playground is ready; the "
    "libraries that draw graphs and Markdown follow, and have no bound. Script of a frame: what the browser reports of "
    f"frames of 50 ms and more; 0 if there was none. A reply of {PIECES} pieces, {PAUSE_MS} ms apart, is watched "
    f"from the message to its end, the best of {REPLIES}: what else the machine does comes on top. A conversation of "
    "{turns} turns is read to its beginning, and scrolled. "
    f"The table of {CONVERSATIONS:,} conversations is scrolled after {PRESSES} presses of *Show more*: the page holds "
    "the rows that were asked for, not those that there are. Frames are dropped when the next one comes more than a "
    "60th of a second later; other work on the machine does that too, so it has no bound."
)

_WATCH = """() => {
  const seen = window.seen = { gaps: [], scripts: [], on: true };
  new PerformanceObserver((list) => {
    for (const frame of list.getEntries()) seen.scripts.push(frame.scripts.reduce((all, one) => all + one.duration, 0));
  }).observe({ type: "long-animation-frame" });
  let last = performance.now();
  const look = (now) => { seen.gaps.push(now - last); last = now; if (seen.on) requestAnimationFrame(look); };
  requestAnimationFrame(look);
}"""
_RESULT = """() => {
  seen.on = false;
  const dropped = seen.gaps.reduce((all, gap) => all + Math.max(0, Math.round(gap * 60 / 1000) - 1), 0);
  return [Math.max(0, ...seen.scripts), 100 * dropped / (dropped + seen.gaps.length)];
}"""
_SCROLL = """([selector, step, frames]) => new Promise((done) => {
  const box = document.querySelector(selector);
  let left = frames;
  const move = () => { box.scrollTop += step; if (left-- > 0) requestAnimationFrame(move); else done(); };
  move();
})"""


@dataclass(frozen=True, slots=True)
class _Place:
    """An installation of its own, with a long conversation and many short ones."""

    data: Path
    token: str
    long_id: str


def measure(setting: Setting) -> Section:
    text = _TEXT.format(turns=setting.effort.late_turn)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None or not is_built():
        why = "there is no Chromium" if program is None else "the page is not built"
        return Section("The page", [Figure("first load", "kB", {}, note=f"skipped: {why}")], text)
    place = _prepare(setting)
    pauses = {"SCRIPTED_PIECES": str(PIECES), "SCRIPTED_DELAY_MS": str(PAUSE_MS)}
    with servers.tertulia(place.data, setting.cores.server, pauses) as server, _browser(program) as browser:
        return Section("The page", [*_figures(browser, server.url, place)], text)


def _prepare(setting: Setting) -> _Place:
    data = setting.folder / "page"
    settings = Settings(data=data)
    demo = installation.make_demo(settings, ORGANIZATION, None)
    user, admin = (
        installation.issue_token(settings, ORGANIZATION, None, administrator=administrator).token
        for administrator in (False, True)
    )
    with servers.tertulia(data, setting.cores.server) as server, Caller(server.url) as caller:
        short, long = (
            caller.call(request_of(path_of(ORGANIZATION), Create(token, demo.service_id)))[0].conversation_id
            for token in (user, admin)
        )
        for _ in range(1, setting.effort.late_turn):
            caller.call(interact_of(ORGANIZATION, admin, long, MESSAGE))
    store.fill(
        data,
        Workload([demo.user_id, demo.admin_user_id], [], [demo.service_id] * store.SERVICES, demo, admin),
        short,
        CONVERSATIONS,
    )
    return _Place(data, admin, long)


@contextmanager
def _browser(program: str) -> Generator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


def _figures(browser: Browser, url: str, place: _Place) -> Iterator[Figure]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    yield from _first_load(page, url, place)

    page.goto(f"{url}/ui/")
    page.get_by_text("Begin a new one").click()
    page.get_by_role("button", name="Why?").wait_for()
    replies = [_watch_reply(page, number) for number in range(1, REPLIES + 1)]
    beyond, script, dropped = (min(some) for some in zip(*replies, strict=True))
    yield Figure(f"{PIECES} pieces, beyond their pauses", "ms", {PRODUCT: beyond})
    yield Figure(f"{PIECES} pieces: longest script of a frame", "ms", {PRODUCT: script})
    yield Figure(f"{PIECES} pieces: frames dropped", "%", {PRODUCT: dropped})

    page.goto(f"{url}/ui/conversations/{place.long_id}")
    page.get_by_role("article").first.wait_for()
    earlier = page.get_by_role("button", name="Earlier messages")
    while earlier.is_visible():
        shown = page.get_by_role("article").count()
        earlier.click()
        page.get_by_role("article").nth(shown).wait_for()
    page.evaluate(_WATCH)
    page.evaluate(_SCROLL, ["[role=log]", 200, FRAMES])
    yield from _scrolled(page, "a long conversation")

    page.goto(f"{url}/ui/conversations")
    for _ in range(PRESSES):
        page.get_by_role("button", name="Show more").click()
        page.get_by_role("button", name="Show more").wait_for()
    page.evaluate(_WATCH)
    page.evaluate(_SCROLL, [".page", 200, FRAMES])
    yield from _scrolled(page, "a long table")


def _first_load(page: Page, url: str, place: _Place) -> Iterator[Figure]:
    sizes: dict[str, int] = {}

    def note(request: Request) -> None:
        if "/ui/" in request.url:
            sizes[request.url] = request.sizes()["responseBodySize"]

    page.on("requestfinished", note)
    page.goto(f"{url}/ui/#token={place.token}")
    page.get_by_text("Begin a new one").wait_for()
    page.wait_for_load_state("networkidle")
    page.remove_listener("requestfinished", note)
    first = sum(size for address, size in sizes.items() if not any(name in address for name in LIBRARIES)) / 1000
    yield Figure("first load", "kB", {PRODUCT: first}, bound=Bound(first, FIRST_LOAD_KB, "at most"))
    yield Figure("first load, and the libraries after it", "kB", {PRODUCT: sum(sizes.values()) / 1000})


def _watch_reply(page: Page, number: int) -> tuple[float, float, float]:
    """Send a message, and watch its reply. Return ms beyond the pauses, ms of script in a frame, and % dropped."""
    page.get_by_label("Message", exact=True).fill(MESSAGE)
    page.evaluate(_WATCH)
    began = time.perf_counter()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Why?").nth(number).wait_for()
    took = 1000 * (time.perf_counter() - began)
    script, dropped = page.evaluate(_RESULT)
    return took - PIECES * PAUSE_MS, script, dropped


def _scrolled(page: Page, name: str) -> Iterator[Figure]:
    script, dropped = page.evaluate(_RESULT)
    bound = Bound(script, LONGEST_SCRIPT_MS, "at most")
    yield Figure(f"{name}: longest script of a frame", "ms", {PRODUCT: script}, bound=bound)
    yield Figure(f"{name}: frames dropped", "%", {PRODUCT: dropped})
