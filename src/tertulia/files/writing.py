"""Values as YAML that people like to read, and that `document.read` reads back as the same values."""

from pathlib import Path
from typing import Any, Final, cast

import yaml

from tertulia.files.document import SCALARS, WrongFile, parse

_WIDTH: Final = 110
_BREAKS: Final = frozenset("\x85\u2028\u2029")
"""Characters that PyYAML takes for the ends of lines."""


class _Dumper(yaml.SafeDumper):
    """PyYAML, with lists that are indented, in blocks for texts of several lines."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Quoting(_Dumper):
    """The same with every text of several lines in quotes, for texts that no block can hold."""


_dumper: Any = _Dumper  # PyYAML has no types

for _scalar in SCALARS:  # beside those of YAML 1.1: no reader may take a text for something else
    _dumper.add_implicit_resolver(*_scalar)


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text and not isinstance(dumper, _Quoting) else None
    style = '"' if _BREAKS & {*text} else style
    return cast("Any", dumper).represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_list(dumper: _Dumper, items: list[Any]) -> yaml.SequenceNode:
    short = all(isinstance(item, str | int) for item in items) and sum(len(str(item)) for item in items) < 60
    flow = not items or (len(items) == 2 and short and all(" " not in str(item) for item in items))
    return cast("Any", dumper).represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flow)


_dumper.add_representer(str, _represent_text)
_dumper.add_representer(list, _represent_list)


def to_yaml(value: Any) -> str:
    """Write a value. Return the text of its file."""
    text = _dump(value, _Dumper)
    return text if _is_read_as(text, value) else _dump(value, _Quoting)


def _dump(value: Any, dumper: type[_Dumper]) -> str:
    return str(yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True, width=_WIDTH))


def _is_read_as(text: str, value: Any) -> bool:
    try:
        return parse(Path(), text.encode()).value == value
    except (WrongFile, UnicodeError):
        return False
