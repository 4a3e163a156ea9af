"""The forms in which a small model makes a choice: a short question of its own about what was said last.

The options have the names of states, which say something, where letters and numbers do not. With Qwen2.5-Coder 1.5B, a
note with numbered keys below the whole prompt was answered rightly in 4 and 5 of 10 cases, letters in 5 to 8 by the
wording, and this form in 8 of 10; it also reads less. A harder set was answered rightly in 16 of 22 cases.

If options have sayings, the model is shown them as choices that were made before: a small model goes on with a row of
examples far better than it follows a description. They stand first and never change, so that they are read once.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest

from tertulia.providers.base import Choice, Turn

_SYSTEM = "You judge what a person said in a conversation."
_SORTING = "You sort what a person said in a conversation. These are the kinds:"
_TURN_CHARS = 500
"""The end of a message that is shown."""
_MOST_EXAMPLES = 100
"""Sayings that are shown, the first of each option: all of many would be more than a small model can read."""


def messages(choice: Choice, turns: Sequence[Turn]) -> list[dict[str, str]]:
    """Write the question about the last two turns. Return its messages."""
    if any(option.sayings for option in choice.options.values()):
        return [*_examples(choice), {"role": "user", "content": "\n".join(_said(choice, turns))}]
    *before, last = turns
    said = [f'An agent said: "{turn.content[-_TURN_CHARS:]}"' for turn in before[-1:]]
    text = "\n".join(
        [
            *said,
            f'The person {"answered" if said else "said"}: "{last.content[-_TURN_CHARS:]}"',
            "",
            *_rules(choice),
            "Which of these is right?",
            *(f"{option.name}: {option.text}" for option in choice.options.values()),
            "Answer with the word only.",
        ]
    )
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": text}]


def matters(choice: Choice) -> Choice:
    """Leave out the sayings of a choice among matters. Return the choice by their descriptions."""
    return replace(choice, options={key: replace(option, sayings=()) for key, option in choice.options.items()})


def _examples(choice: Choice) -> Iterator[dict[str, str]]:
    """Write the options, and each of their sayings as a choice that was made before. Yield the messages.

    The options take turns: a small model likes best what it has just seen several times.
    """
    left = _MOST_EXAMPLES
    options = [*choice.options.values()]
    yield {"role": "system", "content": "\n".join([_SORTING, *(f"{option.name}: {option.text}" for option in options)])}
    for row in zip_longest(*(option.sayings for option in options)):
        for option, saying in zip(options, row, strict=True):
            if saying is not None and left:
                left -= 1
                yield {"role": "user", "content": f'Person: "{saying}"'}
                yield {"role": "assistant", "content": option.name}


def _said(choice: Choice, turns: Sequence[Turn]) -> Iterator[str]:
    """Write the message that is to be sorted, with the one that it answers. Yield the lines."""
    *before, last = turns
    yield from _rules(choice)
    for turn in before[-1:]:
        yield f'Agent: "{turn.content[-_TURN_CHARS:]}"'
    yield f'Person: "{last.content[-_TURN_CHARS:]}"'


def _rules(choice: Choice) -> Sequence[str]:
    return ["Rules:", *(f"- {rule}" for rule in choice.rules), ""] if choice.rules else []


def matter(choice: Choice) -> str:
    """Write what stays the same in all questions of a choice. Return the text that tells it from others."""
    return "\n".join(f"{option.name}: {option.text}" for option in choice.options.values())


def grammar(names: Iterable[str]) -> str:
    """Allow one of the names and nothing else. Return the grammar in llama.cpp's notation, GBNF."""
    return "root ::= " + " | ".join(json.dumps(name) for name in names)
