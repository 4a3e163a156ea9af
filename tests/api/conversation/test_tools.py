"""A clinic that books through a tool of the registry, in text and by voice: called, recorded, and done once."""

import io
import json
import tarfile
from typing import Any

import httpx2
import pytest

from support import samples
from support.samples import Json
from support.talk import Event, begin, create, go_on, id_of, interact, lines, messages, types

MANIFEST = """
name = "book"
[input_schema]
type = "object"
required = ["day", "hour"]
additionalProperties = false
[input_schema.properties.day]
type = "string"
enum = ["Monday", "Tuesday"]
[input_schema.properties.hour]
type = "integer"
minimum = 8
maximum = 18
"""
BOOKS = """
def run(arguments, context):
    return f"Booked {arguments['day']} at {arguments['hour']} for {context.user_variables['user_id']}."
"""
FLOODS = """
def run(arguments, context):
    return context.idempotency_key + "." * 6000
"""
SLOW = """
import time
def run(arguments, context):
    time.sleep(1)
    return "Booked."
"""
SAYS = "I want to book: day=Monday, hour=9"
GOOD = {"day": "Monday", "hour": 9}


def publish(client: httpx2.Client, code: str = BOOKS) -> str:
    """Make a tool with a version of some code. Return its identifier."""
    name = samples.a_name().lower().replace(" ", "_")
    body = {"name": name, "description": "Books an appointment.", "tags": {}}
    tool_id = str(client.post("/tool/", json=body).raise_for_status().json()["id"])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path, text in {"tool.toml": MANIFEST, "tool.py": code}.items():
            member = tarfile.TarInfo(f"project/{path}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    path, kind = f"/tool/{tool_id}/version/archive", {"content-type": "application/gzip"}
    sent = client.post(path, params={"bump_type": "major"}, content=packed.getvalue(), headers=kind)
    assert sent.status_code == 201, sent.text
    return tool_id


def invocations(client: httpx2.Client, tool_id: str) -> list[Any]:
    """List the calls of a tool that are on record. Return them, the newest first."""
    return client.get("/tool/invocation", params={"tool_id": tool_id}).raise_for_status().json()["tool_invocations"]


def steps(events: list[Event], kind: str) -> list[Event]:
    return [event["action"] for event in events if event.get("action", {}).get("type") == kind]


def insights(client: httpx2.Client, conversation_id: str, events: list[Event]) -> Any:
    path = f"/conversation/{conversation_id}/interaction/{events[-1]['interaction_id']}/insights"
    return client.get(path).raise_for_status().json()


def test_a_clinic_books_and_everything_tells_it(as_admin: httpx2.Client) -> None:
    tool_id = publish(as_admin)
    conversation_id = id_of(begin(as_admin, samples.make_clinic(as_admin, tool_id)))
    events = go_on(as_admin, conversation_id, SAYS)
    assert types(events)[-1] == "interaction-complete", events[-1]
    [ended] = steps(events, "tool-call-ended")
    assert ended["result"].startswith("Booked Monday at 9 for ")
    [invoked] = invocations(as_admin, tool_id)
    source = invoked["invocation_source"]
    assert (source["conversation_id"], source["interaction_id"]) == (conversation_id, events[-1]["interaction_id"])
    assert source["invocation_metadata"]["type"] == "tool-call-state"
    assert source["invocation_metadata"]["state_name"] == "book"
    [_, made] = insights(as_admin, conversation_id, events)["state_transition_logs"]
    assert (made["type"], made["designated_tool_call_log"]["input"]) == ("tool-call", GOOD)
    assert made["designated_tool_call_log"]["output"] == ended["result"]
    path = f"/conversation/{conversation_id}/interaction/{events[-1]['interaction_id']}/trace"
    spans = as_admin.get(path).raise_for_status().json()["spans"]
    [span] = [span for span in spans if span["name"].startswith("execute_tool ")]
    assert span["attributes"]["gen_ai.tool.call.arguments"] == json.dumps(GOOD)
    assert span["attributes"]["gen_ai.tool.call.result"] == ended["result"]

    later = go_on(as_admin, conversation_id, "When was that again?")
    path = f"/conversation/{conversation_id}/interaction/{later[-1]['interaction_id']}/trace"
    assert "gave: Booked Monday at 9" in as_admin.get(path).text, "a later turn is told what lasts"


def test_only_a_yes_books_exactly_what_was_shown(as_admin: httpx2.Client) -> None:
    tool_id = publish(as_admin)
    conversation_id = id_of(begin(as_admin, samples.make_clinic(as_admin, tool_id, needs_confirmation=True)))
    asked = go_on(as_admin, conversation_id, SAYS)
    assert '{"day": "Monday", "hour": 9}' in asked[-1]["full_message"]
    assert [call["arguments"] for call in insights(as_admin, conversation_id, asked)["pending_tool_calls"]] == [GOOD]
    assert invocations(as_admin, tool_id) == []
    events = go_on(as_admin, conversation_id, "Yes, please.")
    [started] = steps(events, "tool-call-started")
    assert started["input_params"] == GOOD
    [[log]] = insights(as_admin, conversation_id, events)["select_next_action_tool_call_logs"]
    assert log["output"].startswith("Booked Monday at 9")
    assert len(invocations(as_admin, tool_id)) == 1
    go_on(as_admin, conversation_id, "Yes.")
    assert len(invocations(as_admin, tool_id)) == 1, "a yes is used once"


def test_a_void_turn_keeps_its_call_and_its_retry_has_the_same_key(as_admin: httpx2.Client) -> None:
    tool_id = publish(as_admin, FLOODS)
    conversation_id = id_of(begin(as_admin, samples.make_clinic(as_admin, tool_id, result_persistence="persisted")))
    before = messages(as_admin, conversation_id)
    for key in ("once", "once", "other"):
        as_admin.headers["Idempotency-Key"] = key
        answer = interact(as_admin, conversation_id, SAYS)
        del as_admin.headers["Idempotency-Key"]
        last = lines(answer)[-1]
        assert (last["type"], last["http_error_code"]) == ("error", 400)
        assert "one that is persisted has at most 5000" in last["error_description"]
    assert messages(as_admin, conversation_id) == before
    keys = [made["invocation_status"]["output"].rstrip(".") for made in invocations(as_admin, tool_id)]
    assert keys[1] == keys[2] != keys[0]


def test_by_voice_a_slow_tool_is_filled(as_admin: httpx2.Client) -> None:
    tool_id = publish(as_admin, SLOW)
    filled: Json = {"audio_fillers": ["One moment."], "audio_filler_triggered_after": 0.05}
    service_id = samples.make_clinic(as_admin, tool_id, **filled)
    spoken = {"response_format": "voice"}
    conversation_id = id_of(lines(create(as_admin, service_id, spoken)))
    events = lines(interact(as_admin, conversation_id, SAYS, spoken))
    assert types(events)[-1] == "interaction-complete", events[-1]
    [filler] = steps(events, "action-too-long")
    assert filler["previously_started_event"]["type"] == "tool-call-started"
    assert filler["previously_started_event"]["input_params"] == GOOD
    assert filler["filler"].startswith("UklGR"), "a WAV file"


def test_a_turn_that_is_cancelled_stops_its_tool_and_the_call_is_on_record(as_admin: httpx2.Client) -> None:
    tool_id = publish(as_admin, SLOW.replace("sleep(1)", "sleep(60)"))
    conversation_id = id_of(begin(as_admin, samples.make_clinic(as_admin, tool_id)))
    params = {"request_format": "text", "response_format": "text"}
    parts = [("initial_message_type", (None, "user-message")), ("recorded_message", (None, SAYS))]
    path = f"/conversation/{conversation_id}"
    with as_admin.stream("POST", f"{path}/interact", params=params, files=parts) as answer:
        interaction_id = answer.headers["X-Tertulia-Interaction-Id"]
        told = answer.iter_lines()
        assert any("tool-call-started" in line for line in told)
        as_admin.post(f"{path}/interaction/{interaction_id}/cancel").raise_for_status()
        *_others, last = map(json.loads, told)
    assert last["type"] == "error"
    [made] = invocations(as_admin, tool_id)
    assert made["invocation_status"]["exception_type"] == "ToolStopped"
    assert made["duration_ms"] < 60_000


@pytest.mark.parametrize("has_key", [False, True])
def test_a_client_that_leaves_stops_its_tool_unless_it_can_come_back_by_a_key(
    as_admin: httpx2.Client, has_key: bool
) -> None:
    tool_id = publish(as_admin, SLOW)
    conversation_id = id_of(begin(as_admin, samples.make_clinic(as_admin, tool_id)))
    params = {"request_format": "text", "response_format": "text"}
    parts = [("initial_message_type", (None, "user-message")), ("recorded_message", (None, SAYS))]
    request: Json = {"params": params, "files": parts, "headers": {"Idempotency-Key": "a-key"} if has_key else {}}
    path = f"/conversation/{conversation_id}"
    with as_admin.stream("POST", f"{path}/interact", **request) as answer:
        interaction_id = answer.headers["X-Tertulia-Interaction-Id"]
        assert any("tool-call-started" in line for line in answer.iter_lines())
    while not (made := invocations(as_admin, tool_id)):
        pass  # a call that runs is not listed
    status = made[0]["invocation_status"]
    assert (status["succeeded"], status.get("exception_type")) == ((True, None) if has_key else (False, "ToolStopped"))
    if has_key:
        told = lines(as_admin.post(f"{path}/interact", **request))
        assert (told[-1]["type"], told[-1]["interaction_id"]) == ("interaction-complete", interaction_id)
    else:
        assert made[0]["duration_ms"] < 1000
        assert "Book" not in str(messages(as_admin, conversation_id))


def test_a_reader_who_comes_back_at_once_keeps_the_tool_running(as_admin: httpx2.Client) -> None:
    tool_id = publish(as_admin, SLOW)
    conversation_id = id_of(begin(as_admin, samples.make_clinic(as_admin, tool_id)))
    params = {"request_format": "text", "response_format": "text"}
    parts = [("initial_message_type", (None, "user-message")), ("recorded_message", (None, SAYS))]
    path = f"/conversation/{conversation_id}"
    with as_admin.stream("POST", f"{path}/interact", params=params, files=parts) as answer:
        interaction_id = answer.headers["X-Tertulia-Interaction-Id"]
        assert any("tool-call-started" in line for line in answer.iter_lines())
    told = lines(as_admin.get(f"{path}/interaction/{interaction_id}/stream"))
    assert told[-1]["type"] == "interaction-complete"


@pytest.mark.parametrize("constraint", [">=2", "==1.0.1"])
def test_a_version_that_is_not_there_is_an_error_that_names_the_tool(as_admin: httpx2.Client, constraint: str) -> None:
    tool_id = publish(as_admin)
    conversation_id = id_of(begin(as_admin, samples.make_clinic(as_admin, tool_id, version_constraint=constraint)))
    last = go_on(as_admin, conversation_id, SAYS)[-1]
    assert (last["type"], last["http_error_code"]) == ("error", 400)
    assert constraint in last["error_description"]
