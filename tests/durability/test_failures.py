"""Failures around the server: of the database, the disk, the model, the readers, the clock.

Nothing that was acknowledged is lost, nobody is locked out for long, and everything works again by itself.
"""

import asyncio
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest

from durability.lives import LEASE_S, Installation, Request, User, check_whole
from providers.chat_server import Answer as ChatAnswer
from providers.chat_server import breaks_off, chat_server, completes, hangs, replies
from support import postgres, talk
from support.puppet import Puppet
from support.samples import make_service
from support.server import Serve, Server, settings_of, start
from support.stage import Stage, Switch
from tertulia import clock
from tertulia.cli import installation as installing
from tertulia.errors import Unavailable
from tertulia.ids import new_id
from tertulia.providers.models.registry import Models
from tertulia.storage.database import dialect
from tertulia.storage.database.units import PostgresDatabase, SqliteDatabase
from tertulia.storage.tables import conversations, interactions
from tertulia.storage.turn.claim import claim_new
from tertulia.storage.turn.values import Lease, Opening

pytestmark = [pytest.mark.both_databases, pytest.mark.heavy]

FREE_S = 3 * LEASE_S + 2.0
"""A lease, what a sweep may take to come, and what a busy machine may add."""


def insist(request: Callable[[], httpx2.Response], within_s: float = FREE_S) -> httpx2.Response:
    """Repeat a request while it is answered with "not now"; nothing else tells when it will be done."""
    until = time.monotonic() + within_s
    while True:
        answer = request()
        if answer.status_code not in {400, 409, 503} or time.monotonic() > until:
            return answer
        time.sleep(0.05)


@contextmanager
def created(client: httpx2.Client, service_id: str) -> Generator[Iterator[bytes]]:
    """A create whose stream is being read; its first piece has come."""
    body = {"service_id": service_id, "initial_message": "Hello"}
    with client.stream("POST", "/conversation/", params={"response_format": "text"}, json=body) as response:
        assert response.status_code == 201, response.read()
        pieces = response.iter_raw()
        next(pieces)
        yield pieces


# --- The database ----------------------------------------------------------------------------------------------------


def test_the_database_goes_and_comes_back(tmp_path: Path) -> None:
    puppet, switch = Puppet(), Switch()
    with postgres.running() as database:
        settings = settings_of(
            data=tmp_path, database={"url": database.create(), "pool_size": 4}, turn={"lease_s": LEASE_S}
        )
        server = start(settings, installing.make_demo(settings, "demo", None), Models(switch))
        stage = Stage(server, switch)
        service, user, other = stage.service(), stage.user(), stage.user()
        before = talk.begin(other, service, initial_message="Hello")
        puppet.hold()
        stage.play(puppet)
        with created(user, service) as pieces:
            database.stop()
            refused = [user.get("/conversation/"), talk.create(other, service), talk.finish(other, talk.id_of(before))]
            assert [answer.status_code for answer in refused] == [503] * 3
            assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
            puppet.release(10)
            assert b'"http_error_code":503' in b"".join(pieces).splitlines()[-1]
        database.start()
        stage.play(Puppet())
        assert talk.types(talk.go_on(other, talk.id_of(before)))[-1] == "interaction-complete"
        assert len(talk.messages(other, talk.id_of(before))) == 4
        assert insist(lambda: talk.create(user, service)).status_code == 201
        assert len(talk.conversations(user)) == 1
        server.stop()


