"""The files of a folder as their authors write them: fields that nobody needs to write have defaults.

Each becomes a body of the API by `to_body`. An action state is a name, an objective and actions. The bounds are those
of the API, so that a mistake is told with its line before anything is sent.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from tertulia import languages
from tertulia.engine.graph.context_graph import ToolCallSpec
from tertulia.events import MAX_TEXT
from tertulia.files.tool_uses import change_uses
from tertulia.providers.models.schema import problem_of_result_schema

Body = dict[str, Any]

_ORGANIZATION: Final = "the organization that runs this service"


def _language(code: str) -> str:
    if not languages.is_code(code):
        raise ValueError("This is no language code of ISO 639-3, as eng and deu are.")
    return code


def _schema(schema: Body) -> Body:
    if schema.get("type") != "object" or not isinstance(schema.get("properties"), dict) or not schema["properties"]:
        raise ValueError("This must be the JSON schema of an object: `type: object`, and its `properties`.")
    if problem := problem_of_result_schema(schema):
        raise ValueError(problem)
    return schema


def _text(longest: int, **rules: Any) -> StringConstraints:
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=longest, **rules)


Name = Annotated[str, _text(256)]
LongText = Annotated[str, _text(MAX_TEXT)]
Texts = Annotated[list[LongText], Field(max_length=1000)]
Words = Annotated[str, _text(256, pattern=r"^[\w\s]+$")]
Tags = Annotated[dict[Words, Words | None], Field(max_length=20)]
Keyterm = Annotated[str, _text(256, pattern=r"^[a-z-]+( [a-z-]+){0,2}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class RelationshipToDeveloper(_Part):
    ownership: LongText = _ORGANIZATION
    type: LongText = "its agent"
    conversation_visibility: LongText = "the organization may read conversations"
    thought_visibility: LongText = "the organization may read thoughts"


class Identity(_Part):
    name: LongText
    """The name with which the agent speaks."""
    role: LongText
    """A few words: `the reception of a family doctor's practice`."""
    developed_by: LongText = _ORGANIZATION
    default_spoken_language: Annotated[str, AfterValidator(_language)] = languages.ENGLISH
    """A code of ISO 639-3."""
    relationship_to_developer: RelationshipToDeveloper = RelationshipToDeveloper()


class VoiceConfig(_Part):
    voice_id: LongText


class AgentFile(_Part):
    """An agent: who speaks. Its initials are those of its name."""

    name: Name | None = None
    """The name by which the server knows the agent; else that of the service."""
    initials: Annotated[str, _text(3)] | None = None
    identity: Identity
    background: LongText | None = None
    """Facts that the agent knows."""
    behaviors: Texts = []
    """Rules for what the agent does."""
    communication_patterns: Texts = []
    """Rules for how the agent speaks."""
    voice_config: VoiceConfig | None = None

    def to_body(self) -> Body:
        """Return the body of a version of the agent."""
        return {
            **self.model_dump(exclude_none=True, exclude={"name"}),
            "initials": self.initials or initials_of(self.identity.name),
            "background": self.background or background_of(self.identity.name, self.identity.role),
        }


def initials_of(name: str) -> str:
    """Make the initials of an agent that has none. Return them."""
    return "".join(word[0] for word in name.split()[:3]).upper()[:3]


def background_of(name: str, role: str) -> str:
    """Make the background of an agent that has none. Return it."""
    return f"{name} is {role}."


class InjectInstruction(_Part):
    type: Literal["inject-instruction"] = "inject-instruction"
    instruction: Annotated[str, _text(10_000)]
    overrides_instructions: bool = False


class NamedToolCallSpec(ToolCallSpec):
    tool_name: Name


class ChangeToolCandidates(_Part):
    type: Literal["change-tool-candidates"]
    tool_call_specs: Annotated[list[NamedToolCallSpec], Field(max_length=100)]
    overrides_existing_tool_call_specs: bool = False


class BehaviorFile(_Part):
    """A dynamic behaviour set of the folder's service: what to do when a conversation comes to a matter."""

    name: Name | None = None
    """The server's name of the set; else those of the service and the file: `Clinic intake: emergency`."""
    tags: Tags = {}
    is_active: bool = True
    conversation_triggers: Annotated[list[Annotated[str, _text(1000)]], Field(min_length=1, max_length=50)]
    """Matters that a conversation may come to, in plain words."""
    actions: Annotated[list[InjectInstruction | ChangeToolCandidates], Field(max_length=20)]

    def to_body(self, name: str) -> Body:
        """Return the body of the set, which has `name` unless the file gives one; its services are missing."""
        version = self.model_dump(include={"is_active", "conversation_triggers", "actions"})
        return {"name": self.name or name, "tags": dict(self.tags), "initial_version": version}


