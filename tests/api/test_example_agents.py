"""The agents of `examples/` hold the conversations that stand beside them.

With the model that repeats, and by `pytest -m live` with the local model.
"""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from support import bookings, spoken, talk
from support.agents import compare, hold, install, rehearsals
from support.bookings import Calendar
from support.pages import ROOT
from support.server import Serve, Server
from tertulia.files.folder import AgentFolder, load
from tertulia.providers import weights
from tertulia.providers.embeddings.local import LocalEmbedder, is_available
from tertulia.providers.models.registry import Models
from tertulia.providers.models.scripted import ScriptedModel

WEIGHTS = Path(".data/models")
PATIENCE_S = 600
"""Seconds that a turn of the local model may take on a slow machine."""
FOLDERS = {path.name: load(path) for path in sorted((ROOT / "examples" / "agents").iterdir())}
REHEARSALS = [*rehearsals(FOLDERS)]
BOOKED = ("2026-12-24", "09:30", "Ada")


@pytest.fixture(scope="module")
def scripted(serve: Serve) -> Server:
    """Serve with the model that repeats; tools may reach this host. Return the server."""
    return serve(models=Models(ScriptedModel(pieces=60)), tools={"allow": ["127.0.0.1"]})


@pytest.fixture
def calendar(tmp_path: Path) -> Iterator[Calendar]:
    with bookings.running(tmp_path / "bookings.db") as running:
        yield running


@pytest.mark.parametrize(("name", "conversation"), REHEARSALS)
def test_the_agent_holds_its_conversation(scripted: Server, calendar: Calendar, name: str, conversation: str) -> None:
    folder: AgentFolder = FOLDERS[name]
    service_id = install(scripted.as_admin, folder, calendar)
    hold(scripted.as_admin, scripted.as_admin, service_id, folder.conversations[conversation])
    assert calendar.bookings() == ([BOOKED] if conversation == "an-appointment" else [])


def test_the_clinic_takes_down_and_books_aloud(scripted: Server, calendar: Calendar) -> None:
    admin, folder = scripted.as_admin, FOLDERS["clinic-intake"]
    service_id = install(admin, folder, calendar)
    opening = talk.lines(talk.create(admin, service_id, {"response_format": "voice"}))
    conversation_id, events = talk.id_of(opening), list[talk.Event]()
    for step in folder.conversations["an-appointment"].turns:
        recording = spoken.said(step.user or "")
        answer = spoken.send(
            admin, conversation_id, recording, spoken.BARE, response_format="voice", current_agent_action_type=".*"
        )
        events = talk.lines(answer)
        assert spoken.sound(events)
        compare(admin, conversation_id, step, events)
    assert events[-1]["conversation_completed"]
    assert calendar.bookings() == [BOOKED]


@pytest.fixture(scope="module")
def local(serve: Serve) -> Server:
    """Serve with the local model, whose weights are fetched first; choices go by meaning, as `make run` has it.

    Return the server.
    """
    pytest.importorskip("xllamacpp", reason="a library that it needs is missing here", exc_type=ImportError)
    from tertulia.providers.models.local import LocalModel  # noqa: PLC0415 - it needs an extra

    embedder = LocalEmbedder() if is_available() else None
    model = LocalModel(weights.fetch(weights.default(WEIGHTS), WEIGHTS), 600, lambda: embedder)
    slow = {"stall_s": PATIENCE_S, "total_s": PATIENCE_S}
    server = serve(models=Models(model), tools={"allow": ["127.0.0.1"]}, turn=slow)
    server.as_admin.timeout = httpx2.Timeout(PATIENCE_S)
    return server


@pytest.mark.live
@pytest.mark.parametrize(("name", "conversation"), REHEARSALS)
def test_the_agent_holds_its_conversation_with_a_local_model(
    local: Server, calendar: Calendar, name: str, conversation: str
) -> None:
    service_id = install(local.as_admin, FOLDERS[name], calendar)
    hold(local.as_admin, local.as_admin, service_id, FOLDERS[name].conversations[conversation])


def test_there_are_agents_of_every_kind() -> None:
    kinds = {state["type"] for folder in FOLDERS.values() for state in folder.graph.body["states"]}
    assert len(FOLDERS) >= 8
    assert kinds == {"action", "annotation", "decision", "recall", "reflection", "tool-call"}
    assert all(folder.conversations for folder in FOLDERS.values())
