"""Speech in the playground: replies that are played, and messages that a microphone hears."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect, sync_playwright

from support.browser import finish_all
from support.puppet import Puppet
from support.server import Serve, Server
from support.spoken import said
from support.stage import Switch
from tertulia.audio.pcm import RATE, wav
from tertulia.providers.models.registry import Models
from tertulia.web.pages import is_built

pytestmark = pytest.mark.heavy

PATIENCE_MS = 20_000

# Counts what is played, and what is cut off before its end, for nobody listens here.
COUNTER = """
window.played = window.cut = 0;
const {start, stop} = AudioBufferSourceNode.prototype;
AudioBufferSourceNode.prototype.start = function (...rest) {
  window.played += this.buffer.duration;
  start.apply(this, rest);
};
AudioBufferSourceNode.prototype.stop = function (...rest) {
  window.cut += 1;
  stop.apply(this, rest);
};
"""


@pytest.fixture(scope="module")
def switch() -> Switch:
    return Switch()


@pytest.fixture(scope="module")
def server(serve: Serve, switch: Switch) -> Server:
    """A server whose model is a puppet."""
    return serve(models=Models(switch))


@pytest.fixture
def page(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page whose microphone hears silence, a sentence, and silence, and the same again."""
    program = shutil.which("chromium")
    if program is None or not is_built():
        pytest.skip("there is no browser here, or the interface is not built")
    heard = tmp_path / "heard.wav"
    heard.write_bytes(wav(silence(request.param) + said("When are the meetings?") + silence(4), RATE))
    token = server.sign_in(server.demo.admin_user_id)
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
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{server.url}/ui/#token={token}")
        yield page
        browser.close()
    finish_all(server, token)
    assert complaints == []


def silence(seconds: float) -> bytes:
    return bytes(2 * round(RATE * seconds))


@pytest.mark.parametrize("page", [1], indirect=True, ids=["heard after a second"])
def test_a_reply_is_heard_while_its_words_are_shown_and_a_recording_is_sent(page: Page, switch: Switch) -> None:
    switch.model = Puppet("Hello! ", "Tell me.")
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    page.route("**/assets/voice-*.js", hold)
    page.get_by_role("button", name="Aloud").click()
    page.get_by_role("button", name="Let the agent begin").click()
    expect(page.locator("article .dots")).to_be_visible()
    waiting[0].continue_()  # what plays the reply comes late, and nothing of the reply is lost
    expect(page.get_by_role("log")).to_contain_text("Hello! Tell me.")
    expect(page.locator("article footer").first).to_contain_text("spoken")
    assert page.evaluate("window.played") > 0.5

    switch.model = Puppet("On Thursdays.")
    page.get_by_role("button", name="Record a message").click()
    expect(page.get_by_role("status", name="The microphone is on")).to_be_visible()
    expect(page.locator(".wave rect").nth(47)).to_be_attached()
    with page.expect_request(re.compile("request_format=voice")):
        page.get_by_role("button", name="Send recording").click()
    expect(page.locator("article")).to_have_count(2)
    expect(page.locator("article .words")).to_contain_text("When are the meetings?")
    expect(page.locator("article .reply").last).to_contain_text("On Thursdays.")


@pytest.mark.parametrize("page", [3], indirect=True, ids=["heard after three seconds"])
def test_a_call_is_heard_while_it_comes_and_who_speaks_interrupts_the_agent(page: Page, switch: Switch) -> None:
    switch.model = Puppet(*[f"This is sentence number {n} of what I have to say. " for n in range(30)])
    page.get_by_role("button", name=re.compile("Call it|^Call$")).first.click()
    call = page.get_by_role("status", name="The call")
    expect(call).to_contain_text("The agent speaks")
    expect(page.get_by_role("log")).to_contain_text("This is sentence")
    switch.model = Puppet("On Thursdays.")

    expect(page.locator("article .words")).to_contain_text("When are the meetings?")

    assert page.evaluate("window.cut") > 0
    assert page.evaluate("window.played") < 20  # of a minute and a half
    first, second = page.locator("article").nth(0), page.locator("article").nth(1)
    expect(first.locator(".unheard")).to_contain_text("Not heard:")
    expect(second.locator(".reply")).to_contain_text("On Thursdays.")
    expect(second.locator("footer")).to_contain_text("to the first piece")
    assert page.locator(".call .mine").count() > 20
    page.get_by_label("Message", exact=True).fill("And **where**?")
    page.get_by_role("button", name="Mute").click()
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("article .words").last).to_contain_text("And **where**?")
    expect(page.get_by_role("button", name="Why?").last).to_be_visible()
    page.get_by_role("button", name="Hang up").click()
    expect(call).to_have_count(0)

    page.reload()
    expect(page.get_by_role("log")).to_contain_text("When are the meetings?")
    expect(page.get_by_role("log")).not_to_contain_text("number 29")
    page.get_by_role("button", name="Call", exact=True).click()
    expect(call).to_contain_text("Listening")
