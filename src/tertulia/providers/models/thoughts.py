"""A filter that takes a model's thoughts out of its reply.

Reasoning models put what they think into the text: `<think>...</think>`, `<thinking>`, `<thought>`, `<reasoning>`,
`[THINK]...[/THINK]`, `<seed:think>`, `◁think▷`; some send the closing tag alone, for the opening one stood in their
prompt. Servers that leave a model's own marks in its text send `<|channel|>analysis<|message|>` before a thought and
`<|channel|>final<|message|>` before the reply, or `<|START_THINKING|>` and `<|END_THINKING|>`; some take the brackets
out and leave `analysis` at the beginning, directly before a letter, and `assistantfinal` before the reply. Tags are
known in any case, with attributes, and wherever the text is cut. Marks of where a reply begins or ends are dropped
there. The rules,
also in docs/guide/models.md:

- A tag in code (between backticks, or in a fenced block) is text.
- An opening tag begins a thought, which lasts to the next closing tag or to the end of the reply. A tag in the middle
  of a line that is followed by a space or a punctuation mark, and is never closed, is text: somebody writes about it.
- A closing tag alone makes a thought of all that came before it, once in a reply; a further one is dropped.
"""

import re

_NAMES = (
    "antthinking",
    "inner_monologue",
    "longcat_think",
    "mm:think",
    "reasoning",
    "reflection",
    "scratchpad",
    "seed:think",
    "think",
    "thinking",
    "thought",
    "thoughts",
)
_NAME = "|".join(_NAMES)
_NAME_BEGUN = "|".join(
    sorted({name[:end] for name in _NAMES for end in range(1, len(name) + 1)}, key=len, reverse=True)
)
_OPENING_MARKS = (
    "<|start|>assistant<|channel|>analysis<|message|>",
    "<|start|>assistant<|channel|>commentary<|message|>",
    "<|channel|>analysis<|message|>",
    "<|channel|>commentary<|message|>",
    "<|start_thinking|>",
    "<|begin_of_thought|>",
    "<|thinking|>",
    "<|think|>",
    "<|channel>thought",
    "<unused94>thought",
)
_CLOSING_MARKS = (
    "<|end|><|start|>assistant<|channel|>final<|message|>",
    "<|start|>assistant<|channel|>final<|message|>",
    "<|channel|>final<|message|>",
    "<|end_thinking|>",
    "<|end_of_thought|>",
    "<|/thinking|>",
    "<|/think|>",
    "<channel|>",
    "<unused95>",
)
_FIRST_MARKS = (
    "<|begin_of_box|>",
    "<|begin_of_solution|>",
    "<|start_response|>",
    "<answer>",
    "<start_of_turn>model",
)
"""Marks before a reply, dropped there alone."""
_LAST_MARKS = (
    "<|end_of_box|>",
    "<|end_of_solution|>",
    "<|end_of_text|>",
    "<|end_response|>",
    "<|end|>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|im_end|>",
    "<|return|>",
    "</answer>",
    "<end_of_turn>",
    "</s>",
)
"""Marks behind a reply, dropped there alone."""
_MARKS = (*_OPENING_MARKS, *_CLOSING_MARKS, *_FIRST_MARKS, *_LAST_MARKS)
_MARKS_BEGUN = sorted({mark[:end] for mark in _MARKS for end in range(2, len(mark))}, key=len, reverse=True)
_ATTRIBUTES = r"(?:\s[^<>]{0,100})?"
_TAG = (
    rf"<(?P<close>/?)(?:{_NAME}){_ATTRIBUTES}/?>|[\[◁](?P<shut>/?)think[\]▷]"
    rf"|(?P<ended>{'|'.join(map(re.escape, _CLOSING_MARKS))})|{'|'.join(map(re.escape, _OPENING_MARKS))}"
    rf"|(?P<first>{'|'.join(map(re.escape, _FIRST_MARKS))})|(?P<last>{'|'.join(map(re.escape, _LAST_MARKS))})"
)
_TAG_BEGUN = (
    rf"<(?:/?(?:{_NAME_BEGUN})?|/?(?:{_NAME}){_ATTRIBUTES}/?)|[\[◁]/?(?:t|th|thi|thin|think)?"
    rf"|{'|'.join(map(re.escape, _MARKS_BEGUN))}"
)
_WHOLE_TAG = re.sub(r"\(\?P<\w+>", "(?:", _TAG)
_LONGEST = 200
"""Characters of the longest tag, between backticks."""

