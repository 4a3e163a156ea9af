import pytest

from support.puppet import Puppet
from support.server import Serve
from support.stage import Stage, Switch
from tertulia.providers.models.registry import Models


@pytest.fixture(scope="module")
def _stage(serve: Serve) -> Stage:
    switch = Switch()
    return Stage(serve(models=Models(switch)), switch)


@pytest.fixture
def stage(_stage: Stage) -> Stage:
    """A server of the module whose model is a puppet; it starts each test with a fresh one."""
    _stage.play(Puppet())
    return _stage
