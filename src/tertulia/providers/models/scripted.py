"""The model that repeats: deterministic, without weights, for demos, tests and benchmarks.

It reads the same prompts as a real model does. A choice: a line `KEY: text` of the question describes each key of an
enum; an exit (`exit-1`, ...) is taken when it shares a significant word with the user's last message, else it is an
action's turn. A reply quotes the user, names the matter at hand (the last line of the question that starts with
`MATTER`), and goes on for as many pieces as it was asked for. A memory is a sentence that begins with "I" or "my"; it
replaces an older one that begins with the same three words. A model of the user is the memories that share a word with
its dimension. Tools are chosen by words too: see tool_choosing.
"""

import asyncio
import itertools
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from tertulia.errors import ModelUnavailable
from tertulia.providers.base import DIRECTION, Prompt, Report
from tertulia.providers.models import form_filling, tool_choosing
from tertulia.providers.models import schema as schemas
from tertulia.providers.models.base import Lifespan, Vendor
from tertulia.settings import Settings

MATTER = "Now: "
"""The beginning of the line of a prompt that says what to do in this message."""

_QUOTED_WORDS = 8
_READ_CHARS = 2_000  # of a message: enough to choose by, and a long one costs no more
_WORD = re.compile(r"[^\W\d_]{3,}")
_SUFFIXES = ("ings", "ing", "ed", "es", "s", "e")
_FILLER_TEXT = (
    "I am the model that repeats: I say the same words every time, one piece after another, so that you can see a "
    "reply arrive without a language model behind it. Set another model to hear a real answer."
)
_TEXTS = (
    "What can you do for me?",
    "Tell me more about that.",
    "Can you give me an example?",
    "Yes, please.",
    "Not now, thank you.",
    "What comes next?",
    "Let us talk about something else.",
    "Thank you, that is all.",
)
_COMMON_WORDS = (
    "about after agent and any are ask asks because been before but can conversation could customer did does for from "
    "had has have her here him his how into its just like made may more need needs not now one other our out over "
    "person please said say says shall she should some speak tell than that the their them then there they this user "
    "users very want wants was way were what when where which who why will wish wishes with would you your"
)
_FILLER = _FILLER_TEXT.split()
_COMMON = frozenset(_COMMON_WORDS.split())
_ASKED = Report("asked", "scripted")


class ScriptedModel:
    """The model that repeats: `pieces` non-empty pieces a reply, a pause of `delay_ms` milliseconds before each.

    With `fail_after`, a reply breaks with ModelUnavailable after so many pieces, and with 0 a choice fails too.
    """

    def __init__(self, pieces: int = 20, delay_ms: float = 0, *, fail_after: int | None = None) -> None:
        self._pieces = pieces
        self._delay = delay_ms / 1000
        self._fail_after = fail_after

    def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        prompt.report(_ASKED)
        return self._say(_reply(prompt, self._pieces))

    async def _say(self, pieces: Sequence[str]) -> AsyncGenerator[str]:
        if self._fail_after is not None:
            pieces = pieces[: self._fail_after]
        delay = self._delay
        for piece in pieces:
            if delay > 0:
                await asyncio.sleep(delay)
            yield piece
        if self._fail_after is not None:
            raise ModelUnavailable("scripted to fail")

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        prompt.report(_ASKED)
        if self._fail_after == 0:
            raise ModelUnavailable("scripted to fail")
        answer = _ANSWERS.get(prompt.interaction)
        if answer is not None:
            return answer(prompt.question)
        if prompt.interaction == form_filling.INTERACTION:
            return form_filling.fill_in(prompt, schema)
        if prompt.interaction in tool_choosing.STEPS and "choice" not in schema.get("properties", ["choice"]):
            return _about_tools(prompt, schema)
        return schemas.example(schema, lambda keys: _pick(prompt, keys), _TEXTS)


def _reply(prompt: Prompt, count: int) -> Sequence[str]:
    words = [word + " " for word in _opening(prompt).split()]
    if len(words) < count:
        return words + _filler(count - len(words))
    return [*words[: count - 1], "".join(words[count - 1 :]).rstrip()]


def _opening(prompt: Prompt) -> str:
    matter = _matter(prompt)
    said = _last_message(prompt)
    if not said:
        return f"Hello! {matter}"
    words = said.split(maxsplit=_QUOTED_WORDS)
    more = "..." if len(words) > _QUOTED_WORDS else ""
    return f'You said: "{" ".join(words[:_QUOTED_WORDS])}{more}" {matter}'


def _matter(prompt: Prompt) -> str:
    """Read what is to be done in a reply. Return it without a sentence that gives the wording."""
    _before, found, after = f"\n{prompt.question}".rpartition(f"\n{MATTER}")
    matter = after.partition("\n")[0].strip() if found else ""
    if prompt.wording and prompt.wording in matter:
        matter = f"{matter.partition(prompt.wording)[0].rpartition('. ')[0]}."
    return f"{matter}." if matter[-1:].isalnum() else matter


