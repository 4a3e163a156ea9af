"""Pages and sorting, alike in all lists.

@router.get("/agent", ...)
async def get_agents(part: Annotated[Window, Depends(window(default=10, most=20))]) -> AgentPage:
    page = await organization.database.read(...)
    return AgentPage.of(page, agents=[...])
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Self

import msgspec
from fastapi import Query, Response
from pydantic import BaseModel

from tertulia.api.http.types import MAX_INTEGER
from tertulia.errors import Unprocessable
from tertulia.storage.database.paging import Page, Sort, SortKey, Window

ContinuationToken = Annotated[int, Query(ge=0, le=MAX_INTEGER, description="Where the next page begins.")]

MOST_KEYS = 20
"""Fields that a list may be asked to be sorted by; the same one twice counts twice."""


class PageModel(BaseModel):
    """A page of a list as the wire has it; each list adds a field of its own name for the items."""

    has_more: bool
    continuation_token: int | None

    @classmethod
    def of(cls, page: Page[Any], **items: object) -> Self:
        """Render a page of rows. Return a model that has `items` in its own fields."""
        return cls.model_validate({**items, "has_more": page.has_more, "continuation_token": page.continuation_token})

    @classmethod
    def write(cls, page: Page[Any], **items: Sequence[Mapping[str, object]]) -> Response:
        """Write a page of rows, the bytes that `of` leads to, without a look at the values: for the longest lists.

        Each of `items` has all the fields of its model, in their order; a test compares the two.
        """
        body = {"has_more": page.has_more, "continuation_token": page.continuation_token, **items}
        return Response(msgspec.json.encode(body), media_type="application/json")


def window(*, default: int, most: int, least: int = 1) -> Callable[..., Awaitable[Window]]:
    """Make a dependency that reads `limit` and `continuation_token`. Return it; `least` is 0 for some lists."""

    async def read(
        limit: Annotated[int, Query(ge=least, le=most, description="How many to return at most.")] = default,
        continuation_token: ContinuationToken = 0,
    ) -> Window:
        return Window(limit, continuation_token)

    return read


def sorting(*fields: str) -> Callable[..., Awaitable[Sort]]:
    """Make a dependency that reads `sort_by`: `+field` or `-field`, several to break ties. Return it.

    A client that does not encode the `+` of a query sends a space, so a leading space counts as `+`.
    """
    text = f"`+field` or `-field`, where the field is one of: {', '.join(fields)}."

    async def read(sort_by: Annotated[list[str], Query(description=text)] = []) -> Sort:
        if len(sort_by) > MOST_KEYS:
            raise Unprocessable(f"Sort by at most {MOST_KEYS} fields: these are {len(sort_by)}.", ("query", "sort_by"))
        keys: dict[str, SortKey] = {}
        for index, item in enumerate(sort_by):
            key = _sort_key(item, index, fields)
            keys.setdefault(key.field, key)  # a field breaks no tie of its own
        return list(keys.values())

    return read


def _sort_key(item: str, index: int, fields: tuple[str, ...]) -> SortKey:
    if item[:1] not in {"+", "-", " "} or item[1:] not in fields:
        names = ", ".join(fields)
        raise Unprocessable(f"Sort by + or - and one of these fields: {names}.", ("query", "sort_by", index))
    return SortKey(item[1:], descending=item[0] == "-")


def parse_creator(text: str, index: int) -> tuple[str, str]:
    """Read a filter by creator, `ORGANIZATION,USER`, the `index`th of the query. Return both.

    Raises:
        Unprocessable: one of them is missing.
    """
    org_id, comma, user_id = text.partition(",")
    if not (org_id and comma and user_id):
        raise Unprocessable("Name a creator as ORGANIZATION,USER.", ("query", "creator", index))
    return org_id, user_id
