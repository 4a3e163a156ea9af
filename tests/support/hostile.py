"""Models and turns of the tests of what means harm."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx2
import sqlalchemy as sa

from support.puppet import Puppet
from support.stage import Stage
from support.talk import Event, go_on, messages
from tertulia.providers.base import Prompt
from tertulia.storage.database import dialect

ALL = {"message_type": ["user-message", "agent-message", "agent-inner-thought", "external-event"]}


class Mover(Puppet):
    """A model that takes the first exit, and says what it was given."""

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        return {"choice": next(key for key in schema["properties"]["choice"]["enum"] if key.startswith("exit-"))}

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        for piece in self.pieces:
            if piece:
                yield piece


def refused(client: httpx2.Client, conversation_id: str) -> Event:
    """Send a message whose turn is void. Return the error; nothing of the turn is there, and the next one goes well."""
    before = messages(client, conversation_id, **ALL)
    events = go_on(client, conversation_id, "What now?")
    assert events[-1]["type"] == "error"
    assert messages(client, conversation_id, **ALL) == before
    return events[-1]


def put_version(stage: Stage, graph_id: str, body: Mapping[str, Any]) -> None:
    """Store a version of a graph that nobody would accept today."""
    engine = dialect.create_engine(stage.server.settings.cluster_urls["default"], 1)
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE context_graph_versions SET body = :body WHERE context_graph_id = :id"),
            {"body": json.dumps(body), "id": graph_id},
        )
    engine.dispose()
