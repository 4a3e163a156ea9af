"""The tables of the installation itself; they are in the default cluster alone."""

from sqlalchemy import Table

from tertulia.storage.tables.base import key, metadata, moment, text

# Which cluster holds which organization.
directory = Table("directory", metadata, key("org_id"), text("cluster"))

signing_keys = Table(
    "signing_keys",
    metadata,
    key("kid"),
    text("org_id", nullable=True),  # always null: the keys are the installation's
    text("encrypted_secret"),
    moment("created_at"),
)

# The processes that run turns, and where the others reach them.
workers = Table(
    "workers",
    metadata,
    key(),
    text("org_id", nullable=True),  # always null: a worker serves every organization
    text("address"),
    moment("expires_at"),
)

# A row while the installation is under maintenance.
maintenance = Table(
    "maintenance",
    metadata,
    key(),
    text("org_id", nullable=True),  # always null: it holds for every organization
    moment("since"),
)
