"""Heavy requests, and what everybody else waits for: the work of one turn of the event loop, and of the one writer.

Work is the processor's time of a thread, whatever else the machine does.
"""

import asyncio
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import httpx2
import pytest

from support.server import Serve, Server
from tertulia.api.http import audit

MOST_S = 0.1
"""So long may anybody wait for a turn of the loop."""

MANY = 50_000
PATIENCE_S = 200


def heavy() -> Iterator[tuple[str, str]]:
    """Name bodies of some hundred kilobytes, right and wrong ones."""
    yield "wrong items", '{"additional_context":[' + "1," * MANY * 4 + "1]}"
    yield "texts beyond the bound", '{"additional_context":[' + '"x",' * MANY * 4 + '"x"]}'
    yield "unknown fields", "{" + ",".join(f'"k{number}":1' for number in range(MANY)) + "}"
    yield "unknown lists", '{"x":[' + "[]," * MANY * 3 + "[]]}"
    yield "unknown names", '{"x":{' + ",".join(f'"{number}":1' for number in range(MANY)) + "}}"
    yield "lists within lists", "[" * 90 + "[]," * MANY * 3 + "[]" + "]" * 90
    yield "a NUL behind lists", '{"x":[' + "[]," * MANY * 3 + '"\\u0000"]}'
    yield "a long number behind others", '{"x":[' + "1," * MANY * 4 + "9" * 19 + "]}"


class Watch:
    """The work of a loop's thread between two looks at it, the most of all."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ended = False
        self._before = 0.0
        self.most_s = 0.0

    def look(self) -> None:
        now = time.thread_time()
        self.most_s = max(self.most_s, now - (self._before or now))
        self._before = now
        if not self._ended:
            self._loop.call_later(0.01, self.look)

    def end(self) -> None:
        self._ended = True


@contextmanager
def watched(server: Server) -> Generator[Watch]:
    """Watch a server's loop for as long as the block lasts. Return the watch."""
    watch = Watch(server.loop)
    server.loop.call_soon_threadsafe(watch.look)
    yield watch
    server.anonymous.get(f"{server.url}/healthz")  # a turn after the last
    watch.end()


def test_no_request_holds_the_loop(serve: Serve) -> None:
    server = serve()
    with watched(server) as document:
        server.anonymous.get(f"{server.url}/v1/openapi.json").raise_for_status()
    most = {"the OpenAPI document": document.most_s}
    for name, body in heavy():
        with watched(server) as watch:
            answer = change(server, body)
        assert answer.status_code == (204 if name.startswith("unknown") else 422), name
        most[name] = watch.most_s

    assert {name: seconds for name, seconds in most.items() if seconds > MOST_S} == {}


def test_no_writer_waits_while_secrets_are_looked_for_in_a_request(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, threads = serve(), list[str]()

    def told(request: object) -> object:
        threads.append(threading.current_thread().name)
        return real(request)

    real = audit.told
    monkeypatch.setattr(audit, "told", told)
    answers = [change(server, body).status_code for body in ('{"first_name": "A"}', dict(heavy())["unknown names"])]

    assert answers == [204, 204]
    assert threads[0] == "server"
    assert not threads[1].startswith(("server", "sqlite"))


def change(server: Server, body: str) -> httpx2.Response:
    """Change the demo's user by a body. Return the answer."""
    path, kind = f"/user/{server.demo.user_id}", {"Content-Type": "application/json"}
    return server.as_user.post(path, content=body, headers=kind, timeout=PATIENCE_S)
