from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import structlog

from tertulia.providers import weights
from tertulia.providers.weights import Weights, WeightsUnavailable


@pytest.fixture(autouse=True)
def _everything_is_logged() -> None:
    """Whatever level a server of an earlier test has set for this process."""
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def weights_of() -> Callable[[Weights], Path]:
    """The path of a model's weights, which stay in `.data/models`; skips a test where they cannot be had."""

    @cache
    def get(wanted: Weights) -> Path | str:
        try:
            return weights.fetch(wanted, Path(__file__).parents[2] / ".data" / "models")
        except WeightsUnavailable as error:
            return str(error)

    def get_or_skip(wanted: Weights) -> Path:
        found = get(wanted)
        return found if isinstance(found, Path) else pytest.skip(found)

    return get_or_skip
