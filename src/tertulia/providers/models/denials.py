"""Denials beside a choice: names and words that tell that it is not meant, or that another one is.

A choice that is denied is no answer: to ask once more costs less than a turn that goes the wrong way.
"""

import re
from collections.abc import Iterable

_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_MEANT = re.compile(
    r"(?:not|no|non|never|bad|worst|worse|least|lowest|skip|skipped|prior|former|old|was|first|second|third|initial"
    r"|other|others|nicht|kein|keine|falsch|verworfen)(?:_|\Z)"
    r"|(?:unchosen|unselected|unlikely|wrong|incorrect|invalid|forbidden|reject|exclu[ds]|discard|avoid|declin|dismiss"
    r"|eliminat|denied|ruled|except|instead|versus|previous|draft|tentativ|alternativ|runner|backup|fallback|example"
    r"|sample|histor|abgelehnt|ausgeschlossen|rechazad|descartad|rejet)"
)
_ANYWHERE = re.compile(r"_(?:not|rejected|excluded|discarded|eliminated|dismissed|denied|wrong|out|nicht)(?:_|$)")
_HOLDS = re.compile(
    r"(?:is_)?(?:valid|correct|right|selected|chosen|accepted|applies|applicable|final|allowed|fits?|match(?:es)?|ok"
    r"|okay|approved|confirmed|suitable|possible|true|best|meant|intended)"
)
_FALSE = frozenset({"false", "no", "0", "nein", "never", "none", "wrong", "incorrect"})
_TRUE = frozenset({"true", "yes", "1", "ja"})

_WORDS = (
    "no not non nope never neither nor none wrong incorrect mistake except instead rather wait cannot false bad unless "
    "without sorry oops actually correction however invalid reject rejected discard discarded exclude excluded avoid "
    "nein nicht kein keine keinen sondern falsch oder statt doch sorry ne pas mauvais plutôt nunca tampoco sino mal não"
)
_DENIES = re.compile(rf"(?<!\w)(?:{'|'.join(_WORDS.split())}|\w+n['\u2019]t)(?!\w)")


def name_denies(name: str) -> bool:
    """Judge a field by its name. Return True if its content is what is not meant."""
    name = _plain(name)
    return bool(_NOT_MEANT.match(name) or _ANYWHERE.search(name))


def field_denies(name: str, value: object) -> bool:
    """Judge a field beside a choice. Return True if it says that the choice does not hold."""
    said = str(value).strip().casefold()
    if _HOLDS.fullmatch(_plain(name)):
        return said in _FALSE
    return name_denies(name) and said in _TRUE


def text_denies(text: str) -> bool:
    """Judge the words around a choice of a loose form. Return True if any denies or corrects it."""
    return _DENIES.search(text.casefold()) is not None


def names_any(text: str, options: Iterable[str]) -> bool:
    """Return True if a text speaks of one of some options."""
    texts = sorted({option.strip().casefold() for option in options} - {""}, key=len, reverse=True)
    pattern = rf"(?<![\w-])(?:{'|'.join(map(re.escape, texts))})(?![\w-])"
    return bool(texts) and re.search(pattern, text.casefold()) is not None


def _plain(name: str) -> str:
    """Write a name in small letters, its words parted by underscores. Return it."""
    return re.sub(r"[\s-]+", "_", _CAPITAL.sub("_", name.strip())).lower()
