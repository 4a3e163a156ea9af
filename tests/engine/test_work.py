"""The calls of models beside turns, as an operator reads them in the log."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tertulia.engine import work
from tertulia.engine.agent.meanings import Meanings
from tertulia.engine.work import RecordedWork
from tertulia.errors import ModelTimeout
from tertulia.providers.base import LanguageModel, Prompt, Report, Tokens
from tertulia.storage.trace import Worked

SECRET = "the user's secret"


@dataclass
class Reporting:
    """A model that says what a request was, and the models of an organization."""

    fails: bool = False

    def of(self, _org_id: str) -> "Reporting":
        return self

    @property
    def default(self) -> LanguageModel:
        return self

    @property
    def fast(self) -> LanguageModel:
        return self

    def named(self, _llm_name: str) -> LanguageModel | None:
        return self

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        yield prompt.question

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        prompt.report(Report("asked", "openai:tiny"))
        if self.fails:
            raise ModelTimeout
        prompt.report(Report("answered", "openai:tiny", tokens=Tokens(12, 3)))
        return {"answer": SECRET}


class Unreachable:
    """A database that is away."""

    async def write(self, *_: Any) -> None:
        raise ConnectionError


@dataclass
class Log:
    """A log that keeps its lines."""

    lines: list[dict[str, Any]]

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append({"event": event, **fields})

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append({"event": event, **fields})


@pytest.mark.parametrize("detail", [None, "prompts"])
@pytest.mark.parametrize("fails", [False, True])
async def test_each_call_is_a_line_without_what_was_said_though_no_trace_can_be_kept(
    fails: bool, detail: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(work, "log", Log(lines))
    reporting: Any = Reporting(fails)
    away: Any = Unreachable()
    worked = Worked("extract-memories", "org", "user", "c", "service", "graph")
    prompt = Prompt("ExtractMemories", SECRET, [], question=SECRET)
    try:
        async with RecordedWork(reporting, Meanings(), detail).begin(away, worked) as resources:
            await resources.models.default.choose(prompt, {})
            await resources.models.fast.choose(prompt, {})
    except ModelTimeout:
        assert fails

    asked = [line for line in lines if line["event"] == "model asked"]
    assert [(line["work"], line["conversation_id"]) for line in asked] == [("extract-memories", "c")] * (2 - fails)
    first = asked[0]
    assert (first["interaction"], first["model"], first["tries"]) == ("ExtractMemories", "openai:tiny", 1)
    assert (first["tokens_in"], first["tokens_out"]) == ((None, None) if fails else (12, 3))
    assert first["error"] == ("ModelTimeout" if fails else None)
    assert [line["event"] for line in lines[len(asked) :]] == ([] if detail is None else ["trace not kept"])
    assert SECRET not in str(lines)


class Slow:
    """A database whose transactions wait until they are released."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.written = 0

    async def write(self, *_: Any) -> None:
        await self.released.wait()
        self.written += 1


async def test_an_answer_does_not_wait_for_its_trace_unless_many_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "MOST_BESIDE", 3)
    slow = Slow()
    database: Any = slow
    reporting: Any = Reporting()
    recorded = RecordedWork(reporting, Meanings(), "spans")
    worked = Worked("recommend-responses", "org", "user", "c", "service", "graph")

    async def answer() -> None:
        async with recorded.begin_answer(database, worked) as resources:
            await resources.models.default.choose(Prompt("RecommendResponses", "", [], question=""), {})

    for _ in range(3):
        await answer()
    fourth = asyncio.create_task(answer())
    draining = asyncio.create_task(recorded.drain())
    await asyncio.wait([fourth, draining], timeout=0.05)
    waiting = (fourth.done(), draining.done(), slow.written)
    slow.released.set()
    await fourth
    await draining
    await recorded.drain()

    assert waiting == (False, False, 0)
    assert slow.written == 4
