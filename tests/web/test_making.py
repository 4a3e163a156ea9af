"""Making agents in the interface: a service in one go, a graph that is checked, compared, saved and released."""

import re
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from support.browser import Open
from support.server import Server

pytestmark = pytest.mark.heavy

GRAPH = "/organization/service_hierarchical_state_machine"


def test_somebody_new_makes_a_service_and_talks_to_it(tertulia: Server, open_page: Open) -> None:
    page = open_page(tertulia, "/services")
    page.get_by_role("button", name="New service").click()
    page.get_by_label("Name of the service").fill("Library help")
    page.get_by_label("Who speaks?").fill("Ada")
    page.get_by_label("As what?").fill("librarian")
    page.get_by_label("What does the agent know?").fill("The library is open from 10 to 18.")
    page.get_by_label("What is it for?").fill("Help the person to find a book.")
    page.get_by_role("button", name="Make it, and talk").click()

    expect(page.get_by_role("heading", name="Library help")).to_be_visible()
    page.get_by_role("button", name="Let the agent begin").click()
    expect(page.get_by_role("log")).to_contain_text("Hello!")
    expect(page.get_by_role("button", name="action help, the current state")).to_be_visible()
    page.get_by_label("Message", exact=True).fill("Nothing more, goodbye.")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("log")).to_contain_text("The conversation is finished.")

    page.get_by_role("link", name="Edit the graph").click()
    page.get_by_role("button", name=re.compile("^action help")).click()
    objective = page.get_by_label("Objective")
    objective.fill("Help the person to find a book, or a film.")
    page.get_by_role("button", name="Save version 2").click()
    expect(page.get_by_role("button", name="Release version 2")).to_be_visible()
    stands = objective.bounding_box()
    objective.press_sequentially(" Now!")
    expect(page.get_by_role("button", name="Save version 3")).to_be_enabled()
    assert objective.bounding_box() == stands  # what was said stays while one writes on
    service = next(
        one["id"] for one in tertulia.as_admin.get("/service/").json()["services"] if one["name"] == "Library help"
    )
    assert released(tertulia.as_admin, service) == 1
    page.get_by_role("button", name="Release version 2").click()
    expect(page.get_by_text("Released.")).to_be_visible()


def replace(page: Page, text: str, by: str) -> None:
    """Replace a text in the editor, as a person would: find it, and write over it."""
    page.locator(".cm-content").click()
    page.keyboard.press("Control+f")
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.keyboard.insert_text(by)


def test_a_graph_is_checked_saved_compared_and_released(tertulia: Server, open_page: Open) -> None:
    admin = tertulia.as_admin
    graph = admin.get(GRAPH).json()["service_hierarchical_state_machines"][0]
    page = open_page(tertulia, f"/graphs/{graph['id']}?view=json")
    expect(page.get_by_role("group", name=re.compile("^Context graph of"))).to_be_visible()
    replace(page, '"next_state": "meetings"', '"next_state": "nowhere"')
    expect(page.get_by_role("button", name=re.compile("no such state nowhere"))).to_be_visible()
    page.get_by_role("button", name="Check").click()
    problem = page.get_by_role("button", name=re.compile("There is no state nowhere"))
    expect(problem).to_have_text("State asks_about_meetings, Then on to: There is no state nowhere.")
    problem.click()
    expect(page.locator(".cm-lintRange-error")).to_have_text('"nowhere"')

    replace(page, '"next_state": "nowhere"', '"next_state": "meetings"')
    replace(page, "Part as friends.", "Part as good friends.")
    page.get_by_role("button", name="Save version 2").click()
    expect(page.get_by_text("Saved as version 2.")).to_be_visible()
    page.get_by_label("Compare with").select_option("1")
    expect(page.locator(".cm-changedText")).to_have_text(re.compile("good"))
    expect(page.locator(".node[data-mark=changed][data-state=farewell]")).to_have_count(2)  # then, and now
    expect(page.get_by_role("region", name="Drawing of version 1")).to_be_visible()
    expect(page.get_by_text("Users have it already")).to_be_visible()
    page.get_by_role("button", name="Keep version 1 for them").click()
    expect(page.get_by_role("button", name="Release version 2")).to_be_visible()
    assert released(admin, tertulia.demo.service_id) == 1
    page.get_by_role("button", name="Release version 2").click()
    expect(page.get_by_text("Released.")).to_be_visible()
    assert released(admin, tertulia.demo.service_id) == 2
    page.get_by_role("link", name="Try it on edge").click()
    expect(page.get_by_label("Version set")).to_have_value("edge")


def released(admin: httpx2.Client, service_id: str) -> int | None:
    """Return the version of the graph that users of a service have."""
    services = admin.get("/service/", params={"id": service_id}).json()["services"]
    return services[0]["version_sets"]["release"]["service_hierarchical_state_machine_version_number"]


