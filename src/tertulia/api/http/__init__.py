"""The shared parts of all operations: the caller, errors, pages, limits, the OpenAPI document."""
