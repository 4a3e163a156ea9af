"""The speed of Tertulia, as a share of what the server below it can do."""

import sys
from pathlib import Path

# Databases are started as the tests start theirs. (A package of the environment may be called `tests`, too.)
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