def test_a_graph_is_written_by_forms_drawn_live_and_problems_stand_at_their_fields(
    tertulia: Server, open_page: Open
) -> None:
    admin = tertulia.as_admin
    made = admin.post(GRAPH, json={"state_machine_name": "By forms"}).json()["id"]
    page = open_page(tertulia, f"/graphs/{made}")
    page.get_by_role("button", name="Save version 1").click()
    expect(page.get_by_text("Saved as version 1.")).to_be_visible()
    page.get_by_role("button", name="action help, the conversation begins here").click()
    page.get_by_label("Name", exact=True).fill("welcome people")
    page.get_by_label("Name", exact=True).press("Tab")
    expect(page.get_by_role("button", name=re.compile("^action welcome_people"))).to_be_visible()

    for kind in ("decision", "annotation", "recall", "reflection"):
        page.get_by_label("Add a state").select_option(kind)
        expect(page.get_by_role("button", name=f"{kind} {kind}", exact=True)).to_be_attached()
    page.get_by_label("What to think about").fill("")
    page.get_by_label("What is edited").select_option(label="welcome_people")
    page.get_by_label("Exit 1 leads to").select_option("decision")
    page.get_by_role("button", name="Add another").first.click()
    page.get_by_label("Actions, 2", exact=True).fill("Ask for their name.")
    page.get_by_role("button", name="Check").click()
    page.get_by_role("button", name=re.compile("^State reflection, What to think about:")).click()
    expect(page.get_by_label("What to think about")).to_be_focused()
    expect(page.get_by_label("What to think about")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("What to think about").fill("Is this person in a hurry?")

    theirs = admin.get(f"{GRAPH}/{made}/version", params={"version": "1"}).json()["state_machine_versions"][0]
    kept = {name: theirs[name] for name in theirs if name.startswith(("global_", "new_", "returning_", "terminal_"))}
    body = {**kept, "states": theirs["states"], "references": {}, "description": "By somebody else."}
    assert admin.post(f"{GRAPH}/{made}/", json=body).is_success
    page.get_by_role("button", name="Save version 2").click()
    expect(page.get_by_text("Somebody has saved version 2 meanwhile.")).to_be_visible()
    page.get_by_role("button", name="See the difference").click()
    expect(page.locator(".cm-content")).to_contain_text("By somebody else.")
    page.get_by_role("button", name="Go on editing").click()
    expect(page.get_by_label("What to think about")).to_have_value("Is this person in a hurry?")
    page.get_by_role("button", name="Save version 3").click()
    expect(page.get_by_text("Saved as version 3.")).to_be_visible()

    saved = admin.get(f"{GRAPH}/{made}/version", params={"version": "3"}).json()["state_machine_versions"][0]
    assert [state["name"] for state in saved["states"]] == [
        "welcome_people", "decision", "annotation", "recall", "reflection", "farewell"
    ]  # fmt: skip
    assert saved["new_user_initial_state"] == saved["returning_user_initial_state"] == "welcome_people"
    assert saved["states"][0]["exit_conditions"][0]["next_state"] == "decision"
    assert saved["states"][0]["actions"][1:] == ["Ask for their name."]


def test_of_two_who_edit_the_slower_one_loses_nothing(tertulia: Server, open_page: Open) -> None:
    admin = tertulia.as_admin
    made = admin.post("/organization/agent", json={"agent_name": "Contested"}).json()["id"]
    page = open_page(tertulia, f"/agents/{made}")
    page.get_by_role("button", name="Save version 1").click()
    expect(page.get_by_text("Saved as version 1.")).to_be_visible()
    page.get_by_label("What the agent knows").fill("It knows the tides.")
    assert admin.post(f"/organization/agent/{made}/", json={"background": "It knows the stars."}).is_success

    page.get_by_role("button", name="Save version 2").click()

    expect(page.get_by_text("Somebody has saved version 2 meanwhile.")).to_be_visible()
    page.get_by_role("button", name="See the difference").click()
    expect(page.locator(".cm-content")).to_contain_text("It knows the tides.")
    expect(page.locator(".cm-content")).to_contain_text("It knows the stars.")
    page.get_by_role("button", name="Go on editing").click()
    page.get_by_role("button", name="Save version 3").click()
    expect(page.get_by_text("Saved as version 3.")).to_be_visible()
    versions = admin.get(f"/organization/agent/{made}/version", params={"version": "latest"}).json()["agent_versions"]
    assert "It knows the tides." in versions[0]["background"]


def test_a_graph_of_forty_states_is_drawn(tertulia: Server, open_page: Open) -> None:
    admin = tertulia.as_admin
    page = open_page(tertulia, "/graphs")
    page.get_by_role("button", name="New graph").click()
    page.get_by_label("Name", exact=True).fill("Long way")
    page.get_by_role("button", name="Make it").click()
    expect(page).to_have_url(re.compile("/ui/graphs/[0-9a-f]{24}$"))
    graph = page.url.rsplit("/", 1)[1]
    original = f"{GRAPH}/{tertulia_graph(tertulia)}/version"
    body = admin.get(original, params={"version": "1"}).json()["state_machine_versions"][0]
    books = body["states"][0]
    steps = [
        {**books, "name": f"step_{n}", "exit_conditions": [{"description": "Next.", "next_state": f"step_{n + 1}"}]}
        for n in range(39)
    ]
    last = {**books, "name": "step_39", "exit_conditions": [], "actions": ["Say goodbye."]}
    changes = {"states": [*steps, last], "terminal_state": "step_39", "references": {}}
    starts = {"new_user_initial_state": "step_0", "returning_user_initial_state": "step_0"}
    kept = {name: value for name, value in body.items() if name.startswith(("global_", "description"))}
    saved = admin.post(f"{GRAPH}/{graph}/", json={**kept, **changes, **starts})
    assert saved.is_success, saved.text
    page.reload()
    expect(page.get_by_role("group", name="Context graph of 40 states")).to_be_visible()
    expect(page.locator("g.node")).to_have_count(40)
    expect(page.get_by_role("button", name="action step_39, the conversation ends here")).to_be_attached()


def tertulia_graph(server: Server) -> str:
    """Look up the graph of the demo's service. Return its id."""
    services = server.as_admin.get("/service/", params={"id": server.demo.service_id}).json()["services"]
    return str(services[0]["service_hierarchical_state_machine_id"])


def test_a_behaviour_is_made_changed_and_switched_off(tertulia: Server, open_page: Open) -> None:
    page = open_page(tertulia, "/behaviors")
    page.get_by_role("button", name="Make the first one").click()
    page.get_by_label("Name", exact=True).fill("Wants to leave")
    page.get_by_label("When somebody says something like").fill("I want to leave.\nHow do I leave?")
    page.get_by_label("Then").fill("Offer a pause first.")
    page.get_by_label("In the service").select_option(tertulia.demo.service_id)
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", name="Wants to leave")).to_be_visible()
    page.get_by_label("Then").fill("Offer a pause of a month first.")
    page.get_by_role("button", name="Save version 2").click()
    expect(page.get_by_text("Saved as version 2.")).to_be_visible()
    page.get_by_role("button", name="Switch off").click()
    expect(page.get_by_role("button", name="Switch on")).to_be_visible()

    found = tertulia.as_admin.get("/dynamic_behavior_set/").json()["dynamic_behavior_sets"][0]
    assert (found["is_active"], found["applied_to_services"]) == (False, [tertulia.demo.service_id])
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="No behaviours yet")).to_be_visible()


