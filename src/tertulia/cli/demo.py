"""`tertulia demo`: a server of its own, and one conversation over the HTTP API with every event shown."""

from collections.abc import Iterable

from rich.console import Console

from tertulia.cli import client, show
from tertulia.cli.client import Api, Event
from tertulia.cli.failure import CommandFailed
from tertulia.cli.own_server import own_server

MESSAGES = (
    "Hello! Can you recommend a short novel for a long train ride?",
    "That one I know. Let us talk about it!",
)
DELAY_MS = "25"
"""Before each piece, so that one sees them come."""


def run_demo(console: Console) -> None:
    """Create, two messages, finish. Raises CommandFailed when anything is not as it should be."""
    changes = {"MODEL": "scripted", "SCRIPTED_DELAY_MS": DELAY_MS}
    with own_server("tertulia-demo-", changes) as server:
        console.print(f"[dim]A server on {server.url} with the model that repeats, there for this alone.[/]")
        made = server.demo
        session = client.sign_in(server.url, made.organization_id, made.admin_user_id, made.api_key_id, made.api_key)
        _converse(console, session.api, made.service_id)


def _converse(console: Console, api: Api, service_id: str) -> None:
    _title(console, "POST /v1/demo/conversation/", "the agent speaks first")
    created = _watch(console, api.create(service_id), "conversation-created")
    conversation_id = created["conversation_id"]
    for message in MESSAGES:
        _title(console, "POST /v1/demo/conversation/{id}/interact", message)
        _watch(console, api.interact(conversation_id, message), "user-message-available")
    _title(console, "POST /v1/demo/conversation/{id}/finish/", "")
    api.finish(conversation_id)
    console.print("[bold green]204[/] the conversation is finished")


def _watch(console: Console, events: Iterable[Event], first: str) -> Event:
    """Show a stream and see that it is whole; its first event."""
    seen: list[Event] = []
    for event in events:
        show.show_event(console, event)
        seen.append(event)
    pieces = [event for event in seen if event["type"] == "new-message"]
    if not seen or seen[0]["type"] != first:
        raise CommandFailed(f"The stream did not begin with {first}.")
    if seen[-1]["type"] != "interaction-complete" or [piece["stop"] for piece in pieces].count(True) != 1:
        raise CommandFailed("The stream ended early.")
    if "".join(piece["message"] for piece in pieces) != seen[-1]["full_message"]:
        raise CommandFailed("The pieces do not make the whole message.")
    if seen[-1]["conversation_completed"]:
        raise CommandFailed("The conversation ended before its time.")
    return seen[0]


def _title(console: Console, request: str, note: str) -> None:
    console.print(f"\n[bold]{request}[/] [dim]{note}[/]", soft_wrap=True)