class ServiceFile(_Part):
    """A service: what users talk to. Its description is its name, unless the file has one."""

    name: Name
    description: LongText | None = None
    is_active: bool = True
    keyterms: Annotated[list[Keyterm], Field(max_length=20)] = []
    """Terms that transcription often gets wrong: one to three words in lower case."""
    tags: Tags = {}
    result_schema: Annotated[Body, AfterValidator(_schema)] | None = None
    """A JSON schema: what is to be found out in each conversation."""

    def to_body(self) -> Body:
        """Return the body of the service; its agent and its graph are missing."""
        return {**self.model_dump(exclude_none=True), "description": self.description or self.name}


class PinnedGraph(_Part):
    """A version of a context graph that is on the server already."""

    graph: Name
    version: Annotated[int, Field(gt=0, le=2**31 - 1)]


FILLERS: Final[Body] = {"audio_fillers": [], "audio_filler_triggered_after": 2}
GRAPH_DEFAULTS: Final[Body] = {
    "references": {},
    "global_intra_state_navigation_guidelines": [],
    "global_action_guidelines": [],
    "global_boundary_constraints": [],
}
STATE_DEFAULTS: Final[Mapping[str, Body]] = {
    "action": {
        "intra_state_navigation_guidelines": [],
        "action_guidelines": [],
        "boundary_constraints": [],
        "exit_conditions": [],
        "action_tool_call_specs": [],
        "exit_condition_tool_call_specs": [],
        "skip_active_memory_retrieval": False,
    },
    "decision": {"decision_guidelines": [], "tool_call_specs": [], **FILLERS},
    "recall": {"queries": None, "requested_information": None},
    "annotation": {},
    "reflection": {"word_limit": 100, "tool_call_specs": [], **FILLERS},
    "tool-call": {
        "designated_tool_call_params_generation_audio_fillers": [],
        "designated_tool_call_params_generation_audio_filler_triggered_after": 2,
        "designated_tool_call_guidances": [],
        "designated_tool_call_validations": [],
        "tool_call_specs": [],
    },
}
SPEC_DEFAULTS: Final[Body] = {
    "version_constraint": ">=0",
    "additional_instruction": "Use it when it helps.",
    **FILLERS,
    "result_persistence": "persisted-preferred",
    "needs_confirmation": False,
}


def complete_graph(value: Body) -> Body:
    """Complete the body of a graph's version. Return the body; mistakes in it are left for the check.

    A conversation begins in the first state and ends in the last, unless the file says otherwise.
    """
    body: Body = {**GRAPH_DEFAULTS, **value}
    if isinstance(value.get("states"), list):
        completed = [_complete_state(state) for state in cast("list[object]", value["states"])]
        states: list[Body] = change_uses({"states": completed}, _complete_spec)["states"]
        names = [state["name"] for state in states if "name" in state]
        body["states"] = states
        if names:
            body.setdefault("new_user_initial_state", names[0])
            body.setdefault("returning_user_initial_state", body["new_user_initial_state"])
            body.setdefault("terminal_state", names[-1])
    return body


def _complete_state(value: object) -> Body:
    if not isinstance(value, dict):
        return {"type": None}
    state: Body = {"type": "action", **cast("Body", value)}
    return {**STATE_DEFAULTS.get(str(state["type"]), {}), **state}


def complete_behavior(value: Body) -> Body:
    """Complete the uses of tools in a behaviour's file. Return its value; a tool is called as its use names it."""
    return change_uses(value, lambda use: _complete_spec(_with_tool_name(use)))


def _with_tool_name(use: object) -> object:
    if not isinstance(use, dict):
        return use
    given = cast("Body", use)
    return {"tool_name": given["tool"], **given} if "tool" in given else given


def _complete_spec(value: object) -> object:
    return {**SPEC_DEFAULTS, **cast("Body", value)} if isinstance(value, dict) else value
