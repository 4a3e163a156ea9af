"""Parameters of a version set that are passed on to a model's server, on the operator's key.

The contract takes any parameters. Those that a model's API does not know, or that are of another type there, are left
out, and the log says which: they could make the server do something else than answer, or cost more.
"""

from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.providers.models.schema import Schema, fits

_log: FilteringBoundLogger = structlog.get_logger(__name__)

_MOST_NAMED = 10
_MAX_CHARS = 200

Known = Mapping[str, Schema]
"""Parameters by name, each with the JSON schema of its values."""

NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 1}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
PENALTY: Schema = {"type": "number", "minimum": -2, "maximum": 2}
BOOLEAN: Schema = {"type": "boolean"}
WORD: Schema = {"type": "string", "maxLength": _MAX_CHARS}
STOP: Schema = {"anyOf": [WORD, {"type": "array", "items": WORD, "maxItems": 16}]}

SAMPLING: Known = {
    "frequency_penalty": PENALTY,
    "max_tokens": COUNT,
    "presence_penalty": PENALTY,
    "seed": INTEGER,
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_k": INTEGER,
    "top_p": SHARE,
}
"""Parameters of nearly every model."""

DIRECT: Known = {**SAMPLING, "stop_sequences": STOP, "thinking": {"anyOf": [BOOLEAN, WORD]}}
"""Parameters that pydantic-ai has for all vendors."""

LOCAL: Known = {**SAMPLING, "stop": STOP}
"""Parameters of llama.cpp that a reply may set."""


def schema_of(known: Known) -> Schema:
    """Describe the parameters that a model knows. Return the JSON schema of an object that has no others."""
    return {"type": "object", "properties": dict(known), "additionalProperties": False}


def problem_of(params: Mapping[str, Any], schema: Schema) -> str | None:
    """Look for a parameter that a model does not take. Return what is wrong, its name first, or None."""
    known: Known = schema.get("properties", {})
    for name, value in params.items():
        if name in known and not fits(value, known[name]):
            return f"{name[:_MAX_CHARS]}: the value is not of the model's schema."
        if name not in known and not schema.get("additionalProperties", True):
            return f"{name[:_MAX_CHARS]}: the model has no such parameter; it has {', '.join(known)}."
    return None


class Params:
    """The parameters that a model knows."""

    def __init__(self, model: str, known: Known) -> None:
        self._model = model
        self._known = known
        self._told: set[str] = set()

    def of(self, interaction: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Pick the known parameters of an interaction. Return them; the log names the others, once."""
        picked = {
            name: params[name] for name, schema in self._known.items() if name in params and fits(params[name], schema)
        }
        if len(picked) < len(params) and interaction not in self._told and len(self._told) < _MOST_NAMED:
            self._told.add(interaction)
            others = [name[:_MAX_CHARS] for name in params if name not in picked]
            _log.warning(
                "Parameters that the model does not know are not sent.",
                model=self._model,
                interaction=interaction,
                params=others[:_MOST_NAMED],
                more=len(others[_MOST_NAMED:]),
            )
        return picked
