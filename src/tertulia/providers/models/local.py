"""Language models in this process: GGUF weights run by llama.cpp, through xllamacpp. Needs the extra `local`.

https://github.com/xorbitsai/xllamacpp. Its calls block, without the interpreter's lock, and give pieces to a callback;
so each request has a thread, and its pieces cross over to the event loop.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import xllamacpp  # pyright: ignore[reportMissingTypeStubs]

from tertulia.errors import ModelError, ModelMisbehaved, ModelRefused, ModelTimeout, ModelUnavailable
from tertulia.providers.base import Prompt
from tertulia.providers.models import chat

PARALLEL = 2
"""Requests that run at the same time; others wait."""

_CONTEXT_TOKENS = 4096  # of one request: a processor takes half a minute to read so many
_BATCH_TOKENS = 256  # read between two signs of life, at which a request can be stopped
_SLOTS = 4  # prompts whose beginnings are remembered: the choices and the replies of two conversations
_SAME_PROMPT = 0.7  # share of a prompt that a slot must remember to be taken for it; else the oldest is taken
_PARAMS = ("frequency_penalty", "max_tokens", "presence_penalty", "seed", "stop", "temperature", "top_k", "top_p")
_REPLY = {"temperature": 0.3, "max_tokens": 400}
_CHOICE = {"temperature": 0, "max_tokens": 400}
_END = ""  # no piece is empty

_llama: Any = xllamacpp  # it has no types


class Server(Protocol):
    """What is used of llama.cpp's server."""

    def handle_chat_completions(self, body: dict[str, Any], callback: Callable[[dict[str, Any]], bool]) -> object: ...


class LocalModel:
    """A model in this process, loaded by `start` or by the first prompt.

    `stall_s` seconds without a sign of life, waiting for a thread included, are a ModelTimeout. Of a conversation that
    is too long for the model, it is shown the end.
    """

    def __init__(self, path: Path, stall_s: float) -> None:
        self._path = path
        self._stall_s = stall_s
        self._server: Server | None = None
        self._loading = asyncio.Lock()
        self._threads = ThreadPoolExecutor(PARALLEL, thread_name_prefix="local-model")
        self._requests: set[_Request] = set()

    async def start(self) -> None:
        await self._loaded()

    async def aclose(self) -> None:
        for request in self._requests:
            request.stopped = True
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._server = None

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        spoken = False
        async with aclosing(self._speak(prompt, _REPLY)) as pieces:
            async for piece in pieces:
                spoken = True
                yield piece
        if not spoken:
            raise ModelMisbehaved("an empty reply")

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        text = "".join([piece async for piece in self._speak(prompt, {**_CHOICE, "response_format": form})])
        return chat.answer(text, schema)

    async def _speak(self, prompt: Prompt, options: Mapping[str, Any]) -> AsyncGenerator[str]:
        while True:
            try:
                async with aclosing(self._pieces(_body(prompt, options))) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except _TooLong:
                if len(prompt.turns) < 2:
                    raise
                prompt = replace(prompt, turns=prompt.turns[len(prompt.turns) // 2 :])

    async def _pieces(self, body: dict[str, Any]) -> AsyncGenerator[str]:
        server = await self._loaded()
        loop = asyncio.get_running_loop()
        request = _Request(loop)
        self._requests.add(request)
        running = loop.run_in_executor(self._threads, request.run, server, body)
        try:
            while True:
                async with asyncio.timeout(self._stall_s):
                    item = await request.items.get()
                if isinstance(item, ModelError):
                    raise item
                if item == _END:
                    return
                if item is not None:
                    yield item
        except TimeoutError:
            raise ModelTimeout(f"nothing in {self._stall_s} s") from None
        finally:
            request.stopped = True
            running.cancel()
            self._requests.discard(request)

    async def _loaded(self) -> Server:
        async with self._loading:
            loop = asyncio.get_running_loop()
            server = self._server or await loop.run_in_executor(self._threads, _load, self._path)
            self._server = server
            return server


class _TooLong(ModelRefused):
    """The prompt does not fit into the model's context."""


class _Request:
    """A request in its thread. `items` are its pieces (None: it is still reading), then an error or the end.

    Set `stopped` to end it early.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.items: asyncio.Queue[str | ModelError | None] = asyncio.Queue()
        self.stopped = False
        self._loop = loop

    def run(self, server: Server, body: dict[str, Any]) -> None:
        try:
            server.handle_chat_completions(body, self._receive)
        except Exception as error:  # noqa: BLE001 - nobody waits for this thread: it is told through the queue
            self._put(ModelUnavailable(f"{type(error).__name__}: {error}"))
        self._put(_END)

    def _receive(self, chunk: dict[str, Any]) -> bool:
        """Called with each piece; whether to stop."""
        if self.stopped:
            return True
        if "error" in chunk:
            self._put(_failure(chunk["error"]))
            return True
        if "prompt_progress" in chunk:
            self._put(None)
        for choice in chunk.get("choices", ()):
            if content := choice.get("delta", {}).get("content"):
                self._put(content)
        return self.stopped

    def _put(self, item: str | ModelError | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self.items.put_nowait, item)
        except RuntimeError:  # the event loop is closed: nobody listens any more
            self.stopped = True


def _load(path: Path) -> Server:
    """Blocks for a second or more, and then for as long as the weights are on disk alone."""
    params = _llama.CommonParams()
    params.model.path = str(path)
    params.n_parallel = _SLOTS
    params.n_ctx = _SLOTS * _CONTEXT_TOKENS
    params.slot_prompt_similarity = _SAME_PROMPT
    params.n_batch = _BATCH_TOKENS
    params.verbosity = -1
    params.cache_ram_mib = 0
    # llama.cpp's threads wait for each other by spinning: one too many for the machine, and all crawl. One core is left
    # to the event loop.
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads = max(1, (os.cpu_count() or 2) - 1)
        threads.poll = 0
    # It opens a port on loopback that nobody needs: let nobody use it.
    params.api_keys = [secrets.token_hex(32)]
    params.ui = False
    params.endpoint_slots = False
    try:
        return _llama.Server(params)
    except Exception as error:
        raise ModelUnavailable(f"{type(error).__name__}: {error}") from error


def _body(prompt: Prompt, options: Mapping[str, Any]) -> dict[str, Any]:
    params = {name: prompt.params[name] for name in _PARAMS if name in prompt.params}
    return {**options, **params, "messages": chat.messages(prompt), "stream": True, "return_progress": True}


def _failure(error: Mapping[str, Any]) -> ModelError:
    reason = str(error.get("message", ""))
    if error.get("type") == "exceed_context_size_error":
        return _TooLong(reason)
    return ModelRefused(reason) if error.get("code") == 400 else ModelUnavailable(reason)
