"""The window: how much of a conversation a model can take, known from a setting and learnt from its server's refusals.

The oldest messages are left out first. The system text and the last message always stay: if they alone are too much,
the prompt is refused. Messages are left out in steps of a quarter of the window, so that the beginning of the prompt
stays the same from turn to turn, and a server that remembers beginnings can use them.
"""

import re
from collections.abc import Sequence

from msgspec import structs

from tertulia.errors import ModelError, ModelUnavailable
from tertulia.providers.base import Prompt, Turn

UNKNOWN_TOKENS = 128_000
"""The window of a model if no setting names another one."""

MORE_AGAIN_AFTER = 20
"""Prompts made shorter after which a whole one is sent again: the server may take more by now."""

_BYTES_PER_TOKEN = 3  # of UTF-8: English has four, Chinese less than three
_REPLY_TOKENS = 4096
_STEPS = 4
_SMALLEST_GUESS_BYTES = 4000  # a shorter prompt is not refused for its length
_GENTLE_REFUSALS = 3
_MOST_GUESSES = 3
_DENSEST = 3  # times as many tokens in a text as in another one of the same size
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
    | max_tokens\b [^.]{{0,40}} at\W+least [^.]{{0,40}} got\W+-\d
    | \bcontext[ ](?:is[ ])?full\b | free[ ]space[ ]in[ ]the[ ]kv[ ]cache
    | request_too_large | request[ ]exceeds[ ]the[ ]maximum[ ]size
    | inputs?_?too_?long | eingabe\b [^.]{{0,30}} \bzu\W+lang
    | range\W+of\W+input\W+length | 超长 | 超过 | 超出 | 过长
    """,
    re.IGNORECASE | re.VERBOSE,
)

_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
"""A character as many servers write it in JSON."""


def is_too_long(text: str) -> bool:
    """Judge a server's words: do they say that the prompt is too long?"""
    return _TOO_LONG.search(_ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)) is not None


class ContextWindow:
    """A model's window, of so many tokens until its server says otherwise; one for all conversations of the model."""

    def __init__(self, tokens: int | None = None) -> None:
        tokens = tokens or UNKNOWN_TOKENS
        self._most = max(1, tokens - min(_REPLY_TOKENS, tokens // 4)) * _BYTES_PER_TOKEN
        self._limit = self._most
        """The size that is sent at most, lowered by refusals that speak of length."""
        self._largest = 0
        """The size of the largest prompt that the server has accepted."""
        self._cuts = 0
        """Prompts that the lowered limit has made shorter."""

    @property
    def limit(self) -> int:
        """The size that is sent at most, in bytes."""
        return self._limit

    @property
    def largest(self) -> int:
        """The size of the largest prompt that the server has accepted, in bytes; 0 before the first."""
        return self._largest

    def fit(self, prompt: Prompt) -> "Fitting":
        """Leave out what is known to be too much. Return a fitting whose `prompt` can be sent.

        Now and then the lowered limit is passed over: the server may take more by now.
        """
        limit = self._limit
        if limit < self._most and _size(prompt) > limit:
            self._cuts += 1
            if self._cuts > MORE_AGAIN_AFTER:
                self._cuts, limit = 0, self._most
        return Fitting(self, _shortened(prompt, limit))

    def note_accepted(self, size: int) -> None:
        """Note that the server has accepted a prompt; one above the lowered limit lifts it."""
        self._largest = max(self._largest, size)
        if size > self._limit:
            self._limit = self._most

    def lower(self, limit: int, accepted: int) -> None:
        """Lower the limit for all conversations: more was refused for its length, and `accepted` bytes were not."""
        self._limit, self._largest, self._cuts = min(limit, self._most), accepted, 0


class Fitting:
    """A prompt on its way to a model, made shorter as often as its server refuses it."""

    def __init__(self, window: ContextWindow, prompt: Prompt) -> None:
        self.prompt = prompt
        self._window = window
        self._said = 0
        """The limit after the last refusal that spoke of length; 0 without one."""
        self._refusals = 0
        self._guesses = 0
        self._repeated = False

    def accept(self) -> None:
        """Note that the server has accepted the prompt. A limit is lowered for all only if its refusals said so."""
        size = _size(self.prompt)
        if self._said:
            self._window.lower(self._said, size)
        else:
            self._window.note_accepted(size)

    def shorten(self, refusal: ModelError) -> None:
        """Leave out more of a prompt that was refused for its length.

        Raises:
            ModelError: `refusal`, for there is nothing more to leave out.
        """
        size = _size(self.prompt)
        share = _share(refusal.reason)
        self._refusals += 1
        limit = int(size * (share if self._refusals <= _GENTLE_REFUSALS else min(share, 0.5)))
        if self._window.limit < size:  # the limit was passed over
            limit = self._window.limit
        self._cut(limit, refusal)
        self._said = limit

    def repeat(self, refusal: ModelError) -> bool:
        """Tell if the same prompt is to be sent once more: an inner error of the server may have passed by then."""
        worth_it = not self._repeated and isinstance(refusal, ModelUnavailable) and self._may_be_too_long()
        self._repeated = True
        return worth_it

    def guess(self, refusal: ModelError) -> None:
        """Leave out more of a prompt that was refused without a clear reason: the length may be one.

        The first guess is a size that was accepted before. A guess that helps is not kept: something else may have been
        wrong with the messages that it left out.

        Raises:
            ModelError: `refusal`, for much longer prompts were accepted before, or the guesses were wrong.
        """
        if self._guesses == _MOST_GUESSES or not self._may_be_too_long():
            raise refusal
        self._guesses += 1
        size, accepted = _size(self.prompt), self._window.largest
        if self._guesses == _MOST_GUESSES:
            self._cut(_SMALLEST_GUESS_BYTES, refusal)
        else:
            self._cut(accepted if _SMALLEST_GUESS_BYTES <= accepted < size else size // 2, refusal)

    def _may_be_too_long(self) -> bool:
        size = _size(self.prompt)
        return size > _SMALLEST_GUESS_BYTES and size * _DENSEST > self._window.largest

    def _cut(self, limit: int, refusal: ModelError) -> None:
        shorter = _shortened(self.prompt, limit)
        if len(shorter.turns) == len(self.prompt.turns):
            raise refusal
        self.prompt = shorter


def _share(reason: str) -> float:
    """Read a refusal such as "at most 4096 tokens, you sent 5000". Return the share that may be taken, 0.3 to 0.9."""
    numbers = sorted({int(re.sub(r"\D", "", found)) for found in _NUMBER.findall(reason)})
    return min(0.9, max(0.3, 0.95 * numbers[-2] / numbers[-1])) if len(numbers) > 1 else 0.75


def _shortened(prompt: Prompt, limit: int) -> Prompt:
    """Leave out the oldest turns of a prompt above the limit, in bytes. Return one that begins with the user."""
    excess = _size(prompt) - limit
    if excess <= 0 or len(prompt.turns) < 2:
        return prompt
    step = max(1, limit // _STEPS)
    left_out = _count(prompt.turns, -(-excess // step) * step)
    return structs.replace(prompt, turns=prompt.turns[left_out:])


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
