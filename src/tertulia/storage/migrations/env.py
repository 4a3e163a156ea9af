"""The script that Alembic runs, over the connection that it is given."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from tertulia.storage.database import dialect
from tertulia.storage.tables import metadata


def render(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Render our own types. Return the names under which a revision imports them, or False for other types."""
    if kind == "type" and isinstance(item, dialect.Timestamp):
        return "Timestamp()"
    return "JSON" if kind == "type" and item is dialect.JSON else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_item=render,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