_IN_TEXT = re.compile(_TAG, re.IGNORECASE)
_IN_TEXT_BEGUN = re.compile(rf"(?:{_TAG_BEGUN})\Z", re.IGNORECASE)
_MENTION = re.compile(rf"`(?:{_WHOLE_TAG})`", re.IGNORECASE)
_IN_THOUGHT = re.compile(rf"`(?:{_WHOLE_TAG})`|{_TAG}", re.IGNORECASE)
_IN_THOUGHT_BEGUN = re.compile(rf"(?:`(?:{_WHOLE_TAG})?|`?(?:{_TAG_BEGUN}))\Z", re.IGNORECASE)
_MOST_BLANKS = 1000
"""Characters of white space before the first word that are kept, for the reply or for a thought."""
_MOST_AT_ONCE = 4_096
_AFTER_A_MENTION = " .,;:!?)\"'\u2019\u201d"
_FENCES = ("```", "~~~")
_BARE_OPENING = "analysis"
_BARE_CLOSING = "assistantfinal"
_BEGINS_BARE = re.compile(rf"{_BARE_OPENING}[^\W_]")


class ThoughtFilter:
    """A reply's text on its way: `feed` and `finish` return what of it is meant for the user, as early as it is known.

    If `begins_in_thought`, the reply is held until its closing tag, for its model is known to send no opening one.
    """

    def __init__(self, *, begins_in_thought: bool = False) -> None:
        self.closed_alone = False
        """True once a closing tag has stood alone: the reply began in thought."""
        self.taken_back = False
        """True once text that was returned has turned out to be thought: all of it. The reader resets this."""
        self._bare: _BareChannels | None = _BareChannels()
        """The reading of channels without brackets; None: the reply has none."""
        self._held = ""
        """Text that may be a part of a tag."""
        self._marks = ""
        """Marks behind a reply, if this is its end; white space among them."""
        self._blank: str | None = ""
        """White space that the reply begins with, held until a word follows; None: the next white space is dropped."""
        self._given = False
        """True if a part of the reply is visible."""
        self._returned = False
        """True if an earlier call returned a part of the reply."""
        self._plain = False
        """True if a piece without brackets is visible as it is."""
        self._due = 1
        """Closing tags that may come without an opening one."""
        self._opener: str | None = "" if begins_in_thought else None
        """The tag of the thought that is open, empty if the thought is only supposed; None: none is open."""
        self._thought: list[str] = []
        """The thought that is open."""
        self._code = _Code()
        self._unread: list[str] = []
        """Visible text that `_code` has not read yet."""

    def feed(self, text: str) -> str:
        """Take more of the reply. Return what of it, and of what was held, is visible by now."""
        if len(text) > _MOST_AT_ONCE:
            return self._feed_in_slices(text)
        if self._bare is not None:
            text = self._read_bare(self._bare, text)
        if self._plain and not self._held and "<" not in text and "[" not in text and "◁" not in text:
            self._unread.append(text)
            return text
        visible = self._work(self._held + text, last=False)
        self._returned = self._returned or bool(visible)
        return visible

    def _feed_in_slices(self, text: str) -> str:
        """Take a long text in slices, so that the work stays linear. Return what of it is visible by now."""
        visible: list[str] = []
        taken_back, returned = self.taken_back, self._returned
        for begin in range(0, len(text), _MOST_AT_ONCE):
            self.taken_back = False
            piece = self.feed(text[begin : begin + _MOST_AT_ONCE])
            if self.taken_back:
                visible.clear()
                taken_back = taken_back or returned
            visible.append(piece)
        self.taken_back = taken_back
        return "".join(visible)

    def finish(self, *, cut: bool = False) -> str:
        """End the reply, which was `cut` short or is whole. Return the rest that is visible."""
        begun = ""
        if self._bare is not None:
            text, self._bare = self._bare.rest, None
            begun = self.feed(text)
        return begun + self._finish(cut=cut)

    def _read_bare(self, bare: "_BareChannels", text: str) -> str:
        """Read text that may have channels without brackets. Return what is left to read of it."""
        text = bare.read(text)
        if bare.absent:
            self._bare = None
        if bare.closed:
            bare.closed = False
            self._begin_again()
        return text

    def _begin_again(self) -> None:
        """Take all that came so far for a thought."""
        self.taken_back = self.taken_back or self._returned
        self._returned = self._given = self._plain = False
        self._held = self._blank = self._marks = ""
        self._due, self._code = 1, _Code()
        self._unread.clear()
        self._end_thought()

    def _finish(self, *, cut: bool) -> str:
        rest = self._work(self._held, last=True)
        opener, thought = self._opener, "".join(self._thought)
        if opener == "":
            plain = ThoughtFilter()
            return plain.feed(thought) + plain.finish(cut=cut)
        if opener and not cut and self._code.within_line and thought[:1] and thought[0] in _AFTER_A_MENTION:
            return rest + opener + thought
        return rest

    def _work(self, text: str, *, last: bool) -> str:
        visible: list[str] = []
        known: dict[bool, str] = {}
        while text:
            thinking = self._opener is not None
            if len(text) < _LONGEST:
                known.clear()  # its end has been read with what stands before it
            if thinking not in known:
                known[thinking] = "" if last else _begun(text, thinking=thinking)
            self._held = known[thinking]
            text = text[: len(text) - len(self._held)]
            rest = self._think(text) if thinking else self._speak(text, visible)
            text = "" if rest is None else rest + self._held
        self._plain = self._opener is None and self._given and self._blank is not None and not self._marks
        return "".join(visible)

    def _speak(self, text: str, visible: list[str]) -> str | None:
        """Read visible text up to the next tag. Return what follows the tag; None: there is no tag."""
        tag = _IN_TEXT.search(text)
        if tag is None:
            self._give(text, visible)
            return None
        self._give(text[: tag.start()], visible)
        self._code.read("".join(self._unread))
        self._unread.clear()
        if self._code.inside:
            self._give(tag[0], visible)
        elif tag["first"]:
            if self._given:
                self._give(tag[0], visible)
        elif tag["last"]:
            self._marks += tag[0]
        elif _closes(tag):
            self._close_alone(visible)
        elif not tag[0].endswith("/>"):
            self._due = self._due if self._given else 0
            self._opener = tag[0]
        return text[tag.end() :]

    def _think(self, text: str) -> str | None:
        """Read a thought up to its end. Return what follows it; None: it goes on."""
        for tag in _IN_THOUGHT.finditer(text):
            if tag[0][0] == "`" or tag["first"] or tag["last"]:
                continue
            if _closes(tag):
                self.closed_alone = self.closed_alone or not self._opener
                self._end_thought()
                return text[tag.end() :]
            if not self._opener and not any(map(str.strip, [text[: tag.start()], *self._thought])):
                self._due = 0
                self._opener = tag[0]
                self._thought.clear()
                return text[tag.end() :]
            self._due += 1
        self._thought.append(text)
        return None

    def _close_alone(self, visible: list[str]) -> None:
        """End a thought that began with the reply; everything that was visible was a part of it."""
        if not self._due:
            return
        self._due -= 1
        self.closed_alone = True
        self.taken_back = self.taken_back or self._returned
        visible.clear()
        self._returned = self._given = False
        self._marks = ""
        self._code = _Code()
        self._end_thought()

    def _end_thought(self) -> None:
        self._opener = None
        self._thought.clear()
        if not self._given or self._code.after_space:
            self._blank = None

    def _give(self, text: str, visible: list[str]) -> None:
        """Add visible text: not before its first word, and without a second white space around a thought."""
        if self._marks and text:
            if not text.strip():
                self._marks += text
                return
            text, self._marks = self._marks + text, ""
        if self._blank is None:
            text = text.lstrip()
        elif not self._given:
            text = self._blank + text
        if self._given or text.strip():
            self._given = True
            self._blank = self._blank if self._blank is None and not text else ""
            if text:
                self._unread.append(text)
                visible.append(text)
        elif self._blank is not None:
            self._blank = text[-_MOST_BLANKS:]


