"""What a turn writes: its claim, its lease, its settlement, its stream."""
