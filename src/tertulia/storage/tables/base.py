"""The schema's metadata, and the kinds of columns that its tables have."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Column

from tertulia.storage.database.dialect import JSON, Timestamp

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def text(name: str, *, nullable: bool = False) -> Column[str]:
    """Make a column of text. Return it."""
    return Column(name, sa.Text, nullable=nullable)


def moment(name: str, *, nullable: bool = False) -> Column[datetime]:
    """Make a column of UTC times. Return it."""
    return Column(name, Timestamp, nullable=nullable)


def number(name: str, *, nullable: bool = False) -> Column[int]:
    """Make a column of integers below 2**31. Return it."""
    return Column(name, sa.Integer, nullable=nullable)


def size(name: str) -> Column[int]:
    """Make a column of bytes in number, which may be many. Return it."""
    return Column(name, sa.BigInteger, nullable=False, server_default="0")


def flag(name: str) -> Column[bool]:
    """Make a column of yes or no. Return it."""
    return Column(name, sa.Boolean, nullable=False)


def document(name: str, *, nullable: bool = False) -> Column[object]:
    """Make a column of JSON. Return it."""
    return Column(name, JSON, nullable=nullable)


def key(name: str = "id") -> Column[str]:
    """Make a column of text that is the primary key, or part of it. Return it."""
    return Column(name, sa.Text, primary_key=True)


def number_key(name: str) -> Column[int]:
    """Make a column of integers that is part of the primary key. Return it."""
    return Column(name, sa.Integer, primary_key=True, autoincrement=False)