def _closes(tag: re.Match[str]) -> bool:
    return bool(tag["close"] or tag["shut"] or tag["ended"])


class _BareChannels:
    """The channels of gpt-oss without their brackets: `analysis`, a thought, `assistantfinal`, the reply."""

    def __init__(self) -> None:
        self.absent = False
        """True once the reply is known to begin otherwise."""
        self.closed = False
        """True if a thought has just ended. The reader resets this."""
        self._thought: list[str] | None = None
        """The thought before the end of a thought is found, and nothing after that; None: it has not begun."""
        self._speaks = False
        self._held: str = ""

    @property
    def rest(self) -> str:
        """All that was held."""
        return "".join([*(self._thought or ()), self._held])

    def read(self, text: str) -> str:
        """Take more of the reply. Return what of it, and of what was held, is known to be no thought of this form."""
        text = self._held + text
        if self._thought is None:
            if _BARE_OPENING.startswith(text):
                self._held = text
                return ""
            if not _BEGINS_BARE.match(text):
                self.absent = True
                return text
            self._thought = []
        at = text.rfind(_BARE_CLOSING)
        if at >= 0:
            self.closed = self._speaks = True
            self._thought.clear()
            text = text[at + len(_BARE_CLOSING) :]
        text, self._held = _split_at_beginning(text, _BARE_CLOSING)
        if self._speaks:
            return text
        self._thought.append(text)
        return ""


