"""The scene of an interaction, known when it begins, and its outcome, known when it ends."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from tertulia import clock
from tertulia.engine.graph import sayings
from tertulia.engine.graph.context_graph import Graphs, Position, ToolCallSpec
from tertulia.engine.speech.ahead import Hearing
from tertulia.engine.speech.wishes import Speaking
from tertulia.events import MessageFormat, MessageType, VersionInfo
from tertulia.ids import new_id
from tertulia.storage.turn.values import ContentType, Invocation, Message, Recording

if TYPE_CHECKING:  # it needs an extra
    from tertulia.audio.decode import Recorded

IncomingType = Literal["user-message", "external-event", "skip"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class RelationshipToDeveloper(_Part):
    ownership: str
    type: str
    conversation_visibility: str
    thought_visibility: str


class Identity(_Part):
    name: str
    role: str
    developed_by: str
    default_spoken_language: str
    relationship_to_developer: RelationshipToDeveloper


class VoiceConfig(_Part):
    voice_id: str


class Agent(_Part):
    """A version of an agent, as the engine reads it from its stored body."""

    identity: Identity
    background: str
    behaviors: list[str]
    communication_patterns: list[str]
    voice_config: VoiceConfig | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """The user, as the agent knows them."""

    name: str
    language: str | None
    """ISO 639-3; None: the agent's own."""
    timezone: str
    """A name of the IANA database."""
    additional_context: Sequence[str]


@dataclass(frozen=True, slots=True)
class ExternalEvent:
    """Something that happened outside the conversation, before the message that it comes with."""

    content: str
    happened_at: datetime
    is_timed_here: bool = False
    """True if this server noted the time, so that a later message before the event is no mistake of the caller's."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that an interaction answers; `skip` brings none. One that was spoken is yet to be heard.

    `decode` makes the recording; it is called in a thread, and raises as `audio.decode.decode` does. `keyterms` are
    words that are likely in it. `hearing` is the work of those who have begun to write it down already.
    """

    type: IncomingType
    text: str = ""
    external_events: Sequence[ExternalEvent] = ()
    decode: "Callable[[], Recorded] | None" = None
    keyterms: Sequence[str] = ()
    hearing: Hearing | None = None
    sender: str = ""
    """The name of the one who speaks, if that is not the user."""


@dataclass(frozen=True, slots=True)
class Behavior:
    """A dynamic behaviour that applies to the service: the latest version of an active set."""

    version: VersionInfo
    name: str
    triggers: tuple[str, ...]
    instructions: tuple[str, ...]
    overrides: bool
    """True if the instructions stand in the place of a state's own."""
    tool_call_specs: tuple[ToolCallSpec, ...] = field(default=(), hash=False)
    overrides_tools: bool = False
    """True if the tools stand in the place of a state's own, even if there are none."""

    @property
    def is_felt(self) -> bool:
        """True if the behaviour changes what a state says, or which tools a state has."""
        return bool(self.instructions or self.tool_call_specs) or self.overrides_tools


@dataclass(frozen=True, slots=True)
class Recollection:
    """A memory of the user that was found: what is remembered, and the circumstances in which it was said."""

    id: str
    content: str
    context: str

    @property
    def text(self) -> str:
        """The memory on a line, as an agent is shown it."""
        return f"{self.content} ({self.context})" if self.context else self.content


class ToolResult(_Part):
    """The answer of a tool, as later questions tell it. `lasts`: those of later turns too."""

    tool_name: str
    arguments: dict[str, Any]
    output: str
    at: datetime
    lasts: bool = True


class PendingCall(_Part):
    """A call that waits for the user's yes. It is made with these arguments and this idempotency key, or never."""

    spec: ToolCallSpec
    tool_name: str
    tool_version: str
    arguments: dict[str, Any]
    key: str


@dataclass(frozen=True, slots=True)
class Scene:
    """The knowledge of an interaction when it begins. `incoming` is None when the agent opens the conversation.

    `number` counts the conversation's interactions, 0 for the first. Without `speaking`, the reply is written.
    """

    agent: Agent
    graphs: Graphs
    position: Position
    person: Person
    history: Sequence[Message]
    incoming: Incoming | None
    llm_model_preferences: Mapping[str, Any]
    number: int = 0
    speaking: Speaking | None = None
    began: datetime = field(default_factory=clock.now)
    behaviors: Sequence[Behavior] = ()
    previous_behavior: VersionInfo | None = None
    """The behaviour that the turn before chose."""
    performed_queries: Sequence[str] = ()
    """The queries that recall states asked in earlier turns of this conversation."""
    tool_results: Sequence[ToolResult] = ()
    """The results of tools that earlier turns have kept."""
    pending_calls: Sequence[PendingCall] = ()
    """The calls of the turn before that wait for the user's yes."""
    written: list[str] = field(default_factory=list[str], init=False, repr=False, compare=False)
    """The system text of the interaction's prompts, once it has been written."""

    @property
    def language(self) -> str:
        """The language in which they talk, ISO 639-3."""
        return self.person.language or self.agent.identity.default_spoken_language


