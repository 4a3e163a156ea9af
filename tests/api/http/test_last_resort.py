"""The last resort answers for an application that cannot."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from tertulia.api.http.middleware import LastResort

NOBODY: Any = None


async def test_a_request_that_is_given_up_when_the_server_stops_is_answered_in_json() -> None:
    begun = asyncio.Event()
    sent: list[Mapping[str, Any]] = []

    async def endless(_scope: Scope, _receive: Receive, _send: Send) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    request = asyncio.create_task(LastResort(endless)({"type": "http"}, NOBODY, send))
    await begun.wait()
    request.cancel()
    await asyncio.wait([request])

    start, body = sent
    assert start["status"] == 503
    assert dict(start["headers"])[b"retry-after"] == b"2"
    assert json.loads(body["body"]) == {"detail": "The server is stopping."}
