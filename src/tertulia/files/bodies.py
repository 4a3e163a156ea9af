"""The files of a folder as their authors write them: fields that nobody needs to write have defaults.

Each becomes a body of the API by `to_body`. An action state is a name, an objective and actions.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from tertulia.engine.graph.context_graph import Text, ToolCallSpec

Body = dict[str, Any]

_ORGANIZATION: Final = "the organization that runs this service"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class RelationshipToDeveloper(_Part):
    ownership: Text = _ORGANIZATION
    type: Text = "its agent"
    conversation_visibility: Text = "the organization may read conversations"
    thought_visibility: Text = "the organization may read thoughts"


class Identity(_Part):
    name: Text
    role: Text
    developed_by: Text = _ORGANIZATION
    default_spoken_language: Text = "eng"
    relationship_to_developer: RelationshipToDeveloper = RelationshipToDeveloper()


class VoiceConfig(_Part):
    voice_id: Text


class AgentFile(_Part):
    """An agent. Its initials are those of its name."""

    initials: Text | None = None
    identity: Identity
    background: Text | None = None
    behaviors: list[Text] = []
    communication_patterns: list[Text] = []
    voice_config: VoiceConfig | None = None

    def to_body(self) -> Body:
        """Return the body of a version of the agent."""
        name = self.identity.name
        return {
            **self.model_dump(exclude_none=True),
            "initials": self.initials or "".join(word[0] for word in name.split()[:3]).upper(),
            "background": self.background or f"{name} is {self.identity.role}.",
        }


class InjectInstruction(_Part):
    type: Literal["inject-instruction"] = "inject-instruction"
    instruction: Text
    overrides_instructions: bool = False


class NamedToolCallSpec(ToolCallSpec):
    tool_name: Text


class ChangeToolCandidates(_Part):
    type: Literal["change-tool-candidates"]
    tool_call_specs: list[NamedToolCallSpec]
    overrides_existing_tool_call_specs: bool = False


class BehaviorFile(_Part):
    """A dynamic behaviour set of the folder's service."""

    name: Text | None = None
    tags: dict[str, str | None] = {}
    is_active: bool = True
    conversation_triggers: Annotated[list[Text], Field(min_length=1)]
    actions: list[InjectInstruction | ChangeToolCandidates]

    def to_body(self, name: str) -> Body:
        """Return the body of the set, which has `name` unless the file gives one; its services are missing."""
        version = self.model_dump(include={"is_active", "conversation_triggers", "actions"})
        return {"name": self.name or name, "tags": dict(self.tags), "initial_version": version}


class ServiceFile(_Part):
    """A service. Its description is its name, unless the file has one."""

    name: Text
    description: Text | None = None
    is_active: bool = True
    keyterms: list[Text] = []
    tags: dict[str, str | None] = {}
    result_schema: dict[str, Any] | None = None

    def to_body(self) -> Body:
        """Return the body of the service; its agent and its graph are missing."""
        return {**self.model_dump(exclude_none=True), "description": self.description or self.name}


_FILLERS: Final[Body] = {"audio_fillers": [], "audio_filler_triggered_after": 2}
_STATES: Final[Mapping[str, Body]] = {
    "action": {
        "intra_state_navigation_guidelines": [],
        "action_guidelines": [],
        "boundary_constraints": [],
        "exit_conditions": [],
        "action_tool_call_specs": [],
        "exit_condition_tool_call_specs": [],
        "skip_active_memory_retrieval": False,
    },
    "decision": {"decision_guidelines": [], "tool_call_specs": [], **_FILLERS},
    "reflection": {"word_limit": 100, "tool_call_specs": [], **_FILLERS},
    "tool-call": {
        "designated_tool_call_params_generation_audio_fillers": [],
        "designated_tool_call_params_generation_audio_filler_triggered_after": 2,
        "designated_tool_call_guidances": [],
        "designated_tool_call_validations": [],
        "tool_call_specs": [],
    },
}


def complete_graph(value: Body) -> Body:
    """Complete the body of a graph's version. Return the body; mistakes in it are left for the check.

    A conversation begins in the first state and ends in the last, unless the file says otherwise.
    """
    body: Body = {
        "references": {},
        "global_intra_state_navigation_guidelines": [],
        "global_action_guidelines": [],
        "global_boundary_constraints": [],
        **value,
    }
    if isinstance(value.get("states"), list):
        states = [_complete_state(state) for state in cast("list[object]", value["states"])]
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
    return {**_STATES.get(str(state["type"]), {}), **state}
