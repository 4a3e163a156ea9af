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
_OPTION = "\u16a0"
"""A letter of an old script, which stands for the options that a text names."""

_LATER = r"[^\w{\[]*+(?:json\b[^\w{\[]*+)?"
"""Marks between a value and the first word behind it."""

_BE = r"(?:is|was|would be|seems|looks|ist|wäre|est|es)"
_WRONG = (
    r"(?:wrong|incorrect|a mistake|invalid|false|never|rejected|discarded|excluded|ruled out|falsch|faux|incorrecto)"
    r"(?!\w)"
)
_RIGHT = (
    r"(?:right|correct|valid|good|it|what|true|meant|applicable|(?:the|my) (?:right |correct )?(?:one|choice|answer)"
    r"|the (?:right|correct)|richtig|correcto|juste)(?!\w)"
)
_SIGHS = r"(?:(?:no|wait|sorry|actually|oops|hmm+|oh|well)(?!\w)[\s,.!…\u2013\u2014-]*)*"
_THAT = r"(?:that|this|it|which|das|dies)(?: one)?"

_ALONE = re.compile(
    rf"{_LATER}(?:(?:no|nope|wait|oops|nein|non|wrong|incorrect|falsch|never ?mind|scratch (?:that|this))"
    r"(?!\w)[^\S\n]*(?:[,:;.!?…)\u2013\u2014\n]|-\s|\Z)"
    rf"|(?:not(?: (?:that|this|it)(?: one)?)?|nicht|doch nicht|sorry|correction|perdón|{_WRONG})"
    r"(?!\w)[^\S\n]*(?:[;.!?…)\n]|\Z))"
)
"""A word behind a value that takes it back."""

_VERDICT = re.compile(
    rf"{_LATER}(?:{_SIGHS}{_BE}\s+(?:(?:not|no|nicht)(?!\w)(?!\s+(?:only|just)\b|[\s`\"'*:]*{_OPTION})|{_WRONG})"
    rf"|{_SIGHS}{_THAT}(?:\s+{_BE}|['\u2019]s)\s+(?:(?:not|nicht)\s+{_RIGHT}|{_WRONG})"
    rf"|{_SIGHS}(?:not|nicht)\s+{_RIGHT}"
    rf"|{_SIGHS}(?:{_THAT}\s+)?(?:is|was|does|would|should|could|ca|wo|must)n['\u2019]t(?:\s+be)?"
    rf"(?:\s+(?:{_RIGHT}|(?:fit|apply|work|match|chosen|used)(?!\w))|[^\S\n]*(?:[,;.!)]|\Z)))"
)
"""A judgement on a value, behind it."""

_REFUSED = r"[`\"'*)]*\s+(?:(?:is|was|does|did|has|would)\s+(?:not|no)|\w+n['\u2019]t|not|nicht|later)(?!\w)"
_CHOSEN = re.compile(
    rf"{_LATER}(?:(?:or|oder|o|ou|sondern|rather|lieber|better|instead|hmm+)(?!\w)"
    r"|(?:no|nope|nein|non|wrong|incorrect|falsch|wait|sorry|actually|correction|oops|perdón)"
    rf"(?=\s*[,:;.…\u2013\u2014-]|\s+{_OPTION}|\s+(?:it|i|that|make|the (?:answer|choice)|rather|better|maybe)\b))"
    r"(?:(?!\b(?:not|no|than|of|if|when|unless|until|because|since|nor|never|without|once|after|like|nicht|wenn|als|si"
    rf"|que)\b|\w+n['\u2019]t)[^.!?\n])*?{_OPTION}(?!{_REFUSED})"
    rf"|{_LATER}(?:but|aber|mais|pero|however)(?!\w)(?:[\s,:]+(?:really|rather|maybe|perhaps|better|actually"
    rf"|i (?:choose|take|mean|pick|prefer)|it should be))*[\s,:`\"'*(]*{_OPTION}[`\"'*)]*"
    r"(?:\s*(?:[,;.!)]|\Z)|(?:\s+(?!not\b)\w+){0,3}?\s+(?:better|best|right|correct|instead|besser|richtig|mieux|mejor)(?!\w))"
)
"""Another option that is taken, behind a value."""

