"""The operator's look behind conversations: models, their parameters, and the prompts that they were sent."""

import io
import zipfile
from typing import Any

import httpx2
import pytest

from support.puppet import Puppet
from support.samples import action, graph, make_service
from support.server import Serve, Server
from support.stage import Stage
from support.talk import create, interact
from tertulia.api import admin

ONE_WAY = graph(action("start", "end", exit_conditions=[]), action("end"))

Json = dict[str, Any]


def logs(client: httpx2.Client, prefix: str) -> dict[str, str]:
    """The files of the prompt logs of a prefix."""
    answer = client.get("/admin/get_prompt_logs/", params={"prompt_log_prefix": prefix})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def status(client: httpx2.Client, prefix: str) -> int:
    return client.get("/admin/get_prompt_logs/", params={"prompt_log_prefix": prefix}).status_code


def ids_of(answer: httpx2.Response) -> tuple[str, str]:
    return answer.headers["x-tertulia-conversation-id"], answer.headers["x-tertulia-interaction-id"]


# --- Prompt logs -----------------------------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_the_prompts_of_a_conversation_are_files_of_what_its_models_were_sent(stage: Stage) -> None:
    puppet = stage.play(Puppet())
    user = stage.user()
    conversation_id, first = ids_of(create(user, stage.service(ONE_WAY)))
    _, second = ids_of(interact(user, conversation_id, "Hello there"))

    found = logs(stage.admin, conversation_id)

    assert set(found) == {
        f"{conversation_id}/{interaction_id}/1-EngageUser-{part}"
        for interaction_id in (first, second)
        for part in ("system", "history")
    }
    asked = puppet.prompts[-1]
    assert found[f"{conversation_id}/{second}/1-EngageUser-system"] == asked.system
    history = found[f"{conversation_id}/{second}/1-EngageUser-history"].split("\n---\n")
    assert history == [f"{turn.role}: {turn.content}" for turn in asked.asked]


def test_a_prefix_narrows_down_to_one_log(stage: Stage) -> None:
    stage.play(Puppet())
    user = stage.user()
    conversation_id, first = ids_of(create(user, stage.service(ONE_WAY)))
    interact(user, conversation_id)

    one = set(logs(stage.admin, f"{conversation_id}/{first}/1-Eng"))

    assert one == {f"{conversation_id}/{first}/1-EngageUser-{part}" for part in ("system", "history")}
    assert set(logs(stage.admin, f"{conversation_id}/{first}")) == one
    assert set(logs(stage.admin, f"{conversation_id}/")) == set(logs(stage.admin, conversation_id))


@pytest.mark.parametrize(
    "prefix",
    ["0" * 24, "x", "../../etc", "%", "_", "0/0", f"{'0' * 24}/{'0' * 24}/1", "f" * 23 + "é"],
)
def test_a_prefix_of_no_log_is_not_found(stage: Stage, prefix: str) -> None:
    assert status(stage.admin, prefix) == 404


def test_the_end_of_a_key_that_is_none_is_not_found(stage: Stage) -> None:
    stage.play(Puppet())
    conversation_id, first = ids_of(create(stage.user(), stage.service(ONE_WAY)))

    assert status(stage.admin, f"{conversation_id}/{first}/2-") == 404
    assert status(stage.admin, f"{conversation_id}/{first}/1-Select") == 404


def test_more_logs_than_one_answer_has_are_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "MOST_LOGS", 1)
    stage.play(Puppet())
    user = stage.user()
    conversation_id, first = ids_of(create(user, stage.service(ONE_WAY)))
    interact(user, conversation_id)

    answer = stage.admin.get("/admin/get_prompt_logs/", params={"prompt_log_prefix": conversation_id})

    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [["query", "prompt_log_prefix"]]
    assert len(logs(stage.admin, f"{conversation_id}/{first}")) == 2


@pytest.mark.both_databases
def test_each_log_asks_for_its_permissions(stage: Stage) -> None:
    stage.play(Puppet())
    user = stage.user()
    hidden = stage.user(user_preferences={"conversations_visible_to_admins": False})
    mine, _ = ids_of(create(user, stage.service(ONE_WAY)))
    theirs, _ = ids_of(create(hidden, stage.service(ONE_WAY)))

    as_user = logs(user, mine)
    everything = logs(stage.admin, "")

    assert [name.rpartition("-")[2] for name in as_user] == ["error"]
    assert "".join(as_user.values()) == "You need the permission Conversation:GetInteractionInsights."
    assert {name.rpartition("-")[2] for name in everything if name.startswith(mine)} == {"system", "history"}
    assert {name.rpartition("-")[2] for name in logs(stage.admin, theirs)} == {"error"}
    assert not [name for name in everything if name.startswith(theirs)]  # their ids are not told either


