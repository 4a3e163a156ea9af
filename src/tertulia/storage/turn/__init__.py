"""The writes of a turn: its claim, its lease, its settlement, its stream.

A unit locks rows in one order, or two of them could wait for each other: a user, then their conversations, then what
belongs to a conversation, then idempotency keys, then the organization's usage.
"""
