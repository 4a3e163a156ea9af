"""Voices and transcribers, one module a vendor."""
