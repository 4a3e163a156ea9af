"""Tables of things that have versions: one of their names, one of their versions."""

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKeyConstraint, Table, UniqueConstraint

from tertulia.storage.tables.base import document, flag, key, metadata, moment, number, text


def named_things(name: str) -> Table:
    """Make the table of things by their names. Return it."""
    return Table(
        name,
        metadata,
        key(),
        text("org_id"),
        text("name"),
        flag("deprecated"),
        number("latest_version", nullable=True),
        moment("created_at"),
        UniqueConstraint("org_id", "name"),
    )


def versions_of(things: Table, noun: str) -> Table:
    """Make the table of the versions of things, each of which is called by a noun. Return it."""
    return Table(
        f"{noun}_versions",
        metadata,
        text("org_id"),
        key(f"{noun}_id"),
        Column("version", sa.Integer, primary_key=True),
        document("body"),
        text("creator_org_id"),
        text("creator_user_id"),
        moment("created_at"),
        ForeignKeyConstraint([f"{noun}_id"], [things.c.id]),
    )
