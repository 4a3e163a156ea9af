"""Fixtures: databases, and a server of each test module with the demo organization.

- `database_kind`: "sqlite", and "postgres" too for a test marked `both_databases`.
- `database_url`: a migrated database of the module; `empty_database_url`: one without a schema, of the test.
- `database`: the module's, open in the test's event loop.
- `tertulia`: a server of the module with the scripted model; `as_user`, `as_admin`, `as_super`, `anonymous`: its
  clients.
- `serve(models=..., voices=..., **settings)`: another server, with a database of its own unless
  `database={"url": ...}` gives one.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, settings

from support import postgres
from support.postgres import Postgres
from support.server import Serve, Server, settings_of, start
from tertulia.cli import installation
from tertulia.providers.models.registry import Models
from tertulia.providers.voices.fallback import Voices
from tertulia.storage import migrations
from tertulia.storage.database import dialect
from tertulia.storage.database.units import Database, open_database

pytest_plugins = ["support.installations", "support.parallel"]

# Whether a test passes does not depend on how busy the machine is.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def _settings_in_environment() -> set[str]:
    return {name for name in os.environ if name.startswith(("TERTULIA_", "OPENAI_"))}


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_machine() -> None:
    for name in _settings_in_environment():
        del os.environ[name]


@pytest.fixture(scope="module", autouse=True)
def _no_settings_left_behind(_no_settings_of_the_machine: None) -> Iterator[None]:
    yield
    left = _settings_in_environment()
    for name in left:
        del os.environ[name]
    assert left <= {"TERTULIA_DATA"}, "later tests would have met these settings"  # which a command of a process leaves


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    engine = dialect.create_engine(f"sqlite:///{path}", 1)
    migrations.upgrade(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path


@pytest.fixture(scope="module")
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def new_database(
    database_kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], str]]:
    """Makes migrated databases of the kind; they go with the module."""
    made: list[str] = []

    def make() -> str:
        if database_kind == "sqlite":
            path = tmp_path_factory.mktemp("sqlite") / "test.db"
            shutil.copy(request.getfixturevalue("sqlite_template"), path)
            return f"sqlite:///{path}"
        made.append(request.getfixturevalue("postgres_server").create())
        return made[-1]

    yield make
    for url in made:
        request.getfixturevalue("postgres_server").drop(url)


@pytest.fixture(scope="module")
def database_url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def empty_database_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres_server")
    url = server.create_empty()
    yield url
    server.drop(url)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url, 4)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def serve(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    running: list[Server] = []

    def make(models: Models | None = None, voices: Voices | None = None, **changes: Any) -> Server:
        changes.setdefault("database", {"url": new_database(), "pool_size": 4})
        settings = settings_of(**{"data": tmp_path_factory.mktemp("data"), **changes})
        demo = installation.make_demo(settings, "demo", None)
        running.append(start(settings, demo, models, voices))
        return running[-1]

    yield make
    for server in reversed(running):
        server.stop()


@pytest.fixture(scope="module")
def tertulia(serve: Serve, database_url: str) -> Server:
    return serve(database={"url": database_url, "pool_size": 4})


@pytest.fixture(scope="module")
def as_user(tertulia: Server) -> httpx2.Client:
    return tertulia.as_user


@pytest.fixture(scope="module")
def as_admin(tertulia: Server) -> httpx2.Client:
    return tertulia.as_admin


@pytest.fixture(scope="module")
def as_super(tertulia: Server) -> httpx2.Client:
    return tertulia.as_super


@pytest.fixture(scope="module")
def anonymous(tertulia: Server) -> httpx2.Client:
    return tertulia.anonymous
