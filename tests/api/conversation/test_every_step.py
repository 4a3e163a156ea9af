"""A turn through every kind of state that needs no tool: its steps in their order, and what is kept of them."""

from collections.abc import Mapping
from typing import Any

from support.puppet import Puppet
from support.samples import (
    action,
    annotation,
    decision,
    graph,
    instruction,
    make_behavior,
    make_graph,
    recall,
    reflection,
)
from support.stage import Stage
from support.talk import Event, begin, go_on, id_of, messages, types
from tertulia.providers.base import Prompt

STATE = "navigate-state-machine-"
LIKES = "What does the user like?"
NAME = "What is the user called?"


class Player(Puppet):
    """A model that takes every exit up to the state `back`, and wants to remember one thing."""

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        if "choice" not in schema["properties"]:
            return {key: [NAME] for key in schema["properties"]}
        keys = schema["properties"]["choice"]["enum"]
        wanted = {"behavior-1", "action-1" if "Objective of back" in prompt.question else "exit-1"}
        return {"choice": next(key for key in keys if key in wanted)}


def inner() -> dict[str, Any]:
    return graph(action("start", "end", actions=2), action("end"))


def outer(inner_id: str) -> dict[str, Any]:
    return graph(
        action("start", "remember"),
        recall("remember", "ask", LIKES),
        recall("ask", "note", wants=NAME),
        annotation("note", "weigh"),
        reflection("weigh", "choice"),
        decision("choice", ["inner.start", "back"], "end"),
        action("back", "end", "start", actions=2),
        action("end"),
        references={"inner": [inner_id, 1]},
    )


def transition(before: str, before_graph: list[Any], after: str, after_graph: list[Any]) -> Event:
    return {
        "type": f"{STATE}state-transitioned",
        "prev_state": before,
        "prev_state_state_machine_version_info": before_graph,
        "next_state": after,
        "next_state_state_machine_version_info": after_graph,
    }


def left_by(description: str, after: str, after_graph: list[Any]) -> Event:
    return {
        "type": f"{STATE}exit-condition-selected",
        "exit_condition": description,
        "next_state_state_machine_version_info": after_graph,
        "next_state_name": after,
    }


def expected(root: list[Any], other: list[Any], chosen: list[Any]) -> list[Event]:
    """The steps of the turn; each version is an identifier and a number."""
    behavior = "select-dynamic-behavior"
    overrides = {"overriding_instructions": True, "overriding_tool_candidates": False}
    return [
        {"type": f"{behavior}-vector-generated"},
        {"type": f"{behavior}-relevance-retrieval-completed"},
        {
            "type": f"{behavior}-completed",
            "selected_dynamic_behavior_set_version_info": chosen,
            "previous_selected_dynamic_behavior_set_version_info": None,
        },
        {"type": f"{STATE}dynamic-behavior-override", **overrides},
        left_by("To remember", "remember", root),
        transition("start", root, "remember", root),
        {"type": f"{STATE}recall-state-static-queries-retrieved", "static_queries": [LIKES]},
        {"type": f"{STATE}recall-state-active-memory-retrieved", "queries_and_responses": [[LIKES, ""]]},
        transition("remember", root, "ask", root),
        {
            "type": f"{STATE}recall-state-dynamic-queries-generated",
            "dynamic_queries": [NAME],
            "requested_information": NAME,
        },
        {"type": f"{STATE}recall-state-active-memory-retrieved", "queries_and_responses": [[NAME, ""]]},
        transition("ask", root, "note", root),
        {"type": f"{STATE}annotation-state-annotation-retrieved", "annotation": "Thought of note"},
        transition("note", root, "weigh", root),
        {"type": f"{STATE}reflection-state-prompt-retrieved", "prompt": "Problem of weigh"},
        {"type": f"{STATE}reflection-state-reflection-generated", "reflection": "So it is."},
        transition("weigh", root, "choice", root),
        {"type": f"{STATE}decision-state-decision-started"},
        left_by("To ['inner.start', 'back']", "start", other),
        transition("choice", root, "start", other),
        left_by("To end", "end", other),
        transition("start", other, "end", other),
        transition("end", other, "back", root),
        {"type": f"{STATE}action-state-action-selected", "action": "Action 1 of back"},
        {"type": "engage-user-dynamic-behavior-override", **overrides},
    ]


def test_a_turn_through_everything_tells_each_step_and_keeps_it(stage: Stage) -> None:
    inner_id = make_graph(stage.admin, inner())
    service_id = stage.service(outer(inner_id))
    set_id = make_behavior(stage.admin, service_id, actions=[instruction("Be kind.", overrides=True)])
    [service] = stage.admin.get("/service/", params={"id": service_id}).json()["services"]
    root = [service["service_hierarchical_state_machine_id"], 1]
    user = stage.user("DefaultAdministratorRole")
    conversation_id = id_of(begin(user, service_id))
    stage.play(Player("So", " it", " is."))

    events = go_on(user, conversation_id)

    steps = [event["action"] for event in events if event["type"] == "current-agent-action"]
    assert steps == expected(root, [inner_id, 1], [set_id, 1])
    first, *others = types([event for event in events if "action" not in event])
    assert (first, *others) == ("user-message-available", *["new-message"] * 4, "interaction-complete")
    assert events.index(next(event for event in events if event["type"] == "new-message")) == len(steps) + 1

    thoughts = messages(user, conversation_id, message_type="agent-inner-thought")
    assert [thought["message"] for thought in thoughts] == ["Thought of note", "So it is."]
    path = f"/conversation/{conversation_id}/interaction/{events[-1]['interaction_id']}/insights"
    insights = user.get(path).json()
    logs = insights["state_transition_logs"]
    assert [(log["type"], log["previous_state"], log["next_state"]) for log in logs] == [
        ("action", "start", "remember"),
        ("recall", "remember", "ask"),
        ("recall", "ask", "note"),
        ("annotation", "note", "weigh"),
        ("reflection", "weigh", "choice"),
        ("decision", "choice", "start"),
        ("action", "start", "end"),
        ("jumpback", "end", "back"),
    ]
    assert [log["performed_queries"] for log in logs[1:3]] == [[LIKES], [NAME]]
    assert [log["inner_thought_message_id"] for log in logs[3:5]] == [thought["id"] for thought in thoughts]
    assert logs[4]["tool_call_logs"] == []
    assert insights["reflections"] == ["So it is."]
    assert insights["triggered_dynamic_behavior_set_version_info"] == [set_id, 1]
    assert (insights["current_state_name"], insights["current_state_action"]) == ("back", "Action 1 of back")
