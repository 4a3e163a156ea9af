"""Databases: engines, units of work, prepared statements, pages, clusters."""
