"""A process that has held many turns, written and spoken, has no more memory than it had after a tenth of them.

`ENDURANCE_TURNS=20000` is the long run; each change has a short one.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import psutil
import pytest

from durability.lives import Installation, User
from support import spoken, talk
from support.commands import Process, Starter
from support.server import settings_of
from tertulia.audio.pcm import RATE, wav

pytestmark = pytest.mark.heavy

TURNS = int(os.environ.get("ENDURANCE_TURNS", "1000"))
"""Written turns; a tenth as many are spoken, both ways."""

CLIENTS = 4
TENTH = 10
TURNS_OF_A_CONVERSATION = 20
MOST = 1.1
SAID = wav(spoken.said("Hm."), RATE)


@pytest.fixture
def server(tmp_path: Path, sqlite_template: Path) -> Iterator[tuple[Installation, Process]]:
    (tmp_path / "data").mkdir()
    database = tmp_path / "data" / "tertulia.db"
    database.write_bytes(sqlite_template.read_bytes())
    made = Installation(settings_of(data=tmp_path / "data", database={"url": f"sqlite:///{database}", "pool_size": 4}))
    starter = Starter(tmp_path)
    process = starter("serve", "--data", made.settings.data, "--port", "0", TERTULIA_RATE_LIMITS="off")
    made.url = process.url
    yield made, process
    starter.end()
    made.engine.dispose()


class Talker:
    """A user who writes, and with every tenth turn speaks."""

    def __init__(self, user: User, service_id: str) -> None:
        self._client = httpx2.Client(
            base_url=user.installation.url + user.path.removesuffix("/conversation"),
            headers=user.headers,
            timeout=60,
            trust_env=False,
        )
        self._service_id = service_id

    def talk(self, turns: int) -> None:
        conversation_id = ""
        for number in range(turns):
            if number % TURNS_OF_A_CONVERSATION == 0:
                self._finish(conversation_id)
                conversation_id = talk.id_of(talk.begin(self._client, self._service_id, initial_message="Hm."))
            talk.go_on(self._client, conversation_id, "Hm.")
            if number % TENTH == 0:
                answer = spoken.send(self._client, conversation_id, SAID, spoken.BARE, response_format="voice")
                assert talk.lines(answer)[-1]["type"] == "interaction-complete"
        self._finish(conversation_id)

    def _finish(self, conversation_id: str) -> None:
        if conversation_id:
            assert talk.finish(self._client, conversation_id).status_code == 204


def test_memory_after_many_turns_is_that_after_a_tenth(server: tuple[Installation, Process]) -> None:
    installation, process = server
    talkers = [Talker(user, installation.demo.service_id) for user in installation.users(CLIENTS)]
    resident = psutil.Process(process.process.pid).memory_info
    sizes: list[int] = []
    for _ in range(TENTH):
        with ThreadPoolExecutor(CLIENTS) as pool:
            for done in [pool.submit(talker.talk, TURNS // TENTH // CLIENTS) for talker in talkers]:
                done.result()
        sizes.append(resident().rss)
        print(f"{len(sizes) * TURNS // TENTH} written turns: {sizes[-1] / 1e6:.1f} MB", flush=True)
    assert sizes[-1] < MOST * sizes[0]
