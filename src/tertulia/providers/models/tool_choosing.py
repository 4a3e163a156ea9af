"""The choice of tools by words alone, as the model that repeats makes it: deterministic, without understanding.

A tool is called once for a message that shares a significant word with its name or use. A parameter is what the message
says with its name (`city: Oslo`, `guests=3`, `note="by the window"`), else the first number or option in the message. A
text that is required is the whole message then; whatever is optional is left out.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from tertulia.providers.models import form_filling
from tertulia.providers.models.schema import Schema, example, fits

STEPS = frozenset(
    {"EngageUser", "GenerateReflection", "GenerateToolParams", "SelectNextAction", "SelectNextActionForDecisionState"}
)
"""Questions within which tools are called."""

Stems = Callable[[str], frozenset[str]]
"""Finds the significant words of a text."""

_RESULT = re.compile(r"^- (\S+) with \{", re.MULTILINE)
_GAVE = re.compile(r"^- \S+ with \{.* gave: (.*)$", re.MULTILINE)
_YES = frozenset(["agree", "agreed", "ahead", "confirm", "confirmed", "ok", "okay", "sure", "yeah", "yep", "yes"])
_BESIDE_YES = frozenset(
    [
        "and",
        "correct",
        "do",
        "exactly",
        "go",
        "i",
        "is",
        "it",
        "oh",
        "please",
        "right",
        "so",
        "thank",
        "thanks",
        "that",
        "you",
    ]
)


def is_yes(said: str) -> bool:
    """Judge a message. Return True if it says yes, and nothing else, and does not ask."""
    words = set(re.findall(r"\w+", said.lower()))
    return bool(words & _YES) and words <= _YES | _BESIDE_YES and "?" not in said


def results(question: str) -> str:
    """Read what tools gave just now. Return the first line of each result."""
    return "\n".join(_GAVE.findall(question))


def choose(question: str, schema: Schema, said: str, stems: Stems) -> dict[str, Any]:
    """Choose the tools to call for a message, of those in a schema. Return the answer, with no call of a tool twice."""
    made = {found.partition(" ")[0] for found in _RESULT.findall(question)}
    words, calls = stems(said), list[dict[str, Any]]()
    for form in schema["properties"]["calls"]["items"]["anyOf"]:
        name = form["properties"]["tool"]["enum"][0]
        if name not in made and words & stems(f"{name.replace('_', ' ')} {_use(question, name)}"):
            calls.append({"tool": name, "parameters": parameters(form["properties"]["parameters"], said)})
    return {"calls": calls}


def parameters(schema: Schema, said: str) -> dict[str, Any]:
    """Make parameters of a message. Return them."""
    return {name: _parameter(name, part, said) for name, part in schema["properties"].items()}


def _use(question: str, name: str) -> str:
    found = re.search(rf"^{re.escape(name)}: (.*?)(?: Parameters: .*)?$", question, re.MULTILINE)
    return found[1] if found else ""


def _parameter(name: str, schema: Schema, said: str) -> Any:
    options = schema.get("anyOf", ())
    is_optional = len(options) == 2 and options[1] == {"type": "null"}
    form = options[0] if is_optional else schema
    named = _named(name, form, said)
    if named is not None:
        return named
    if form.get("type") == "object" and "properties" in form:
        return parameters(form, said)
    if is_optional and "enum" not in form:
        return None
    value = form_filling.value_in(form, said)
    if value is not None and fits(value, form):
        return value
    return None if is_optional else example(form, lambda keys: keys[0], ("-",))


def _named(name: str, schema: Mapping[str, Any], said: str) -> Any:
    """Read what a message says with the name of a parameter. Return a value that fits, or None."""
    found = re.search(rf'(?<!\w){re.escape(name)} ?[:=] ?(?:"([^"]*)"|(\{{.*\}}|\[.*\]|[^\s,;]+))', said, re.IGNORECASE)
    if found is None:
        return None
    text = found[1] if found[1] is not None else found[2].rstrip(".!?")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return next((option for option in (value, text) if fits(option, schema)), None)
