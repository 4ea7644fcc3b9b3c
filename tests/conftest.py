"""What tests of more than one tier share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker import RunningBroker, running_broker

# What tests share asserts too, and is to say what it found.
pytest.register_assert_rewrite(*(f"tests.{tier}" for tier in ("unit", "kernel", "integration", "contract", "e2e")))

TESTS = Path(__file__).parent


# The longest by far: two processes take half of its files each.
HALVED = "e2e"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A tier's tests share a mesh or a broker: where several processes run tests, each takes whole tiers."""
    if config.pluginmanager.hasplugin("xdist"):
        files = sorted({item.path for item in items})
        for item in items:
            tier = item.path.relative_to(TESTS).parts[0]
            half = files.index(item.path) % 2 if tier == HALVED else ""
            item.add_marker(pytest.mark.xdist_group(f"{tier}{half}"))


@pytest.fixture(scope="session", autouse=True)
def english() -> Iterator[None]:
    """The command line speaks English in the tests, whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RONGHE_LANG", "en")
        yield


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """One broker for the whole session, without topics; a test names its own."""
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running
