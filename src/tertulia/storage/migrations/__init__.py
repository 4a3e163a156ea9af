"""The schema's history, by Alembic, run from the program.

`python -m tertulia.storage.migrations "what changes"` writes the next revision: the difference between tables/ and
the history.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tertulia.storage.database import dialect

if (
    TYPE_CHECKING
):  # Alembic takes a fifth of the start of a server whose schema is up to date, and then has nothing to do
    from alembic.config import Config

FOLDER = Path(__file__).parent


def upgrade(engine: Engine) -> None:
    """Bring a cluster's schema up to date, in one transaction. Of several processes one does it, the others wait."""
    with engine.begin() as connection:
        dialect.begin_write(connection)
        dialect.lock_schema(connection)
        if _revision(connection) != _latest():
            from alembic import command  # noqa: PLC0415 - only now is it needed

            command.upgrade(_config(connection), "head")


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _latest() -> str:
    return max(path.name for path in (FOLDER / "versions").glob("[0-9]*.py")).partition("_")[0]


def revise(message: str) -> None:
    """Write the next revision by comparing tables/ with an empty database brought up to date."""
    from alembic import command  # noqa: PLC0415 - for developers

    engine = dialect.create_engine("sqlite://", 1)
    upgrade(engine)
    with engine.begin() as connection:
        config = _config(connection)
        existing = len(list((FOLDER / "versions").glob("[0-9]*.py")))
        command.revision(config, message, autogenerate=True, rev_id=f"{existing + 1:04}")


def _config(connection: Connection) -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - it comes with Alembic

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
