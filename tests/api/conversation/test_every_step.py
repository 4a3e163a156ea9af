"""A turn through every kind of state, with memory, behaviour and tools: its steps in their order, and what is kept."""

from typing import Any

import httpx2
import pytest

from support.every_step import (
    GIVEN,
    LIKES,
    MEMORY,
    NAME,
    OUTPUT,
    SAYS,
    Player,
    inner,
    outer,
    publish,
    remember,
)
from support.puppet import Puppet
from support.samples import action, graph, instruction, make_agent, make_behavior, make_graph, reflection
from support.stage import Stage
from support.talk import Event, begin, go_on, id_of, messages, types
from support.targets import make_role

STATE = "navigate-state-machine-"
VERSION = "1.0.0"


def called(tool_id: str, round_index: int = 1) -> list[Event]:
    tool = {"tool_round_index": round_index, "tool_id": tool_id, "tool_version": VERSION}
    return [
        {"type": "tool-call-started", **tool, "input_params": GIVEN},
        {"type": "tool-call-ended", **tool, "input_parameters": GIVEN, "result": OUTPUT},
    ]


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


def expected(root: list[Any], other: list[Any], chosen: list[Any], tool_id: str, remembered: str) -> list[Event]:
    """The steps of the turn, without durations; each version is an identifier and a number."""
    named = {"tool_id": tool_id, "tool_version": VERSION}
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
        {"type": "check-if-active-memory-needed-completed", "queries": [SAYS]},
        {"type": "extract-active-memories-completed", "queries_and_responses": [[SAYS, remembered]]},
        {"type": f"{STATE}dynamic-behavior-override", **overrides},
        *called(tool_id),
        left_by("To remember", "remember", root),
        transition("start", root, "remember", root),
        {"type": f"{STATE}recall-state-static-queries-retrieved", "static_queries": [LIKES]},
        {"type": f"{STATE}recall-state-active-memory-retrieved", "queries_and_responses": [[LIKES, remembered]]},
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
        *called(tool_id),
        {"type": f"{STATE}reflection-state-reflection-generated", "reflection": "So it is."},
        transition("weigh", root, "greet", root),
        {"type": "designated-tool-retrieved", **named},
        *called(tool_id),
        {"type": "designated-tool-call-params-generated", **named, "tool_call_params": GIVEN},
        *called(tool_id, 2),
        {
            "type": f"{STATE}tool-call-state-tool-output-available",
            **named,
            "tool_output": OUTPUT,
            "input_arguments": GIVEN,
        },
        transition("greet", root, "choice", root),
        {"type": f"{STATE}decision-state-decision-started"},
        *called(tool_id),
        left_by("To ['inner.start', 'back']", "start", other),
        transition("choice", root, "start", other),
        left_by("To end", "end", other),
        transition("start", other, "end", other),
        transition("end", other, "back", root),
        {"type": f"{STATE}action-state-action-selected", "action": "Action 1 of back"},
        {"type": "engage-user-dynamic-behavior-override", **overrides},
        *called(tool_id),
    ]


def steps_of(events: list[Event]) -> list[Event]:
    """The steps that events tell, without durations, which vary."""
    steps = [event["action"] for event in events if event["type"] == "current-agent-action"]
    return [{name: value for name, value in step.items() if name != "duration"} for step in steps]