class Writer:
    """A user who writes numbers, one after the other, and notes which of them are acknowledged."""

    def __init__(self, user: httpx2.Client, conversation_id: str) -> None:
        self.user = user
        self.conversation_id = conversation_id
        self.acknowledged: list[str] = []
        self.refused = 0

    def write(self, stop: threading.Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            self._send(f"Number {number}")

    def _send(self, text: str) -> None:
        answer = talk.interact(self.user, self.conversation_id, text)
        if answer.status_code != 200:
            assert answer.status_code in {409, 503}, answer.text
            self.refused += 1
            time.sleep(0.05)
        elif (last := talk.lines(answer)[-1])["type"] == "interaction-complete":
            self.acknowledged.append(text)
        else:
            assert (last["type"], last["http_error_code"]) == ("error", 503)
            self.refused += 1

    def stored(self) -> list[str]:
        found = talk.messages(self.user, self.conversation_id)
        return [each["message"] for each in found if each["message_type"] == "user-message"]


def test_a_restart_of_postgres_under_load_loses_nothing_and_is_over_in_seconds(tmp_path: Path) -> None:
    switch = Switch()
    with postgres.running() as database:
        settings = settings_of(
            data=tmp_path, database={"url": database.create(), "pool_size": 4}, turn={"lease_s": 5 * LEASE_S}
        )
        server = start(settings, installing.make_demo(settings, "demo", None), Models(switch))
        stage = Stage(server, switch)
        service, users = stage.service(), [stage.user() for _ in range(6)]
        writers = [Writer(user, talk.id_of(talk.begin(user, service))) for user in users]
        stop = threading.Event()
        with ThreadPoolExecutor(len(writers)) as pool:
            writing = [pool.submit(writer.write, stop) for writer in writers]
            _until(lambda: all(len(writer.acknowledged) > 2 for writer in writers))
            database.stop()
            _until(lambda: all(writer.refused for writer in writers))
            database.start()
            before = [len(writer.acknowledged) for writer in writers]
            _until(lambda: all(len(each.acknowledged) > had for each, had in zip(writers, before, strict=True)), 30)
            stop.set()
            for each in writing:
                each.result()
        assert [writer.stored() for writer in writers] == [writer.acknowledged for writer in writers]
        server.stop()


def test_nobody_sees_that_postgres_was_started_again_between_two_requests(tmp_path: Path) -> None:
    with postgres.running() as database:
        settings = settings_of(data=tmp_path, database={"url": database.create(), "pool_size": 4})
        server = start(settings, installing.make_demo(settings, "demo", None), Models(Puppet()))
        stage = Stage(server, Switch())
        service, user = stage.service(), stage.user()
        begun = talk.begin(user, service)
        for _ in range(3):
            database.stop()
            database.start()
            assert talk.types(talk.go_on(user, talk.id_of(begun)))[-1] == "interaction-complete"
            assert user.get("/conversation/").status_code == 200
        server.stop()


def test_a_commit_whose_answer_is_lost_is_acknowledged_all_the_same(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    for kind in (SqliteDatabase, PostgresDatabase):
        monkeypatch.setattr(kind, "do", _losing_an_answer(kind.do))
    events = talk.begin(server.as_user, server.demo.service_id, initial_message="Hello")
    assert events[-1]["type"] == "interaction-complete"
    assert [one["message"] for one in talk.messages(server.as_user, talk.id_of(events))][-1] == events[-1][
        "full_message"
    ]


def _losing_an_answer(do: Callable[..., Any]) -> Callable[..., Any]:
    """The connection breaks when the commit is done, before anybody hears of it."""

    async def doing(*args: Any) -> Any:
        await do(*args)
        raise Unavailable("The database cannot be reached.")

    return doing


# --- The disk --------------------------------------------------------------------------------------------------------


@pytest.fixture
def alone(sqlite_template: Path, tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    """Installations on SQLite whose server is a process of its own."""
    made: list[Installation] = []

    def make(**environment: str) -> Installation:
        data = tmp_path / str(len(made))
        url = f"sqlite:///{data / 'test.db'}"
        made.append(Installation(settings_of(data=data, database={"url": url}), **environment))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_the_files_may_not_grow_and_then_may_again(alone: Callable[..., Installation]) -> None:
    """A process that may not make files larger: SQLite sees what it sees on a full disk, a write that fails."""
    there = alone(TERTULIA_SCRIPTED_DELAY_MS="50")

    @contextmanager
    def full() -> Generator[None]:
        limits = resource.prlimit(there.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        yield
        resource.prlimit(there.pid, resource.RLIMIT_FSIZE, limits)

    _survives(there, full)


def test_the_disk_is_full_and_has_room_again(tmp_path: Path, alone: Callable[..., Installation]) -> None:
    """A small disk of the test's own, filled by another file."""
    disk = tmp_path / "0"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk here")

    @contextmanager
    def full() -> Generator[None]:
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        yield
        ballast.unlink()

    try:
        there = alone(TERTULIA_SCRIPTED_DELAY_MS="50")
        _survives(there, full)
        there.close()
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True, capture_output=True)


SMALL_DISK = 16 << 20
"""Bytes."""


def _survives(there: Installation, full: Callable[[], AbstractContextManager[None]]) -> None:
    """A turn that cannot be committed is void, one that was stays, and all goes on when there is room again."""
    first, second = there.user(), there.user()
    kept, _ = first.insist(Request(None, "Hello"))
    request = Request(None, "Hello")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(second.send, request)
        _until(lambda: there.count(conversations) == 2)
        with full():
            cut = running.result()
            assert cut.lines[-1]["type"] == "error"
            assert cut.lines[-1]["http_error_code"] == 503
            refused = first.send(Request(kept.conversation_id, "More"))
            assert refused.status == 503
            assert int(refused.headers["retry-after"]) >= 1
            check_whole(first, kept)
    again, took = second.insist(request)
    assert took < FREE_S
    assert not again.is_replayed
    check_whole(second, again)
    check_whole(first, first.insist(Request(kept.conversation_id, "More"))[0])
    check_whole(first, kept)
    assert there.faults() == []


def _until(done: Callable[[], bool], within_s: float = 60.0) -> None:
    """A bounded wait for what only the database tells."""
    until = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < until
        time.sleep(0.01)


# --- The model -------------------------------------------------------------------------------------------------------


@contextmanager
def model_server(*answers: ChatAnswer) -> Generator[str]:
    """A model's server on an event loop of its own; its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    context = chat_server(*answers)
    chat = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(10)
    try:
        yield chat.url
    finally:
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.parametrize("failure", [breaks_off("One", " two"), hangs("One", " two")], ids=["breaks off", "stalls"])
def test_a_model_that_fails_within_a_reply_makes_the_turn_void(serve: Serve, failure: ChatAnswer) -> None:
    chosen = completes('{"choice": "action-1"}')
    with model_server(chosen, failure, chosen, replies("One", " two", ".")) as url:
        server = serve(
            model=("openai:test",), openai={"base_url": url, "api_key": "test"}, turn={"stall_s": 0.5, "lease_s": 60}
        )
        service = make_service(server.as_admin)
        events = talk.begin(server.as_user, service, initial_message="Hello")
        assert [event["message"] for event in events if event["type"] == "new-message"] == ["One", " two"]
        assert events[-1]["type"] == "error"
        assert events[-1]["http_error_code"] == 503
        assert talk.conversations(server.as_user) == []
        again = talk.begin(server.as_user, service, initial_message="Hello")
        assert again[-1]["full_message"] == "One two."


def test_models_that_hang_one_after_the_other_leave_time_for_the_next(serve: Serve) -> None:
    with model_server(hangs(), hangs()) as url:
        server = serve(
            model=("openai:one", "openai:two", "scripted"),
            openai={"base_url": url, "api_key": "test"},
            turn={"stall_s": 0.8, "lease_s": 60},
        )
        events = talk.begin(server.as_user, server.demo.service_id)
        assert events[-1]["type"] == "interaction-complete"


# --- Readers ---------------------------------------------------------------------------------------------------------

SLOW_READERS = 50
LEAVERS = 1000
MEBIBYTE = 1 << 20


def _post(user: User, service_id: str) -> bytes:
    body = b'{"service_id": "%s", "initial_message": "Hello"}' % service_id.encode()
    head = f"POST {user.path}/?response_format=text HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
    return (
        f"{head}Authorization: {user.headers['Authorization']}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )


def _ask(user: User, receive_buffer: int = 0) -> socket.socket:
    """A create on a bare socket."""
    address = urlsplit(user.installation.url)
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(60)
    sock.connect((address.hostname, address.port))
    sock.sendall(_post(user, user.installation.demo.service_id))
    return sock


SLOW_S = 4
"""The time, in seconds, for which there are readers of one byte a second."""


def test_readers_of_a_byte_a_second_cost_little_and_hold_nobody_up(alone: Callable[..., Installation]) -> None:
    """Replies of megabytes; each reader takes a byte of it, and a second later another."""
    # Fifty long replies at once keep the event loop for longer than the tests' short lease.
    there = alone(TERTULIA_SCRIPTED_PIECES="20000", TERTULIA_SCRIPTED_DELAY_MS="0", TERTULIA_TURN_LEASE_S="30")
    users = there.users(SLOW_READERS + 1)
    check_whole(users[0], users[0].insist(Request(None, "Hello"))[0])
    server = psutil.Process(there.pid)
    before = server.memory_info().rss
    with ExitStack() as stack:
        readers: list[socket.socket] = []
        for number, user in enumerate(users[1:], 2):  # one after the other: what turns cost at once is not the question
            readers.append(stack.enter_context(_ask(user, receive_buffer=4096)))
            assert readers[-1].recv(1) == b"H"
            _until(lambda number=number: there.count(interactions) == number)
        grown = (server.memory_info().rss - before) / MEBIBYTE
        for byte in b"TTP/1.1"[:SLOW_S]:
            time.sleep(1)  # their pace is what is tested
            assert {reader.recv(1) for reader in readers} == {bytes([byte])}
            check_whole(users[0], users[0].insist(Request(users[0].only_conversation(), "More"))[0])
        print(f"{SLOW_READERS} slow readers: {grown:.0f} MiB")
    assert grown < 64
    assert there.faults() == []


def test_a_thousand_clients_leave_at_once_and_every_turn_is_settled(alone: Callable[..., Installation]) -> None:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    there = alone(TERTULIA_SCRIPTED_PIECES="20", TERTULIA_SCRIPTED_DELAY_MS="100", TERTULIA_TURN_LEASE_S="30")
    users = there.users(LEAVERS)
    with ThreadPoolExecutor(16) as pool:
        leaving = list(pool.map(_ask, users))
        heads = list(pool.map(lambda sock: sock.recv(12), leaving))
    for sock in leaving:
        sock.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    assert set(heads) == {b"HTTP/1.1 201"}
    _until(lambda: there.count(interactions) == LEAVERS)
    leased = conversations.c.lease_owner.is_not(None)
    assert there.count(conversations, leased) == 0
    assert there.faults() == []
    _until(lambda: there.open_streams() == 0)


# --- The clock -------------------------------------------------------------------------------------------------------

HOUR = timedelta(hours=1)


class Clock:
    """The real one, and how far it is ahead: always so far that tokens are good by the real one too."""

    def __init__(self) -> None:
        self._real = clock.now
        self.offset = 3 * HOUR

    def now(self) -> datetime:
        return self._real() + self.offset


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(clock, "now", made.now)
    return made


@pytest.fixture
def short(serve: Serve, wrong: Clock) -> Stage:
    """A server with short leases, whose clock can be set."""
    switch = Switch()
    return Stage(serve(models=Models(switch), turn={"lease_s": LEASE_S}), switch)


def _again(stage: Stage, user: Any) -> httpx2.Client:
    """Signed in anew: a token is good for an hour."""
    return stage.server.client(stage.server.sign_in(user.user_id))


def test_messages_stay_in_order_when_the_clock_is_set_forth_and_back(short: Stage, wrong: Clock) -> None:
    user = short.user()
    conversation_id = talk.id_of(talk.begin(user, short.service(), initial_message="Number 0"))
    for number, jump in enumerate((HOUR, -HOUR, -HOUR, 2 * HOUR, -HOUR), start=1):
        wrong.offset += jump
        events = talk.go_on(_again(short, user), conversation_id, f"Number {number}")
        assert events[-1]["type"] == "interaction-complete"
    said = talk.messages(_again(short, user), conversation_id)
    assert [one["message"] for one in said if one["message_type"] == "user-message"] == [
        f"Number {number}" for number in range(6)
    ]
    assert len({one["created_at"] for one in said}) == len(said) == 12


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forth", "back"])
def test_a_turn_that_runs_while_the_clock_jumps_is_whole_or_void(short: Stage, wrong: Clock, jump: timedelta) -> None:
    puppet = short.play(Puppet())
    puppet.hold()
    user, service = short.user(), short.service()
    with created(user, service) as pieces:
        wrong.offset += jump
        puppet.release(10)
        last = b"".join(pieces).splitlines()[-1]
    short.play(Puppet())
    user = _again(short, user)
    found = talk.conversations(user)
    assert len(found) == (1 if b"interaction-complete" in last else 0)
    if jump < timedelta():
        assert found, "a lease that goes on for longer than it should is still its owner's"
    if not found:
        assert insist(lambda: talk.create(user, service)).status_code == 201


def test_a_dead_lease_from_before_the_clock_was_set_back_ends_soon(short: Stage, wrong: Clock) -> None:
    user, service = short.user(), short.service()
    _die_in_a_turn(short.server, user.user_id, service)
    wrong.offset -= HOUR
    user = _again(short, user)
    assert talk.create(user, service).status_code == 409
    assert insist(lambda: talk.create(user, service)).status_code == 201


def _die_in_a_turn(server: Server, user_id: str, service_id: str) -> None:
    """Leave what a process leaves that died within a turn."""
    opening = Opening(server.demo.organization_id, user_id, service_id, "release", {}, False)
    lease = Lease(new_id(), new_id(), clock.now() + timedelta(seconds=LEASE_S))
    engine = dialect.create_engine(server.settings.cluster_urls["default"], 1)
    with engine.begin() as connection:
        dialect.begin_write(connection)
        claim_new(connection, opening, lease)
    engine.dispose()
