"""A reflection state: the agent thinks about a problem, within a limit of words, before it goes on."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from itertools import islice

from tertulia import events
from tertulia.engine.agent import prompt
from tertulia.engine.agent.models import model_for
from tertulia.engine.agent.resources import Resources
from tertulia.engine.agent.scene import Outcome, Scene
from tertulia.engine.graph.context_graph import ReflectionState
from tertulia.engine.speech.fillers import Fillers, begun
from tertulia.engine.speech.sentences import Sentences
from tertulia.errors import ModelMisbehaved
from tertulia.providers.base import Sign

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
"""A word, or a character of Chinese or Japanese, which put no space between words."""

_LONGEST_WORD = 40  # characters, on an average: more is no language
_SENTENCE_END = tuple(".!?…。！？।؟\"'”’»)")  # noqa: RUF001 - the punctuation of other scripts is meant


async def reflect(
    scene: Scene, outcome: Outcome, resources: Resources, state: ReflectionState, fillers: Fillers | None
) -> AsyncGenerator[events.AnyAction, None]:
    """Think about the problem of a state. Yield each step when it is taken. The thought is a message of `outcome`.

    Raises:
        ModelError: the model cannot be had, or thinks nothing.
    """
    yield (started := events.ReflectionStarted(state.problem))
    async with begun(_think(scene, outcome, resources, state)) as thinking:
        if fillers is not None:
            after_s = state.audio_filler_triggered_after
            filler = await fillers.meanwhile(thinking, started, state.audio_fillers, after_s)
            if filler is not None:
                yield filler
        thought = await thinking
    outcome.add("agent-inner-thought", scene.agent.identity.name, thought)
    yield events.ReflectionGenerated(thought)


async def _think(scene: Scene, outcome: Outcome, resources: Resources, state: ReflectionState) -> str:
    """Ask the model for a thought. Return it; a model that writes more than the limit is not read to its end."""
    talk = prompt.said_so_far(scene, outcome)
    question = prompt.generate_reflection(scene, state, talk)
    model, question = model_for(resources.models, scene.llm_model_preferences, question)
    pieces: list[str] = []

    def tell(sign: Sign) -> None:
        if sign == "taken-back":
            pieces.clear()

    async with aclosing(model.stream(replace(question, tell=tell))) as stream:
        async for piece in stream:
            resources.alive(0)
            pieces.append(piece)
            if is_over("".join(pieces), state.word_limit):
                break
    thought = within("".join(pieces).strip(), state.word_limit)
    if not thought:
        raise ModelMisbehaved("the reflection is empty")
    return thought


def is_over(text: str, limit: int) -> bool:
    """Count words. Return True if there are more than a limit."""
    return len(text) > limit * _LONGEST_WORD or next(islice(_WORD.finditer(text), limit, None), None) is not None


def within(text: str, limit: int) -> str:
    """Cut a text that has more words than a limit after the last sentence that ends within it.

    Return the text; if its first sentence is longer than the limit, its first words and an ellipsis.
    """
    if not is_over(text, limit):
        return text
    sentences = Sentences()
    whole, kept = "", ""
    for sentence in [*sentences.add(text), *sentences.rest()]:
        whole += sentence
        if is_over(whole, limit):
            break
        if whole.rstrip().endswith(_SENTENCE_END):
            kept = whole
    if kept:
        return kept.rstrip()
    words = list(islice(_WORD.finditer(text), limit))
    return text[: words[-1].end()][: limit * _LONGEST_WORD] + "…"
