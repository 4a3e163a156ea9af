"""A reflection state: the agent thinks about a problem, within a limit of words, before it goes on."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import islice

from msgspec import structs

from tertulia import events
from tertulia.engine.agent import prompt
from tertulia.engine.agent.models import model_for
from tertulia.engine.agent.tool_rounds import Calling, Rounds
from tertulia.engine.graph.context_graph import ReflectionState
from tertulia.engine.speech.fillers import Wait, begun
from tertulia.engine.speech.sentences import Sentences
from tertulia.errors import ModelMisbehaved
from tertulia.providers.base import Sign
from tertulia.texts import is_blank

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
"""A word, or a character of Chinese or Japanese, which put no space between words."""

_LONGEST_WORD = 40  # characters, on an average: more is no language
_SENTENCE_END = tuple(".!?…。！？।؟\"'”’»)")  # noqa: RUF001 - the punctuation of other scripts is meant


async def reflect(rounds: Rounds, state: ReflectionState) -> AsyncGenerator[events.AnyAction, None]:
    """Think about the problem of a state, with what its tools tell in `rounds`. Yield each step when it is taken.

    The thought is a message of the outcome.

    Raises:
        ModelError: the model cannot be had, or thinks nothing.
        ToolMissing, ToolResultTooLong: see tool_rounds.Rounds.run.
    """
    calling = rounds.calling
    yield (started := events.ReflectionStarted(state.problem))
    wait = Wait(calling.fillers, started, state.audio_fillers, state.audio_filler_triggered_after)
    if state.tool_call_specs:
        need = prompt.Need(prompt.GENERATE_REFLECTION, state.problem)
        async with aclosing(rounds.run(state.tool_call_specs, need, wait)) as steps:
            async for step in steps:
                yield step
    async with begun(_think(calling, state, rounds.told)) as thinking:
        filler = await wait.beside(thinking)
        if filler is not None:
            yield filler
        thought = await thinking
    calling.outcome.add("agent-inner-thought", calling.scene.agent.identity.name, thought)
    yield events.ReflectionGenerated(thought)


async def _think(calling: Calling, state: ReflectionState, results: Sequence[str]) -> str:
    """Ask the model for a thought. Return it; a model that writes more than the limit is not read to its end."""
    scene, resources = calling.scene, calling.resources
    talk = prompt.said_so_far(scene, calling.outcome, results)
    question = prompt.generate_reflection(scene, state, talk)
    model, question = model_for(resources.models, scene.llm_model_preferences, question)
    pieces: list[str] = []

    def tell(sign: Sign) -> None:
        if sign == "taken-back":
            pieces.clear()

    async with aclosing(model.stream(structs.replace(question, tell=tell))) as stream:
        async for piece in stream:
            resources.alive(0)
            pieces.append(piece)
            if is_over("".join(pieces), state.word_limit):
                break
    thought = within("".join(pieces).strip(), state.word_limit)
    if is_blank(thought):
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
