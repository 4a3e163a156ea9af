"""Write `src/tertulia/languages.tsv` from the package python-iso639: `make languages`."""

import iso639

from support.pages import ROOT

FILE = ROOT / "src" / "tertulia" / "languages.tsv"


def table() -> str:
    """Make the file's text: the code, that of ISO 639-1, that of the whole language, and the name of each language."""
    rows = [
        (language.part3, language.part1 or "", language.macrolanguage or "", language.name)
        for language in sorted(iso639.ALL_LANGUAGES, key=lambda language: language.part3)
    ]
    return "".join("\t".join(row) + "\n" for row in rows)


if __name__ == "__main__":
    FILE.write_text(table(), "utf-8")
