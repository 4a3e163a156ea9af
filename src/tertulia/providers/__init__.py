"""Language models, embedding models, voices and transcribers, each behind a small protocol."""

DEFAULT_VOICE = "default"
"""The voice id that stands for each provider's own voice of a language."""
