"""Pages and sorting, as the queries of all lists write them.

@router.get("/agent", ...)
async def get_agents(window: Annotated[Window, Depends(window(default=10, most=20))]) -> ...
"""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Query

from tertulia.api.http.types import MAX_INTEGER
from tertulia.errors import Unprocessable
from tertulia.storage.database.paging import Sort, SortKey, Window

ContinuationToken = Annotated[int, Query(ge=0, le=MAX_INTEGER, description="Where the next page begins.")]


def window(*, default: int, most: int, least: int = 1) -> Callable[..., Awaitable[Window]]:
    """A dependency that reads `limit` and `continuation_token`; some lists allow a limit of 0 (`least`)."""

    async def read(
        limit: Annotated[int, Query(ge=least, le=most, description="How many to return at most.")] = default,
        continuation_token: ContinuationToken = 0,
    ) -> Window:
        return Window(limit, continuation_token)

    return read


def sorting(*fields: str) -> Callable[..., Awaitable[Sort]]:
    """A dependency that reads `sort_by`: `+field` or `-field`, several to break ties.

    A client that does not encode the `+` of a query sends a space, so a leading space counts as `+`.
    """
    text = f"`+field` or `-field`, where the field is one of: {', '.join(fields)}."

    async def read(sort_by: Annotated[list[str], Query(description=text)] = []) -> Sort:
        return [_sort_key(item, index, fields) for index, item in enumerate(sort_by)]

    return read


def _sort_key(item: str, index: int, fields: tuple[str, ...]) -> SortKey:
    if item[:1] not in {"+", "-", " "} or item[1:] not in fields:
        names = ", ".join(fields)
        raise Unprocessable(f"Sort by + or - and one of these fields: {names}.", ("query", "sort_by", index))
    return SortKey(item[1:], descending=item[0] == "-")
