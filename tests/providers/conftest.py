import pytest
import structlog


@pytest.fixture(autouse=True)
def _everything_is_logged() -> None:
    """Whatever level a server of an earlier test has set for this process."""
    structlog.reset_defaults()
