"""The search for garbage in a process that serves: none while it starts, and less often than a script needs it after.

A start makes a hundred thousand objects that stay; looking through them again and again for cycles took a fifth of its
time. A turn makes some thousand objects that die by themselves; looking through all of them was a tenth of its time.
"""

import gc


def start() -> None:
    """Put the search off until the process has started."""
    gc.disable()


def settle() -> None:
    """Leave the objects of the start out of the search, and search from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()
