"""ChatKit's server with a store in memory and a model that takes no time; by its documentation."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from chatkit.server import ChatKitServer, StreamingResult
from chatkit.store import Store
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartAdded,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    Page,
    ThreadItem,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemUpdatedEvent,
    ThreadMetadata,
    ThreadStreamEvent,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from stub import PIECES, serve


class MemoryStore(Store[None]):
    """Threads and their items in dictionaries; what the workload does not need is left out."""

    def __init__(self) -> None:
        self.threads: dict[str, ThreadMetadata] = {}
        self.items: dict[str, dict[str, ThreadItem]] = {}

    async def load_thread(self, thread_id: str, context: None) -> ThreadMetadata:
        return self.threads[thread_id]

    async def save_thread(self, thread: ThreadMetadata, context: None) -> None:
        self.threads[thread.id] = thread

    async def load_thread_items(
        self, thread_id: str, after: str | None, limit: int, order: str, context: None
    ) -> Page[ThreadItem]:
        items = list(self.items.get(thread_id, {}).values())
        return Page(data=items[-limit:][:: 1 if order == "asc" else -1])

    async def add_thread_item(self, thread_id: str, item: ThreadItem, context: None) -> None:
        self.items.setdefault(thread_id, {})[item.id] = item

    async def save_item(self, thread_id: str, item: ThreadItem, context: None) -> None:
        self.items.setdefault(thread_id, {})[item.id] = item

    async def load_item(self, thread_id: str, item_id: str, context: None) -> ThreadItem:
        return self.items[thread_id][item_id]

    async def _unused(self, *_arguments: Any, **_more: Any) -> Any:
        raise NotImplementedError

    load_threads = delete_thread = delete_thread_item = _unused
    save_attachment = load_attachment = delete_attachment = _unused


class Stub(ChatKitServer[None]):
    async def respond(self, thread: ThreadMetadata, _message: Any, context: None) -> AsyncIterator[ThreadStreamEvent]:
        item = AssistantMessageItem(
            id=self.store.generate_item_id("message", thread, context),
            thread_id=thread.id,
            created_at=datetime.now(UTC),
            content=[],
        )
        yield ThreadItemAddedEvent(item=item)
        added = AssistantMessageContentPartAdded(content_index=0, content=AssistantMessageContent(text=""))
        yield ThreadItemUpdatedEvent(item_id=item.id, update=added)
        for piece in PIECES:
            delta = AssistantMessageContentPartTextDelta(content_index=0, delta=piece)
            yield ThreadItemUpdatedEvent(item_id=item.id, update=delta)
        whole = item.model_copy(update={"content": [AssistantMessageContent(text="".join(PIECES))]})
        yield ThreadItemDoneEvent(item=whole)


server = Stub(MemoryStore())


async def answer(request: Request) -> Response:
    result = await server.process(await request.body(), None)
    if isinstance(result, StreamingResult):
        return StreamingResponse(result, media_type="text/event-stream")
    return Response(result.json, media_type="application/json")


if __name__ == "__main__":
    serve(Starlette(routes=[Route("/chatkit", answer, methods=["POST"])]))
