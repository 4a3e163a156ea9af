"""Storage: one module per resource, each a set of plain functions over a synchronous connection."""
