"""Voices and transcribers that run on this machine."""
