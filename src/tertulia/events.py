"""The events of a stream, field for field as the contract names them, and their encoding: one JSON object a line.

Encoded events are recognised here alone.

conversation-created      the first line of a created conversation
user-message-available    the first line of an interaction that brings a message
current-agent-action      a step of the agent's thinking; `action` is one of the types below
new-message               a piece of the reply
interaction-complete      the last line: committed
error                     the last line: nothing happened
"""

from typing import Any, Literal

import msgspec

MAX_TEXT = 100_000
"""Characters of a message, a description, an instruction."""

VersionInfo = tuple[str, int]
"""The identifier of a context graph, agent or dynamic behaviour set, and the number of its version."""


class Event(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    """Base of all events; `type` is each class's tag."""


class ConversationCreated(Event, frozen=True, gc=False, tag="conversation-created"):
    conversation_id: str


class UserMessageAvailable(Event, frozen=True, gc=False, tag="user-message-available"):
    message_id: str
    user_message: str


class NewMessage(Event, frozen=True, gc=False, tag="new-message"):
    """A piece of the agent's message. `message_metadata` is always empty; clients of 2025 require the key."""

    message: str
    stop: bool
    sequence_number: int
    message_id: str
    transcript_alignment: list[tuple[int, str]] | None = None
    message_metadata: tuple[()] = ()


class InteractionComplete(Event, frozen=True, gc=False, tag="interaction-complete"):
    message_id: str
    interaction_id: str
    full_message: str
    conversation_completed: bool


class Error(Event, frozen=True, gc=False, tag="error"):
    http_error_code: int
    error_description: str


class Action(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    """Base of the agent's actions; the tag is the type that `current_agent_action_type` filters on."""


class BehaviorVectorGenerated(Action, frozen=True, gc=False, tag="select-dynamic-behavior-vector-generated"):
    pass


class BehaviorsRetrieved(Action, frozen=True, gc=False, tag="select-dynamic-behavior-relevance-retrieval-completed"):
    pass


class BehaviorSelected(Action, frozen=True, gc=False, tag="select-dynamic-behavior-completed"):
    selected_dynamic_behavior_set_version_info: VersionInfo | None
    previous_selected_dynamic_behavior_set_version_info: VersionInfo | None


class ActiveMemoryChecked(Action, frozen=True, gc=False, tag="check-if-active-memory-needed-completed"):
    """`queries` are what the agent wants to remember; none: it needs no memory in this turn."""

    queries: list[str]


class ActiveMemoriesExtracted(Action, frozen=True, gc=False, tag="extract-active-memories-completed"):
    """Queries, each with what is remembered; an empty text if that is nothing."""

    queries_and_responses: list[tuple[str, str]]


class NavigationOverridden(Action, frozen=True, gc=False, tag="navigate-state-machine-dynamic-behavior-override"):
    overriding_instructions: bool
    overriding_tool_candidates: bool


class SpeechOverridden(Action, frozen=True, gc=False, tag="engage-user-dynamic-behavior-override"):
    overriding_instructions: bool
    overriding_tool_candidates: bool


class ActionSelected(Action, frozen=True, gc=False, tag="navigate-state-machine-action-state-action-selected"):
    action: str


class DecisionStarted(Action, frozen=True, gc=False, tag="navigate-state-machine-decision-state-decision-started"):
    pass


class ExitConditionSelected(Action, frozen=True, gc=False, tag="navigate-state-machine-exit-condition-selected"):
    exit_condition: str
    next_state_state_machine_version_info: VersionInfo
    next_state_name: str


class AnnotationRetrieved(
    Action, frozen=True, gc=False, tag="navigate-state-machine-annotation-state-annotation-retrieved"
):
    annotation: str


class DynamicQueriesGenerated(
    Action, frozen=True, gc=False, tag="navigate-state-machine-recall-state-dynamic-queries-generated"
):
    dynamic_queries: list[str]
    requested_information: str


class StaticQueriesRetrieved(
    Action, frozen=True, gc=False, tag="navigate-state-machine-recall-state-static-queries-retrieved"
):
    static_queries: list[str]


class MemoriesRecalled(
    Action, frozen=True, gc=False, tag="navigate-state-machine-recall-state-active-memory-retrieved"
):
    """Queries of a recall state, each with what is remembered; an empty text if that is nothing."""

    queries_and_responses: list[tuple[str, str]]


class ReflectionStarted(Action, frozen=True, gc=False, tag="navigate-state-machine-reflection-state-prompt-retrieved"):
    """`prompt` is the problem to think about."""

    prompt: str


class ReflectionGenerated(
    Action, frozen=True, gc=False, tag="navigate-state-machine-reflection-state-reflection-generated"
):
    reflection: str


class StateTransitioned(Action, frozen=True, gc=False, tag="navigate-state-machine-state-transitioned"):
    prev_state: str
    prev_state_state_machine_version_info: VersionInfo
    next_state: str
    next_state_state_machine_version_info: VersionInfo


class ToolCallStarted(Action, frozen=True, gc=False, tag="tool-call-started"):
    """`tool_round_index` counts the rounds of calls within one question to a model, from 1."""

    tool_round_index: int
    tool_id: str
    tool_version: str
    input_params: dict[str, Any]


class ToolCallEnded(Action, frozen=True, gc=False, tag="tool-call-ended"):
    """`duration` is in seconds. The contract has another name here for what `tool-call-started` was given."""

    tool_round_index: int
    tool_id: str
    tool_version: str
    input_parameters: dict[str, Any]
    result: str
    duration: float


class DesignatedToolRetrieved(Action, frozen=True, gc=False, tag="designated-tool-retrieved"):
    tool_id: str
    tool_version: str


class DesignatedToolCallParamsGenerated(Action, frozen=True, gc=False, tag="designated-tool-call-params-generated"):
    tool_id: str
    tool_version: str
    tool_call_params: dict[str, Any]


class ToolOutputAvailable(
    Action, frozen=True, gc=False, tag="navigate-state-machine-tool-call-state-tool-output-available"
):
    """`duration` is in seconds; 0 if the tool was not called."""

    tool_id: str
    tool_version: str
    tool_output: str
    duration: float
    input_arguments: dict[str, Any]


class FragmentGenerated(Action, frozen=True, gc=False, tag="engage-user-message-fragment-generated"):
    """A piece of the reply's text; the fragments of a reply make its `full_message`. `index` counts from 0."""

    index: int
    fragment: str
    is_final: bool


FRAGMENT = str(FragmentGenerated.__struct_config__.tag)


class ActionTooLong(Action, frozen=True, gc=False, tag="action-too-long"):
    """`filler` is something to play meanwhile: a WAV file in base64 (16-bit, mono, 16 kHz)."""

    filler: str
    previously_started_event: DecisionStarted | ReflectionStarted | ToolCallStarted | DesignatedToolRetrieved


AnyAction = (
    BehaviorVectorGenerated
    | BehaviorsRetrieved
    | BehaviorSelected
    | ActiveMemoryChecked
    | ActiveMemoriesExtracted
    | NavigationOverridden
    | SpeechOverridden
    | ActionSelected
    | DecisionStarted
    | ExitConditionSelected
    | AnnotationRetrieved
    | DynamicQueriesGenerated
    | StaticQueriesRetrieved
    | MemoriesRecalled
    | ReflectionStarted
    | ReflectionGenerated
    | StateTransitioned
    | ToolCallStarted
    | ToolCallEnded
    | DesignatedToolRetrieved
    | DesignatedToolCallParamsGenerated
    | ToolOutputAvailable
    | FragmentGenerated
    | ActionTooLong
)


class CurrentAgentAction(Event, frozen=True, gc=False, tag="current-agent-action"):
    action: AnyAction


AnyEvent = ConversationCreated | UserMessageAvailable | CurrentAgentAction | NewMessage | InteractionComplete | Error

MessageType = Literal["user-message", "agent-message", "agent-inner-thought", "external-event"]
MessageFormat = Literal["text", "voice"]

_encoder = msgspec.json.Encoder()

_LINE_ENDS = tuple((end.encode(), f"\\u{ord(end):04x}".encode()) for end in "\u0085\u2028\u2029")
"""The line ends of Unicode that JSON leaves as they are; `str.splitlines`, and so many a client, cuts there."""


def encode(event: Event) -> bytes:
    """Encode an event as one line of NDJSON. Return the line with its newline; no other line end is within it."""
    line = _encoder.encode(event)
    if not line.isascii():
        for end, escape in _LINE_ENDS:
            line = line.replace(end, escape)
    return line + b"\n"


_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def decode(line: bytes) -> AnyEvent:
    """Decode a line that `encode` has made. Return the event."""
    return _decoder.decode(line)


_HEAD = b'{"type":"'


def _head(kind: type[Event] | type[Action]) -> bytes:
    """Return the first bytes of an encoded event or action of a kind."""
    return _HEAD + str(kind.__struct_config__.tag).encode() + b'"'


_ACTION = _head(CurrentAgentAction)
_FILLER = _ACTION + b',"action":' + _head(ActionTooLong)
_PIECE = _head(NewMessage)
_MESSAGE = b',"message":"'
_COMPLETE = _head(InteractionComplete)


def is_action(line: bytes) -> bool:
    """Return True for an encoded step of the agent's thinking."""
    return line.startswith(_ACTION)


def is_filler(line: bytes) -> bool:
    """Return True for an encoded step that brings something to play meanwhile."""
    return line.startswith(_FILLER)


def is_piece(line: bytes) -> bool:
    """Return True for an encoded piece of the reply."""
    return line.startswith(_PIECE)


def text_of_piece(line: bytes, message_id: str) -> tuple[int, int]:
    """Find the text of an encoded piece of a message, sound in base64 say. Return its first byte and its end.

    Both are 0 if the line is no such piece, or its text has a quote or an escape.
    """
    if not line.startswith(_PIECE + _MESSAGE) or b'"message_id":"%b"' % message_id.encode() not in line:
        return 0, 0
    start = len(_PIECE + _MESSAGE)
    end = line.index(b'"', start)
    return (0, 0) if b"\\" in line[start:end] else (start, end)


def is_complete(line: bytes) -> bool:
    """Return True for the encoded last line of a turn that is committed."""
    return line.startswith(_COMPLETE)


def prefixed(line: bytes, prefix: bytes) -> bytes:
    """Put a prefix before the type of an encoded event. Return the event, of which all else stays as it is."""
    return _HEAD + prefix + line[len(_HEAD) :]


def action_type(action: Action) -> str:
    """Return the wire's name of an action."""
    return str(type(action).__struct_config__.tag)
