"""Language models (and, later, voices), each behind a small protocol."""
