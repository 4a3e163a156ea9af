"""The agent: which prompts it gets, which models answer, what an interaction makes."""
