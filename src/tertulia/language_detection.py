"""The language of a short text, as far as its letters or its commonest words tell it beyond doubt."""

# ruff: noqa: RUF001 - the letters of other languages are meant

import re
from collections import Counter, defaultdict
from typing import NamedTuple

_CHINESE = "[你您吗嗎呢吧这這们們没沒哪么麼很请請谢謝什怎她给給说說书買买钱錢]"
"""Signs that Chinese is written with, and Japanese is not."""


class _Script(NamedTuple):
    """Letters that a language, the commonest one of them, is written with.

    A letter of `others` is of another language, and without `proof` a text may be of one as well.
    """

    language: str
    letters: str
    others: str = r"(?!)"
    proof: str = ""


_SCRIPTS = (
    _Script(
        "Russian",
        "\u0400-\u04ff",
        "[\u0400\u0402-\u040f\u0450\u0452-\u04ff]",
        r"[ыэё]|\b(?:здравствуй|здравствуйте|что|где|когда|есть|меня|нет|спасибо|пожалуйста|можно|сколько|какой|какая"
        r"|какие|если|мне|добрый день|свидания|нужно|нужна|хотел|хотела|только|очень|почему|что-нибудь)\b",
    ),
    _Script("Greek", "\u0370-\u03ff"),
    _Script("Hebrew", "\u0590-\u05ff", "[\u05f0-\u05f2]"),
    _Script("Arabic", "\u0600-\u06ff", "[\u0671-\u06d3\u06fa-\u06ff]", "[\u0629\u0623\u0625\u0649\u0643\u064a]"),
    _Script("Hindi", "\u0900-\u097f", "[\u0933\u0934]"),
    _Script("Bengali", "\u0980-\u09ff", "[\u09f0\u09f1]"),
    _Script("Thai", "\u0e00-\u0e7f"),
    _Script("Korean", "\u1100-\u11ff\uac00-\ud7af"),
    _Script(
        "Japanese",
        "\u3040-\u30ff\u3400-\u9fff",
        _CHINESE,
        r"[\u3040-\u309f]|\A[^\u3400-\u9fff]*[\u30a0-\u30ff][^\u3400-\u9fff]*\Z",
    ),
    _Script("Chinese", "\u3400-\u9fff", "[\u3040-\u30ff]", _CHINESE),
)
_DANISH = "Danish or Norwegian"
"""Two languages that no short text tells apart: they keep a text from being taken for Swedish."""

