"""A conversation with the demo agent in this process, without a server: what each turn said, and what it cost."""

import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from tertulia.demo.content import AGENT, CONTEXT_GRAPH
from tertulia.engine.agent.interaction import interact
from tertulia.engine.agent.resources import Resources
from tertulia.engine.agent.scene import Agent, Incoming, Outcome, Person, Scene
from tertulia.engine.graph import context_graph
from tertulia.engine.graph.context_graph import ContextGraph, Position
from tertulia.providers.base import LanguageModel
from tertulia.providers.models.local import LocalModel
from tertulia.storage.turn.values import Message

GRAPH = ("a" * 24, 1)
NO_VOICES: Any = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn's answer: its text, the state that it came to, CPU seconds, and tokens read and written."""

    text: str
    state: str
    cpu_s: float
    read: int
    written: int


class Only:
    """A server with one model."""

    def __init__(self, model: LanguageModel) -> None:
        self.default = self.fast = model

    def named(self, llm_name: str) -> LanguageModel | None:
        raise LookupError(llm_name)


@dataclass
class Conversation:
    """A conversation of a user with the demo agent, which speaks first."""

    model: LocalModel
    user: str = "Demo User"
    agent: Agent = field(default_factory=lambda: Agent.model_validate(AGENT))
    graphs: Mapping[tuple[str, int], ContextGraph] = field(
        default_factory=lambda: {GRAPH: ContextGraph.model_validate(CONTEXT_GRAPH)}
    )
    history: list[Message] = field(default_factory=list[Message])
    position: Position | None = None
    number: int = 0

    async def say(self, text: str | None) -> Turn:
        """Say something, or nothing at the beginning. Returns the turn."""
        began, read, written = time.process_time(), self.model.work.read, self.model.work.written
        position = self.position or context_graph.start(GRAPH, self.graphs, returning=False)
        incoming = None if text is None else Incoming("user-message", text)
        person = Person(self.user, None, "UTC", ())
        scene = Scene(self.agent, self.graphs, position, person, self.history, incoming, {}, self.number)
        outcome = Outcome(position, self.history[-1].created_at if self.history else None)
        happening = interact(scene, outcome, Resources(Only(self.model), NO_VOICES))
        async with aclosing(happening) as events:
            async for _ in events:
                pass
        self.history = [*self.history, *outcome.messages]
        self.position, self.number = outcome.position, self.number + 1
        return Turn(
            outcome.full_message,
            outcome.position.top.state,
            time.process_time() - began,
            self.model.work.read - read,
            self.model.work.written - written,
        )
