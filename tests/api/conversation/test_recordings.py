"""Recordings of what was said, by signed links."""

import io
import wave
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from support import samples, sounds, spoken, talk
from support.server import NO_CERTIFICATES, Server, UserClient
from support.stage import Stage
from tertulia import clock
from tertulia.audio.pcm import RATE, wav

pytestmark = pytest.mark.both_databases

WORDS = "Is there a book about tea?"
MP3 = {"type": "mp3"}


@pytest.fixture(scope="module")
def service_id(_stage: Stage) -> str:
    return _stage.service(agent_id=samples.make_agent(_stage.admin, voice_config={"voice_id": "default"}))


@pytest.fixture
def user(stage: Stage) -> UserClient:
    return stage.user()


@pytest.fixture
def reply(user: httpx2.Client, service_id: str) -> list[talk.Event]:
    """The stream of a conversation that begins with a spoken reply."""
    return talk.lines(talk.create(user, service_id, {"response_format": "voice"}))


def source(client: httpx2.Client, conversation_id: str, message_id: str, **query: bool) -> httpx2.Response:
    return client.get(f"/conversation/{conversation_id}/messages/{message_id}/source", params=query)


@pytest.fixture
def link(user: httpx2.Client, reply: list[talk.Event]) -> str:
    """The link of the reply's recording."""
    answer = source(user, talk.id_of(reply), reply[-1]["message_id"])
    assert answer.status_code == 200, answer.text
    return str(answer.json()["url"])


def get(link: str, **headers: str) -> httpx2.Response:
    """Follow a link, as anybody may. Return the answer."""
    return httpx2.get(link, headers=headers, trust_env=False, verify=NO_CERTIFICATES)


# --- What is kept ----------------------------------------------------------------------------------------------------


def test_a_spoken_reply_is_kept_as_it_was_sent(reply: list[talk.Event], link: str) -> None:
    answer = get(link)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
    assert answer.content == wav(spoken.sound(reply), RATE)
    with wave.open(io.BytesIO(answer.content)) as file:
        assert (file.getframerate(), file.getnchannels()) == (RATE, 1)


def test_a_reply_in_mp3_is_kept_as_mp3(user: httpx2.Client, service_id: str) -> None:
    events = talk.lines(talk.create(user, service_id, {"response_format": "voice", "audio_format": "mp3"}))

    found = source(user, talk.id_of(events), events[-1]["message_id"]).json()

    assert found["content_type"] == "audio/mpeg"
    assert get(found["url"]).content == spoken.sound(events)


@pytest.mark.parametrize(
    ("recording", "config", "content_type"),
    [
        (spoken.said_wav(WORDS), spoken.BARE, "audio/wav"),
        (sounds.mp3(spoken.said(WORDS)), MP3, "audio/mpeg"),
    ],
)
def test_a_spoken_message_is_kept_as_it_came(
    user: httpx2.Client,
    reply: list[talk.Event],
    recording: bytes,
    config: dict[str, object],
    content_type: str,
) -> None:
    events = talk.lines(spoken.send(user, talk.id_of(reply), recording, config))

    found = source(user, talk.id_of(reply), events[0]["message_id"]).json()

    assert found["content_type"] == content_type
    assert get(found["url"]).content == recording


def test_other_formats_are_kept_as_wav(user: httpx2.Client, reply: list[talk.Event]) -> None:
    flac = sounds.file_of(spoken.said(WORDS), RATE, "mono", "flac", "flac")
    events = talk.lines(spoken.send(user, talk.id_of(reply), flac, {"type": "flac"}))

    found = source(user, talk.id_of(reply), events[0]["message_id"]).json()

    assert found["content_type"] == "audio/wav"
    with wave.open(io.BytesIO(get(found["url"]).content)) as file:
        assert spoken.heard(file.readframes(file.getnframes()), file.getframerate()) == WORDS


def test_a_written_message_has_no_recording(user: httpx2.Client, service_id: str) -> None:
    events = talk.begin(user, service_id)

    answer = source(user, talk.id_of(events), events[-1]["message_id"])

    assert (answer.status_code, answer.json()) == (400, {"detail": "The message is a text message."})


def test_recordings_go_with_their_user(stage: Stage, user: UserClient, link: str) -> None:
    user_id = user.user_id
    assert stage.admin.delete(f"/user/{user_id}").status_code == 204
    assert get(link).status_code == 404


