"""`/ui/watched`: open pages wait for the next word about a watched folder."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from tertulia.auth import credentials
from tertulia.errors import NotFound
from tertulia.runtime import Runtime
from tertulia.web import watched

LOOK_S = 0.2
WAIT_S = 4.0
"""The longest time for which a page waits for news; a server that stops waits for its pages as long."""

router = APIRouter(include_in_schema=False)


@router.get("/ui/watched")
async def get_word(request: Request, after: Annotated[int, Query(ge=0)] = 0) -> JSONResponse:
    """Wait some seconds for a word with a greater number. Return it, or the one that there is."""
    runtime: Runtime = request.app.state.runtime
    await credentials.authenticate(runtime.tokens, credentials.read(request.headers))
    word = watched.read(runtime.settings.data)
    for _ in range(round(WAIT_S / LOOK_S)):
        if word is None or word["number"] > after or await request.is_disconnected():
            break
        await asyncio.sleep(LOOK_S)
        word = watched.read(runtime.settings.data)
    if word is None:
        raise NotFound("No folder is watched here.")
    return JSONResponse(word, headers={"Cache-Control": "no-store"})
