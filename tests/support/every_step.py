"""A graph of every kind of state, with memory, behaviour and tools, and a model that goes through all of it."""

from collections.abc import Mapping
from typing import Any

import httpx2

from support.puppet import Puppet
from support.samples import (
    a_name,
    action,
    annotation,
    decision,
    graph,
    recall,
    reflection,
    tool,
    tool_call,
    tool_spec,
)
from support.stage import Stage
from support.targets import write
from tertulia import clock
from tertulia.engine.agent.remembering import recollection
from tertulia.ids import new_id
from tertulia.providers.base import Prompt
from tertulia.storage import memory as memories
from tertulia.storage.memory import Memory
from tertulia.tools import scaffold
from tertulia.vocabulary import stems

LIKES = "Which plums does the user like?"
NAME = "What is the user called?"
MEMORY = "They like plums."
SAYS = "Which plums would suit me today?"
GIVEN, OUTPUT = {"name": "Ada"}, "Hello, Ada!"


class Player(Puppet):
    """A model that takes every exit up to the state `back`, wants to remember one thing, and calls the tool it may."""

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        if "calls" in schema["properties"]:
            [form] = schema["properties"]["calls"]["items"]["anyOf"]
            [tool] = form["properties"]["tool"]["enum"]
            return {"calls": [{"tool": tool, "parameters": GIVEN}]}
        if "name" in schema["properties"]:
            return GIVEN
        if "choice" not in schema["properties"]:
            return {key: [NAME] for key in schema["properties"]}
        keys = schema["properties"]["choice"]["enum"]
        wanted = {"behavior-1", "action-1" if "Objective of back" in prompt.question else "exit-1"}
        return {"choice": next(key for key in keys if key in wanted)}


def inner() -> dict[str, Any]:
    return graph(action("start", "end", actions=2), action("end"))


def outer(inner_id: str, tool_id: str) -> dict[str, Any]:
    uses = [tool_spec(tool_id)]
    return graph(
        action("start", "remember", exit_condition_tool_call_specs=uses),
        recall("remember", "ask", LIKES),
        recall("ask", "note", wants=NAME),
        annotation("note", "weigh"),
        {**reflection("weigh", "greet"), "tool_call_specs": uses},
        {**tool_call("greet", "choice", tool_id), "tool_call_specs": uses},
        {**decision("choice", ["inner.start", "back"], "end"), "tool_call_specs": uses},
        action("back", "end", "start", actions=2, action_tool_call_specs=uses),
        action("end"),
        references={"inner": [inner_id, 1]},
    )


def publish(client: httpx2.Client) -> str:
    """Make a tool that greets, with a version. Return its identifier."""
    tool_id = str(client.post("/tool/", json=tool(a_name().lower().replace(" ", "_"))).json()["id"])
    path, kind = f"/tool/{tool_id}/version/archive", {"content-type": "application/gzip"}
    client.post(path, params={"bump_type": "major"}, content=scaffold.archive(), headers=kind).raise_for_status()
    return tool_id


def remember(stage: Stage, user_id: str, conversation_id: str) -> str:
    """Have something remembered of a user. Return it as the agent is told."""
    org_id = stage.server.demo.organization_id
    made = Memory(new_id(), org_id, user_id, conversation_id, MEMORY, "", [], True, False, None, clock.now(), None)
    write(stage.server, memories.insert_memory, made, stems(MEMORY), None)
    write(stage.server, memories.count_change, user_id)
    return recollection(made).text
