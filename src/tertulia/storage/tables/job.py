"""The table of jobs: work that is due, or that failed too often."""

from sqlalchemy import Index, Table

from tertulia.storage.tables.base import document, key, metadata, moment, number, text

# A dead job has no time at which it is due.
jobs = Table(
    "jobs",
    metadata,
    key(),
    text("org_id"),
    text("kind"),
    document("payload"),
    number("attempts"),
    moment("due_at", nullable=True),
    text("lease", nullable=True),
    text("error", nullable=True),
    moment("created_at"),
    Index(None, "kind", "due_at"),
)