def test_logs_that_a_caller_may_not_see_are_not_counted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.play(Puppet())
    create(stage.user(), stage.service(ONE_WAY))
    seen = set(logs(stage.admin, ""))
    monkeypatch.setattr(admin, "MOST_LOGS", len(seen) // 2)
    hidden = stage.user(user_preferences={"conversations_visible_to_admins": False})
    create(hidden, stage.service(ONE_WAY))

    assert set(logs(stage.admin, "")) == seen


def test_a_void_turn_has_its_prompts_too(stage: Stage) -> None:
    stage.play(Puppet(" "))
    conversation_id, _ = ids_of(create(stage.user(), stage.service(ONE_WAY)))

    assert len(logs(stage.admin, conversation_id)) == 2


# --- Models ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def several(serve: Serve) -> Server:
    """A server with models of several kinds; none of them is asked, but for the scripted one."""
    return serve(
        model=("scripted", "openai:tiny"),
        model_names=("openai_gpt-5.6-luna=scripted",),
        openai={"base_url": "http://127.0.0.1:9", "api_key": "key"},
    )


def test_models_are_listed_by_the_names_that_a_version_set_can_have(several: Server) -> None:
    models = several.as_admin.get("/admin/get_models/").json()["models"]

    found = {model["name"]: model["params_model_schema"] for model in models}
    assert {"scripted", "openai:tiny", "openai_gpt-5.6-luna", "openai_gpt-6-luna"} <= found.keys()
    assert "google_gemini-3.5-flash" not in found
    assert found["openai:tiny"]["properties"]["temperature"]["type"] == "number"
    assert found["openai:tiny"]["additionalProperties"] is False


def test_models_and_voices_are_tried(several: Server) -> None:
    def try_it(**body: Any) -> Json:
        return several.as_admin.post("/admin/provider_trial/", json=body).raise_for_status().json()

    listed = several.as_admin.get("/admin/voices/").raise_for_status().json()["providers"]
    (voice, *_) = [voice["id"] for provider in listed for voice in provider["voices"]]
    for body in ({"kind": "model"}, {"kind": "model", "name": "scripted"}, {"kind": "voice", "name": voice}):
        tried = try_it(**body)
        assert (tried["works"], tried["first_ms"] >= 0, bool(tried["detail"])) == (True, True, True)
    assert try_it(kind="model", name="openai:tiny") == {
        "works": False, "first_ms": None, "detail": "The language model cannot be reached or is overloaded."
    }  # fmt: skip
    for kind in ("model", "voice"):
        assert several.as_admin.post("/admin/provider_trial/", json={"kind": kind, "name": "none"}).status_code == 404
    assert several.as_user.post("/admin/provider_trial/", json={"kind": "model"}).status_code == 403


def put(server: Server, name: str, params: Json) -> httpx2.Response:
    service_id = make_service(server.as_admin, ONE_WAY)
    version_set = {
        "agent_version_number": None,
        "service_hierarchical_state_machine_version_number": None,
        "llm_model_preferences": {"EngageUser": {"llm_name": name, "params": params}},
    }
    return server.as_admin.put(f"/service/{service_id}/version_sets/x/", json={"version_set": version_set})


@pytest.mark.parametrize(
    ("name", "params", "wrong"),
    [
        ("openai:tiny", {"temperature": "hot"}, "temperature"),
        ("openai:tiny", {"temperature": 5}, "temperature"),
        ("openai:tiny", {"top_p": 0.5, "heat": 1}, "heat"),
        ("openai_gpt-6-luna", {"max_tokens": 0}, "max_tokens"),
    ],
)
def test_a_parameter_that_a_model_does_not_take_is_refused_by_its_name(
    several: Server, name: str, params: Json, wrong: str
) -> None:
    answer = put(several, name, params)

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"llm_model_preferences.EngageUser.params.{wrong}: ")


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("openai:tiny", {"temperature": 0.2, "stop": ["a"], "reasoning_effort": "low"}),
        ("openai_gpt-5.6-luna", {"whatever": 1}),
        ("google_gemini-3.5-flash", {"unknown here": 1}),
    ],
)
def test_parameters_that_fit_or_cannot_be_judged_here_are_taken(several: Server, name: str, params: Json) -> None:
    assert put(several, name, params).status_code == 204
