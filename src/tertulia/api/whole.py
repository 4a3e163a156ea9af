"""The API with all of its families: imported before workers are forked, which share what was imported until then."""

from tertulia.api import FAMILIES
from tertulia.api.http.families import load

for _modules in FAMILIES.values():
    for _module in _modules:
        load(_module)
