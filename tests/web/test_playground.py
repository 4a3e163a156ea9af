"""The playground: somebody talks, leaves in the middle of a turn and comes back, stops, and looks into a turn."""

import json
import os
import re
import subprocess
import sys

import pytest
from playwright.sync_api import Page, expect

from support import samples, talk
from support.browser import Open, press_until
from support.puppet import Puppet
from support.server import Serve, Server
from support.stage import Switch
from tertulia.providers.models.registry import Models

pytestmark = pytest.mark.heavy

CONVERSATION = re.compile(r"/ui/talk/[0-9a-f]{24}$")
MANY = 40


@pytest.fixture(scope="module")
def switch() -> Switch:
    return Switch()


@pytest.fixture(scope="module")
def held(serve: Serve, switch: Switch) -> Server:
    """A server whose model waits for the test."""
    return serve(models=Models(switch))


def play(switch: Switch, *pieces: str) -> Puppet:
    puppet = Puppet(*pieces)
    puppet.hold()
    switch.model = puppet
    return puppet


def begin(page: Page) -> None:
    """Have the agent begin a conversation, a new one if there is one."""
    page.get_by_role("button", name=re.compile("Let the agent begin|Begin a new one")).click()


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send", exact=True).click()


def test_a_person_talks_and_sees_the_way_and_the_trace(tertulia: Server, open_page: Open) -> None:
    page = open_page(tertulia)
    followed: list[str] = []
    page.on("request", lambda request: followed.append(request.url) if "/stream?" in request.url else None)
    begin(page)
    expect(page.get_by_role("log")).to_contain_text("Hello!")
    expect(page).to_have_url(CONVERSATION)
    assert "token" not in page.url
    assert followed == []  # the page was not made anew when it got its address

    say(page, "May I **join**?")

    expect(page.get_by_role("log")).to_contain_text("You said:")
    expect(page.locator("article")).to_have_count(2)
    expect(page.locator("article .reply strong")).to_have_text("join")
    expect(page.locator("article footer").last).to_contain_text("to the first piece")
    expect(page.get_by_role("button", name="action meetings, the current state")).to_be_visible()
    expect(page.locator(".edge.strong")).to_have_count(2)

    turn = page.get_by_role("region", name="The turn's trace")
    expect(turn).to_contain_text("books → asks_about_meetings")
    turn.get_by_role("button", name=re.compile("^Select next action")).first.click()
    expect(turn).to_contain_text('{"choice": "exit-1"}')
    expect(turn).to_contain_text("exit-1: The person asks about the meetings")
    page.get_by_role("button", name="Stream", exact=True).click()
    expect(page.get_by_role("region", name="The turn's stream")).to_contain_text('{"type":"interaction-complete"')
    page.get_by_role("button", name="Copy as curl").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    curl = page.evaluate("navigator.clipboard.readText()")
    assert curl.startswith(f"curl -N '{tertulia.base}/conversation/")
    assert "$TOKEN" in curl
    page.get_by_role("button", name=re.compile("^action books")).click()
    state = page.get_by_role("region", name="State books")
    expect(state).to_contain_text("The person says goodbye or bye.")
    page.get_by_role("button", name="Finish").click()
    expect(page.get_by_role("log")).to_contain_text("The conversation is finished.")


def test_a_turn_is_run_again_as_a_program_and_its_prompt_is_compared_with_the_turn_before(
    tertulia: Server, open_page: Open
) -> None:
    page = open_page(tertulia)
    begin(page)
    expect(page.get_by_role("button", name="Why?")).to_be_visible()
    say(page, "May I **join**?")
    expect(page.get_by_role("button", name="Why?")).to_have_count(2)
    page.get_by_role("button", name="Copy as Python").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    program = page.evaluate("navigator.clipboard.readText()")
    token = tertulia.sign_in(tertulia.demo.admin_user_id)
    given = {**os.environ, "TOKEN": token}
    ran = subprocess.run([sys.executable, "-c", program], env=given, capture_output=True, check=False)
    assert b"'type': 'interaction-complete'" in ran.stdout, ran.stderr

    turn = page.get_by_role("region", name="The turn's trace")
    turn.get_by_role("button", name=re.compile("^Engage user")).click()
    turn.get_by_role("button", name="What is different from the turn before?").last.click()
    expect(turn.locator("ins").filter(has_text="May I **join**?").first).to_be_visible()
    page.get_by_role("button", name="Its message").click()
    expect(page.locator("article").last).to_be_focused()