def test_the_changes_of_two_who_edit_a_graph_are_put_together(tertulia: Server, open_page: Open) -> None:
    admin = tertulia.as_admin
    made = admin.post(GRAPH, json={"state_machine_name": "Of two"}).json()["id"]
    page = open_page(tertulia, f"/graphs/{made}")
    page.get_by_role("button", name="Save version 1").click()
    expect(page.get_by_text("Saved as version 1.")).to_be_visible()
    page.get_by_label("Add a state").select_option("reflection")
    page.get_by_label("What is edited").select_option(label="help")
    page.get_by_label("Objective").fill("Help at once.")
    body = version_of(admin, made, 1)
    body["states"] = [
        {**one, "objective": "Said otherwise.", "action_guidelines": ["Rhyme."]} for one in body["states"]
    ]
    assert admin.post(f"{GRAPH}/{made}/", json={**body, "description": "By somebody else."}).is_success

    page.get_by_role("button", name="Save version 2").click()
    page.get_by_role("button", name="Add their changes to mine").click()
    expect(page.get_by_text("What they changed is here too")).to_be_visible()
    expect(page.get_by_label("Guidelines, 1", exact=True)).to_have_value("Rhyme.")
    expect(page.get_by_label("Objective")).to_have_value("Help at once.")
    page.get_by_role("button", name="Save version 3").click()
    expect(page.get_by_text("Saved as version 3.")).to_be_visible()

    both = version_of(admin, made, 3)
    assert both["description"] == "By somebody else."
    assert [one["name"] for one in both["states"]] == ["help", "reflection", "farewell"]
    assert [one.get("objective") for one in both["states"]] == ["Help at once.", None, "Said otherwise."]


def version_of(admin: httpx2.Client, graph_id: str, number: int) -> dict[str, Any]:
    """Return what a version of a graph says, as it is saved."""
    answer = admin.get(f"{GRAPH}/{graph_id}/version", params={"version": str(number)}).json()
    found = answer["state_machine_versions"][0]
    kept = {name: found[name] for name in found if name.startswith(("global_", "new_", "returning_", "terminal_"))}
    return {**kept, "states": found["states"], "references": {}, "description": found["description"]}
