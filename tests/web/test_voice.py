"""Speech in the playground: replies that are played, and messages that a microphone hears."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from support.server import Server
from support.spoken import said_wav
from tertulia.web.pages import is_built

pytestmark = pytest.mark.heavy

PATIENCE_MS = 20_000

# Counts what is played, for nobody listens here.
COUNTER = """
window.played = 0;
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...rest) {
  window.played += this.buffer.duration;
  start.apply(this, rest);
};
"""


@pytest.fixture
def page(tertulia: Server, tmp_path: Path) -> Iterator[Page]:
    """A page whose microphone hears a sentence."""
    program = shutil.which("chromium")
    if program is None or not is_built():
        pytest.skip("there is no browser here, or the interface is not built")
    heard = tmp_path / "heard.wav"
    heard.write_bytes(said_wav("When are the meetings?"))
    token = tertulia.sign_in(tertulia.demo.admin_user_id)
    arguments = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={heard}",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        context = browser.new_context(permissions=["microphone"])
        context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page = context.new_page()
        page.add_init_script(COUNTER)
        page.goto(f"{tertulia.url}/ui/#token={token}")
        yield page
        browser.close()


def test_a_reply_is_heard_while_its_words_are_shown_and_a_recording_is_sent(page: Page) -> None:
    page.get_by_role("button", name="Aloud").click()
    page.get_by_role("button", name="Let the agent begin").click()
    expect(page.get_by_role("log")).to_contain_text("Hello!")
    expect(page.locator("article footer").first).to_contain_text("spoken")
    assert page.evaluate("window.played") > 1

    page.get_by_role("button", name="Record a message").click()
    expect(page.get_by_role("status", name="The microphone is on")).to_be_visible()
    expect(page.locator(".wave rect").nth(40)).to_be_attached()
    with page.expect_request(re.compile("request_format=voice")):
        page.get_by_role("button", name="Send recording").click()
    expect(page.locator("article")).to_have_count(2)
    expect(page.locator("article .words")).to_contain_text("When are the meetings?")
    expect(page.locator("article .reply").last).to_contain_text("Tell about the meetings.")
