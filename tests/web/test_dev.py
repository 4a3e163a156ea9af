"""An agent as files beside the open page: made, served, edited, tested, released, and talked with as a user."""

import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from support.commands import Command, Start

pytestmark = pytest.mark.heavy

AN_ADDRESS = re.compile(r"http://\S+/ui/\?service=Museum#token=\S+")


@pytest.fixture
def aside(command: Command) -> Iterator[Command]:
    """Run commands in a thread of their own: the browser's driver has an event loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        yield lambda *given, **named: thread.submit(command, *given, **named).result()


def test_from_a_new_folder_to_users_who_talk_with_its_agent(
    browser: Browser, aside: Command, start: Start, tmp_path: Path
) -> None:
    folder, data = tmp_path / "museum", tmp_path / "dev"
    assert aside("new", folder).returncode == 0
    dev = start("dev", folder, "--data", data, "--port", 0, until="Ctrl-C", COLUMNS="80")
    dev.read_until("held: ")
    found = AN_ADDRESS.search(dev.output)
    assert found is not None, dev.output
    url = found[0].partition("/ui/")[0]
    page = browser.new_page()
    page.goto(found[0])
    expect(page.get_by_role("button", name=re.compile("^action tour"))).to_be_attached()

    graph = folder / "graph.yaml"
    right = graph.read_text("utf-8")
    graph.write_text(right.replace("next_state: tour", "next_state: tuor"), "utf-8")
    alert = page.get_by_role("alert", name="The folder")
    expect(alert).to_contain_text("graph.yaml:11:9")
    expect(alert).to_contain_text("There is no state tuor.")

    graph.write_text(right.replace("Ask for the day", "Ask for the hour").replace("tour", "visit"), "utf-8")
    expect(page.get_by_role("status", name="The folder")).to_contain_text("Applied: graph Museum, version 2")
    expect(alert).to_have_count(0)
    expect(page.get_by_role("button", name=re.compile("^action visit"))).to_be_attached()
    talk(page, "Can I book a visit?")
    expect(page.get_by_role("log")).to_contain_text("Ask for the hour")

    there = ("--data", data, "--url", url)
    conversations = folder / "conversations"
    for file in conversations.iterdir():
        file.write_text(file.read_text("utf-8").replace("tour", "visit"), "utf-8")
    assert aside("test", folder).returncode == 0
    assert aside("apply", folder, "--release", "--yes", *there).returncode == 0
    chat = aside("chat", "--service", "museum", *there, stdin="Can I book a visit?\n/finish\n")
    assert "Ask for the hour" in chat.stdout
    page.context.close()
    assert dev.stop(signal.SIGINT) == 0


def talk(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send", exact=True).click()