ToolRound = list[dict[str, Any]]
"""The calls of a round side by side, as insights tell them."""


@dataclass(slots=True)
class Outcome:
    """The work of an interaction so far; committed whole, or not at all."""

    position: Position
    last_time: datetime | None
    """The time of the newest message so far."""
    began: datetime = field(default_factory=clock.now)
    message_id: str = field(default_factory=new_id)
    messages: list[Message] = field(default_factory=list[Message])
    recordings: list[Recording] = field(default_factory=list[Recording])
    transitions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    action: str = ""
    objective: str = ""
    full_message: str = ""
    reply_cut_short: str | None = None
    """Why the reply is not whole: `length` or `content_filter`; None if it is."""
    finished: bool = False
    behavior: Behavior | None = None
    """The dynamic behaviour that is in force in this interaction."""
    invocation: Invocation | None = None
    working_memory: list[Recollection] = field(default_factory=list[Recollection])
    """The recollections of this interaction, each once."""
    performed_queries: list[str] = field(default_factory=list[str])
    """The queries that recall states have asked in this interaction."""
    tool_results: list[ToolResult] = field(default_factory=list[ToolResult])
    """The results of tools that all later questions of this interaction are told."""
    pending_calls: list[PendingCall] = field(default_factory=list[PendingCall])
    """The calls that wait for the user's yes in the next turn."""
    released: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """The calls that the user has agreed to in this interaction: tools, and arguments as JSON."""
    released_calls: list[ToolRound] = field(default_factory=list[ToolRound])
    """These calls as insights tell them, in one round."""
    tool_calls: int = 0
    """The number of tools that were called."""
    action_calls: list[ToolRound] = field(default_factory=list[ToolRound])
    """The calls that led to the action, round by round, as insights tell them."""
    speech_calls: list[ToolRound] = field(default_factory=list[ToolRound])
    """The calls that led to the message."""

    def fork(self) -> "Outcome":
        """Copy the work so far, to go on with it in a way that may be given up. Return the copy."""
        return replace(
            self,
            messages=list(self.messages),
            recordings=list(self.recordings),
            transitions=list(self.transitions),
            working_memory=list(self.working_memory),
            performed_queries=list(self.performed_queries),
            tool_results=list(self.tool_results),
            pending_calls=list(self.pending_calls),
            action_calls=list(self.action_calls),
        )

    def adopt(self, draft: "Outcome") -> None:
        """Take over the walk of a copy, and the thoughts that came with it."""
        self.position, self.action, self.objective = draft.position, draft.action, draft.objective
        self.messages, self.transitions, self.last_time = draft.messages, draft.transitions, draft.last_time
        self.tool_results, self.pending_calls = draft.tool_results, draft.pending_calls
        self.tool_calls, self.action_calls = draft.tool_calls, draft.action_calls
        self.remember(draft.working_memory)
        self.performed_queries += [query for query in draft.performed_queries if query not in self.performed_queries]

    def next_time(self, at_least: datetime | None = None) -> datetime:
        """Choose a time for the next message. Return now, or a moment later than every message before it."""
        moment = at_least or clock.now()
        if self.last_time is not None and moment <= self.last_time:
            moment = self.last_time + clock.MICROSECOND
        self.last_time = moment
        return moment

    def add(
        self,
        kind: MessageType,
        sender: str,
        content: str,
        created_at: datetime | None = None,
        message_format: MessageFormat = "text",
    ) -> Message:
        """Add a message to those that will be committed. Return it."""
        message = Message(
            id=self.message_id if kind == "agent-message" else new_id(),
            message_type=kind,
            format=message_format,
            sender=sender,
            content=content,
            created_at=created_at or self.next_time(),
        )
        self.messages.append(message)
        return message

    def remember(self, recollections: Sequence[Recollection]) -> None:
        """Add recollections to the working memory, unless they are in it."""
        known = {recollection.id for recollection in self.working_memory}
        self.working_memory += [found for found in recollections if found.id not in known]

    def keep(self, message_id: str, content_type: ContentType, body: bytes) -> None:
        """Add the recording of a message to those that will be committed."""
        self.recordings.append(Recording(message_id, content_type, body))

    @property
    def insights(self) -> dict[str, Any]:
        """The insights into the interaction, except the reflections, which are messages."""
        return {
            "current_graph": self.position.top.graph,
            "current_state_name": self.position.top.state,
            "current_state_action": sayings.described(self.action),
            "current_state_objective": self.objective,
            "state_transition_logs": self.transitions,
            "working_memory": [found.id for found in self.working_memory],  # a memory that is forgotten leaves no copy
            "triggered_dynamic_behavior_set_version_info": self.behavior and self.behavior.version,
            "select_next_action_tool_call_logs": [*self.released_calls, *self.action_calls],
            "engage_user_tool_call_logs": self.speech_calls,
            "pending_tool_calls": [
                call.model_dump(mode="json", exclude={"spec", "key"}) for call in self.pending_calls
            ],
            "reply_cut_short": self.reply_cut_short,
        }
