"""What every operation shares: the caller, errors, pages, limits, the OpenAPI document."""