# --- Links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("long_lived", "life"), [(False, timedelta(minutes=15)), (True, timedelta(hours=12))])
def test_a_link_lives_as_long_as_it_says(
    monkeypatch: pytest.MonkeyPatch, user: httpx2.Client, reply: list[talk.Event], long_lived: bool, life: timedelta
) -> None:
    asked_at = clock.now()
    found = source(user, talk.id_of(reply), reply[-1]["message_id"], long_lived=long_lived).json()
    expires_at = datetime.fromisoformat(found["expires_at"])
    assert timedelta(seconds=-1) < expires_at - asked_at - life < timedelta(seconds=30)

    def status_at(moment: datetime) -> int:
        with monkeypatch.context() as patch:
            patch.setattr(clock, "now", lambda: moment)
            return get(found["url"]).status_code

    assert status_at(expires_at - timedelta(seconds=1)) == 200
    assert status_at(expires_at + timedelta(seconds=1)) == 410


def test_only_who_may_read_a_message_gets_its_link(stage: Stage, reply: list[talk.Event]) -> None:
    stranger = stage.user()

    assert source(stranger, talk.id_of(reply), reply[-1]["message_id"]).status_code == 403
    assert source(stranger, talk.id_of(reply), "0" * 24).status_code == 404


def test_a_link_that_was_changed_is_forbidden(link: str, user: httpx2.Client, service_id: str) -> None:
    query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    bare = link.partition("?")[0]
    signature = query["signature"]

    for changed in (
        {**query, "expires": str(int(query["expires"]) + 1)},
        {**query, "expires": f"0{query['expires']}"},
        {**query, "expires": f"+{query['expires']}"},
        {**query, "expires": f" {query['expires']}"},
        {**query, "expires": f"{query['expires']}.0"},
        {**query, "expires": f"{query['expires'][0]}_{query['expires'][1:]}"},
        {**query, "expires": "".join(chr(0x660 + int(digit)) for digit in query["expires"])},
        {**query, "expires": "soon"},
        {**query, "signature": signature[::-1]},
        {**query, "signature": "ä"},
        {**query, "signature": ""},
    ):
        assert httpx2.get(bare, params=changed, trust_env=False, verify=NO_CERTIFICATES).status_code == 403
    message_id = bare.split("/")[-2]
    assert get(link.replace(message_id, message_id[::-1])).status_code == 403
    assert get(bare).status_code == 422


def test_a_link_is_of_one_organization(link: str) -> None:
    assert get(link.replace("/v1/demo/", "/v1/other/")).status_code == 404


def test_a_link_leads_to_the_host_that_was_asked(stage: Stage, link: str) -> None:
    server: Server = stage.server
    assert link.startswith(f"{server.base}/conversation/")


# --- Parts -----------------------------------------------------------------------------------------------------------


def test_a_recording_says_how_it_may_be_used(link: str) -> None:
    headers = get(link).headers

    wanted = {
        "accept-ranges": "bytes",
        "cache-control": "private",
        "content-disposition": "inline",
        "x-content-type-options": "nosniff",
    }
    assert {name: headers[name] for name in wanted} == wanted


def test_players_get_the_part_that_they_ask_for(link: str) -> None:
    whole = get(link).content
    size = len(whole)

    for asked, first, last in (
        ("bytes=0-9", 0, 9),
        ("Bytes=0-9", 0, 9),
        ("bytes=10-", 10, size - 1),
        ("bytes=-4", size - 4, size - 1),
        (f"bytes={size - 1}-{size + 5}", size - 1, size - 1),
        (f"bytes=-{size + 5}", 0, size - 1),
    ):
        part = get(link, Range=asked)
        assert (part.status_code, part.content) == (206, whole[first : last + 1])
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "bytes=5-3", "bytes=-", "bytes=a-b", "seconds=0-1"])
def test_a_range_that_means_nothing_is_ignored(link: str, asked: str) -> None:
    answer = get(link, Range=asked)
    assert (answer.status_code, "content-range" in answer.headers) == (200, False)


def test_a_part_beyond_the_end_is_416(link: str) -> None:
    size = len(get(link).content)

    for asked in (f"bytes={size}-", "bytes=-0"):
        answer = get(link, Range=asked)
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")