@lru_cache(maxsize=64)
def _filler(count: int) -> list[str]:
    words = [word + " " for word in itertools.islice(itertools.cycle(_FILLER), count)]
    words[-1] = words[-1].rstrip(" .,:") + "."
    return words


def _last_message(prompt: Prompt) -> str:
    for turn in reversed(prompt.turns):
        if turn.role == "user":
            return "" if DIRECTION.fullmatch(turn.content) else turn.content[:_READ_CHARS]
    return ""


def _pick(prompt: Prompt, keys: Sequence[Any]) -> Any:
    """Choose a key. Return an exit or behaviour of which the user's last message speaks, an action, or the first key.

    Each is known by how its key begins. An exit may be what tools gave just now. Of `yes` and others, it is `yes` if
    the message is that.
    """
    if "yes" in keys:
        return "yes" if tool_choosing.is_yes(_last_message(prompt)) else keys[0]
    exits, actions = _matters(prompt.question, tuple(key for key in keys if isinstance(key, str)))
    if exits:
        said = _stems(_last_message(prompt)) | _stems(tool_choosing.results(prompt.question))
        shared = {key: len(said & words) for key, words in exits.items()}
        best = max(shared, key=shared.__getitem__)
        if shared[best]:
            return best
    return actions[len(prompt.turns) // 2 % len(actions)] if actions else keys[0]


@lru_cache(maxsize=64)
def _matters(question: str, keys: tuple[str, ...]) -> tuple[Mapping[str, frozenset[str]], Sequence[str]]:
    """Part keys by how they begin. Return the words of each exit or behaviour, and the actions."""
    exits = [key for key in keys if key.startswith(("exit-", "behavior-"))]
    texts = _texts(question, frozenset(exits))
    words = {key: _stems(texts.get(key, "")) for key in exits}
    return words, [key for key in keys if key.startswith("action-")]


def _about_tools(prompt: Prompt, schema: Mapping[str, Any]) -> Any:
    if "calls" in schema["properties"]:
        return tool_choosing.choose(prompt.question, schema, _last_message(prompt), _stems)
    if "broken" in schema["properties"]:
        return {"broken": []}
    return tool_choosing.parameters(schema, _last_message(prompt))


def _texts(question: str, keys: frozenset[Any]) -> dict[str, str]:
    parts = (line.partition(": ") for line in question.splitlines())
    return {key: text for key, found, text in parts if found and key in keys}


@lru_cache(maxsize=1024)
def _stems(text: str) -> frozenset[str]:
    return frozenset(_stem(word) for word in _WORD.findall(text.lower()) if word not in _COMMON)


def _stem(word: str) -> str:
    suffix = next((end for end in _SUFFIXES if word.endswith(end) and len(word) - len(end) >= 3), "")
    stem = word[: len(word) - len(suffix)]
    return stem[:-1] if suffix in ("ing", "ed") and stem[-1:] == stem[-2:-1] else stem


# --- Memory ----------------------------------------------------------------------------------------------------------

_OF_THEMSELVES = re.compile(r"\b(?:I|I'm|I've|My) [^.!?]+[.!?]?")
_MOST_REMEMBERED = 12


def _memories(question: str) -> dict[str, Any]:
    older = _lines(question, "memory-")
    made: list[dict[str, Any]] = []
    for key, text in _lines(question, "m").items():
        for sentence in _OF_THEMSELVES.findall(text):
            memory = {"content": sentence.strip(), "context": "", "references": [{"message": key, "quote": sentence}]}
            made.append(memory | ({"replaces": _contradicted(sentence, older)} if older else {}))
    return {"memories": made[:_MOST_REMEMBERED]}


def _contradicted(sentence: str, older: Mapping[str, str]) -> list[str]:
    beginning = sentence.lower().split()[:3]
    same = [key for key, text in older.items() if text.lower().split()[:3] == beginning]
    return [key for key in same if older[key].strip(" .!?") != sentence.strip(" .!?")][:4]


def _user_models(question: str) -> dict[str, Any]:
    notes = _lines(question, "memory-")
    made: list[dict[str, Any]] = []
    for key, text in _lines(question, "dimension-").items():
        about = [note for note, content in notes.items() if _stems(content) & _stems(text)][:3]
        if about:
            content = " ".join(notes[note] for note in about)
            made.append({"dimension": key, "content": content, "memories": about})
    return {"models": made}


def _lines(question: str, prefix: str) -> dict[str, str]:
    """Read the lines whose key is a prefix and a number. Return their texts by key."""
    return dict(re.findall(rf"(?m)^({prefix}\d+): (.*)$", question))


_ANSWERS: Mapping[str, Callable[[str], Any]] = {"ExtractMemories": _memories, "GenerateUserModels": _user_models}


def _open(_name: str, settings: Settings, _lifespan: Lifespan) -> ScriptedModel:
    return ScriptedModel(settings.scripted.pieces, settings.scripted.delay_ms)


VENDOR = Vendor("scripted", _open, "", "the model that repeats")
