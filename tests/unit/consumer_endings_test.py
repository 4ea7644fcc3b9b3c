"""What becomes of a process in which a dropped subscriber does not end."""

import threading

import pytest

from bridge import consumer
from bridge.consumer import Endings, NeverEnds


def test_a_subscriber_that_ends_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "ENDS_SECONDS", -1.0)
    endings, ended = Endings(), threading.Thread(target=lambda: None)
    ended.start()
    endings.add(ended)
    ended.join()
    endings.check()


def test_one_that_does_not_end_is_waited_for_and_then_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = threading.Event()
    endings, stuck = Endings(), threading.Thread(target=may_end.wait)
    stuck.start()
    try:
        endings.add(stuck)
        endings.check()
        monkeypatch.setattr(consumer, "ENDS_SECONDS", -1.0)
        with pytest.raises(NeverEnds):
            endings.check()
    finally:
        may_end.set()
        stuck.join()
