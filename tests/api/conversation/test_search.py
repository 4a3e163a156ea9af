"""The search for words in messages: found by whom may read them, as plain words, and gone with what they stood in."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from support.puppet import Puppet
from support.server import Serve
from support.stage import Stage, Switch
from support.talk import begin, go_on, id_of
from tertulia.api.conversation import search
from tertulia.background import search_index
from tertulia.providers.models.registry import Models
from tertulia.storage import message_search
from tertulia.storage.database import dialect
from tertulia.storage.tables import message_searches
from tertulia.vocabulary import placed_words

pytestmark = pytest.mark.both_databases

Json = dict[str, Any]

PATIENCE_S = 20


@pytest.fixture(scope="module")
def _stage(serve: Serve) -> Iterator[Stage]:
    """A server that reads messages all the time, in portions of one that overlap."""
    switch = Switch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_index, "LOOK_S", 0.05)
        patch.setattr(message_search, "PORTION", 3)
        yield Stage(serve(models=Models(switch)), switch)


def count(stage: Stage, table: str) -> int:
    engine = dialect.create_engine(stage.server.settings.cluster_urls["default"], 1)
    with engine.connect() as connection:
        found = connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608 - a test's own
    engine.dispose()
    return int(found)


def wait_until_read(stage: Stage) -> None:
    latest = time.monotonic() + PATIENCE_S
    while count(stage, "messages") != count(stage, "message_searches"):
        assert time.monotonic() < latest
        time.sleep(0.02)


def found(client: httpx2.Client, query: str, **filters: Any) -> list[Json]:
    answer = client.get("/conversation/search", params={"query": query, **filters})
    assert answer.status_code == 200, answer.text
    return answer.json()["messages"]


def marked(message: Json) -> list[str]:
    return [message["snippet"][first:end] for first, end in message["matches"]]


def said(stage: Stage, user: httpx2.Client, *texts: str, reply: str = "Hm.") -> str:
    """Hold a conversation of these messages. Return its identifier when its messages can be found."""
    stage.play(Puppet(reply))
    conversation = id_of(begin(user, stage.service(), initial_message=texts[0], tags={"room": "blue"}))
    for text in texts[1:]:
        go_on(user, conversation, text)
    wait_until_read(stage)
    return conversation


def test_words_are_found_by_who_may_read_the_message_the_newest_first_and_page_by_page(stage: Stage) -> None:
    user, stranger = stage.user(), stage.user()
    private = stage.user(user_preferences={"conversations_visible_to_admins": False})
    mine = said(stage, user, "The Wodehouse shelf is empty.", "Order more Wodehouse!", reply="Wodehouse, of course.")
    said(stage, private, "I never read Wodehouse.")
    theirs = [message["snippet"] for message in found(user, "wodehouse")]
    assert [set(theirs[:2]), set(theirs[2:])] == [
        {"Wodehouse, of course.", "Order more Wodehouse!"},
        {"Wodehouse, of course.", "The Wodehouse shelf is empty."},
    ]
    assert [message["snippet"] for message in found(stage.admin, "WODEHOUSE")] == theirs
    assert found(stranger, "wodehouse") == []
    assert [message["snippet"] for message in found(private, "Wodehouse never")] == ["I never read Wodehouse."]

    [first] = found(user, "EMPTY, shelf\u2019s")
    listed = user.get(f"/conversation/{mine}/messages/", params={"id": first["message_id"]}).json()["messages"][0]
    assert first == {
        "conversation_id": mine,
        "interaction_id": listed["interaction_id"],
        "message_id": listed["id"],
        "user_id": user.user_id,
        "service_id": first["service_id"],
        "message_type": "user-message",
        "sender": listed["sender"],
        "created_at": listed["created_at"],
        "snippet": "The Wodehouse shelf is empty.",
        "matches": [[14, 19], [23, 28]],
    }
    pages, token = list[str](), 0
    while True:
        answer = stage.admin.get(
            "/conversation/search", params={"query": "wodehouse", "limit": 3, "continuation_token": token}
        )
        pages += [message["snippet"] for message in answer.json()["messages"]]
        token = answer.json()["continuation_token"]
        if token is None:
            break
    assert pages == theirs


def test_a_search_is_narrowed_as_a_list_of_conversations_is(stage: Stage) -> None:
    user = stage.user()
    conversation = said(stage, user, "A zeppelin.", reply="A zeppelin!")
    service = found(user, "zeppelin")[0]["service_id"]
    for narrow in (
        {"conversation_id": conversation},
        {"service_id": service},
        {"user_id": user.user_id},
        {"is_finished": False},
        {"tag": "room:blue"},
        {"version_set_name": ["edge", "release"]},
        {"message_type": ["user-message", "agent-message"]},
    ):
        assert len(found(stage.admin, "zeppelin", **narrow)) == 2, narrow
    for narrow in (
        {"conversation_id": "0" * 24},
        {"service_id": "0" * 24},
        {"user_id": "nobody"},
        {"is_finished": True},
        {"tag": "room:red"},
        {"version_set_name": "edge"},
        {"message_type": "external-event"},
    ):
        assert found(stage.admin, "zeppelin", **narrow) == [], narrow


@pytest.mark.parametrize(
    ("text", "query", "marks"),
    [
        ('Say "NEAR(quux, 3)" OR die', '"quux" OR "near', ["NEAR", "quux", "OR"]),
        ("Prices: 12*3 - quuz^2: 100% _off_", "quuz* 100% -off", ["quuz", "100", "off"]),
        ("Ein Café in der Gro\u0308ße ﬁve", "cafe GRÖSSE five", ["Café", "Gro\u0308ße", "ﬁve"]),
        ("Cafe\u0301s of Lisbon", "café lisbon", ["Cafe\u0301s", "Lisbon"]),
        ("私は猫が好きです", "猫が", ["猫が"]),
        ("Quizzed 👩‍👩‍👧 quokkas", "👩‍👩‍👧 QUOKKA", ["quokkas"]),
        ("drop table'; -- quine\\ %", "'; drop table quine -- \\ %", ["drop", "table", "quine"]),
        ("Ω quark \x07 bell", "\x07quark\t\nω", ["Ω", "quark"]),
        (". " * 9000 + "quagga", "quagga" + " ," * 5000, ["quagga"]),
    ],
)
def test_whatever_stands_in_a_query_is_plain_words(stage: Stage, text: str, query: str, marks: list[str]) -> None:
    user = stage.user()
    said(stage, user, text)
    [message] = found(user, query)
    assert marked(message) == marks
    assert len(message["snippet"]) < 300


@pytest.mark.parametrize("query", ["", "*", '"" - ()', "\x00", "nul\x00nul", "x" * 20_001])
def test_a_query_without_a_word_or_beyond_bounds_is_refused_by_name(stage: Stage, query: str) -> None:
    answer = stage.admin.get("/conversation/search", params={"query": query})
    assert answer.status_code == 422
    assert "query" in answer.json()["detail"][0]["loc"]


def test_words_of_others_are_not_found_by_part_of_a_word_or_in_another_message(stage: Stage) -> None:
    user = stage.user()
    said(stage, user, "An internationalist.", "A marmoset.")
    for query in ("international", "inter", "internationalist marmoset"):
        assert found(user, query) == []


def test_what_was_said_is_not_found_when_its_user_is_gone_and_leaves_no_term(stage: Stage) -> None:
    user = stage.user()
    said(stage, user, "A xylophone.")
    assert found(stage.admin, "xylophone")
    stage.root.delete(f"/user/{user.user_id}").raise_for_status()
    assert found(stage.admin, "xylophone") == []
    wait_until_read(stage)
    word = next(word for word, _, _ in placed_words("xylophone"))
    [term] = message_search.terms(stage.server.demo.organization_id, [word])
    assert count(stage, f"message_searches WHERE terms LIKE '%{term}%'") == 0
    if stage.server.settings.cluster_urls["default"].startswith("sqlite"):
        assert count(stage, f"message_index('{term}')") == 0
    said(stage, stage.user(), "Something else.")
    assert found(stage.admin, "else") != []


def test_messages_that_an_older_version_read_are_found_among_newer_ones(stage: Stage) -> None:
    user = stage.user()
    said(stage, user, "An old celesta.", reply="Hm.")
    _read_as_before(stage, "old", "celesta", message_search.user_word(user.user_id))
    said(stage, user, "A new celesta.", reply="Hm.")

    assert [message["snippet"] for message in found(user, "celesta")] == ["A new celesta.", "An old celesta."]
    assert [message["snippet"] for message in found(user, "celesta old")] == ["An old celesta."]
    assert found(user, "old new") == []


def _read_as_before(stage: Stage, *words: str) -> None:
    """Write terms of 16 digits, as older versions did, in place of those of the message that has all of some words."""
    engine = dialect.create_engine(stage.server.settings.cluster_urls["default"], 1)
    sought = message_search.sought_terms(stage.server.demo.organization_id, words)
    table = message_searches.c
    with engine.begin() as connection:
        query = sa.select(message_searches).where(*(table.terms.contains(now) for now, _ in sought))
        row = connection.execute(query).mappings().one()
        connection.execute(sa.delete(message_searches).where(table.number == row["number"]))
        older = " ".join(before for _, before in sought)
        connection.execute(sa.insert(message_searches).values({**row, "terms": older}))
    engine.dispose()


def reach(stage: Stage, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """Check that a search goes back to the newest messages of a word alone, whatever else narrows it."""
    user = stage.user()
    said(stage, user, f"One {word}.", f"Two {word}.", f"Three {word}.", reply="Hm.")
    monkeypatch.setattr(message_search, "MOST_MATCHES", 2)
    assert [message["snippet"] for message in found(user, word)] == [f"Three {word}.", f"Two {word}."]
    assert found(user, f"one {word}") != []
    assert found(stage.admin, word, message_type="agent-message") == []
    monkeypatch.undo()
    assert len(found(user, word)) == 3


def test_a_search_reads_no_more_than_the_newest_messages_of_its_words(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(stage, monkeypatch, "harpsichord")


def test_a_database_without_a_full_text_index_is_searched_all_the_same(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(serve(models=Models(switch := Switch())), switch)
    engine = dialect.create_engine(stage.server.settings.cluster_urls["default"], 1)
    user = stage.user()
    said(stage, user, "A theremin and a viola.")
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            for name in ("insert", "delete"):
                connection.exec_driver_sql(f"DROP TRIGGER message_index_{name}")
            connection.exec_driver_sql("DROP TABLE message_index")
        else:
            connection.exec_driver_sql("DROP INDEX ix_message_searches_terms")
    engine.dispose()
    assert marked(found(user, "viola theremin")[0]) == ["theremin", "viola"]
    said(stage, user, "A lute.")
    assert found(user, "lute")
    assert found(user, "lute viola") == []
    reach(stage, monkeypatch, "spinet")


def test_words_are_marked_beside_the_loop(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.play(Puppet())
    user, threads = stage.user(), list[str]()
    begin(user, stage.service(), initial_message="A marmot whistles.")
    wait_until_read(stage)

    def mark(text: str, words: frozenset[str]) -> tuple[str, list[tuple[int, int]]]:
        threads.append(threading.current_thread().name)
        return real(text, words)

    real = search.mark
    monkeypatch.setattr(search, "mark", mark)

    assert len(found(user, "marmot")) == 1
    assert [name for name in threads if name.startswith(("server", "sqlite"))] == []
    assert len(threads) == 1


def test_long_messages_are_read_a_few_at_a_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    portions: list[int] = []

    def put_terms(connection: Any, holder: str, made: Any, until: str) -> bool:
        portions.append(len(made))
        return real(connection, holder, made, until)

    real = search_index.put_terms
    stage.play(Puppet("x" * 60))
    user = stage.user()
    conversation_id = id_of(begin(user, stage.service()))
    wait_until_read(stage)
    monkeypatch.setattr(message_search, "PORTION_CHARS", 50)
    monkeypatch.setattr(search_index, "put_terms", put_terms)

    go_on(user, conversation_id, "A marmot " + "y" * 60)
    wait_until_read(stage)

    assert len(found(user, "marmot")) == 1
    assert max(portions) == 1
