"""The model of a question: the preference of the version set, else the one that decides or the one that speaks."""

import ast
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import tertulia
from support import pages
from tertulia.engine.agent.models import DECISIONS, model_for
from tertulia.providers.base import LanguageModel, Prompt, Turn

PACKAGE = Path(tertulia.__file__).parent

WRITTEN = {
    "ConfirmToolCalls",
    "EngageUser",
    "ExtractMemories",
    "GenerateConversationStarters",
    "GenerateReflection",
    "GenerateResult",
    "GenerateToolParams",
    "GenerateUserModels",
    "RecommendResponses",
}
"""Questions whose answers somebody reads, or whose answers have effects."""


class Named:
    """A model that answers with its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        yield self.name

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        return {"name": self.name, "params": dict(prompt.params)}


class Kinds:
    """Models of each kind, and one for each name."""

    default: LanguageModel = Named("speaks")
    fast: LanguageModel = Named("decides")

    def named(self, llm_name: str) -> LanguageModel | None:
        return Named(llm_name)


def names() -> Iterator[str]:
    """Each interaction name that the engine has, found in its source: constants that prompts are made of."""
    for path in (PACKAGE / "engine").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        used = {ast.unparse(call.args[0]) for call in calls if _makes_prompt(call)}
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in used:
                yield ast.literal_eval(node.value)


def _makes_prompt(call: ast.Call) -> bool:
    return ast.unparse(call.func) in {"Prompt", "_prompt"} and bool(call.args)


def test_every_question_of_the_engine_is_of_one_kind() -> None:
    found = set(names())

    assert {"EngageUser", "SelectNextAction", "GenerateResult"} <= found
    assert found <= DECISIONS | WRITTEN
    assert not DECISIONS & WRITTEN


def test_every_question_is_documented_and_no_other_is() -> None:
    told = pages.read("docs/guide/models.md").partition("| Question | Asked |")[2].partition("\n\n")[0]

    assert set(re.findall(r"^\| `(\w+)`", told, re.MULTILINE)) == set(names())


@pytest.mark.parametrize("name", sorted(set(names())))
async def test_the_model_that_decides_decides_and_the_one_that_speaks_writes(name: str) -> None:
    model, _ = model_for(Kinds(), {}, Prompt(name, "", [Turn("user", "Hi")]))

    answer = await model.choose(Prompt(name, "", []), {})

    assert answer["name"] == ("decides" if name in DECISIONS else "speaks")


@pytest.mark.parametrize("name", sorted(set(names())))
async def test_a_version_set_prefers_a_model_for_every_question(name: str) -> None:
    preferences = {name: {"llm_name": "openai_gpt-6-luna", "params": {"seed": 1}}}

    model, prompt = model_for(Kinds(), preferences, Prompt(name, "", [Turn("user", "Hi")]))

    assert await model.choose(prompt, {}) == {"name": "openai_gpt-6-luna", "params": {"seed": 1}}
