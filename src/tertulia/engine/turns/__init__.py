"""The life of a turn: claimed, run, followed, settled or abandoned."""
