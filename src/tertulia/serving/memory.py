"""The search for garbage in a process that serves: none while it starts, and less often than a script needs it after.

A start makes a quarter of a million objects that stay; to look through them once takes a fifth of a second, and finds
a thousand that could go. A turn makes some thousand objects that die by themselves; looking through all of them was a
tenth of its time.
"""

import gc


def start() -> None:
    """Put the search off until the process has started."""
    gc.disable()


def settle() -> None:
    """Leave the objects of the start out of the search, unsearched, and search from now on."""
    keep()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


def keep() -> None:
    """Leave the objects that are there out of the search from now on."""
    gc.freeze()