_WORDS = {
    "English": "the a an is are was do does did you i my me your it its what which how when where who why and or "
    "but not no yes have has can could would will with about for from this that there of to in on at "
    "please thanks hello hi bye any some book something we they if so come good tell like know much "
    "many more been read one other meet speak am i'm i'll it's don't what's that's let by he she him "
    "her into out up just here now",
    "German": "der die das den dem des ein eine einen einer ist sind war ich du sie er wir ihr mir mich dir uns "
    "und oder aber nicht kein keine ja nein haben habe hast hat geht wird worum können kann könnte wie "
    "was wann wo wer warum mit von für auf im zu zum auch noch etwas gibt es bitte danke hallo guten "
    "tag morgen abend tschüss wiedersehen buch bücher über muss möchte gern gerne vielen dank bin bei "
    "nur",
    "French": "c'est n'est n'avez rien j'ai l'ai qu'un qu'une le la les un une des du est sont je tu il elle nous "
    "vous mon ma mes votre vos et ou mais pas non oui avez ai a pouvez peut comment quoi quand où qui "
    "pourquoi avec de pour sur dans au aux ce cette quel quelle bonjour salut merci revoir livre livres "
    "bonsoir voudrais aussi quelque chose ça que",
    "Spanish": "soy solo siento quiere nada nuestro nuestra le a cualquier venir pregunte nuestras el la los las "
    "un una es son yo tú él ella usted ustedes mi su y o pero no sí tiene tienen tengo puede puedo cómo "
    "qué cuándo dónde quién por con de para en del al este esta algo hola gracias adiós buenos buenas "
    "días libro libros hay quiero me gusta más sobre cuál trata cuesta se que",
    "Italian": "il lo la gli le un uno una è sono io tu lui lei noi voi mio mia e o ma non sì avete ho ha può "
    "posso come cosa quando dove chi perché con di per su nel della del questo questa qualcosa ciao "
    "grazie buongiorno libro libri vorrei anche che arrivederci",
    "Portuguese": "o a os as um uma é são eu você ele ela nós meu minha e ou mas não sim tem têm tenho pode posso "
    "como que quando onde quem com de para em no na do da este esta algo olá obrigado obrigada adeus "
    "livro livros quero mais sobre qual bom dia",
    "Dutch": "de het een is zijn ik jij je u hij zij wij mijn en of maar niet geen ja nee heeft heb hebben kan "
    "kunt hoe wat wanneer waar wie waarom met van voor op in te ook iets hallo dank bedankt boek boeken "
    "over graag dag goedemorgen",
    "Polish": "jest są ja ty on ona my wy mój i lub ale nie tak mam ma macie może mogę jak co kiedy gdzie kto "
    "dlaczego z od dla na w do ten ta to coś cześć dziękuję dzień dobry książka książki książkę o się "
    "czy proszę",
    "Turkish": "bir bu şu ben sen o biz siz ve veya ama değil evet hayır var yok mı mi mu mü nasıl ne zaman nerede "
    "kim neden ile için merhaba teşekkürler kitap kitabı lütfen da de",
    "Swedish": "en ett är var jag du han hon vi ni min och eller men inte nej ja har kan hur vad när vem varför "
    "med av för på i till också något någon några hej tack bok böcker boken om det den kostar finns mig dig "
    "heter skulle vill ska",
    _DANISH: "en et er var jeg du han hun vi min og eller men ikke nej nei ja har kan hvordan hva hvad når hvem "
    "hvorfor hvor med av af for på i til også noget noe hej hei tak takk bog bok bøger bøker om det den koster "
    "fra deg dig mig vil gerne gjerne skal",
}
_ALONE = {
    "German": "danke tschüss guten bitte",
    "French": "bonjour bonsoir merci salut",
    "Spanish": "hola gracias adiós buenos buenas",
    "Italian": "ciao grazie buongiorno arrivederci",
    "Portuguese": "olá obrigado obrigada",
    "Dutch": "bedankt goedemorgen",
    "Polish": "cześć dziękuję",
    "Turkish": "merhaba teşekkürler",
    "Swedish": "tack",
}
"""Words that tell a language without another one beside them: who writes them means to speak it."""
_TELLING = {language: frozenset(told.split()) for language, told in _ALONE.items()}
_SPOKEN: defaultdict[str, set[str]] = defaultdict(set)
for _language, _text in (*_WORDS.items(), *_ALONE.items()):
    for _word in _text.split():
        _SPOKEN[_word].add(_language)
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_LETTER = re.compile(r"[^\W\d_]")
_MOST_CHARS = 2_000
_SHARE = 0.5
_LONG = 4
"""Words from which on a language needs to be ahead of the next one by two."""


def language_of(text: str) -> str | None:
    """Read the language of a text. Return its English name, or None if that is not certain."""
    votes, words = _votes(text)
    (first, most), (_, second) = [*votes.most_common(2), ("", 0), ("", 0)][:2]
    return first if most > 1 and most > second + (words >= _LONG) and first != _DANISH else None


def _votes(text: str) -> tuple[Counter[str], int]:
    """Count what speaks for each language. Return the counts, and the number of words."""
    text = text[:_MOST_CHARS]
    if (script := _script_of(text)) is not None:
        return Counter({script: 2}), 1
    words = [word.casefold() for word in _WORD.findall(text)]
    votes = Counter(language for word in words for language in _SPOKEN.get(word, ()))
    votes.update(language for language, telling in _TELLING.items() if not telling.isdisjoint(words))
    return votes, len(words)


def _script_of(text: str) -> str | None:
    """Look for the script of most letters of a text. Return the language, if no other one is written like this."""
    if text.isascii():
        return None
    letters = len(_LETTER.findall(text))
    for script in _SCRIPTS:
        if len(re.findall(f"[{script.letters}]", text)) > _SHARE * letters:
            folded = text.casefold()
            if re.search(script.proof, folded) and not re.search(script.others, folded):
                return script.language
    return None
