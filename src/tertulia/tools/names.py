"""Names of tools, made of what documents and servers call theirs."""

import re
from collections.abc import Iterable

LONGEST = 64

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OTHER = re.compile(r"[^a-z0-9]+")


def tool_name(text: str) -> str:
    """Make a name of small letters, digits and underscores. Return it: `getWeather v2` is `get_weather_v2`."""
    words = _OTHER.sub("_", _HUMP.sub("_", text[:1000]).lower()).strip("_")
    return words[:LONGEST].strip("_") or "tool"


def named_apart(texts: Iterable[str]) -> list[str]:
    """Make names, each of them once. Return them; a name that is taken gets a number."""
    made: dict[str, None] = {}
    for text in texts:
        name = one = tool_name(text)
        number = 2
        while one in made:
            one = f"{name[: LONGEST - 1 - len(str(number))]}_{number}"
            number += 1
        made[one] = None
    return list(made)
