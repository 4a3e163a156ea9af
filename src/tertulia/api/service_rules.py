"""Rules of a service: its models and versions exist."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tertulia.errors import BadRequest
from tertulia.providers.models.params import problem_of
from tertulia.providers.models.schema import problem_of_result_schema
from tertulia.storage.service import ServiceParts, VersionSet

CONTRACT_MODELS = frozenset(
    {
        "openai_gpt-5.2-2025-12-11",
        "openai_gpt-5.4-nano-2026-03-17",
        "openai_gpt-5.4-mini-2026-03-17",
        "openai_gpt-5.5-2026-04-23",
        "openai_gpt-5.6-sol",
        "openai_gpt-5.6-terra",
        "openai_gpt-5.6-luna",
        "openai_gpt-6-luna",
        "openai_decisions_gpt-6-luna",
        "google_gemini-3.5-flash",
        "google_gemini-3.5-flash-lite",
    }
)
"""The names that the contract has for models."""

_OWN_MODEL = re.compile(r"scripted|local|[a-z][a-z0-9_-]*:\S+")
"""`scripted`, `local`, `local:NAME`, `openai:NAME` or `VENDOR:NAME`."""

DECISION_MODEL = "openai_decisions_gpt-6-luna"
PREDICATE = "CheckIfActiveMemoryNeeded"
DECISIONS = frozenset({"SelectDynamicBehavior", "SelectNextAction", "SelectNextActionForDecisionState", PREDICATE})
"""The interactions with a model that choose instead of speak."""


def check_preferences(preferences: Mapping[str, Any]) -> None:
    """Raise BadRequest if a model does not exist, or cannot do the interaction that prefers it."""
    for interaction, config in preferences.items():
        name = config["llm_name"]
        if name not in CONTRACT_MODELS and not _OWN_MODEL.fullmatch(name):
            raise BadRequest(f"There is no language model {name}.")
        if name != DECISION_MODEL:
            continue
        if interaction not in DECISIONS:
            raise BadRequest(f"{DECISION_MODEL} only decides; {interaction} is not a decision.")
        if interaction == PREDICATE and "min_confidence" in config["params"]:
            raise BadRequest(f"{PREDICATE} asks a predicate; min_confidence cannot be set.")


def check_params(preferences: Mapping[str, Any], params_of: Callable[[str], Mapping[str, Any] | None]) -> None:
    """Raise BadRequest if a model that this server can reach does not take a parameter of an interaction."""
    for interaction, config in preferences.items():
        schema = params_of(config["llm_name"])
        problem = None if schema is None else problem_of(config["params"], schema)
        if problem is not None:
            raise BadRequest(f"llm_model_preferences.{interaction[:100]}.params.{problem}")


MOST_FIELDS = 50
"""Fields that a result has at most."""


def check_result_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """See that the fields of a JSON schema can be asked for and checked. Return the schema.

    Raises:
        ValueError: it is not of an object with fields, or says something that nobody here would check.
    """
    if schema.get("type") != "object" or not isinstance(schema.get("properties"), dict) or not schema["properties"]:
        raise ValueError('This must be the JSON schema of an object: {"type": "object", "properties": {...}}.')
    if len(schema["properties"]) > MOST_FIELDS:
        raise ValueError(f"This must have at most {MOST_FIELDS} properties.")
    problem = problem_of_result_schema(schema)
    if problem is not None:
        raise ValueError(problem)
    return schema


def check_parts(parts: ServiceParts) -> None:
    """Raise BadRequest if the agent or the context graph cannot be used any more, or not yet."""
    for noun, part in (("agent", parts.agent), ("context graph", parts.graph)):
        if part.deprecated:
            raise BadRequest(f"The {noun} {part.id} is deprecated.")
        if part.latest_version is None:
            raise BadRequest(f"The {noun} {part.id} has no version.")


def check_version_sets(parts: ServiceParts, sets: Iterable[VersionSet]) -> None:
    """Raise BadRequest if a model or a version of the agent or the context graph does not exist."""
    for version_set in sets:
        check_preferences(version_set.llm_model_preferences or {})
        _check_number("agent", version_set.agent_version, parts.agent.latest_version)
        _check_number("context graph", version_set.context_graph_version, parts.graph.latest_version)


def _check_number(noun: str, number: int | None, latest: int | None) -> None:
    if latest is None:
        raise BadRequest(f"The {noun} has no version.")
    if number is not None and not 1 <= number <= latest:
        raise BadRequest(f"The {noun} has no version {number}.")
