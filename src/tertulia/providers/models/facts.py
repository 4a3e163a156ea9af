"""The facts that fit a message: a small model copies what stands beside its question, and invents the rest.

A fact fits by the words that it shares with the message, and a word counts the more the fewer facts have it. One is
chosen by the message alone, and one by all that was said, which counts the less the longer ago it was. But a reply that
begins with the name of a fact is about that one alone, and a reply may have to keep to the one that was named last: two
side by side are mixed up. The name of a fact is what stands before its colon.

A word of the message that no fact has is read as the one that is nearly spelled like it.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from tertulia.providers.base import DIRECTION, Turn

_ENOUGH = 1.0
"""The weight that a fact has at least."""
_FADES = 0.6
"""The weight of a message to that of the next one."""
_MOST_CHARACTERS = 50_000
"""The characters of facts that are looked at; more of them fit no small model's prompt either."""
_TURNS = 6
"""Messages that are looked at."""
_LONGEST_NAME = 100
"""The characters before a colon that may be a name."""
_HALF = 0.5
"""The share of a name, or of a part of it, that has to be said."""
_NEARLY = 0.84
"""The likeness, from 0 to 1, from which words are taken for each other."""
_MOST_WORDS = 200
"""The words of a message that are looked at."""
_MOST_UNKNOWN = 20
"""Words that no fact has for which a near one is looked for, those of the newest messages: each takes milliseconds."""

_WORD = re.compile(r"[^\W_]{3,}")
_COMMON_WORDS = (
    "about and any anything are but can did does everything for from get give good great had has have her here him "
    "his how its just know let like many may me more much need nice not nothing now okay one our out please really "
    "say she should some something sure tell than thank thanks that the their them then there they this very want "
    "wants was way were what when where which who why will with would yes you your"
)
_COMMON = frozenset(_COMMON_WORDS.split())
_ENDINGS = ("ings", "ing", "ies", "ed", "es", "s", "y", "e")


def fitting(facts: Sequence[str], turns: Sequence[Turn]) -> Sequence[str]:
    """Look for facts that are about the last message. Return two at most, in the order in which they were given."""
    turns = _said(turns)
    if not turns or sum(map(len, facts)) > _MOST_CHARACTERS:
        return []
    said = _read_as([turn.content for turn in turns], _vocabulary(facts))
    faded: dict[str, float] = {}
    for age, stems in reversed([*enumerate(reversed(said))]):
        faded |= dict.fromkeys(stems, _FADES**age)
    best = {_best(facts, dict.fromkeys(said[-1], 1.0)), _best(facts, faded)}
    return [fact for fact in facts if fact in best]


def named(facts: Sequence[str], text: str) -> Sequence[str]:
    """Look for the fact whose name a text says, or most of it. Return that one; none if it names none, or several."""
    return _named(facts, _stems(text))


def _named(facts: Sequence[str], said: frozenset[str]) -> Sequence[str]:
    shares = [_share_of_name(fact, said) for fact in facts]
    best = max(shares, default=0)
    return [facts[shares.index(best)]] if best >= _HALF and shares.count(best) == 1 else []


def named_last(facts: Sequence[str], turns: Sequence[Turn]) -> Sequence[str]:
    """Look for the fact that was named last, in the last message by a name within it too. Return it, or those that fit.

    That is so if none was named.
    """
    said = _said(turns)
    if not said or sum(map(len, facts)) > _MOST_CHARACTERS:
        return []
    *before, last = said
    [stems] = _read_as([last.content], _vocabulary(facts))
    found = _named(facts, stems) or _mentioned(facts, stems)
    for turn in reversed(before):
        found = found or named(facts, turn.content)
    return found or fitting(facts, turns)


def _said(turns: Sequence[Turn]) -> Sequence[Turn]:
    return [turn for turn in turns[-_TURNS:] if not DIRECTION.fullmatch(turn.content)]


def _share_of_name(fact: str, said: frozenset[str]) -> float:
    """Compare the name of a fact, and each part of it between commas, with what was said. Return the greatest share."""
    name, colon, _ = fact.partition(":")
    if not colon or len(name) > _LONGEST_NAME:
        return 0
    parts = [stems for part in name.split(",") if (stems := _stems(part))]
    return max((len(stems & said) / len(stems) for stems in parts), default=0)


def _mentioned(facts: Sequence[str], said: frozenset[str]) -> Sequence[str]:
    """Look for the fact that alone has a word with a capital letter, after its colon, that was said. Return it."""
    texts = [fact.partition(":")[2] for fact in facts]
    names = [frozenset(_stem(word.casefold()) for word in _WORD.findall(text) if word[0].isupper()) for text in texts]
    spread = Counter(name for found in names for name in found)
    mentioned = [fact for fact, found in zip(facts, names, strict=True) if any(spread[n] == 1 for n in said & found)]
    return mentioned if len(mentioned) == 1 else []


def _best(facts: Sequence[str], wanted: Mapping[str, float]) -> str | None:
    """Weigh facts by the words that are wanted. Return the best one, None if it is not good enough."""
    known = [_stems(fact) for fact in facts]
    spread = Counter(stem for stems in known for stem in stems)
    weights = [sum(wanted.get(stem, 0) * math.log(1 + len(facts) / spread[stem]) for stem in stems) for stems in known]
    best = max(range(len(facts)), key=weights.__getitem__, default=None)
    return None if best is None or weights[best] < _ENOUGH else facts[best]


def _vocabulary(facts: Iterable[str]) -> frozenset[str]:
    return frozenset(stem for fact in facts for stem in _stems(fact))


def _read_as(texts: Sequence[str], vocabulary: frozenset[str]) -> list[frozenset[str]]:
    """Read texts, a word that is spelled wrongly as the one of the vocabulary that is meant. Return the stems of each.

    Wrong words are looked up until enough were, in the newest text first.
    """
    left = _MOST_UNKNOWN
    read: list[frozenset[str]] = []
    for text in reversed(texts):
        words = [word for word in _WORD.findall(text.casefold()) if word not in _COMMON][:_MOST_WORDS]
        stems = dict.fromkeys(map(_stem, words))
        unknown = [stem for stem in stems if stem not in vocabulary][:left]
        left -= len(unknown)
        near = {stem: get_close_matches(stem, vocabulary, 1, _NEARLY) for stem in unknown}
        read.append(frozenset(near[stem][0] if near.get(stem) else stem for stem in stems))
    return read[::-1]


def _stems(text: str) -> frozenset[str]:
    return frozenset(_stem(word) for word in _WORD.findall(text.casefold()) if word not in _COMMON)


def _stem(word: str) -> str:
    ending = next((end for end in _ENDINGS if word.endswith(end) and len(word) - len(end) >= 3), "")
    return word[: len(word) - len(ending)]
