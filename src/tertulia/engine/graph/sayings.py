"""Words in the texts of a graph, for models that follow examples better than descriptions.

Sayings are what people say who mean an action or an exit. They stand at the end:
`The person says goodbye. People say: "So long!", "I have to go".`

An opening is how the reply of an action begins: `Introduce yourself. Begin with: "I am a small program".` A wording is
an example of the whole: `Decline. In words like these: "I cannot help with that."`. A local model says just that. Of
several, in a row like sayings, those in the user's language are meant, or else those in the language of the first one;
and of these the first one that the agent has not said.

An action that says `Keep to what was named last.` is about the fact that was named last.

Quotation marks may be curly.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tertulia.caching import cached_if_short
from tertulia.language_detection import language_of

BEGIN = "People say:"
KEEP = "Keep to what was named last."

_LONGEST = 10_000
"""Characters of an option that is parted once, and not again each time it is a choice."""
_HEARD_CHARS = 500
"""Characters of a message whose language is worked out once, and not at each turn that reads it."""
_QUOTED = r"""["\u201c][^"\u201d\n]+["\u201d]"""
_SAYINGS = re.compile(rf"\s*{_QUOTED}(?:,\s*{_QUOTED})*\.?\s*")
_PHRASES = re.compile(rf"(?P<kind>Begin with|In words like these):\s*(?P<texts>{_QUOTED}(?:,\s*{_QUOTED})*)")
_SAYING = re.compile(r'["\u201c]([^"\u201d\n]+)["\u201d]')


@dataclass(frozen=True, slots=True)
class Phrased:
    """An action as its reply is asked for, with the words that are meant now; there may be none of either kind."""

    text: str
    opening: str = ""
    wording: str = ""


@cached_if_short(512, longest=_LONGEST)
def split(text: str) -> tuple[str, tuple[str, ...]]:
    """Split the text of an action or an exit. Return it without its sayings, and the sayings."""
    before, found, said = text.rpartition(BEGIN)
    if not found or not _SAYINGS.fullmatch(said):
        return text, ()
    return before.rstrip(), tuple(_SAYING.findall(said))


@cached_if_short(512, longest=_LONGEST)
def described(text: str) -> str:
    """Leave sayings, openings and wordings out. Return the text of an option as it is chosen by."""
    bare = split(text)[0]
    found = _PHRASES.search(bare)
    return f"{bare[: found.start()]}{bare[found.end() :].lstrip('. ')}".strip() if found else bare


@cached_if_short(512, longest=_LONGEST)
def _parted(action: str) -> tuple[str, re.Match[str] | None]:
    """Leave sayings out of an action, and look for its words. Return both."""
    text = split(action)[0]
    return text, _PHRASES.search(text)


def phrased(action: str, replies: Sequence[str], said: Sequence[str] = ()) -> Phrased:
    """Choose the words of an action by the agent's replies until now, and by the language of what the user `said`.

    The newest of both are last. Return the action with its words.
    """
    text, found = _parted(action)
    if found is None:
        return Phrased(text)
    phrase = _freshest(_in_language(found["texts"], said), replies).strip()
    told = f'{text[: found.start()]}{found["kind"]}: "{phrase}"{text[found.end() :]}'
    return Phrased(told, opening=phrase) if found["kind"] == "Begin with" else Phrased(told, wording=phrase)


_spoken = cached_if_short(1024, longest=_HEARD_CHARS)(language_of)


def _in_language(quoted: str, said: Sequence[str]) -> Sequence[str]:
    """Look for phrases in the language that a user speaks. Return them, else those in the language of the first."""
    by_language = _by_language(quoted)
    if len(by_language) == 1:
        return next(iter(by_language.values()))
    spoken = next((language for text in reversed(said) if (language := _spoken(text)) is not None), None)
    return by_language.get(spoken) or next(iter(by_language.values()))


@cached_if_short(512, longest=_LONGEST)
def _by_language(quoted: str) -> Mapping[str | None, Sequence[str]]:
    """Sort phrases by their languages. Return them; one of no certain language counts as the one before it."""
    phrases = _SAYING.findall(quoted)
    found: dict[str | None, list[str]] = {}
    language = next(filter(None, map(language_of, phrases)), None)
    for phrase in phrases:
        language = language_of(phrase) or language
        found.setdefault(language, []).append(phrase)
    return found


def _freshest(phrases: Sequence[str], replies: Sequence[str]) -> str:
    """Look for the phrase that was said longest ago, or never. Return the first such."""
    said = [" ".join(reply.casefold().split()) for reply in replies]

    def last(phrase: str) -> int:
        words = " ".join(phrase.casefold().split())
        return max((number for number, reply in enumerate(said) if words in reply), default=-1)

    return min(phrases, key=last)
