"""Context graphs and the rules of their versions."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from support.samples import GRAPHS, a_name, action, make_graph, make_service, reflection, short_graph, to, tool_spec
from tertulia.ids import new_id


def send(client: httpx2.Client, body: dict[str, Any], **query: Any) -> httpx2.Response:
    """A version of a new graph."""
    return client.post(f"{GRAPHS}/{make_graph(client)}/", json=body, params=query)


def test_a_new_graph_has_no_version(as_admin: httpx2.Client) -> None:
    name = a_name()
    answer = as_admin.post(GRAPHS, json={"state_machine_name": name})
    assert answer.status_code == 201
    graph_id = answer.json()["id"]
    [listed] = as_admin.get(GRAPHS, params={"id": graph_id}).json()["service_hierarchical_state_machines"]
    assert listed == {"id": graph_id, "name": name, "deprecated": False, "latest_version": None}
    assert as_admin.post(GRAPHS, json={"state_machine_name": name}).status_code == 409


def test_a_version_comes_back_as_it_was_sent(as_admin: httpx2.Client) -> None:
    other = make_graph(as_admin, short_graph())
    body = short_graph(
        action("leave", ["other.start", "end"]),
        reflection("think", "end"),
        references={"other": [other, 1]},
        global_boundary_constraints=["Stay kind."],
    )
    graph_id = make_graph(as_admin, body)
    page = as_admin.get(f"{GRAPHS}/{graph_id}/version").json()
    [version] = page["state_machine_versions"]
    assert {field: version[field] for field in body} == body
    assert version["service_hierarchical_state_machine_id"] == graph_id
    assert (version["org_id"], version["version"]) == ("demo", 1)
    assert set(version["creator"]) == {"org_id", "user_id"}


def test_a_list_may_ask_for_nothing_but_whether_there_is_something(as_admin: httpx2.Client) -> None:
    make_graph(as_admin)
    answer = as_admin.get(GRAPHS, params={"limit": 0}).json()
    assert answer == {"service_hierarchical_state_machines": [], "has_more": True, "continuation_token": 0}


@pytest.mark.parametrize(
    ("body", "location"),
    [
        (short_graph(action("x", actions=0)), ["states", 2, "actions"]),
        (short_graph(action("x", objective=" ")), ["states", 2, "objective"]),
        (short_graph(action("x y")), ["states", 2, "name"]),
        (short_graph({"type": "dream", "name": "x"}), ["states", 2]),
        (short_graph(action("start")), ["states", 2, "name"]),
        (short_graph(action("x", "x")), ["states", 2, "exit_conditions", 0, "next_state"]),
        (short_graph(action("x", "nowhere")), ["states", 2, "exit_conditions", 0, "next_state"]),
        (
            short_graph(action("x", ["r.a", "end"])),
            ["states", 2, "exit_conditions", 0, "next_state"],
        ),
        (short_graph(reflection("x", "x")), ["states", 2, "next_state"]),
        (short_graph(terminal_state="start"), ["terminal_state"]),
        (short_graph(action("x", actions=2), terminal_state="x"), ["terminal_state"]),
        (short_graph(terminal_state="nowhere"), ["terminal_state"]),
        (short_graph(reflection("think", "end"), new_user_initial_state="think"), ["new_user_initial_state"]),
        (short_graph(returning_user_initial_state="nowhere"), ["returning_user_initial_state"]),
        (short_graph(references={"r": ["short", 1]}), ["references", "r", 0]),
        ({key: value for key, value in short_graph().items() if key != "states"}, ["states"]),
    ],
)
def test_a_graph_that_breaks_a_rule_is_refused_and_the_place_named(
    as_admin: httpx2.Client, body: dict[str, Any], location: list[str | int]
) -> None:
    answer = send(as_admin, body)
    assert answer.status_code == 422
    places = [problem["loc"] for problem in answer.json()["detail"]]
    assert any(place[: len(location) + 1] == ["body", *location] for place in places), places


def test_a_graph_that_refers_to_what_is_not_there_is_refused(as_admin: httpx2.Client) -> None:
    other = make_graph(as_admin, short_graph())
    assert send(as_admin, short_graph(references={"r": [new_id(), 1]})).status_code == 400
    assert send(as_admin, short_graph(references={"r": [other, 2]})).status_code == 400
    assert send(as_admin, short_graph(references={"r": [other, 10**12]})).status_code == 422
    assert as_admin.delete(f"{GRAPHS}/{other}/").status_code == 200
    refused = send(as_admin, short_graph(references={"r": [other, 1]}))
    assert refused.status_code == 400
    assert "deprecated" in refused.json()["detail"]


def test_a_graph_cannot_lead_to_a_state_that_another_graph_does_not_have(as_admin: httpx2.Client) -> None:
    other = make_graph(as_admin, short_graph())
    state = action("leave", ["r.nowhere", "end"])
    answer = send(as_admin, short_graph(state, references={"r": [other, 1]}))
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "states", 2, "exit_conditions", 0, "next_state"]


def test_a_tool_that_is_not_there_is_not_found(as_admin: httpx2.Client) -> None:
    tool_id = new_id()
    answer = send(as_admin, short_graph(action("x", action_tool_call_specs=[tool_spec(tool_id)])))
    assert answer.status_code == 404
    assert tool_id in answer.json()["detail"]


def test_a_dry_run_says_what_a_real_one_would_and_creates_nothing(as_admin: httpx2.Client) -> None:
    graph_id = make_graph(as_admin)
    path = f"{GRAPHS}/{graph_id}/"
    fine = as_admin.post(path, json=short_graph(), params={"dry_run": True})
    assert (fine.status_code, fine.content) == (201, b"")
    assert as_admin.post(path, json=short_graph(terminal_state="x"), params={"dry_run": True}).status_code == 422
    broken = short_graph(references={"r": [new_id(), 1]})
    assert as_admin.post(path, json=broken, params={"dry_run": True}).status_code == 400
    assert as_admin.post(f"{GRAPHS}/{new_id()}/", json=short_graph(), params={"dry_run": True}).status_code == 404
    assert as_admin.get(f"{path}version").json()["state_machine_versions"] == []


def test_the_number_of_a_new_version_can_be_demanded(as_admin: httpx2.Client) -> None:
    path = f"{GRAPHS}/{make_graph(as_admin, short_graph())}/"
    assert as_admin.post(path, json=short_graph(), params={"version": 3}).status_code == 409
    assert as_admin.post(path, json=short_graph(), params={"version": 2}).json()["version"] == 2


def test_of_two_who_create_the_same_version_at_once_one_is_told_of_a_conflict(as_admin: httpx2.Client) -> None:
    path = f"{GRAPHS}/{make_graph(as_admin)}/"

    def create(_: int) -> int:
        return as_admin.post(path, json=short_graph(), params={"version": 1}).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(create, range(4))) == [201, 409, 409, 409]


def test_a_deleted_graph_is_deprecated_and_keeps_its_versions(as_admin: httpx2.Client) -> None:
    graph_id = make_graph(as_admin, short_graph())
    assert as_admin.delete(f"{GRAPHS}/{graph_id}/").status_code == 200
    assert as_admin.delete(f"{GRAPHS}/{graph_id}/").status_code == 409
    query = {"id": graph_id, "deprecated": True}
    assert len(as_admin.get(GRAPHS, params=query).json()["service_hierarchical_state_machines"]) == 1
    assert len(as_admin.get(f"{GRAPHS}/{graph_id}/version").json()["state_machine_versions"]) == 1
    assert as_admin.delete(f"{GRAPHS}/{new_id()}/").status_code == 404


def test_a_graph_of_an_active_service_cannot_be_deleted(as_admin: httpx2.Client) -> None:
    service_id = make_service(as_admin)
    [service] = as_admin.get("/service/", params={"id": service_id}).json()["services"]
    path = f"{GRAPHS}/{service['service_hierarchical_state_machine_id']}/"
    assert as_admin.delete(path).status_code == 400
    assert as_admin.post(f"/service/{service_id}/", json={"is_active": False}).status_code == 200
    assert as_admin.delete(path).status_code == 200


def test_the_permission_is_asked_before_a_graph_is_checked(as_admin: httpx2.Client, as_user: httpx2.Client) -> None:
    path = f"{GRAPHS}/{make_graph(as_admin)}/"
    broken = short_graph(terminal_state="nowhere")
    assert as_user.post(path, json=broken).status_code == 403
    assert as_user.post(f"{GRAPHS}/{new_id()}/", json=broken).status_code == 404
    assert as_admin.post(path, json=broken).status_code == 422


def test_a_graph_cannot_lead_in_a_circle_through_another_one(as_admin: httpx2.Client) -> None:
    inner = make_graph(as_admin, short_graph(reflection("pass", "end")))
    between = make_graph(as_admin, short_graph(reflection("on", ["r.pass", "end"]), references={"r": [inner, 1]}))
    circle = short_graph(reflection("a", ["r.on", "b"]), reflection("b", "a"), references={"r": [between, 1]})
    refused = send(as_admin, circle)
    assert refused.status_code == 422
    assert "a, b, a" in refused.text


def test_a_user_may_not_change_graphs(as_admin: httpx2.Client, as_user: httpx2.Client) -> None:
    graph_id = make_graph(as_admin, short_graph())
    assert as_user.post(GRAPHS, json={"state_machine_name": a_name()}).status_code == 403
    assert as_user.post(f"{GRAPHS}/{graph_id}/", json=short_graph()).status_code == 403
    assert as_user.delete(f"{GRAPHS}/{graph_id}/").status_code == 403


# --- Warnings --------------------------------------------------------------------------------------------------------


def warnings_of(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 201, answer.text
    return answer.headers.get_list("x-tertulia-warning")


@pytest.mark.parametrize("query", [{}, {"dry_run": True}])
def test_states_that_nothing_leads_to_are_warned_of_also_where_nothing_is_made(
    as_admin: httpx2.Client, query: dict[str, Any]
) -> None:
    body = short_graph(action("lost", exit_conditions=[to("end")]), action("alone"))
    assert warnings_of(send(as_admin, body, **query)) == ["Nothing leads from the initial states to: lost, alone."]


def test_a_terminal_state_that_cannot_be_reached_is_warned_of(as_admin: httpx2.Client) -> None:
    body = short_graph(action("other"))
    body["states"][0]["exit_conditions"] = [to("other")]
    assert warnings_of(send(as_admin, body)) == [
        "The terminal state end cannot be reached: no conversation ends by itself."
    ]


def test_nothing_is_warned_of_where_every_state_is_reached(as_admin: httpx2.Client) -> None:
    assert warnings_of(send(as_admin, short_graph())) == []


def test_a_version_that_is_the_same_as_the_one_before_is_made_and_warned_of(as_admin: httpx2.Client) -> None:
    graph_id = make_graph(as_admin, short_graph())
    again = as_admin.post(f"{GRAPHS}/{graph_id}/", json=short_graph())
    assert again.json()["version"] == 2
    assert warnings_of(again) == ["This version is the same as the one before."]
    other = as_admin.post(f"{GRAPHS}/{graph_id}/", json=short_graph(description="Another one."))
    assert warnings_of(other) == []
