"""Tools: functions that agents call, in versions; their variables, and calls of them."""
