"""Warnings beside an answer."""

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection

from tertulia.api.http import warnings


def told(*texts: str) -> list[str]:
    connection = HTTPConnection({"type": "http"})
    for text in texts:
        warnings.warn(connection, text)
    headers = MutableHeaders()
    warnings.tell(connection.scope, headers)
    return headers.getlist("x-tertulia-warning")


def test_each_warning_is_a_header_of_its_own_and_told_once() -> None:
    assert told("a: one.", "b: two.", "a: one.") == ["a: one.", "b: two."]


def test_nothing_in_a_warning_can_end_its_header() -> None:
    assert told("a\r\nSet-Cookie: b\0é😀") == ["a\\u000d\\u000aSet-Cookie: b\\u0000\\u00e9\\ud83d\\ude00"]


def test_warnings_are_bounded_in_length_and_number() -> None:
    headers = told(*(f"{n}: " + "é" * 5000 for n in range(5000)))
    assert len(headers) == warnings.MOST + 1
    assert headers[-1] == "4990 more warnings are left out."
    assert max(map(len, headers)) <= warnings.LONGEST


def test_many_warnings_are_not_compared_with_each_other() -> None:
    """Fifty thousand fields that nobody knows held a process for a minute."""
    compared = 0

    class Counted(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    headers = told(*(Counted(f"{n}: this field is not known.") for n in range(2000)))
    assert len(headers) == warnings.MOST + 1
    assert compared < 2000