def test_what_was_said_is_said_again_as_a_test_of_other_versions(tertulia: Server, open_page: Open) -> None:
    user = tertulia.as_user
    was = talk.id_of(talk.begin(user, tertulia.demo.service_id))
    talk.go_on(user, was, "When are the meetings?")
    talk.finish(user, was)
    page = open_page(tertulia, f"/conversations/{was}")
    with page.expect_download() as saved:
        page.get_by_role("tab", name="About").click()
        page.get_by_role("button", name="Export as JSON Lines").click()
    said = [json.loads(line)["message_type"] for line in saved.value.path().read_text("utf-8").splitlines()]
    assert said == ["agent-message", "user-message", "agent-message"]
    page.get_by_role("link", name="Continue as a test").click()
    page.get_by_label("Version set").select_option("edge")
    later, why = {"Retry-After": "1"}, {"detail": "Too many requests."}
    page.route("**/interact?*", lambda route: route.fulfill(status=429, headers=later, json=why), times=1)
    page.get_by_role("button", name="Say it again").click()
    expect(page.get_by_role("alert")).to_contain_text("It is sent again then, by itself.")
    expect(page.get_by_role("button", name="Why?")).to_have_count(2)
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator("article .words")).to_have_text("When are the meetings?")
    test = page.url.rpartition("/")[2]
    (listed,) = talk.conversations(tertulia.as_admin, id=test)
    assert (listed["is_test"], listed["version_set_info"]["name"], listed["state"]) == (True, "edge", "meetings")


def test_a_graph_that_another_refers_to_opens_in_its_place(tertulia: Server, open_page: Open) -> None:
    inner = samples.make_graph(tertulia.as_admin, samples.short_graph())
    into = samples.action("start", ["desk.start", "end"])
    outer = samples.graph(into, samples.action("end"), references={"desk": [inner, 1]})
    service = samples.make_service(tertulia.as_admin, outer)
    page = open_page(tertulia, f"/?service={service}")
    page.get_by_role("button", name="another graph desk.start").click()
    way = page.get_by_role("navigation", name="Graphs within each other")
    expect(way).to_contain_text("desk")
    expect(page.get_by_role("group", name="Context graph of 2 states")).to_be_visible()
    way.get_by_role("button", name="Where the conversation stands").click()
    expect(page.get_by_role("button", name="another graph desk.start")).to_be_visible()


def test_who_signs_out_in_the_middle_of_a_turn_leaves_no_words_to_the_next_person(
    held: Server, switch: Switch, open_page: Open
) -> None:
    puppet = play(switch, "One ", "two.")
    page = open_page(held, user_id=held.demo.user_id)
    say(page, "My secret.")
    expect(page).to_have_url(CONVERSATION)
    words = page.evaluate("sessionStorage.getItem('tertulia.running')")
    assert "My secret." in words

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in to Tertulia")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
    page.evaluate("words => sessionStorage.setItem('tertulia.running', words)", words)  # as after a token's end
    page.evaluate("token => { location.hash = 'token=' + token }", held.sign_in(held.demo.admin_user_id))

    expect(page.get_by_role("alert")).to_contain_text("There is no such conversation")
    expect(page.get_by_role("log")).not_to_contain_text("My secret.")
    puppet.release(MANY)


def test_a_reload_in_the_middle_of_a_turn_goes_on(held: Server, switch: Switch, open_page: Open) -> None:
    puppet = play(switch, "One, ", "two, ", "three.")
    page = open_page(held)
    begin(page)
    puppet.release()
    expect(page.get_by_role("log")).to_contain_text("One,")
    expect(page).to_have_url(CONVERSATION)

    page.reload()

    expect(page.get_by_role("log")).to_contain_text("One,")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    puppet.release(MANY)
    expect(page.get_by_role("log")).to_contain_text("One, two, three.")
    expect(page.locator("article")).to_have_count(1)
    expect(page.get_by_role("button", name="Why?")).to_have_count(1)

    puppet = play(switch, "Four, ", "five.")
    say(page, "And then?")
    puppet.release()
    expect(page.get_by_role("log")).to_contain_text("Four,")
    page.reload()
    expect(page.get_by_role("log")).to_contain_text("And then?")
    expect(page.get_by_role("log")).to_contain_text("Four,")
    puppet.release(MANY)
    expect(page.get_by_role("log")).to_contain_text("Four, five.")
    expect(page.locator("article")).to_have_count(2)


