"""Models, meanings, voices and tools whose work is recorded in the trace of a turn."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from tertulia.engine.agent.meanings import Meanings
from tertulia.engine.agent.models import Models, StorableModel
from tertulia.engine.agent.toolbox import CallPlace, Tool, Toolbox
from tertulia.engine.graph.context_graph import ToolCallSpec
from tertulia.engine.speech.voices import Speaker, VoicesAround
from tertulia.engine.trace import MOST_TEXT_CHARS, ModelCall, Trace, cut, describe_error, now
from tertulia.errors import ModelError
from tertulia.providers.base import Embedder, LanguageModel, Prompt, Sound, Transcript
from tertulia.texts import storable
from tertulia.tools.values import ToolFailed, ToolOutcome


@dataclass(frozen=True, slots=True)
class TracedModels:
    """Models whose calls are recorded."""

    models: Models
    trace: Trace

    @property
    def default(self) -> LanguageModel:
        """The model that answers if nothing else is asked for."""
        return self._recorded(self.models.default, None)

    @property
    def fast(self) -> LanguageModel:
        """The model that decides if nothing else is asked for."""
        return self._recorded(self.models.fast, None)

    def named(self, llm_name: str) -> LanguageModel | None:
        """Get the model of a name in a version set. Return None if this server cannot reach it."""
        model = self.models.named(llm_name)
        return None if model is None else self._recorded(model, llm_name)

    def _recorded(self, model: LanguageModel, requested: str | None) -> StorableModel:
        def listen(prompt: Prompt, output: str) -> tuple[Prompt, ModelCall]:
            call = self.trace.call(prompt, requested, output)
            return _reported(prompt, call), call

        return StorableModel(model, listen)


def _reported(prompt: Prompt, call: ModelCall) -> Prompt:
    """Have requests for a prompt reported to its call. Return the prompt."""
    return structs.replace(prompt, report=call.report)


@dataclass(frozen=True, slots=True)
class TracedVoices(VoicesAround):
    """Voices and transcribers whose work is recorded."""

    trace: Trace

    def speaker(self, voice_id: str, language: str) -> Speaker:
        return _TracedSpeaker(self.voices.speaker(voice_id, language), self.trace)

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        begun = now()
        found: dict[str, Any] = {"tertulia.audio_bytes": len(pcm)}
        try:
            transcript = await self.voices.transcribe(pcm, language, keyterms)
        except BaseException as error:
            self.trace.work("transcribe", begun, {**found, **describe_error(error)})
            raise
        self.trace.work("transcribe", begun, {**found, "tertulia.characters": len(transcript.text)})
        return transcript


@dataclass(frozen=True, slots=True)
class _TracedSpeaker:
    speaker: Speaker
    trace: Trace

    async def speak(self, text: str) -> AsyncGenerator[Sound]:
        begun, first = now(), 0
        found: dict[str, Any] = {"tertulia.characters": len(text)}
        try:
            async with aclosing(self.speaker.speak(text)) as sounds:
                async for sound in sounds:
                    first = first or now()
                    yield sound
        except ModelError as error:
            found |= describe_error(error)
            raise
        finally:
            found["tertulia.first_piece_ms"] = (first - begun) / 1e6 if first else None
            self.trace.work("speak", begun, found)


@dataclass(frozen=True, slots=True)
class _TracedEmbedder:
    embedder: Embedder
    label: str
    trace: Trace

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        begun = now()
        found: dict[str, Any] = {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.request.model": self.label,
            "tertulia.texts": len(texts),
        }
        try:
            return await self.embedder.embed(texts)
        except asyncio.CancelledError:
            found["tertulia.dropped"] = True
            raise
        except ModelError as error:
            found |= describe_error(error)
            raise
        finally:
            self.trace.work(f"embeddings {self.label}", begun, found)


def traced_meanings(meanings: Meanings, trace: Trace) -> Meanings:
    """Have the questions for meanings recorded. Return the meanings, or the same if there is no embedding model."""
    if meanings.embedder is None:
        return meanings
    return Meanings(_TracedEmbedder(meanings.embedder, meanings.label, trace), meanings.label)


@dataclass(frozen=True, slots=True)
class TracedToolbox:
    """A toolbox whose calls are recorded."""

    toolbox: Toolbox
    trace: Trace

    async def find(self, spec: ToolCallSpec) -> Tool:
        return await self.toolbox.find(spec)

    async def call(self, tool: Tool, arguments: Mapping[str, Any], place: CallPlace, key: str) -> ToolOutcome:
        begun = now()
        found = self._attributes(tool, arguments, place, key)
        try:
            outcome = await self.toolbox.call(tool, arguments, place, key)
        except asyncio.CancelledError:
            found["tertulia.dropped"] = True
            raise
        except Exception as error:
            found |= describe_error(error)
            raise
        else:
            if isinstance(outcome, ToolFailed):
                found["error.type"] = outcome.exception_type
            if self.trace.keeps_texts:
                told = outcome.exception_message if isinstance(outcome, ToolFailed) else outcome.output
                found["gen_ai.tool.call.result"] = _kept(told)
            return outcome
        finally:
            self.trace.work(f"execute_tool {tool.name}", begun, found)

    def _attributes(self, tool: Tool, arguments: Mapping[str, Any], place: CallPlace, key: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool.name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": key,
            "tertulia.tool.id": tool.tool_id,
            "tertulia.tool.version": tool.version,
            "tertulia.tool.place": place.type,
            "tertulia.tool.round": place.round_index,
        }
        if self.trace.keeps_texts:
            found["gen_ai.tool.call.arguments"] = _kept(json.dumps(arguments, ensure_ascii=False))
        return found


def _kept(text: str) -> str:
    """Cut a text as a trace keeps it. Return it, storable."""
    return storable(cut(text, MOST_TEXT_CHARS))
