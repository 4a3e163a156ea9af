"""Files remember where each value stands, and say so when something is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.files.document import DEEPEST, WrongFile, read

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=100), inner), max_leaves=8
)


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def wrong(folder: Path, text: str | bytes) -> tuple[int, int, str]:
    """Read a file with one mistake. Return its place and its text."""
    with pytest.raises(WrongFile) as error:
        read(write(folder, text))
    (problem,) = error.value.problems
    return problem.line, problem.column, problem.text


def test_a_value_is_found_at_its_line_and_column(tmp_path: Path) -> None:
    document = read(write(tmp_path, "states:\n  - name: hall\n    exits: [{to: door}]\n"))
    assert document.value == {"states": [{"name": "hall", "exits": [{"to": "door"}]}]}
    assert document.places["states", 0, "exits", 0, "to"] == (3, 14)
    assert str(document.problem(("states", 0, "objective"), "This field is required.")) == (
        f"{document.path}:2:5: This field is required."
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [("no", "no"), ("on", "on"), ("2026-11-26", "2026-11-26"), ("010", 10), ("1_000", "1_000"), ("12:30", "12:30")],
)
def test_words_and_dates_of_old_yaml_are_texts(tmp_path: Path, text: str, value: object) -> None:
    assert read(write(tmp_path, f"key: {text}")).value == {"key": value}


@given(value=JSON)
def test_json_is_read_as_it_is(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    assert read(write(tmp_path_factory.getbasetemp(), json.dumps(value))).value == value


def test_a_key_that_stands_twice_is_told(tmp_path: Path) -> None:
    assert wrong(tmp_path, "name: a\nname: b\n") == (2, 1, "The key name stands here twice.")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a:\n\tb: 1\n", (2, 1, "A tab stands here; YAML is indented by spaces.")),
        ("a: 1\n---\nb: 2\n", (2, 1, "A second document begins here; a file has one.")),
        ("a: !b c\n", (1, 4, "A tag (`!name`) means nothing here: write the value without it.")),
    ],
)
def test_what_yaml_takes_amiss_is_told_in_plain_words(tmp_path: Path, text: str, told: tuple[int, int, str]) -> None:
    assert wrong(tmp_path, text) == told


def test_a_file_that_is_nearly_called_so_is_named(tmp_path: Path) -> None:
    for beside, told in [
        ("", "There is no such file."),
        ("Agent.yml", "There is no such file; Agent.yml should be called so."),
    ]:
        if beside:
            (tmp_path / beside).touch()
        with pytest.raises(WrongFile, match=told):
            read(tmp_path / "agent.yaml")


def test_what_is_no_yaml_is_told_where_it_ends(tmp_path: Path) -> None:
    line, column, text = wrong(tmp_path, "a: [1,\nb: 2\n")
    assert (line, column) == (3, 1)
    assert text[0].isupper()
    assert text[-1] == "."


def test_other_bytes_than_utf_8_are_told(tmp_path: Path) -> None:
    assert wrong(tmp_path, b"name: a\nrole: \xff") == (2, 7, "The file is not UTF-8.")


def test_a_character_that_is_not_allowed_is_told_at_its_place(tmp_path: Path) -> None:
    told = "The character U+0000 is not allowed here; write it as an escape."
    assert wrong(tmp_path, b"\xef\xbb\xbfname: a\nrole: b\0") == (2, 8, told)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(WrongFile, match="There is no such file"):
        read(tmp_path / "agent.yaml")


def test_a_file_that_is_nested_too_deeply_is_told(tmp_path: Path) -> None:
    assert (
        wrong(tmp_path, "[" * (DEEPEST + 2) + "]" * (DEEPEST + 2))[2] == f"Values are nested more than {DEEPEST} deep."
    )


def test_a_file_that_unfolds_without_end_is_told(tmp_path: Path) -> None:
    levels = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    levels += [
        f"{name}: &{name} [{', '.join([f'*{below}'] * 10)}]" for below, name in zip("abcdef", "bcdefg", strict=True)
    ]
    assert "values" in wrong(tmp_path, "\n".join(levels))[2]


@pytest.mark.parametrize("value", ["!!int abc", "!!timestamp foo", "!!bool maybe", "9" * 5000])
def test_a_value_that_is_not_of_its_type_is_told(tmp_path: Path, value: str) -> None:
    assert wrong(tmp_path, f"key: {value}") == (1, 6, "This value is not of its type.")


@pytest.mark.parametrize("escape", ["U00110000", "UFFFFFFFF"])
def test_an_escape_that_is_no_character_is_told(tmp_path: Path, escape: str) -> None:
    assert wrong(tmp_path, f'key: "\\{escape}"')[2] == "The file has an escape that stands for no character."


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(WrongFile, match="This is no file"):
        read(tmp_path)
