"""Parameters of a query that are given many times."""

from typing import Any

import httpx2
import pytest

from tertulia.api.http.pagination import MOST_KEYS, sorting
from tertulia.api.http.routing import MOST_REPEATS
from tertulia.api.http.tag_filter import MOST, parse_tag_filters
from tertulia.ids import new_id
from tertulia.storage.database.paging import SortKey

NOBODYS = "6b085418ed3f9ed9db53474b"

MANY = [
    ("/service/", "sort_by", "+name", 2200, MOST_KEYS),
    ("/user/", "sort_by", "-email", MOST_KEYS + 1, MOST_KEYS),
    ("/conversation/", "sort_by", "+created_at", MOST_KEYS + 1, MOST_KEYS),
    ("/service/", "tags", "a:b", MOST + 1, MOST),
    ("/conversation/", "tag", "a:*", 100, MOST),
    ("/service/", "id", "0" * 24, MOST_REPEATS + 1, MOST_REPEATS),
    ("/user/", "email", "a@b.example", 2000, MOST_REPEATS),
    ("/user/", "nothing", "x", 2000, MOST_REPEATS),
    (f"/conversation/{NOBODYS}/messages/", "interaction_id", "0" * 24, 900, MOST_REPEATS),
]


@pytest.mark.parametrize(("path", "name", "value", "times", "most"), MANY)
def test_a_parameter_that_is_repeated_too_often_is_named(
    as_admin: httpx2.Client, path: str, name: str, value: str, times: int, most: int
) -> None:
    answer = as_admin.get(path, params={name: [value] * times})
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["query", name]
    assert str(most) in problem["msg"]


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/service/", {"id": [new_id() for _ in range(MOST_REPEATS)], "limit": 1}),
        ("/service/", {"sort_by": ["+name", "-is_active"] * (MOST_KEYS // 2)}),
        ("/conversation/", {"tag": [f"key{number}:value" for number in range(MOST)]}),
    ],
)
def test_as_many_as_are_allowed_are_taken(as_admin: httpx2.Client, path: str, params: dict[str, Any]) -> None:
    assert as_admin.get(path, params=params).status_code == 200


def test_equal_filters_are_one_and_their_order_makes_no_new_statement() -> None:
    filters = parse_tag_filters(["b:", "a:x", "b:", "c:*", "a:x"], "tag")
    kinds = [value if value in {"", "*"} else "value" for _, value in filters]
    assert sorted(filters) == [("a", "x"), ("b", ""), ("c", "*")]
    assert kinds == [
        value if value in {"", "*"} else "value" for _, value in parse_tag_filters(["c:*", "b:", "a:x"], "tag")
    ]


async def test_a_field_is_sorted_by_once() -> None:
    read: Any = sorting("name", "age")
    assert await read(["+name", "-age", "-name"]) == [SortKey("name"), SortKey("age", descending=True)]