class _Code:
    """The state of Markdown at the end of a text: is it inside code?"""

    def __init__(self) -> None:
        self.after_space = False
        self._fenced = False
        self._start = ""
        """The first characters of the line, three at most."""
        self._ticks = 0

    @property
    def inside(self) -> bool:
        return self._fenced or self._ticks % 2 == 1 or self._is_fence

    @property
    def within_line(self) -> bool:
        return bool(self._start)

    @property
    def _is_fence(self) -> bool:
        return self._start in _FENCES and self._ticks < 6

    def read(self, text: str) -> None:
        """Go on to the end of `text`."""
        first, *others = text.split("\n")
        self._read_line(first)
        for line in others:
            self._fenced = self._fenced != self._is_fence
            self._start, self._ticks = "", 0
            self._read_line(line)
        if text:
            self.after_space = text[-1].isspace()

    def _read_line(self, text: str) -> None:
        if len(self._start) < 3:
            self._start = (self._start + text).lstrip()[:3]
        self._ticks += text.count("`")


def _begun(text: str, *, thinking: bool) -> str:
    """Find a tag that may have begun at the end of a text, in a thought with the backtick before it. Return it."""
    start = 0
    if thinking and "`" in text:
        start = max((mention.end() for mention in _MENTION.finditer(text)), default=0)
    found = (_IN_THOUGHT_BEGUN if thinking else _IN_TEXT_BEGUN).search(text, max(start, len(text) - _LONGEST))
    return "" if found is None else found[0]


def _split_at_beginning(text: str, mark: str) -> tuple[str, str]:
    """Split a text at a mark that may have begun at its end."""
    held = next((size for size in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:size])), 0)
    return text[: len(text) - held], text[len(text) - held :]
