"""Prompts: their beginning stays, their end is the question of the step."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from support.random_graphs import OTHER, ROOT, parsed
from support.samples import AGENT, action, decision
from tertulia.engine.agent import prompt
from tertulia.engine.agent.options import Choices
from tertulia.engine.agent.scene import Agent, Person, Scene
from tertulia.engine.graph.context_graph import ActionState, ContextGraph, DecisionState, Frame, Graphs, Position
from tertulia.events import MessageType
from tertulia.ids import new_id
from tertulia.providers.base import Prompt
from tertulia.storage.turn.values import Message

INNER = parsed(action("start", "end"), action("end"), global_action_guidelines=["Guideline of the inner graph"])
OUTER = parsed(
    action("start", "d", actions=2),
    decision("d", "start", "end"),
    action("end"),
    global_action_guidelines=["Guideline of the outer graph"],
)
BEGAN = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def message(kind: MessageType, content: str, minutes: int = 0) -> Message:
    return Message(new_id(), kind, "text", "Somebody", content, BEGAN + timedelta(minutes=minutes))


def scene(*states: str, timezone: str = "America/Bogota") -> Scene:
    """A conversation in the outer graph, or with two states in the inner one."""
    frames = [Frame(version, state) for version, state in zip((ROOT, OTHER), states, strict=False)]
    person = Person("Ana Test", "spa", timezone, ["Ana likes tea"])
    graphs: Graphs = {ROOT: OUTER, OTHER: INNER}
    return Scene(Agent.model_validate(AGENT), graphs, Position(tuple(frames)), person, (), None, {}, began=BEGAN)


def steps(at: Scene, messages: list[Message]) -> list[Prompt]:
    """The prompts of all steps of a turn."""
    talk = prompt.said(messages, at.person.timezone)
    start = _state(OUTER, "start", ActionState)
    return [
        prompt.select_next_action(at, ROOT, start, talk, Choices({"action-1": "Speak", "exit-1": "Leave"})),
        prompt.select_exit(at, _state(OUTER, "d", DecisionState), talk, Choices({"exit-1": "Here", "exit-2": "There"})),
        prompt.engage_user(at, ROOT, start, "Speak", talk),
    ]


def _state(made: ContextGraph, name: str, kind: Any) -> Any:
    state = made.by_name[name]
    assert isinstance(state, kind)
    return state


def test_the_system_text_is_the_same_for_every_step_and_turn() -> None:
    first = steps(scene("start"), [message("user-message", "Hello")])
    later = steps(
        scene("d"), [message("user-message", "Hello"), message("agent-message", "Hi"), message("user-message", "More")]
    )
    assert len({asked.system for asked in [*first, *later]}) == 1
    for part in (
        "Test Agent",
        "Background of the agent.",
        "Behaviour of the agent.",
        "Guideline of the outer graph",
        "Spanish",
        "Ana likes tea",
    ):
        assert part in first[0].system


def test_the_conversation_of_a_turn_begins_as_that_of_the_turn_before_it() -> None:
    talk = [
        message("agent-message", "Welcome"),
        message("user-message", "Hello"),
        message("agent-inner-thought", "They are shy"),
        message("agent-message", "How are you?"),
        message("external-event", "The bell rings"),
        message("user-message", "Well"),
    ]
    before, now = steps(scene("start"), talk[:2]), steps(scene("start"), talk)
    for asked in now:
        assert [*asked.turns][: len(before[0].turns)] == [*before[0].turns]


def test_a_step_asks_its_question_below_the_last_message() -> None:
    for asked in steps(scene("start"), [message("user-message", "Hello")]):
        assert asked.asked[-1].content == f"Hello\n\n{asked.question}"
        assert [*asked.asked[:-1]] == [*asked.turns[:-1]]


def test_thoughts_do_not_pile_up() -> None:
    thoughts = [message("agent-inner-thought", f"Thought {number % 5}") for number in range(1000)]
    talk = prompt.said([*thoughts, message("user-message", "Hello")], "UTC")
    assert talk.thoughts == ["Thought 2", "Thought 3", "Thought 4"]
    assert [turn.content for turn in talk.turns] == ["Hello"]


def test_times_are_of_the_users_zone_and_say_how_far_it_is_from_utc() -> None:
    event = message("external-event", "The bell rings", minutes=30)
    talk = prompt.said([event], "America/Bogota")
    assert talk.turns[0].content == "(Event at 2026-07-01 07:30-05:00: The bell rings)"
    assert prompt.said([event], "UTC").turns[0].content.startswith("(Event at 2026-07-01 12:30+00:00:")
    speaking = steps(scene("start", timezone="Asia/Kathmandu"), [event])[-1]
    assert "The conversation began on Wednesday, 2026-07-01 17:45+05:45." in speaking.system
    assert "2026-07-01 18:15+05:45" in speaking.turns[0].content


def test_a_reply_is_told_the_time_again_when_the_conversation_has_lasted_a_while() -> None:
    begun = replace(scene("start"), history=[message("agent-message", "Welcome")])
    soon = replace(begun, began=BEGAN + timedelta(minutes=9))
    later = replace(begun, began=BEGAN + timedelta(minutes=40))
    said = [message("user-message", "Hello")]
    assert "2026-07-01" not in steps(soon, said)[-1].question
    assert "For the user it is Wednesday, 2026-07-01 07:40-05:00." in steps(later, said)[-1].question
    assert steps(soon, said)[-1].system == steps(later, said)[-1].system


def test_a_reply_knows_which_parts_of_its_prompt_are_rules() -> None:
    *choices, reply = steps(scene("start"), [message("user-message", "Hello")])
    assert {"Behaviour of the agent.", "Pattern of the agent.", "Guideline of the outer graph"} <= {*reply.instructions}
    assert not any("Background" in rule or "tea" in rule for rule in reply.instructions)
    assert not any(asked.instructions for asked in choices)


def test_a_choice_names_its_options_by_the_states_that_they_lead_to() -> None:
    action, decision, _reply = steps(scene("start"), [message("user-message", "Hello")])
    assert action.choice is not None
    assert decision.choice is not None
    assert {key: (option.name, option.text) for key, option in action.choice.options.items()} == {
        "exit-1": ("d", "Leave"),
        "action-1": ("start", "Speak"),
    }
    assert [option.name for option in decision.choice.options.values()] == ["start", "end"]


def test_sayings_are_apart_from_the_texts_of_options_and_in_no_prompt() -> None:
    talk = prompt.said([message("user-message", "Hello")], "UTC")
    start = _state(OUTER, "start", ActionState)
    greet, leave = 'Greet them. People say: "Hello!", "hi".', 'They leave. People say: "So long!".'
    choices = Choices({"action-1": greet, "action-2": "Explain it.", "exit-1": leave})
    asked = prompt.select_next_action(scene("start"), ROOT, start, talk, choices)
    assert asked.choice is not None
    options = {option.name: option.sayings for option in asked.choice.options.values()}
    assert options == {start.exit_conditions[0].next_state: ("So long!",), "greet": ("Hello!", "hi"), "explain": ()}
    told = prompt.engage_user(scene("start"), ROOT, start, greet, talk)
    assert "Now: Greet them.\n" in told.question
    assert not [text for text in (asked.question, told.question) if "People say" in text]


def test_words_of_an_action_are_asked_for_in_turn_and_no_option_has_them() -> None:
    start = _state(OUTER, "start", ActionState)
    decline = 'Decline. Keep to what was named last. In words like these: "No.", "I cannot." People say: "Sing!".'
    first = prompt.said([message("user-message", "Sing!")], "UTC")
    again = prompt.said(
        [message("user-message", "Sing!"), message("agent-message", "No."), message("user-message", "Do!")], "UTC"
    )
    asked = [prompt.engage_user(scene("start"), ROOT, start, decline, talk) for talk in (first, again)]
    assert [question.wording for question in asked] == ["No.", "I cannot."]
    assert [question.keeps_to_last for question in asked] == [True, True]
    assert 'In words like these: "I cannot."\n' in asked[1].question
    choices = Choices({"action-1": decline, "exit-1": "Leave"})
    chosen = prompt.select_next_action(scene("start"), ROOT, start, first, choices)
    assert "action-1: Decline. Keep to what was named last.\n" in chosen.question


def test_no_note_that_asks_for_a_choice_names_a_key_to_copy() -> None:
    for asked in steps(scene("start"), [message("user-message", "Hello")])[:2]:
        assert asked.question.count("exit-1") == 1


def test_options_that_lead_to_the_same_state_have_names_of_their_own() -> None:
    start = _state(parsed(action("start", "end", "end", actions=2), action("end")), "start", ActionState)
    keys = ("action-1", "action-2", "exit-1", "exit-2")
    choices = Choices(dict.fromkeys(keys, "Go"))
    asked = prompt.select_next_action(scene("start"), ROOT, start, prompt.said([], "UTC"), choices)
    assert asked.choice is not None
    assert len({option.name for option in asked.choice.options.values()}) == len(keys)


def test_in_another_graph_its_own_general_guidelines_are_in_the_question() -> None:
    inside = scene("start", "start")
    talk = prompt.said([message("user-message", "Hello")], "UTC")
    asked = prompt.engage_user(inside, OTHER, _state(INNER, "start", ActionState), "Speak", talk)
    assert "Guideline of the inner graph" in asked.question
    assert asked.system == steps(scene("start"), [message("user-message", "Hello")])[0].system
