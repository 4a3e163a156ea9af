"""Databases: engines, units of work, prepared statements, rows and pages."""
