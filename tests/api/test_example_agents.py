"""The agents of `examples/` hold the conversations that stand beside them, with the model that repeats."""

import pytest

from support.agents import hold, install, rehearsals
from support.pages import ROOT
from support.stage import Stage
from tertulia.files.folder import AgentFolder, load
from tertulia.providers.models.scripted import ScriptedModel

FOLDERS = {path.name: load(path) for path in sorted((ROOT / "examples" / "agents").iterdir())}


@pytest.mark.parametrize(("name", "conversation"), rehearsals(FOLDERS))
def test_the_agent_holds_its_conversation(stage: Stage, name: str, conversation: str) -> None:
    stage.switch.model = ScriptedModel(pieces=60)
    folder: AgentFolder = FOLDERS[name]
    service_id = install(stage.admin, folder)
    hold(stage.admin, stage.user("DefaultAdministratorRole"), service_id, folder.conversations[conversation])


def test_there_are_agents_of_every_kind() -> None:
    kinds = {state["type"] for folder in FOLDERS.values() for state in folder.graph.body["states"]}
    assert len(FOLDERS) >= 8
    assert kinds == {"action", "annotation", "decision", "recall", "reflection"}
    assert all(folder.conversations for folder in FOLDERS.values())
