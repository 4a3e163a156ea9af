"""A reply that is begun before it is certain: beside the question if the agent stays where it is.

Its pieces are held back until the question is answered. The reply is used if, in the end, the model would be asked for
it in the very same words; otherwise it is thrown away, and the model is asked anew.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

from msgspec import structs

from tertulia.engine.agent import prompt
from tertulia.engine.agent.instructions import for_speech
from tertulia.engine.agent.models import Models, model_for
from tertulia.engine.agent.scene import Outcome, Scene
from tertulia.engine.graph import context_graph
from tertulia.engine.graph.context_graph import ActionState
from tertulia.errors import NoRoom
from tertulia.providers.base import LanguageModel, Prompt, Sign

MOST_HELD = 1000
"""Pieces that are held back; a model that is ahead of that waits."""


Guess = Callable[[ActionState], str | None]
"""Guesses the action that a state will take; None: nothing is begun for it."""


def guess_nothing(_state: ActionState) -> str | None:
    """Begin no reply before it is certain. Return None."""
    return None


def guess_only_action(state: ActionState) -> str | None:
    """Guess the action of a state that has only one. Return it; None for a state with several."""
    return state.actions[0] if len(state.actions) == 1 else None


def guess_first_action(state: ActionState) -> str | None:
    """Guess the first action of a state, however many it has. Return it."""
    return state.actions[0]


GUESSES: Mapping[str, Guess] = {
    "off": guess_nothing,
    "one-action": guess_only_action,
    "first-action": guess_first_action,
}
"""Guesses by the name that the settings have for them."""


def reply_question(scene: Scene, outcome: Outcome, action: str, results: Sequence[str] = ()) -> Prompt:
    """Write the question for the reply by which an action of the present action state is taken. Return it.

    `results` are what tools told for this reply alone. While calls wait for the user's yes, the reply asks for it.
    """
    state = context_graph.state_at(outcome.position, scene.graphs)
    assert isinstance(state, ActionState)  # noqa: S101 - where navigation ends
    state, told = for_speech(state, action, outcome.behavior)
    if outcome.pending_calls:
        waiting = [prompt.called(call.tool_name, call.arguments) for call in outcome.pending_calls]
        told = prompt.ask_for_yes(waiting, told)
    talk = prompt.said_so_far(scene, outcome, results)
    return prompt.engage_user(scene, outcome.position.top.graph, state, told, talk)


class ReplyAhead:
    """The reply of an interaction that is not certain yet; one at most is being written. `aclose` ends it."""

    def __init__(self, guess: Guess) -> None:
        self.guess = guess
        self._draft: _Draft | None = None
        self._given_up: set[asyncio.Task[None]] = set()

    @contextmanager
    def begun(self, scene: Scene, outcome: Outcome, models: Models, action: str) -> Generator[None]:
        """Write the reply of an action meanwhile. It is given up if the block fails, or is left by cancellation."""
        model, question = model_for(models, scene.llm_model_preferences, reply_question(scene, outcome, action))
        self.give_up()
        self._draft = draft = _Draft(model, question)
        try:
            yield
        except BaseException:
            if self._draft is draft:
                self.give_up()
            raise

    def give_up(self) -> None:
        """Throw away what is being written, if there is anything."""
        if self._draft is not None:
            self._draft.task.cancel()
            self._given_up.add(self._draft.task)
            self._draft = None

    def take(self, model: LanguageModel, question: Prompt) -> AsyncGenerator[str]:
        """Ask a model for the reply. Return its pieces, those of the draft if that answers the same question."""
        if self._draft is not None and self._draft.question == question:
            return self._draft.pieces(model, question)
        self.give_up()
        return model.stream(question)

    async def aclose(self) -> None:
        """End what is being written, and wait for it."""
        self.give_up()
        if self._given_up:
            await asyncio.wait(self._given_up)


class _Draft:
    """A reply as it is written in a task of its own."""

    def __init__(self, model: LanguageModel, question: Prompt) -> None:
        self.question = question
        self._held: deque[Sign | _Piece] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False
        self._error: Exception | None = None
        self.task = asyncio.create_task(self._write(model))

    async def _write(self, model: LanguageModel) -> None:
        question = structs.replace(self.question, tentative=True, tell=self._hold)
        try:
            async with aclosing(model.stream(question)) as pieces:
                async for piece in pieces:
                    self._hold(_Piece(piece))
                    if len(self._held) >= MOST_HELD:
                        self._room.clear()
                        await self._room.wait()
        except Exception as error:  # noqa: BLE001 - raised where the reply is taken
            self._error = error
        self._ended = True
        self._news.set()

    def _hold(self, item: "Sign | _Piece") -> None:
        self._held.append(item)
        self._news.set()

    async def pieces(self, model: LanguageModel, question: Prompt) -> AsyncGenerator[str]:
        """Give out the reply, each sign before the piece that it came before. A model that had no room is asked now."""
        try:
            while self._held or not self._ended:
                if not self._held:
                    self._news.clear()
                    self._room.set()
                    await self._news.wait()
                    continue
                item = self._held.popleft()
                if isinstance(item, _Piece):
                    yield item.text
                else:
                    question.tell(item)
        finally:
            self.task.cancel()
        if isinstance(self._error, NoRoom):
            async with aclosing(model.stream(question)) as pieces:
                async for piece in pieces:
                    yield piece
        elif self._error is not None:
            raise self._error


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
