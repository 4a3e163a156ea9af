"""The last import of the process that forks workers; nothing else may import this module.

Only the parent ends that process: a signal that a service manager sends to all is for the parent, which lets turns end
first. What was imported is left out of the search for garbage, so that the workers share its memory.
"""

import gc
import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
gc.collect()
gc.freeze()
