"""`python -m tertulia.storage.migrations "what changes"`: write the next revision."""

import sys

from tertulia.storage import migrations

migrations.revise(sys.argv[1])
