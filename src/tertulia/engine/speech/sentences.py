"""A streamed text, cut into sentences that a voice can begin with while the rest is still being written."""

# ruff: noqa: RUF001, SIM905 - the punctuation of other scripts is meant; words read better in a line than in a list
import re
import unicodedata
from collections.abc import Callable

LONGEST = 250
"""Characters after which a sentence is cut at a clause, at a word, or where it stands."""

_SHORTEST_CLAUSE = 80

_END = re.compile(
    r"(?P<newline>\n)"
    r"|(?P<strong>[。！？｡؟۔।॥።។။։][。！？｡؟۔।॥.!?…‥]*+[]\"'”’»)}」』）】〉》*_~`]*+)"
    r"|(?P<weak>[.!?…‥]++)(?P<closing>[ \u00a0\u202f]»|[]\"'”’“»›)}」』）*_~`]*+)"
)
"""Strong stops end a sentence whatever follows; weak ones only before white space, and not after an abbreviation."""

_CLAUSE = re.compile(r"[,;:،؛—–]\s|[、，；：]")
_SPACE = re.compile(r"\s")
_VISIBLE = re.compile(r"\S")
_NEXT = re.compile(r"\n|\S")
_NUMBERED = re.compile(r"[0-9]{1,3}")
_INITIALS = re.compile(r"[^\W\d_](?:\.-?[^\W\d_])*+")
_ANYTHING = "X"
_OPENING = "([{\"'“‘«„¿¡*_~`"

_BEFORE_ANYTHING = frozenset(
    "Mr Mrs Ms Mx Dr Prof Rev Hon Gen Col Capt Cpt Lt Sgt Maj Gov Sen Rep Pres St Mt Ft Messrs Mme Mlle Mgr "
    "Sr Sra Srta Dra Ud Uds Hr Fr Dipl Ing Sig Dott Avv vs cf viz approx ca bzw bzgl evtl ggf inkl vgl sog "
    "Ph.D p.ej".split()
)
_BEFORE_NUMBERS = frozenset(
    "No no Nos Nr nr Nº núm Núm pág págs Fig fig Abb Art art Vol vol Ch ch Sec sec Eq pp "
    "Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Okt Nov Dec Dez".split()
)
_BEFORE_MORE = frozenset(
    "etc usw al Inc Ltd Corp Co Jr Bros Ave Blvd Str a.m p.m tbsp tsp oz lb lbs ft hr hrs min max".split()
)


class Sentences:
    """The sentences of a text that comes in pieces.

    All sentences joined are the text. They are the same however it came, and each is given out by the first character
    that makes it certain. White space stays with the sentence before it up to its first character, the rest leads the
    next one; only what trails the whole text can be a sentence of white space.
    """

    def __init__(self) -> None:
        self._lead: list[str] = []
        self._text = ""
        self._judged = 0

    def add(self, piece: str) -> list[str]:
        """Add a piece of text. Return the sentences that it completes."""
        text, at, whole = self._text + piece, 0, list[str]()
        while True:
            at = self._begin(text, at)
            view = text[at : at + LONGEST]
            end, self._judged = _end(view, self._judged)
            if end == 0 and len(view) == LONGEST:
                end = _cut(view)
            if end == 0:
                self._text = view
                return whole
            whole.append("".join([*self._lead, view[:end]]))
            self._lead, self._judged = [], 0
            at += end

    def rest(self) -> list[str]:
        """End the text. Return the sentences that are left."""
        left = "".join([*self._lead, self._text])
        self._lead, self._text, self._judged = [], "", 0
        return [left] if left else []

    def _begin(self, text: str, at: int) -> int:
        """Find the beginning of the sentence at `at`. Return it; the white space before it is kept apart."""
        visible = _VISIBLE.search(text, at)
        begin = visible.start() if visible else len(text)
        if begin > at:
            self._lead.append(text[at:begin])
        return begin


def ends_sentence(text: str) -> bool:
    """Judge the end of a text. Return True if it is that of a sentence; dots that leave one open are not."""
    if text.rstrip().endswith(("..", "…", "‥")):
        return False
    sentences = Sentences()
    sentences.add(f"{text.strip()} {_ANYTHING}")
    return sentences.rest() == [_ANYTHING]


def _end(view: str, judged: int) -> tuple[int, int]:
    """Find the end of the first sentence. Return it (0: not known yet) and the end of what need not be read again."""
    for found in _END.finditer(view, judged):
        if found["newline"]:
            return found.end(), 0
        end = _end_of_stop(view, found)
        if end == len(view):
            return 0, found.start()
        ends = bool(found["strong"]) or _ends(view, found, end)
        if ends is None:
            return 0, found.start()
        if ends:
            return end + view[end].isspace(), 0
    return 0, len(view)


def _end_of_stop(view: str, stop: re.Match[str]) -> int:
    """Find the end of a stop with what it closes. Return it; a guillemet after a space closes only one that is open."""
    closing = stop["closing"]
    if closing and closing[0].isspace() and not _is_open(view[: stop.start()]):
        return stop.end("weak")
    return stop.end()


def _is_open(text: str) -> bool:
    return text.rfind("«") > text.rfind("»")


def _ends(view: str, stop: re.Match[str], end: int) -> bool | None:
    """Judge a weak stop up to `end`. Return True if it ends the sentence, None if what decides it has not come."""
    after = view[end]
    if not after.isspace():
        return after in "¿¡" or (stop["weak"][-1] in "!?" and "\u3040" <= after <= "\u9fff")
    follows = _NEXT.search(view, end)
    ahead = follows[0] if follows else None
    if _is_open(view[:end]) and ahead in {None, "»"}:
        return None if ahead is None else False
    if end > stop.end("weak") or stop["weak"][-1] in "…‥" or ".." in stop["weak"]:
        return _unless(ahead, str.islower)
    if stop["weak"] != ".":
        return True
    before = view[: stop.start()]
    word = before.rsplit(None, 1)[-1].lstrip(_OPENING) if before.strip() else ""
    return _ends_after(word, ahead, leads=before.strip() == word)


def _ends_after(word: str, ahead: str | None, *, leads: bool) -> bool | None:
    """Judge a full stop after `word`. Return True if it ends the sentence, with what is visible `ahead`."""
    if word in _BEFORE_ANYTHING or (leads and _NUMBERED.fullmatch(word)):
        return False
    if word in _BEFORE_NUMBERS:
        return _unless(ahead, lambda char: char.isdigit() or char.islower())
    if word in _BEFORE_MORE:
        return _unless(ahead, str.islower)
    return word == "I" or not _INITIALS.fullmatch(word)


def _unless(ahead: str | None, goes_on: Callable[[str], bool]) -> bool | None:
    return None if ahead is None else not goes_on(ahead)


def _cut(view: str) -> int:
    """Find a place to cut a sentence that is too long. Return it."""
    clauses = [found.end() for found in _CLAUSE.finditer(view, _SHORTEST_CLAUSE)]
    words = [found.end() for found in _SPACE.finditer(view)]
    if clauses or words:
        return (clauses or words)[-1]
    end = len(view) - 1
    while end > LONGEST // 2 and (unicodedata.category(view[end])[0] == "M" or "\u200d" in view[end - 1 : end + 1]):
        end -= 1
    return end
