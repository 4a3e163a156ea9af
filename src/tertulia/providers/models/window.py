"""The window: how much of a conversation a model can take, known from a setting and learnt from its server's refusals.

The oldest messages are left out first. The system text and the last message always stay: if they alone are too much,
the prompt is refused. Messages are left out in steps of a quarter of the window, so that the beginning of the prompt
stays the same from turn to turn, and a server that remembers beginnings can use them.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from tertulia.errors import ModelError
from tertulia.providers.base import Prompt, Turn

UNKNOWN_TOKENS = 128_000
"""The window of a model if no setting names another one."""

_BYTES_PER_TOKEN = 3  # of UTF-8: English has four, Chinese less than three
_REPLY_TOKENS = 4096
_STEPS = 4
_SMALLEST_GUESS_BYTES = 4000  # a shorter prompt is not refused for its length
_GENTLE_REFUSALS = 3
_MOST_GUESSES = 3
_NUMBER = re.compile(r"(?<![\w.])\d[\d,_]{3,9}(?![\w.]*\d)")
_SIZE = r"(?:tokens?|characters?|chars|bytes|context|length|window)"
_TOO_LONG = re.compile(
    rf"""
    context[\W_]?(?:length|window|size|limit) [\w\W]{{0,80}} (?:exceed|exceeds|exceeded|overflow|reached|only|is\W+\d)
    | (?:exceed|overflow|larger|longer|greater|bigger|beyond|past)\w* [\w\W]{{0,80}}
      (?:context|{_SIZE}\W+(?:limit|of|is|allowed))
    | exceed\w* [\w\W]{{0,60}} {_SIZE}
    | {_SIZE} [\w\W]{{0,60}} (?:exceed|too\W+(?:long|large|many|big))
    | (?:prompt|inputs?|messages?|request|conversation|history|text|sequence|body|payload|entity|string)\b [^.]{{0,60}}
      \btoo\W+(?:long|large|big)
    | too\W+many\W+(?:\w+\W+)? (?:tokens|characters|messages)
    | too\W+(?:long|large) \W+ (?:for|to)\b
    | (?:reduce|shorten) [\w\W]{{0,30}} (?:length|size|prompt|messages?|input|conversation)
    | max(?:imum)? [\W_] (?:context|prompt|input|sequence|model|total)\w* [\W_] (?:len|length|tokens|size)
    | (?:context|string_above_max|input)_length | tokens_limit_reached | model_context_window
    | tokens [\w\W]{{0,40}} must\W+be\W+<=
    | (?:must|should) [\w\W]{{0,40}} (?:less|fewer|<=|at\W+most) [\w\W]{{0,20}} tokens
    | range\W+of\W+input\W+length | 超长 | 超过 | 超出
    """,
    re.IGNORECASE | re.VERBOSE,
)


def is_too_long(text: str) -> bool:
    """Judge a server's words: do they say that the prompt is too long?"""
    return _TOO_LONG.search(text) is not None


class Window:
    """A model's window, of so many tokens until its server says otherwise."""

    def __init__(self, tokens: int | None = None) -> None:
        tokens = tokens or UNKNOWN_TOKENS
        self._bytes = max(1, tokens - min(_REPLY_TOKENS, tokens // 4)) * _BYTES_PER_TOKEN
        self._taken = 0
        """The size of the largest prompt that the server has taken."""

    def fit(self, prompt: Prompt) -> "Fitting":
        """Leave out what is known to be too much. Returns a fitting whose `prompt` can be sent."""
        return Fitting(self, _shortened(prompt, self._bytes), self._bytes)

    def learn(self, size: int, limit: int) -> None:
        """Note that a prompt was taken, and how much may be sent from now on."""
        self._taken = max(self._taken, size)
        self._bytes = min(self._bytes, limit)

    def has_taken(self, size: int) -> bool:
        """Tell if a prompt of this size has been taken before."""
        return size <= self._taken


class Fitting:
    """A prompt on its way to a model, made shorter as often as its server refuses it."""

    def __init__(self, window: Window, prompt: Prompt, limit: int) -> None:
        self.prompt = prompt
        self._window = window
        self._limit = limit
        self._refusals = 0
        self._guesses = 0

    def taken(self) -> None:
        """Note that the server took the prompt: what was learnt on the way is kept."""
        self._window.learn(_size(self.prompt), self._limit)

    def shorten(self, refusal: ModelError) -> None:
        """Leave out more of a prompt that was refused for its length.

        Raises:
            ModelError: `refusal`, for there is nothing more to leave out.
        """
        share = _share(refusal.reason)
        self._refusals += 1
        self._cut(share if self._refusals <= _GENTLE_REFUSALS else min(share, 0.5), refusal)

    def guess(self, refusal: ModelError) -> None:
        """Leave out more of a prompt that was refused without a clear reason: the length may be one.

        Raises:
            ModelError: `refusal`, for a prompt of this length was taken before, or the guess was wrong.
        """
        size = _size(self.prompt)
        if size <= _SMALLEST_GUESS_BYTES or self._window.has_taken(size) or self._guesses == _MOST_GUESSES:
            raise refusal
        self._guesses += 1
        self._cut(0.5, refusal)

    def _cut(self, share: float, refusal: ModelError) -> None:
        limit = int(_size(self.prompt) * share)
        shorter = _shortened(self.prompt, limit)
        if len(shorter.turns) == len(self.prompt.turns):
            raise refusal
        self.prompt, self._limit = shorter, limit


def _share(reason: str) -> float:
    """Read a refusal such as "at most 4096 tokens, you sent 5000". Returns the share that may be taken, 0.3 to 0.9."""
    numbers = sorted({int(re.sub(r"\D", "", found)) for found in _NUMBER.findall(reason)})
    return min(0.9, max(0.3, 0.95 * numbers[-2] / numbers[-1])) if len(numbers) > 1 else 0.75


def _shortened(prompt: Prompt, limit: int) -> Prompt:
    """Leave out the oldest turns of a prompt above the limit, in bytes. Returns one that begins with the user."""
    excess = _size(prompt) - limit
    if excess <= 0 or len(prompt.turns) < 2:
        return prompt
    step = max(1, limit // _STEPS)
    left_out = _count(prompt.turns, -(-excess // step) * step)
    return replace(prompt, turns=prompt.turns[left_out:])


def _count(turns: Sequence[Turn], excess: int) -> int:
    """Count the oldest turns that have so many bytes together, but never the last one."""
    number = 0
    while number < len(turns) - 1 and (excess > 0 or turns[number].role != "user"):
        excess -= _bytes(turns[number].content)
        number += 1
    return number


def _size(prompt: Prompt) -> int:
    return _bytes(prompt.system) + sum(_bytes(turn.content) for turn in prompt.asked)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
