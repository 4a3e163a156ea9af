"""Recordings are stored once, and read in portions: for many readers, and for readers who take nothing."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import QueuePool
from starlette.datastructures import Headers

from support import samples, spoken, talk
from support.server import NO_CERTIFICATES
from support.stage import Stage
from tertulia.api.conversation import portions
from tertulia.api.conversation.portions import PORTION_BYTES, RecordingResponse, part_of
from tertulia.api.conversation.recording import READERS, READS_A_MINUTE
from tertulia.audio.pcm import RATE, wav
from tertulia.auth.limits import Limiter, Windows
from tertulia.errors import TooManyRequests
from tertulia.storage import erasure
from tertulia.storage import recording as recordings
from tertulia.storage.database import dialect
from tertulia.storage.database.units import Database, open_database
from tertulia.storage.recording import StoredRecording
from tertulia.storage.tables import recording_parts, streams
from tertulia.storage.tables import recordings as table
from tertulia.storage.turn.parts import PART_BYTES

pytestmark = pytest.mark.both_databases

LONG = spoken.said("one two three four five six seven eight nine ten. " * 8)


@pytest.fixture(scope="module")
def service_id(_stage: Stage) -> str:
    return _stage.service(agent_id=samples.make_agent(_stage.admin, voice_config={"voice_id": "default"}))


@pytest.fixture
def user(stage: Stage) -> httpx2.Client:
    return stage.user()


@pytest.fixture
def engine(stage: Stage) -> Iterator[Engine]:
    opened = dialect.create_engine(stage.server.settings.cluster_urls["default"], 1)
    yield opened
    opened.dispose()


@pytest.fixture
def database(stage: Stage) -> Iterator[Database]:
    opened = open_database(stage.server.settings.cluster_urls["default"], 4)
    yield opened
    opened.close()


@pytest.fixture
def kept(user: httpx2.Client, service_id: str) -> tuple[str, str]:
    """A spoken message of many parts: its identifier, and the link of its recording."""
    conversation_id = talk.id_of(talk.begin(user, service_id))
    events = talk.lines(spoken.send(user, conversation_id, wav(LONG, RATE), spoken.BARE))
    message_id = str(events[0]["message_id"])
    found = user.get(f"/conversation/{conversation_id}/messages/{message_id}/source")
    return message_id, str(found.json()["url"])


def get(link: str, **headers: str) -> httpx2.Response:
    return httpx2.get(link, headers=headers, trust_env=False, verify=NO_CERTIFICATES)


# --- Ranges over parts -----------------------------------------------------------------------------------------------


def test_a_range_may_begin_and_end_in_any_part(kept: tuple[str, str]) -> None:
    whole = wav(LONG, RATE)
    assert len(whole) > 3 * PART_BYTES
    assert get(kept[1]).content == whole
    for first, last in (
        (0, 0),
        (PART_BYTES - 1, PART_BYTES),
        (PART_BYTES, 2 * PART_BYTES - 1),
        (1, len(whole) - 2),
        (len(whole) - 1, len(whole) - 1),
    ):
        part = get(kept[1], Range=f"bytes={first}-{last}")
        assert (part.status_code, part.content) == (206, whole[first : last + 1])
        assert part.headers["content-length"] == str(last + 1 - first)


def test_a_range_of_another_recording_is_the_whole_of_this_one(kept: tuple[str, str]) -> None:
    tag = get(kept[1]).headers["etag"]

    assert get(kept[1], Range="bytes=0-1", **{"If-Range": tag}).status_code == 206
    assert get(kept[1], Range="bytes=0-1", **{"If-Range": '"another"'}).content == wav(LONG, RATE)


def test_a_recording_that_an_earlier_version_stored_whole_is_split_when_it_is_read(
    kept: tuple[str, str], engine: Engine
) -> None:
    message_id, link = kept
    whole = get(link).content
    with engine.begin() as connection:
        dialect.begin_write(connection)
        connection.execute(sa.delete(recording_parts).where(recording_parts.c.message_id == message_id))
        connection.execute(sa.update(table).where(table.c.message_id == message_id).values(size=None, body=whole))

    assert get(link).content == whole
    assert get(link, Range="bytes=-3").content == whole[-3:]


# --- Readers ---------------------------------------------------------------------------------------------------------


class Reader:
    """A reader of an answer who takes so many pieces, and then nothing."""

    def __init__(self, takes: int) -> None:
        self.stalled = asyncio.Event()
        self.got: list[bytes] = []
        self._takes = takes

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            if len(self.got) == self._takes:
                self.stalled.set()
                await asyncio.Event().wait()
            self.got.append(message["body"])


async def receive() -> Any:
    await asyncio.Event().wait()


class Portions:
    """Reads a recording, and counts the bytes that were read."""

    def __init__(self, database: Database, message_id: str) -> None:
        self.bytes = 0
        self._database = database
        self._message_id = message_id

    async def read(self, first: int, last: int) -> bytes:
        found = await self._database.read(recordings.read_range, self._message_id, first, last)
        self.bytes += len(found)
        return found


def stored(database: Database, message_id: str) -> StoredRecording:
    with database.engine.connect() as connection:
        size = connection.execute(sa.select(table.c.size).where(table.c.message_id == message_id)).scalar_one()
    return StoredRecording(message_id, "audio/wav", size)


async def test_a_reader_who_takes_nothing_costs_one_portion_and_no_connection(
    kept: tuple[str, str], database: Database
) -> None:
    recording, counted = stored(database, kept[0]), Portions(database, kept[0])
    readers = [Reader(0) for _ in range(60)]
    part = part_of(recording, Headers({}))
    reading = [RecordingResponse(recording, part, counted.read, nullcontext()) for _ in readers]
    tasks = [
        asyncio.create_task(response({}, receive, reader.send))
        for response, reader in zip(reading, readers, strict=True)
    ]
    for reader in readers:
        await reader.stalled.wait()

    assert counted.bytes == 60 * PORTION_BYTES
    writer = 1 if database.engine.dialect.name == "sqlite" else 0
    assert isinstance(database.engine.pool, QueuePool)
    assert database.engine.pool.checkedout() <= writer
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_byte_is_read_as_one_byte(kept: tuple[str, str], database: Database) -> None:
    recording, counted, reader = stored(database, kept[0]), Portions(database, kept[0]), Reader(9)
    part = part_of(recording, Headers({"range": "bytes=-1"}))

    await RecordingResponse(recording, part, counted.read, nullcontext())({}, receive, reader.send)

    assert counted.bytes == len(b"".join(reader.got)) == 1


async def test_a_reader_who_takes_nothing_is_cut_off(
    kept: tuple[str, str], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portions, "READER_STALL_S", 0.01)
    recording, reader = stored(database, kept[0]), Reader(1)
    part, portions_of = part_of(recording, Headers({})), Portions(database, kept[0])

    with pytest.raises(TimeoutError):
        await RecordingResponse(recording, part, portions_of.read, nullcontext())({}, receive, reader.send)
    assert len(reader.got) == 1


async def test_a_recording_has_so_many_readers_at_once(kept: tuple[str, str], database: Database) -> None:
    recording, limiter = stored(database, kept[0]), Limiter(Windows())
    part, read = part_of(recording, Headers({})), Portions(database, kept[0]).read
    late = Reader(9)
    with ExitStack() as others:
        for _ in range(READERS):
            others.enter_context(limiter.place(READERS, "No more.", "recording"))
        place = limiter.place(READERS, "No more.", "recording")
        with pytest.raises(TooManyRequests):
            await RecordingResponse(recording, part, read, place)({}, receive, late.send)
        assert late.got == []
    place = limiter.place(READERS, "No more.", "recording")
    await RecordingResponse(recording, part, read, place)({}, receive, Reader(999).send)


def test_a_recording_is_asked_for_so_often_a_minute(stage: Stage, serve: Any, kept: tuple[str, str]) -> None:
    limited = serve(
        database={"url": stage.server.settings.cluster_urls["default"], "pool_size": 4},
        data=stage.server.settings.data,
        rate_limits="contract",
    )
    link = kept[1].replace(stage.server.url, limited.url)

    answers = [get(link, Range="bytes=0-0") for _ in range(READS_A_MINUTE + 1)]

    assert {answer.status_code for answer in answers[:-1]} == {206}
    assert answers[-1].status_code == 429
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60


# --- Stored once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("audio_format", ["pcm", "mp3"])
def test_the_sound_of_a_reply_is_stored_once_and_replayed_byte_for_byte(
    user: httpx2.Client, service_id: str, engine: Engine, audio_format: str
) -> None:
    query = {"response_format": "voice", "audio_format": audio_format}
    answer = talk.create(user, service_id, query)
    events = talk.lines(answer)
    conversation_id, interaction_id = talk.id_of(events), events[-1]["interaction_id"]
    path = f"/conversation/{conversation_id}/interaction/{interaction_id}/stream"
    whole = answer.content.splitlines(keepends=True)

    with engine.connect() as connection:
        of_turn = streams.c.interaction_id == interaction_id
        outline_bytes = connection.execute(sa.select(sa.func.length(streams.c.body)).where(of_turn)).scalar_one()
        sound_bytes = connection.execute(
            sa.select(sa.func.sum(sa.func.length(recording_parts.c.body))).where(
                recording_parts.c.message_id == events[-1]["message_id"]
            )
        ).scalar_one()

    assert sound_bytes >= len(spoken.sound(events))
    assert outline_bytes < len(spoken.sound(events)) / 10
    for after in (0, 1, 3, len(whole) - 1, len(whole)):
        assert user.get(path, params={"after": after}).content == b"".join(whole[after:])


def test_a_replay_of_a_removed_recording_does_not_pretend(
    user: httpx2.Client, service_id: str, database: Database, engine: Engine
) -> None:
    events = talk.lines(talk.create(user, service_id, {"response_format": "voice"}))
    path = f"/conversation/{talk.id_of(events)}/interaction/{events[-1]['interaction_id']}/stream"
    with engine.begin() as connection:
        dialect.begin_write(connection)
        erasure.delete_recordings(connection, [events[-1]["message_id"]])

    with pytest.raises(httpx2.TransportError):
        user.get(path)
