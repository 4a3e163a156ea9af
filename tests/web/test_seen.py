"""Pages about conversations: turns that run, words that were said, what people think of them, links."""

import threading

import pytest
from playwright.sync_api import expect

from support import talk
from support.browser import AXE, Open, find_barriers
from support.puppet import Puppet
from support.server import Serve, Server
from support.stage import Switch
from tertulia.providers.models.registry import Models

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def switch() -> Switch:
    return Switch()


@pytest.fixture(scope="module")
def seen(serve: Serve, switch: Switch) -> Server:
    """A server whose model is a puppet."""
    return serve(models=Models(switch))


def test_a_running_turn_of_somebody_else_is_watched(seen: Server, switch: Switch, open_page: Open) -> None:
    switch.model = puppet = Puppet("Try ", "Wodehouse", ".")
    page = open_page(seen, "/conversations")
    page.get_by_role("link", name="Running now").click()
    expect(page.get_by_role("heading", name="Nothing runs at the moment")).to_be_visible()
    puppet.hold()
    user, said = seen.client(seen.sign_in(seen.demo.user_id)), "Something funny, please."
    speaking = threading.Thread(
        daemon=True, target=talk.begin, args=(user, seen.demo.service_id), kwargs={"initial_message": said}
    )
    speaking.start()

    row = page.get_by_role("row").filter(has_text="Demo User")
    expect(row).to_contain_text("thinking")
    if AXE.is_file():
        assert find_barriers(page) == []
    puppet.release()
    expect(row).to_contain_text("speaking")
    row.get_by_role("link", name="Watch").click()
    log = page.get_by_role("log")
    expect(log).to_contain_text("Try")
    expect(page.get_by_text("a turn runs")).to_be_visible()
    puppet.release(3)
    speaking.join()
    expect(log).to_contain_text("Try Wodehouse.")
    expect(log).to_contain_text(said)
    expect(page.get_by_role("heading", name="Reading circle", exact=True).first).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Nothing runs at the moment")).to_be_visible()


def test_words_are_found_marked_and_lead_to_their_turn(seen: Server, switch: Switch, open_page: Open) -> None:
    user = seen.client(seen.sign_in(seen.demo.user_id))
    switch.model = Puppet("Bring <b>mustard</b> 👍 and a quilt.")
    conversation = talk.id_of(talk.begin(user, seen.demo.service_id, initial_message="What is to be brought?"))
    switch.model = Puppet("Hm.")
    for _ in range(8):
        talk.go_on(user, conversation, "Something else, at length. " * 20)

    page = open_page(seen, "/conversations")
    field = page.get_by_label("Search messages for words")
    field.fill('quilter" MUSTARD*')
    field.press("Enter")
    expect(page.get_by_role("heading", name="Nobody said that")).to_be_visible()
    field.fill('quilt" MUSTARD*')
    field.press("Enter")
    hit = page.get_by_role("list", name="Messages found").get_by_role("listitem")
    expect(hit).to_have_count(1)
    assert hit.locator("mark").all_inner_texts() == ["mustard", "quilt"]
    expect(hit).to_contain_text("<b>mustard</b> 👍 and")
    if AXE.is_file():
        assert find_barriers(page) == []
    page.reload()
    hit.get_by_role("link").click()
    expect(page.get_by_role("article").first).to_be_focused()
    expect(page.get_by_role("article").first).to_contain_text("mustard")
    page.go_back()
    expect(hit).to_have_count(1)


def test_a_reply_is_judged_and_its_conversation_shown_to_a_stranger_until_the_link_is_revoked(
    seen: Server, switch: Switch, open_page: Open
) -> None:
    switch.model = Puppet("Hello there.")
    conversation = talk.id_of(talk.begin(seen.as_admin, seen.demo.service_id))
    page = open_page(seen, f"/conversations/{conversation}")
    page.get_by_role("button", name="Good reply").click()
    page.get_by_label("Comment on the reply").fill("Kind.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("“Kind.”")).to_be_visible()
    page.get_by_role("button", name="Share").click()
    page.get_by_role("button", name="Make a link").click()
    link = page.locator("[data-link]").input_value()
    barriers = find_barriers(page) if AXE.is_file() else []

    stranger = open_page(seen, "/", signed_in=False, dark=True, width=380)
    stranger.goto(link)
    expect(stranger.get_by_text("Hello there.")).to_be_visible()
    assert barriers + (find_barriers(stranger) if AXE.is_file() else []) == []
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("list", name="Active links")).to_have_count(0)
    stranger.reload()
    expect(stranger.get_by_role("heading", name="There is nothing to read here")).to_be_visible()
    page.keyboard.press("Escape")
    page.goto(f"{seen.url}/ui/feedback?rating=up")
    expect(page.get_by_role("table")).to_contain_text("“Kind.”")
