"""What tests of more than one tier share."""

from collections.abc import Iterator

import pytest

from tests.broker import RunningBroker, running_broker

# What tests share asserts too, and is to say what it found.
pytest.register_assert_rewrite(*(f"tests.{tier}" for tier in ("unit", "kernel", "integration", "contract", "e2e")))


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
