"""Opinions of messages, and links by which others read a conversation: for whom, for how long, and no more."""

from datetime import timedelta
from typing import Any

import httpx2
import pytest

from support.accounts import demote
from support.jobs import wait_until_done
from support.stage import Stage
from support.talk import begin, go_on, id_of, messages
from tertulia import clock

pytestmark = pytest.mark.both_databases

Json = dict[str, Any]


def talked(stage: Stage, user: httpx2.Client) -> tuple[str, list[Json]]:
    """Hold a conversation of two turns. Return its identifier, and its messages, the oldest first."""
    conversation = id_of(begin(user, stage.service(), initial_message="Hello"))
    go_on(user, conversation, "And now?")
    return conversation, messages(user, conversation)


def rate(client: httpx2.Client, conversation: str, message: str, rating: str, comment: str = "") -> int:
    path = f"/conversation/{conversation}/messages/{message}/feedback"
    return client.put(path, json={"rating": rating, "comment": comment}).status_code


def opinions(client: httpx2.Client, **query: Any) -> list[Json]:
    answer = client.get("/conversation/feedback", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["feedback"]


def told(given: list[Json]) -> list[tuple[str, str]]:
    return [(one["rating"], one["comment"]) for one in given]


def test_an_opinion_is_one_for_each_person_and_message_and_seen_by_who_may_read_it(stage: Stage) -> None:
    user, stranger = stage.user(), stage.user()
    private = stage.user(user_preferences={"conversations_visible_to_admins": False})
    conversation, [_, first, _, last] = talked(stage, user)
    hidden, [_, secret, *_] = talked(stage, private)
    path = f"/conversation/{conversation}/messages/{first['id']}/feedback"

    assert rate(user, conversation, first["id"], "up", " Funny! ") == 204
    assert rate(user, conversation, first["id"], "down", "Not funny, 'DROP") == 204
    assert rate(stage.admin, conversation, first["id"], "up") == 204
    assert rate(user, conversation, last["id"], "up") == 204
    assert rate(private, hidden, secret["id"], "down", "Mine") == 204
    assert rate(stranger, conversation, first["id"], "down") == 403
    assert rate(stage.admin, hidden, secret["id"], "up") == 403
    assert rate(user, conversation, secret["id"], "up") == rate(user, "0" * 24, first["id"], "up") == 404

    assert told(opinions(user, conversation_id=conversation)) == [
        ("up", ""),
        ("up", ""),
        ("down", "Not funny, 'DROP"),
    ]
    mine = {"service_id": opinions(user)[0]["service_id"]}
    assert len(opinions(stage.admin, conversation_id=conversation)) == 3
    assert told(opinions(stage.admin, rating="down", **mine)) == [("down", "Not funny, 'DROP")]
    assert told(opinions(stage.admin, has_comment=True, **mine)) == [("down", "Not funny, 'DROP")]
    assert len(opinions(stage.admin, has_comment=False, **mine)) == 2
    assert len(opinions(user, user_id=user.user_id)) == 2
    assert len(opinions(user, message_id=first["id"])) == 2
    assert opinions(stranger) == opinions(stage.admin, conversation_id=hidden) == []
    assert told(opinions(private)) == [("down", "Mine")]
    assert opinions(user, sort_by="+created_at")[0]["message"] == first["message"]

    assert user.delete(path).status_code == 204
    assert user.delete(path).status_code == 404
    assert told(opinions(user, message_id=first["id"])) == [("up", "")]


@pytest.mark.parametrize(
    "body", [{}, {"rating": "sideways"}, {"rating": "up", "comment": "x" * 2001}, {"rating": "up", "comment": "a\0"}]
)
def test_an_opinion_that_is_none_is_refused(stage: Stage, body: Json) -> None:
    user = stage.user()
    conversation, [_, first, *_] = talked(stage, user)
    assert user.put(f"/conversation/{conversation}/messages/{first['id']}/feedback", json=body).status_code == 422


def share(client: httpx2.Client, conversation: str, **body: Any) -> httpx2.Response:
    return client.post(f"/conversation/{conversation}/share/", json=body)


def opened(stage: Stage, token: str, **query: Any) -> httpx2.Response:
    return stage.server.anonymous.get("/shared/", headers=[(b"X-Share-Token", token.encode())], params=query)


def test_a_link_shows_what_was_said_to_anybody_and_nothing_else(stage: Stage) -> None:
    user = stage.user()
    conversation, said = talked(stage, user)
    assert share(user, conversation).status_code == 403  # a user of the default role shares nothing
    link = share(stage.admin, conversation, duration="P30D").raise_for_status().json()
    answer = opened(stage, link["token"])
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "has_more": False,
        "continuation_token": None,
        "service_name": answer.json()["service_name"],
        "is_whole": True,
        "is_finished": False,
        "expires_at": link["expires_at"],
        "messages": [
            {
                "sender": "user" if message["message_type"] == "user-message" else "agent",
                "message": message["message"],
                "created_at": message["created_at"],
            }
            for message in said
        ],
    }
    wanted = {"cache-control": "no-store", "x-robots-tag": "noindex, nofollow", "referrer-policy": "no-referrer"}
    assert {name: answer.headers[name] for name in wanted} == wanted
    paged = [opened(stage, link["token"], limit=3, continuation_token=at).json()["messages"] for at in (0, 3)]
    assert [*paged[0], *paged[1]] == answer.json()["messages"]

    one = share(stage.admin, conversation, message_id=said[1]["id"]).json()
    shown = opened(stage, one["token"]).json()
    assert ([message["message"] for message in shown["messages"]], shown["is_whole"]) == ([said[1]["message"]], False)
    listed = stage.admin.get(f"/conversation/{conversation}/share/").json()["shares"]
    assert [(each["id"], each["message_id"]) for each in listed] == [(one["id"], said[1]["id"]), (link["id"], None)]
    assert link["token"] not in str(listed)
    for path in ("/conversation/", f"/conversation/{conversation}/messages/", "/conversation/feedback"):
        for name in ("Authorization", "X-Share-Token"):
            headers = {name: f"Bearer {link['token']}"}
            assert stage.server.anonymous.get(path, headers=headers).status_code == 401


