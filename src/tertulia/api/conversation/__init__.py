"""Conversations: create, go on, follow, finish, read back."""
