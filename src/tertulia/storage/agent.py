"""Agents: their rows, and the attributes that permissions name. Their queries are those of versioned.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.sql.elements import ColumnElement

from tertulia.storage.tables import agent_versions, agents, services
from tertulia.storage.versioned import Kind, Versioned


@dataclass(frozen=True, slots=True)
class Agent(Versioned):
    """An agent: a name, and what its versions say."""

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes that a permission's conditions can name; `COLUMNS` has the same ones."""
        return {"org_id": self.org_id, "agent_id": self.id}


COLUMNS: Mapping[str, ColumnElement[Any]] = {"org_id": agents.c.org_id, "agent_id": agents.c.id}
"""The attributes of an agent, as columns."""

AGENT = Kind("agent", Agent, agents, agent_versions, agent_versions.c.agent_id, services.c.agent_id)
