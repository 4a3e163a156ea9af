"""Streams and conversations over HTTP, as a test wants to read them."""

import json
from typing import Any

import httpx2

Event = dict[str, Any]


def lines(answer: httpx2.Response) -> list[Event]:
    """The events of a stream that has been read to its end."""
    assert answer.headers["content-type"] == "application/x-ndjson", answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def create(client: httpx2.Client, service_id: str, query: dict[str, Any] | None = None, **body: Any) -> httpx2.Response:
    params = {"response_format": "text", **(query or {})}
    return client.post("/conversation/", params=params, json={"service_id": service_id, **body})


def begin(client: httpx2.Client, service_id: str, **body: Any) -> list[Event]:
    """Create a conversation; its events."""
    answer = create(client, service_id, **body)
    assert answer.status_code == 201, answer.text
    return lines(answer)


def interact(
    client: httpx2.Client,
    conversation_id: str,
    message: str | None = "Hello",
    query: dict[str, Any] | None = None,
    **fields: Any,
) -> httpx2.Response:
    """Send a message the way a browser's form would, with every part a plain field."""
    params = {"request_format": "text", "response_format": "text", **(query or {})}
    parts: list[tuple[str, Any]] = [("initial_message_type", (None, fields.pop("type", "user-message")))]
    if message is not None:
        parts.append(("recorded_message", (None, message)))
    for name, values in fields.items():
        parts += [(name, (None, value)) for value in values]
    return client.post(f"/conversation/{conversation_id}/interact", params=params, files=parts)


def go_on(client: httpx2.Client, conversation_id: str, message: str | None = "Hello", **fields: Any) -> list[Event]:
    """Send a message; the events of the answer."""
    answer = interact(client, conversation_id, message, **fields)
    assert answer.status_code == 200, answer.text
    return lines(answer)


def finish(client: httpx2.Client, conversation_id: str) -> httpx2.Response:
    return client.post(f"/conversation/{conversation_id}/finish/")


def messages(client: httpx2.Client, conversation_id: str, **query: Any) -> list[dict[str, Any]]:
    """The messages of a conversation, oldest first."""
    answer = client.get(f"/conversation/{conversation_id}/messages/", params={"sort_by": "+created_at", **query})
    assert answer.status_code == 200, answer.text
    return answer.json()["messages"]


def conversations(client: httpx2.Client, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/conversation/", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["conversations"]


def types(events: list[Event]) -> list[str]:
    """The events' types; of an action, the action's."""
    return [event["action"]["type"] if "action" in event else event["type"] for event in events]


def id_of(events: list[Event]) -> str:
    """The conversation that a created stream is about."""
    assert events[0]["type"] == "conversation-created", events
    return str(events[0]["conversation_id"])
