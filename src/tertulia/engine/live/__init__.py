"""Live conversations: one client, sound both ways, turns one after the other."""