def test_a_link_ends_when_it_is_revoked_its_time_comes_or_its_maker_may_not_show_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, maker = stage.user(), stage.user("DefaultAdministratorRole")
    conversation, _ = talked(stage, user)
    revoked, later, by_maker = (share(who, conversation).json() for who in (stage.admin, stage.admin, maker))
    short = share(stage.admin, conversation, duration="PT1M").json()
    path = f"/conversation/{conversation}/share/{revoked['id']}"
    assert user.delete(path).status_code == 403
    assert stage.admin.delete(path).status_code == 204
    assert stage.admin.delete(path).status_code == 404
    refused = opened(stage, revoked["token"])
    assert refused.status_code == 404
    for token in ("", "x", "é", revoked["id"], revoked["token"] + "x", short["token"][:-1]):
        assert opened(stage, token).json() == refused.json()

    with monkeypatch.context() as patch:
        now = clock.now() + timedelta(minutes=1)
        patch.setattr(clock, "now", lambda: now)
        assert opened(stage, short["token"]).status_code == 404
        assert opened(stage, later["token"]).status_code == 200

    assert opened(stage, by_maker["token"]).status_code == 200
    demote(stage.server, maker.user_id)
    assert opened(stage, by_maker["token"]).status_code == 404
    hide = {"conversations_visible_to_admins": False}
    user.post(f"/user/{user.user_id}", json=hide).raise_for_status()
    assert opened(stage, later["token"]).status_code == 404


def test_links_and_opinions_go_with_the_person_they_are_of_or_by(stage: Stage) -> None:
    user, another = stage.user(), stage.user()
    maker = stage.user("DefaultAdministratorRole")
    conversation, [_, first, *_] = talked(stage, user)
    others, [_, second, *_] = talked(stage, another)
    mine, theirs = (share(maker, each).json()["token"] for each in (conversation, others))
    assert rate(maker, conversation, first["id"], "up") == rate(maker, others, second["id"], "up") == 204
    stage.root.delete(f"/user/{user.user_id}").raise_for_status()
    assert [opened(stage, token).status_code for token in (mine, theirs)] == [404, 200]
    assert opinions(maker, message_id=first["id"]) == []
    stage.root.delete(f"/user/{maker.user_id}").raise_for_status()
    assert opened(stage, theirs).status_code == 404
    assert opinions(another, message_id=second["id"]) == []
    wait_until_done(stage.server)


@pytest.mark.parametrize(
    "body",
    [{"duration": "P31D"}, {"duration": "PT1S"}, {"duration": "-P1D"}, {"message_id": "x"}, {"duration": "soon"}],
)
def test_a_link_without_an_end_within_thirty_days_is_refused(stage: Stage, body: Json) -> None:
    conversation, _ = talked(stage, stage.user())
    assert share(stage.admin, conversation, **body).status_code == 422


def test_what_is_said_of_a_hidden_message_is_not_in_the_audit_log(stage: Stage) -> None:
    private = stage.user(user_preferences={"conversations_visible_to_admins": False})
    hidden, [_, secret, *_] = talked(stage, private)
    assert rate(private, hidden, secret["id"], "down", "Only for me") == 204

    query = {"object_id": secret["id"]}
    (line,) = stage.admin.get("/audit/", params=query).raise_for_status().json()["audit_lines"]

    assert line["change"]["request"]["body"] == {"rating": "down", "comment": "***"}