def test_a_turn_that_is_stopped_leaves_nothing_and_is_sent_again(held: Server, switch: Switch, open_page: Open) -> None:
    puppet = play(switch, "Well, ", "well.")
    page = open_page(held)
    begin(page)
    puppet.release(MANY)
    expect(page.get_by_role("log")).to_contain_text("Well, well.")
    puppet = play(switch, "Never ", "heard.")
    say(page, "Wait!")
    puppet.release()
    expect(page.get_by_role("log")).to_contain_text("Never")

    page.get_by_role("button", name="Stop").click()

    expect(page.get_by_role("alert")).to_contain_text("Nothing of this turn is kept.")
    switch.model = Puppet("Heard ", "at last.")
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_role("log")).to_contain_text("Heard at last.")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.reload()
    expect(page.locator("article")).to_have_count(2)
    expect(page.get_by_role("log")).not_to_contain_text("Never")


def test_a_reader_who_has_scrolled_up_stays_there(held: Server, switch: Switch, open_page: Open) -> None:
    long = [f"Line {number}.\n\n" for number in range(60)]
    switch.model = Puppet(*long)
    page = open_page(held)
    begin(page)
    expect(page.get_by_role("log")).to_contain_text("Line 59.")
    log = page.get_by_role("log")
    assert log.evaluate("box => box.scrollHeight - box.scrollTop - box.clientHeight") < 2
    log.evaluate("box => box.scrollTo(0, 100)")
    expect(page.get_by_role("button", name="Latest")).to_be_visible()

    say(page, "Go on.")

    expect(page.locator("article")).to_have_count(2)
    expect(page.get_by_role("button", name="Why?")).to_have_count(2)
    assert log.evaluate("box => box.scrollTop") == 100
    page.get_by_role("button", name="Latest").click()
    assert log.evaluate("box => box.scrollHeight - box.scrollTop - box.clientHeight") < 2


def test_the_keyboard_alone_is_enough(tertulia: Server, open_page: Open) -> None:
    page = open_page(tertulia)
    expect(page.get_by_role("heading", name="Reading circle")).to_be_visible()
    press_until(page, "Tab", "Let the agent begin")
    page.keyboard.press("Enter")
    expect(page.get_by_role("log")).to_contain_text("Hello!")
    page.keyboard.press("/")
    page.keyboard.type("When are the meetings?")
    page.keyboard.press("Enter")
    expect(page.get_by_role("log")).to_contain_text("You said:")
    conversation = page.url.rpartition("/")[2]
    press_until(page, "Tab", "action meetings, the current state")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="State meetings")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type("conversations")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/ui/conversations$"))
    expect(page.locator(f"tr a[href$='/conversations/{conversation}']")).to_be_visible()


def test_words_that_are_too_much_for_the_parser_are_shown_as_they_are(
    held: Server, switch: Switch, open_page: Open
) -> None:
    switch.model = Puppet("Deep.\n\n", ">" * 20_000)
    page = open_page(held)
    begin(page)
    expect(page.locator("article footer")).to_contain_text("to the first piece")
    expect(page.get_by_role("log")).to_contain_text(re.compile(r"Deep\.\s+>>>"))


def test_words_of_a_model_are_no_html(held: Server, switch: Switch, open_page: Open) -> None:
    switch.model = Puppet(
        "<img src=x onerror=document.title='broken'> <script>document.title='broken'</script>",
        " [here](javascript:document.title='broken') ![p](https://example.org/p.png) [there](https://example.org/)",
    )
    page = open_page(held)
    begin(page)
    link = page.get_by_role("link", name="there")
    expect(link).to_have_attribute("rel", re.compile("noopener"))
    expect(page.locator("article img, article script, article a[href^=javascript]")).to_have_count(0)
    assert page.title() == "Playground · Tertulia"
