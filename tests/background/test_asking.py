"""The calls of models that jobs make, as an operator reads them in the log."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tertulia import clock
from tertulia.background import asking
from tertulia.background.asking import logged
from tertulia.background.jobs import Work
from tertulia.errors import ModelTimeout
from tertulia.providers.base import LanguageModel, Prompt, Report, Tokens
from tertulia.storage.job import Job

NOBODY: Any = None
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


@dataclass
class Log:
    """A log that keeps its lines."""

    lines: list[dict[str, Any]]

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append({"event": event, **fields})


@pytest.mark.parametrize("fails", [False, True])
async def test_each_call_of_a_job_is_a_line_without_what_was_said(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(asking, "log", Log(lines))
    reporting: Any = Reporting(fails)
    job = Job("job", "org", "extract-memories", {"conversation_id": "c"}, 1, None, "lease", None, clock.now())
    prompt = Prompt("ExtractMemories", SECRET, [], question=SECRET)
    try:
        with logged(reporting, Work(NOBODY, job)) as models:
            await models.default.choose(prompt, {})
            await models.fast.choose(prompt, {})
    except ModelTimeout:
        assert fails

    assert [(line["event"], line["kind"], line["job"], line["conversation_id"]) for line in lines] == [
        ("model asked", "extract-memories", "job", "c")
    ] * (1 if fails else 2)
    first = lines[0]
    assert (first["interaction"], first["model"], first["tries"]) == ("ExtractMemories", "openai:tiny", 1)
    assert (first["tokens_in"], first["tokens_out"]) == ((None, None) if fails else (12, 3))
    assert first["error"] == ("ModelTimeout" if fails else None)
    assert SECRET not in str(lines)
