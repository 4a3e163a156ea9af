"""Calls of functions in the form that models of vendors have for them, used with a model that has passed a trial.

Small models ignore that form, or call what nobody asked for; every model can be asked for JSON of a schema. A model is
tried with the first question about functions, once in each process, and then asked in the form that it is better at.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.errors import ModelError, ModelMisbehaved, ModelRefused
from tertulia.providers.base import Function, FunctionChoice, Prompt, Turn

PATIENCE_S = 15.0
"""The time that a trial may take, in seconds."""
_MOST_TRIALS = 2
_SYSTEM = (
    "You help people. You may call functions; call one only if you need it, and take its parameters from what is said."
)
_QUESTION = "[Note. Call the functions that you need. If you need none, say so in a word.]"

_log: FilteringBoundLogger = structlog.get_logger(__name__)

Ask = Callable[[Prompt], Awaitable[Any]]
"""Ask a model which functions to call, in its own form. Return the answer as `answer` makes it."""

_FUNCTIONS = (
    Function(
        "town_weather",
        "Tells the weather of a town.",
        {
            "type": "object",
            "properties": {"town": {"type": "string"}},
            "required": ["town"],
            "additionalProperties": False,
        },
    ),
    Function(
        "book_table",
        "Books a table in the restaurant.",
        {
            "type": "object",
            "properties": {
                "day": {"type": "string", "enum": ["Thursday", "Friday", "Saturday"]},
                "guests": {"type": "integer", "minimum": 1, "maximum": 12},
            },
            "required": ["day", "guests"],
            "additionalProperties": False,
        },
    ),
)
_CASES: Sequence[tuple[str, Sequence[tuple[str, Mapping[str, Any]]]]] = (
    ("How is the weather in Oslo?", [("town_weather", {"town": "oslo"})]),
    (
        "Book a table for four on Friday, please. And how is the weather in Rome?",
        [("book_table", {"day": "friday", "guests": 4}), ("town_weather", {"town": "rome"})],
    ),
    ("Good morning! How are you today?", []),
    ("I like restaurants, and I like Oslo when it rains.", []),
)
"""Messages, each with the calls that it takes."""


class Trial:
    """The trial of a model. Until it is over, and if it cannot be held, the model is asked for JSON."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._passed: bool | None = None
        self._running = False
        self._held = 0
        """Trials that came to an end, though it may be that the model could not be asked."""

    async def passed(self, ask: Ask) -> bool:
        """Try the model if nobody has. Return True if it makes calls well in its own form."""
        if self._passed is None and not self._running:
            self._running = True
            try:
                self._passed = await _passes(ask)
            finally:
                self._running = False
            self._held += 1
            if self._passed is None and self._held >= _MOST_TRIALS:
                self._passed = False
            _log.info("model tried with functions", model=self._model, passed=self._passed)
        return self._passed is True


def requested(functions: Iterable[Function]) -> list[dict[str, Any]]:
    """Describe functions as chat completions take them. Return the value of `tools`."""
    return [
        {"type": "function", "function": {"name": one.name, "description": one.use, "parameters": dict(one.schema)}}
        for one in functions
    ]


def read(content: bytes) -> dict[str, Any]:
    """Read the calls of a whole completion. Return the answer.

    Raises:
        ModelMisbehaved: it is no completion, or holds calls in another form.
    """
    try:
        message: Any = json.loads(content)["choices"][0]["message"]
        made: list[Any] = message.get("tool_calls") or []
        return answer((call["function"]["name"], call["function"]["arguments"]) for call in made)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ModelMisbehaved("a completion with calls of functions that cannot be read") from None


def answer(made: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Write calls as the schema of the question has them. Return that; the parameters come as JSON or as an object."""
    return {"calls": [{"tool": str(name), "parameters": _parameters(given)} for name, given in made]}


def _parameters(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given or "{}")
    except (ValueError, RecursionError):
        return given  # the question's tool says what is wrong with it


async def _passes(ask: Ask) -> bool | None:
    """Ask the model everything. Return None if it could not be asked."""
    choice = FunctionChoice(_FUNCTIONS, _QUESTION)
    prompts = [Prompt("SelectTools", _SYSTEM, [Turn("user", said)], functions=choice) for said, _ in _CASES]
    try:
        async with asyncio.timeout(PATIENCE_S):
            told = await asyncio.gather(*map(ask, prompts), return_exceptions=True)
    except TimeoutError:
        return None
    for one in told:
        if isinstance(one, ModelMisbehaved | ModelRefused):
            return False
        if isinstance(one, ModelError):
            return None
        if isinstance(one, BaseException):
            raise one
    return all(_fits(one, expected) for one, (_, expected) in zip(told, _CASES, strict=True))


def _fits(told: Any, expected: Sequence[tuple[str, Mapping[str, Any]]]) -> bool:
    made = [(call["tool"], call["parameters"]) for call in cast("dict[str, Any]", told)["calls"]]
    return len(made) == len(expected) and all(any(_same(call, one) for call in made) for one in expected)


def _same(call: tuple[str, Any], expected: tuple[str, Mapping[str, Any]]) -> bool:
    (name, given), (wanted, parameters) = call, expected
    return (
        name == wanted
        and isinstance(given, dict)
        and given.keys() == parameters.keys()
        and all(_begins(given[key], value) for key, value in parameters.items())
    )


def _begins(given: Any, value: Any) -> bool:
    return given.lower().startswith(value) if isinstance(given, str) and isinstance(value, str) else given == value
