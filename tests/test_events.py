"""The lines of a stream."""

import json
import sys
from collections.abc import Callable
from typing import get_args

import pytest

from tertulia import events
from tertulia.events import AnyAction, AnyEvent, Event

VERSION = ("a" * 24, 1)

ACTIONS: list[AnyAction] = [
    events.BehaviorVectorGenerated(),
    events.BehaviorsRetrieved(),
    events.BehaviorSelected(VERSION, None),
    events.NavigationOverridden(overriding_instructions=True, overriding_tool_candidates=False),
    events.SpeechOverridden(overriding_instructions=False, overriding_tool_candidates=True),
    events.ActionSelected("wave"),
    events.DecisionStarted(),
    events.ExitConditionSelected("It is late", VERSION, "end"),
    events.AnnotationRetrieved("A thought"),
    events.StateTransitioned("start", VERSION, "end", VERSION),
    events.ActiveMemoryChecked(["What do they like?"]),
    events.ActiveMemoriesExtracted([("What do they like?", "They like tea.")]),
    events.StaticQueriesRetrieved(["What do they like?"]),
    events.DynamicQueriesGenerated(["Do they have a cat?"], "Their animals"),
    events.MemoriesRecalled([("What do they like?", "They like tea.")]),
    events.ReflectionStarted("What do they need?"),
    events.ReflectionGenerated("They need rest."),
    events.ToolCallStarted(1, "t", "1.0.0", {"city": "Oslo"}),
    events.ToolCallEnded(1, "t", "1.0.0", {"city": "Oslo"}, "Rain", 0.25),
    events.DesignatedToolRetrieved("t", "1.0.0"),
    events.DesignatedToolCallParamsGenerated("t", "1.0.0", {"city": "Oslo"}),
    events.ToolOutputAvailable("t", "1.0.0", "Rain", 0.25, {"city": "Oslo"}),
    events.FragmentGenerated(0, "We", is_final=False),
    events.ActionTooLong("One moment", events.DecisionStarted()),
]

EVENTS: list[Event] = [
    events.ConversationCreated("c"),
    events.UserMessageAvailable("m", '{"type":"new-message"'),
    *map(events.CurrentAgentAction, ACTIONS),
    events.NewMessage("piece", False, 1, "m", [(0, "p")]),
    events.NewMessage("", True, 2, "m"),
    events.InteractionComplete("m", "i", "piece", conversation_completed=False),
    events.Error(503, "Not now."),
]


def test_no_character_of_a_message_ends_its_line() -> None:
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, sys.maxunicode + 1)]))
    line = events.encode(events.UserMessageAvailable("m", every))
    text = line.decode()
    assert text.splitlines(keepends=True) == [text]
    assert json.loads(text)["user_message"] == every


def test_only_line_ends_are_escaped() -> None:
    line = events.encode(events.UserMessageAvailable("m", "añ…\u2028\u2029\u0085\u202a\u0086"))
    assert '"añ…\\u2028\\u2029\\u0085\u202a\u0086"' in line.decode()


def test_the_samples_are_of_every_kind() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(AnyEvent))
    assert {type(action) for action in ACTIONS} == set(get_args(AnyAction)) == set(events.Action.__subclasses__())


@pytest.mark.parametrize("event", EVENTS, ids=repr)
def test_an_event_is_decoded_as_it_was_encoded(event: Event) -> None:
    assert events.decode(events.encode(event)) == event


@pytest.mark.parametrize(
    ("recognise", "kind"),
    [
        (events.is_action, events.CurrentAgentAction),
        (events.is_piece, events.NewMessage),
        (events.is_complete, events.InteractionComplete),
    ],
)
def test_an_encoded_event_is_recognised(recognise: Callable[[bytes], bool], kind: type[Event]) -> None:
    assert [recognise(events.encode(event)) for event in EVENTS] == [isinstance(event, kind) for event in EVENTS]


def test_a_filler_is_told_from_other_actions() -> None:
    fillers = [action for action in ACTIONS if events.is_filler(events.encode(events.CurrentAgentAction(action)))]
    assert fillers == [events.ActionTooLong("One moment", events.DecisionStarted())]


@pytest.mark.parametrize("event", EVENTS, ids=repr)
def test_a_prefix_changes_the_type_alone(event: Event) -> None:
    line = events.encode(event)
    told = json.loads(line)
    assert json.loads(events.prefixed(line, b"server.")) == {**told, "type": f"server.{told['type']}"}
