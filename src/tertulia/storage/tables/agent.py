"""Agents and their versions."""

from tertulia.storage.tables.versioned import named_things, versions_of

agents = named_things("agents")

agent_versions = versions_of(agents, "agent")
