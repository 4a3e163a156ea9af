"""The agents of `examples/` hold the conversations that stand beside them.

With the model that repeats, and by `pytest -m live` with the local model.
"""

from pathlib import Path

import pytest

from support.agents import hold, install, rehearsals
from support.pages import ROOT
from support.server import Serve, Server
from support.stage import Stage
from tertulia.files.folder import AgentFolder, load
from tertulia.providers import weights
from tertulia.providers.models.registry import Models
from tertulia.providers.models.scripted import ScriptedModel

WEIGHTS = Path(".data/models")
FOLDERS = {path.name: load(path) for path in sorted((ROOT / "examples" / "agents").iterdir())}
REHEARSALS = [*rehearsals(FOLDERS)]


@pytest.mark.parametrize(("name", "conversation"), REHEARSALS)
def test_the_agent_holds_its_conversation(stage: Stage, name: str, conversation: str) -> None:
    stage.switch.model = ScriptedModel(pieces=60)
    folder: AgentFolder = FOLDERS[name]
    service_id = install(stage.admin, folder)
    hold(stage.admin, stage.user("DefaultAdministratorRole"), service_id, folder.conversations[conversation])


@pytest.fixture(scope="module")
def local(serve: Serve) -> Server:
    """Serve with the local model, whose weights are fetched first. Return the server."""
    pytest.importorskip("xllamacpp", reason="a library that it needs is missing here", exc_type=ImportError)
    from tertulia.providers.models.local import LocalModel  # noqa: PLC0415 - it needs an extra

    model = LocalModel(weights.fetch(weights.default(WEIGHTS), WEIGHTS), 600)
    return serve(models=Models(model))


@pytest.mark.live
@pytest.mark.parametrize(("name", "conversation"), REHEARSALS)
def test_the_agent_holds_its_conversation_with_a_local_model(local: Server, name: str, conversation: str) -> None:
    service_id = install(local.as_admin, FOLDERS[name])
    hold(local.as_admin, local.as_admin, service_id, FOLDERS[name].conversations[conversation])


def test_there_are_agents_of_every_kind() -> None:
    kinds = {state["type"] for folder in FOLDERS.values() for state in folder.graph.body["states"]}
    assert len(FOLDERS) >= 8
    assert kinds == {"action", "annotation", "decision", "recall", "reflection"}
    assert all(folder.conversations for folder in FOLDERS.values())
