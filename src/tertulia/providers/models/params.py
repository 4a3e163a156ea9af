"""Parameters of a version set that are passed on to a model's server, on the operator's key.

The contract takes any parameters. Those that a model's API does not know, or that are of another type there, are left
out, and the log says which: they could make the server do something else than answer, or cost more.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import structlog
from structlog.typing import FilteringBoundLogger

_log: FilteringBoundLogger = structlog.get_logger(__name__)

_MOST_NAMED = 10
_MOST_TEXTS = 16
_MOST_CHARS = 200

Known = Mapping[str, Callable[[object], bool]]
"""Parameters by name, each with a test of its value."""


def is_number(value: object) -> bool:
    """Judge a value: is it a number?"""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_integer(value: object) -> bool:
    """Judge a value: is it a whole number?"""
    return isinstance(value, int) and not isinstance(value, bool)


def is_word(value: object) -> bool:
    """Judge a value: is it a short text?"""
    return isinstance(value, str) and len(value) <= _MOST_CHARS


def is_bool(value: object) -> bool:
    """Judge a value: is it true or false?"""
    return isinstance(value, bool)


def is_stop(value: object) -> bool:
    """Judge a value: is it a short text, or a list of a few?"""
    texts = cast("list[object]", value) if isinstance(value, list) else [value]
    return len(texts) <= _MOST_TEXTS and all(map(is_word, texts))


SAMPLING: Known = {
    "frequency_penalty": is_number,
    "max_tokens": is_integer,
    "presence_penalty": is_number,
    "seed": is_integer,
    "temperature": is_number,
    "top_k": is_integer,
    "top_p": is_number,
}
"""What nearly every model has."""


class Params:
    """The parameters that a model knows."""

    def __init__(self, model: str, known: Known) -> None:
        self._model = model
        self._known = known
        self._told: set[str] = set()

    def of(self, interaction: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Pick the known parameters of an interaction. Return them; the log names the others, once."""
        picked = {name: params[name] for name, fits in self._known.items() if name in params and fits(params[name])}
        if len(picked) < len(params) and interaction not in self._told and len(self._told) < _MOST_NAMED:
            self._told.add(interaction)
            others = [name[:_MOST_CHARS] for name in params if name not in picked]
            _log.warning(
                "Parameters that the model does not know are not sent.",
                model=self._model,
                interaction=interaction,
                params=others[:_MOST_NAMED],
                more=len(others[_MOST_NAMED:]),
            )
        return picked
