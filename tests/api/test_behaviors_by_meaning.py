"""Behaviours of the examples, chosen by the meaning of what was said: with the embedding model in the process.

Of 20 messages that call for one, 14 were known for sure without the language model, and none was dropped; of 20 others,
none was taken for one, and 18 were known for sure to be none. The rest, 8 of 40, is left to the language model, which
is a puppet here. (The vectors differ a little from processor to processor: the counts may, by one.)
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import bookings, talk
from support.agents import ALL_STEPS, install
from support.pages import ROOT
from support.server import Serve, Server
from tertulia.files.folder import load
from tertulia.providers.embeddings.local import LocalEmbedder, is_available
from tertulia.providers.models.registry import Models

pytestmark = pytest.mark.skipif(not is_available(), reason="this machine cannot run the model")

CALLING = {
    "clinic-intake": (
        "My husband is unconscious!",
        "I can hardly breathe, my throat is closing up.",
        "She has passed out and doesn't wake up.",
        "There is a terrible pressure on my chest.",
        "My child is choking, he's turning blue!",
    ),
    "hotel-desk": (
        "I smell smoke in the corridor.",
        "The alarm is ringing, what shall I do?",
        "Something is burning on the third floor!",
        "There are flames coming out of the kitchen.",
        "Why is the siren going off?",
    ),
    "language-tutor": (
        "I'm so scared of my German test on Friday.",
        "I have an exam tomorrow and I feel sick with nerves.",
        "What if I forget everything in the oral exam?",
        "I panic whenever I think about the certificate exam.",
        "I am anxious, the final is next week.",
    ),
    "service-desk": (
        "Can you reset the password of my workmate?",
        "Please give me access to Julia's mailbox, she's on holiday.",
        "My boss forgot his login, could you unlock him for me?",
        "I need to get into the account of someone on my team.",
        "What is the username of the guy at the next desk?",
    ),
}
OTHERS = {
    "clinic-intake": (
        "I have had a cough for four days.",
        "I need a new prescription for my blood pressure pills.",
        "My knee hurts when I climb stairs.",
        "Could I have an appointment next Tuesday?",
        "I have a mild fever and a runny nose.",
    ),
    "hotel-desk": (
        "When is breakfast served?",
        "Please book me a taxi for seven tomorrow.",
        "The shower in my room is cold.",
        "Could you wake me at six?",
        "May I have an extra pillow?",
    ),
    "language-tutor": (
        "Let's practise in the bakery.",
        "How do you say bread in German?",
        "I would like two rolls, please.",
        "What is the difference between der and das?",
        "I learned some words yesterday.",
    ),
    "service-desk": (
        "My own password does not work any more.",
        "The printer on the second floor is jammed.",
        "I cannot connect to the network.",
        "I tried that and it failed again.",
        "My account has been locked since this morning.",
    ),
}


class Llama:
    """llama.cpp's server: it calls every matter none, and counts how often it is asked for one."""

    def __init__(self) -> None:
        self.matters = 0

    def handle_chat_completions(self, body: dict[str, Any], callback: Callable[[dict[str, Any]], bool]) -> None:
        names: list[str] = re.findall(r'"(\w+)"', str(body.get("grammar", "")))
        self.matters += "none" in names
        answer = "none" if "none" in names else names[-1] if names else "All right."
        callback({"choices": [{"delta": {"content": answer}}]})
        callback({"choices": [], "timings": {"prompt_n": 7, "predicted_n": 3}})


@pytest.fixture(scope="module")
def llama() -> Llama:
    return Llama()


@pytest.fixture(scope="module")
def choosing(serve: Serve, llama: Llama) -> Iterator[Server]:
    """Serve with the local model's choices by meaning, and a puppet in the place of its weights."""
    pytest.importorskip("xllamacpp", reason="a library that it needs is missing here", exc_type=ImportError)
    from tertulia.providers.models import local  # noqa: PLC0415 - it needs an extra

    embedder = LocalEmbedder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "_load", lambda _path: llama)
        yield serve(models=Models(local.LocalModel(Path("model.gguf"), 60, lambda: embedder)))


def chosen(server: Server, service_id: str, message: str) -> Any:
    first = {"initial_message": message, "initial_message_type": "user-message", "is_test": True}
    events = talk.lines(talk.create(server.as_admin, service_id, ALL_STEPS, **first))
    assert events[-1]["type"] == "interaction-complete", events[-1]
    if not events[-1]["conversation_completed"]:
        talk.finish(server.as_admin, talk.id_of(events)).raise_for_status()
    kinds = [event.get("action", {}) for event in events]
    [choice] = [kind for kind in kinds if kind.get("type") == "select-dynamic-behavior-completed"]
    return choice["selected_dynamic_behavior_set_version_info"]


def test_what_is_sure_is_chosen_by_meaning_and_only_the_rest_is_put_to_the_model(
    choosing: Server, llama: Llama, tmp_path: Path
) -> None:
    won, dropped, missed, taken = list[str](), list[str](), list[str](), list[str]()
    with bookings.running(tmp_path / "bookings.db") as calendar:
        services = {
            name: install(choosing.as_admin, load(ROOT / "examples" / "agents" / name), calendar) for name in CALLING
        }
    for name, service_id in services.items():
        for message in (*CALLING[name], *OTHERS[name]):
            asked = llama.matters
            is_chosen = chosen(choosing, service_id, message) is not None
            sure = llama.matters == asked
            if message in CALLING[name]:
                won += [message] if is_chosen else []
                dropped += [message] if sure and not is_chosen else []
            else:
                taken += [message] if is_chosen else []
                missed += [message] if sure and not is_chosen else []
    assert (dropped, taken) == ([], [])
    assert len(won) >= 13
    assert len(missed) >= 17
