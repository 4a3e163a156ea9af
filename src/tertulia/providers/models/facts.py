"""The facts that fit a message: a small model copies what stands beside its question, and invents the rest.

A fact fits by the words that it shares with the message, and a word counts the more the fewer facts have it. One is
chosen by the message alone, and one by all that was said, which counts the less the longer ago it was.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from tertulia.providers.base import DIRECTION, Turn

_ENOUGH = 1.0
"""The weight that a fact has at least."""
_FADES = 0.6
"""The weight of a message to that of the next one."""
_MOST_CHARACTERS = 50_000
"""The characters of facts that are looked at; more of them fit no small model's prompt either."""
_TURNS = 6
"""Messages that are looked at."""

_WORD = re.compile(r"[^\W_]{3,}")
_COMMON_WORDS = (
    "about and any anything are but can did does everything for from get give good great had has have her here him "
    "his how its just know let like may me more much need nice not nothing now okay one our out please really say "
    "she should some something sure tell than thank thanks that the their them then there they this very want wants "
    "was way were what when where which who why will with would yes you your"
)
_COMMON = frozenset(_COMMON_WORDS.split())
_ENDINGS = ("ings", "ing", "ies", "ed", "es", "s", "y", "e")


def fitting(facts: Sequence[str], turns: Sequence[Turn]) -> Sequence[str]:
    """Look for facts that are about the last message. Return two at most, in the order in which they were given."""
    said = [_stems(turn.content) for turn in turns[-_TURNS:] if not DIRECTION.fullmatch(turn.content)]
    if not said or sum(map(len, facts)) > _MOST_CHARACTERS:
        return []
    faded: dict[str, float] = {}
    for age, stems in reversed([*enumerate(reversed(said))]):
        faded |= dict.fromkeys(stems, _FADES**age)
    best = {_best(facts, dict.fromkeys(said[-1], 1.0)), _best(facts, faded)}
    return [fact for fact in facts if fact in best]


def _best(facts: Sequence[str], wanted: Mapping[str, float]) -> str | None:
    """Weigh facts by the words that are wanted. Return the best one, None if it is not good enough."""
    known = [_stems(fact) for fact in facts]
    spread = Counter(stem for stems in known for stem in stems)
    weights = [sum(wanted.get(stem, 0) * math.log(1 + len(facts) / spread[stem]) for stem in stems) for stems in known]
    best = max(range(len(facts)), key=weights.__getitem__, default=None)
    return None if best is None or weights[best] < _ENOUGH else facts[best]


def _stems(text: str) -> frozenset[str]:
    return frozenset(_stem(word) for word in _WORD.findall(text.casefold()) if word not in _COMMON)


def _stem(word: str) -> str:
    ending = next((end for end in _ENDINGS if word.endswith(end) and len(word) - len(end) >= 3), "")
    return word[: len(word) - len(ending)]
