"""The conversation: what an agent does between a message and its answer."""
