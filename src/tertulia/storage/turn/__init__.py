"""The writes of a turn: its claim, its lease, its settlement, its stream."""
