"""The schema's history, by Alembic, run from the program.

`python -m tertulia.storage.migrations "what changes"` writes the next revision: the difference between tables/ and
the history.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import Connection, Engine

from tertulia.storage.database import dialect

FOLDER = Path(__file__).parent


def upgrade(engine: Engine) -> None:
    """Bring a cluster's schema up to date, in one transaction. Of several processes one does it, the others wait."""
    with engine.begin() as connection:
        dialect.begin_write(connection)
        dialect.lock_schema(connection)
        command.upgrade(_config(connection), "head")


def revise(message: str) -> None:
    """Write the next revision by comparing tables/ with an empty database brought up to date."""
    engine = dialect.create_engine("sqlite://", 1)
    upgrade(engine)
    with engine.begin() as connection:
        config = _config(connection)
        existing = len(list((FOLDER / "versions").glob("[0-9]*.py")))
        command.revision(config, message, autogenerate=True, rev_id=f"{existing + 1:04}")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
