"""A tool by the API alone: created, published, put into a graph, called in a conversation, and on record."""

import json
from typing import Any

import httpx2

from support import samples
from support.server import Server
from support.tools import Publish, a_tool_name
from tertulia.tools import scaffold


def test_a_tool_is_called_in_a_conversation_and_is_on_record(
    tertulia: Server, as_admin: httpx2.Client, publish: Publish
) -> None:
    body = samples.tool(a_tool_name(), description="Greets a person by their name.")
    tool_id = as_admin.post("/tool/", json=body).json()["id"]
    publish(tool_id, archive=scaffold.archive()).raise_for_status()
    spec = {**samples.tool_spec(tool_id), "version_constraint": ">=1,<2"}
    graph = samples.short_graph()
    graph["states"][0]["action_tool_call_specs"] = [spec]
    graph_id = samples.make_graph(as_admin, graph)
    service_id = as_admin.post("/service/", json=samples.service(samples.make_agent(as_admin), graph_id)).json()["id"]

    started = events(
        as_admin.post("/conversation/", params={"response_format": "text"}, json={"service_id": service_id})
    )
    conversation_id = started[0]["conversation_id"]
    message = {
        "initial_message_type": (None, "user-message"),
        "recorded_message": (None, "Greet the person by name: Ada"),
    }
    query = {"request_format": "text", "response_format": "text"}
    told = events(as_admin.post(f"/conversation/{conversation_id}/interact", params=query, files=message))

    assert told[-1]["type"] == "interaction-complete", told
    record = as_admin.get("/tool/invocation", params={"conversation_id": conversation_id}).json()["tool_invocations"]
    assert [call["tool_id"] for call in record] == [tool_id], json.dumps(told, indent=1)
    (call,) = record
    assert call["invocation_status"]["succeeded"] is True, call
    assert call["invocation_status"]["output"].startswith("Hello, ")
    source = call["invocation_source"]
    assert (source["user_id"], source["interaction_id"]) == (tertulia.demo.admin_user_id, told[-1]["interaction_id"])
    assert source["invocation_metadata"]["current_state_machine_and_version"] == [graph_id, 1]


def events(answer: httpx2.Response) -> list[dict[str, Any]]:
    """Read the events of a stream. Return them."""
    return [json.loads(line) for line in answer.raise_for_status().text.splitlines()]
