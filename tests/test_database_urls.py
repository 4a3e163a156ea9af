"""URLs of databases as clouds, drivers and people write them are opened as they are meant, or refused."""

import pytest
import sqlalchemy as sa
from psycopg.conninfo import make_conninfo
from pydantic import ValidationError

from support.postgres import Postgres
from tertulia.settings import DatabaseSettings, Settings
from tertulia.storage.database.dialect import create_engine

PLAIN = {"host": "h", "dbname": "d", "user": "u", "password": "p"}
MEANT = {
    "postgres://u:p@h/d": {},
    "POSTGRES://u:p@h/d": {},
    " postgresql://u:p@h/d\n": {},
    "postgresql+asyncpg://u:p@h/d": {},
    "postgresql+psycopg2://u:p@h/d": {},
    "postgres://u:p@h/d?pgbouncer=true": {},
    "postgresql+asyncpg://u:p@h/d?prepared_statement_cache_size=0": {},
    "postgres://u:p@h/d?sslmode=verify-full&sslrootcert=/a/b.pem": {
        "sslmode": "verify-full",
        "sslrootcert": "/a/b.pem",
    },
    "postgres://u:p@h/d?ssl=true": {"sslmode": "require"},
    "postgresql+asyncpg://u:p@h/d?ssl=verify-ca": {"sslmode": "verify-ca"},
    "postgres://u:p@h/d?ssl=0": {"sslmode": "disable"},
    "postgres://u:p@h/d?channel_binding=require&options=-c%20search_path%3Dx": {
        "channel_binding": "require",
        "options": "-c search_path=x",
    },
    "postgres://u:p@h:6432/d": {"port": 6432},
    "postgres://u:p@[::1]:5432/d": {"host": "::1", "port": 5432},
    "postgres://u:p%40%2F%3A%23%25@h/d": {"password": "p@/:#%"},
    "postgres://u%40x:p@h/d": {"user": "u@x"},
    "postgres://u:p@h1:5432,h2:5433/d?target_session_attrs=read-write": {
        "host": "h1,h2",
        "port": "5432,5433",
        "target_session_attrs": "read-write",
    },
    "postgres://u:p@h1,h2:6000/d": {"host": "h1,h2", "port": "5432,6000"},
    "postgres://u:p@h1,h2/d": {"host": "h1,h2"},
    "postgres://u:p@[::1]:1,10.0.0.1:2/d": {"host": "::1,10.0.0.1", "port": "1,2"},
    "postgres://u:p@/d?host=/var/run/postgresql": {"host": "/var/run/postgresql"},
    "postgres://u:p@%2Fvar%2Frun%2Fpostgresql/d": {"host": "/var/run/postgresql"},
    "postgres://u:p@%2Fvar%2Frun%2Fpostgresql:6000/d": {"host": "/var/run/postgresql", "port": "6000"},
}
REFUSED = [
    "mysql://u:p@h/d",
    "jdbc:postgresql://h/d",
    "postgres:u@h",
    "h/d",
    '"postgres://u:p@h/d"',
    "http://h/d",
    "postgres://u:p@h:abc/d",
    "postgres://u:p@h:99999/d",
    "postgres://u:p@h1:5432,h2:x/d",
    "postgres://u:p@h/d?sslmod=require",
    "postgres://u:p@h/d?schema=public",
    "postgres://u:p@h/d?connection_limit=5",
    "postgres://u:pa?s3cret=1@h/d",
    "postgres://u:p@s3cret@h/d",
    "postgres://h/d?password=a&s3cret",
    "postgres://u:p?s3cret@h/d",
    "postgres://u:p@h/d?s3cret%20word=1",
]


@pytest.mark.parametrize(("url", "told"), MEANT.items(), ids=MEANT)
def test_a_url_is_opened_as_it_is_meant(url: str, told: dict[str, object]) -> None:
    engine = create_engine(Settings(database=DatabaseSettings(url=url)).cluster_urls["default"], 1)
    given = {**engine.dialect.create_connect_args(engine.url)[1]}
    assert {**given, **PLAIN, **told} == given
    make_conninfo(**{name: value for name, value in given.items() if name != "context"})  # it knows every option


@pytest.mark.parametrize("url", REFUSED)
@pytest.mark.parametrize("name", ["url", "cluster"])
def test_a_url_that_cannot_be_meant_is_refused_with_a_sentence(url: str, name: str) -> None:
    with pytest.raises(
        ValidationError, match=r"write sqlite|write hosts|write \?|write @|a port is|the URL has (the|an) option"
    ) as refused:
        Settings(database=DatabaseSettings(url=url)) if name == "url" else Settings(clusters={"eu": url})
    assert "s3cret" not in "".join(each["msg"] for each in refused.value.errors())


@pytest.mark.parametrize("scheme", ["sqlite", "SQLite", "sqlite+aiosqlite", "sqlite+pysqlite"])
def test_sqlite_is_meant_in_any_spelling(scheme: str) -> None:
    assert DatabaseSettings(url=f"{scheme}:///a/b.db").url == "sqlite:///a/b.db"


def test_of_several_hosts_the_one_that_answers_is_taken(postgres_server: Postgres) -> None:
    url = sa.make_url(postgres_server.create_empty())
    several = f"postgres://{url.username}@127.0.0.1:1,{url.host}:{url.port}/{url.database}?target_session_attrs=any"
    engine = create_engine(DatabaseSettings(url=several).url, 1)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT current_database()")) == url.database
    engine.dispose()
