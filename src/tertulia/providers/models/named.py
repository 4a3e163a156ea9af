"""The models that version sets name, kept while they are used.

Each organization has its own, so many at a time; the one that was not used for the longest time is forgotten first, and
opened again when it is asked for. A forgotten model holds nothing: its connections belong to its vendor.
"""

from collections import OrderedDict
from collections.abc import Callable

from tertulia.providers.base import LanguageModel

MOST_OF_ORGANIZATION = 32
"""Models of one organization that are kept."""

MOST = 256
"""Models that a process keeps, of all organizations together."""


class NamedModels:
    """The models that were named lately, by organization."""

    def __init__(self, open_named: Callable[[str], LanguageModel | None]) -> None:
        self._open = open_named
        self._kept: OrderedDict[tuple[str, str], LanguageModel] = OrderedDict()
        self._counts: dict[str, int] = {}

    def get(self, org_id: str, name: str) -> LanguageModel | None:
        """Get the model of a name. Return None if the settings cannot reach it."""
        key = (org_id, name)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        model = self._open(name)
        if model is not None:
            self._make_room(org_id)
            self._kept[key] = model
            self._counts[org_id] = self._counts.get(org_id, 0) + 1
        return model

    def _make_room(self, org_id: str) -> None:
        if self._counts.get(org_id, 0) >= MOST_OF_ORGANIZATION:
            self._forget(next(key for key in self._kept if key[0] == org_id))
        elif len(self._kept) >= MOST:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: tuple[str, str]) -> None:
        del self._kept[key]
        self._counts[key[0]] -= 1
        if not self._counts[key[0]]:
            del self._counts[key[0]]