def test_a_turn_through_everything_tells_each_step_and_keeps_it(stage: Stage) -> None:
    inner_id = make_graph(stage.admin, inner())
    tool_id = publish(stage.admin)
    service_id = stage.service(outer(inner_id, tool_id))
    set_id = make_behavior(stage.admin, service_id, actions=[instruction("Be kind.", overrides=True)])
    [service] = stage.admin.get("/service/", params={"id": service_id}).json()["services"]
    root = [service["service_hierarchical_state_machine_id"], 1]
    user = stage.user("DefaultAdministratorRole")
    conversation_id = id_of(begin(user, service_id))
    remembered = remember(stage, user.user_id, conversation_id)
    stage.play(Player("So", " it", " is."))

    events = go_on(user, conversation_id, SAYS)

    steps = steps_of(events)
    assert steps == expected(root, [inner_id, 1], [set_id, 1], tool_id, remembered)
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
        ("reflection", "weigh", "greet"),
        ("tool-call", "greet", "choice"),
        ("decision", "choice", "start"),
        ("action", "start", "end"),
        ("jumpback", "end", "back"),
    ]
    assert [log["performed_queries"] for log in logs[1:3]] == [[LIKES], [NAME]]
    assert [log["inner_thought_message_id"] for log in logs[3:5]] == [thought["id"] for thought in thoughts]
    assert {name for log in logs for name in log if name.startswith("tool_call")} == {"tool_call_logs"}
    assert [[len(calls) for calls in log.get("tool_call_logs", ())] for log in logs] == [
        [1], [], [], [], [1], [1], [1], [], [],
    ]  # fmt: skip
    assert logs[5]["designated_tool_call_log"]["input"] == GIVEN
    assert [len(calls) for calls in insights["engage_user_tool_call_logs"]] == [1]
    assert [memory["content"] for memory in insights["working_memory"]] == [MEMORY]
    assert insights["reflections"] == ["So it is."]
    assert insights["triggered_dynamic_behavior_set_version_info"] == [set_id, 1]
    assert (insights["current_state_name"], insights["current_state_action"]) == ("back", "Action 1 of back")


def test_insights_keep_thoughts_and_memories_from_those_who_may_not_read_messages(stage: Stage) -> None:
    service_id = stage.service(graph(action("start", "weigh"), reflection("weigh", "end"), action("end")))
    user = stage.user("DefaultAdministratorRole")
    conversation_id = id_of(begin(user, service_id))
    remember(stage, user.user_id, conversation_id)
    stage.play(Puppet("So", " it", " is.", choice="exit-1"))
    path = f"/conversation/{conversation_id}/interaction/{go_on(user, conversation_id, SAYS)[-1]['interaction_id']}"
    insights, graphs = "Conversation:GetInteractionInsights", "Organization:GetServiceHierarchicalStateMachine"

    def seen_with(*permissions: str) -> httpx2.Response:
        shown = {"conversations_visible_to_admins": {"type": "Equals", "value": True}}
        grants = [{"permission_name": each, "conditions": {} if each == graphs else shown} for each in permissions]
        reader, role = stage.user(), make_role(stage.admin, *grants)
        stage.server.as_super.post(f"/role/{role}/assign", json={"user_id": reader.user_id}).raise_for_status()
        return reader.get(f"{path}/insights")

    whole = seen_with(insights, graphs, "Conversation:GetMessage").json()
    assert (whole["reflections"], [found["content"] for found in whole["working_memory"]]) == (["So it is."], [MEMORY])
    assert seen_with(insights, graphs).json() == {**whole, "reflections": [], "working_memory": []}
    assert seen_with(insights).status_code == seen_with(graphs, "Conversation:GetMessage").status_code == 403


@pytest.mark.parametrize("response_format", ["text", "voice"])
def test_fragments_of_the_reply_are_told_to_who_asks_for_them(stage: Stage, response_format: str) -> None:
    stage.play(Puppet("Good", " day. How", " are you?"))
    user = stage.user("DefaultAdministratorRole")
    agent_id = make_agent(stage.admin, voice_config={"voice_id": "default"})
    conversation_id = id_of(begin(user, stage.service(agent_id=agent_id)))
    asked = {"response_format": response_format, "current_agent_action_type": "^engage-user-message-fragment"}

    events = go_on(user, conversation_id, query=asked)

    fragments = [event["action"] for event in events if "action" in event]
    assert {fragment["type"] for fragment in fragments} == {"engage-user-message-fragment-generated"}
    assert [fragment["index"] for fragment in fragments] == list(range(len(fragments)))
    assert [fragment["is_final"] for fragment in fragments] == [*[False] * (len(fragments) - 1), True]
    assert "".join(fragment["fragment"] for fragment in fragments) == events[-1]["full_message"]
    assert types(events)[1::2] == [*["engage-user-message-fragment-generated"] * len(fragments), "interaction-complete"]
    everything = go_on(user, conversation_id, query={"response_format": response_format})
    assert "engage-user-message-fragment-generated" not in types(everything)