_NOT = (
    r"(?<!\w)(?:not|never|neither|nor|except|excluding|instead of|rather than|anything but|nicht|keinesfalls|niemals"
    r"|statt|pas|nunca|jamais|(?!(?:has|have|had|did)n)\w+n['\u2019]t)"
)
_REJECTED = r"(?:wrong|incorrect|falsch|reject\w*|discard\w*|exclud\w*|avoid\w*|rul\w+ out)"
_OWN_WORDS = (
    r"(?:\A|[.!?;,:}\n])[\s*`\"'(-]*(?:(?:i|we|it|this|that|is|was|would|must|should|can|be|the|my|an?|options?|choices?"
    r"|answers?|clearly|so)[^\S\n]+){0,5}"
)
_CHOOSING = (
    r"(?:to|be|choose|choosing|select|selecting|pick|picking|take|taking|use|using|return|go|with|for|the|an?|my"
    r"|wählen|nehmen|choisir|elegir)"
)
_ANSWER = r"(?:\s+(?:right|correct|best))?\s+(?:answer|choice|option)(?:\s+(?:is|was))?"
_VALUE = r"[*`)]*(?:[\s:]+[\s:*`\"'(]*)?\Z"
_BEFORE = re.compile(
    rf"{_NOT}(?:[^\S\n]+{_CHOOSING}){{1,3}}[^\S\n]+[*`\"'(]*\Z"
    rf"|{_NOT}(?:\s+(?:the|an?|my){_ANSWER})?{_VALUE}|{_OWN_WORDS}{_REJECTED}(?:{_ANSWER})?{_VALUE}"
)
"""A denial that touches the value behind it: only words of choosing stand between."""

_NAMED = re.compile(
    rf"(?:(?:{_NOT}|(?<!\w){_REJECTED})(?:[^\S\n]+{_CHOOSING}){{0,3}}[^\S\n:]*[:\s`\"'*]+{_OPTION}"
    rf"|{_OPTION}[`\"'*]*\s+(?:(?:{_BE}|does|can|must)\s+(?:not(?!\s+(?:only|just)\b)|no(?!\w)|{_WRONG})|\w+n['\u2019]t(?!\w)))"
    r"(?:(?!\b(?:but|however|still|although)\b)[^.!?\n])*\Z"
)
"""A denial of the option by its name, in the sentence before the value."""

_NEAR = 200
"""Characters beside a value that are read."""


def name_denies(name: str) -> bool:
    """Judge the name of a field: is its content what is not meant?"""
    name = _plain(name)
    return bool(_NOT_MEANT.match(name) or _ANYWHERE.search(name))


def field_denies(name: str, value: object) -> bool:
    """Judge a field beside a choice: does it say that the choice does not hold?"""
    said = str(value).strip().casefold()
    if _HOLDS.fullmatch(_plain(name)):
        return said in _FALSE
    return name_denies(name) and said in _TRUE


def text_denies(text: str) -> bool:
    """Judge what stands around a choice of a loose form: does any word of it deny or correct?"""
    return _DENIES.search(text.casefold()) is not None


def neighbours_deny(before: str, after: str, own: "Mentions", others: "Mentions") -> bool:
    """Judge the text directly before and behind a choice of the asked form: does it deny the choice or correct it?

    A denial of another option confirms the choice, and what is said of the user leaves it as it is.
    """
    before, after = before[-_NEAR:].casefold(), after[:_NEAR].casefold()
    if _ALONE.match(after) or _BEFORE.search(before) or _NAMED.search(own.marked(before)):
        return True
    after = others.marked(after)
    return (_VERDICT.match(after) or _CHOSEN.match(after)) is not None


class Mentions:
    """Options that a text may speak of."""

    def __init__(self, options: Iterable[str]) -> None:
        texts = sorted({option.strip().casefold() for option in options} - {""}, key=len, reverse=True)
        self._options = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, texts))})(?![\w-])") if texts else None

    def within(self, text: str) -> bool:
        """Tell if a text speaks of one of them."""
        return self._options is not None and self._options.search(text.casefold()) is not None

    def marked(self, text: str) -> str:
        """Put a mark in the place of each. Return the text."""
        return text if self._options is None else self._options.sub(_OPTION, text)


def _plain(name: str) -> str:
    """Write a name in small letters, its words parted by underscores. Return it."""
    return re.sub(r"[\s-]+", "_", _CAPITAL.sub("_", name.strip())).lower()
