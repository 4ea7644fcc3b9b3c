"""What is asked of a broker that is there, and does not answer."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from bridge import kafka
from bridge.kafka import Admin, KafkaAccess, KafkaUnavailable
from bridge.settings import BridgeSettings


class SilentClient:
    """The client library's, to which nobody answers in time."""

    def list_topics(self, timeout: float) -> Any:
        return SimpleNamespace(brokers={1: None, 2: None})

    def create_topics(self, topics: Sequence[object]) -> Mapping[object, "Future[None]"]:
        return {topic: Future() for topic in topics}

    def describe_topics(self, topics: object, request_timeout: float) -> Mapping[object, "Future[None]"]:
        return {topics: Future()}

    def incremental_alter_configs(self, resources: Sequence[object]) -> Mapping[object, "Future[None]"]:
        (broker,) = resources  # the library takes one a call
        return {broker: Future()}


@pytest.mark.parametrize(
    "ask",
    [
        lambda admin: admin.ensure_topic(BridgeSettings(), 1, {}),
        lambda admin: admin.topic_id("topic"),
        lambda admin: admin.reload_certificates(),
    ],
    ids=["a topic made", "a topic described", "certificates reloaded"],
)
def test_a_broker_that_does_not_answer_is_waited_for_as_one_that_is_away(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[Admin], object]
) -> None:
    monkeypatch.setattr(kafka, "ADMIN_SECONDS", 0.01)
    admin = Admin(KafkaAccess("127.0.0.1:1"))
    monkeypatch.setattr(admin, "_client", SilentClient())
    with pytest.raises(KafkaUnavailable, match="did not answer in time"):
        ask(admin)
