"""Scenes side by side: one that cannot be played is not clean, and costs the others nothing."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest

from faults.campaign import Verdict
from faults.playing import in_a_process, verdict_of

CLEAN = Verdict("single", 7, [], [], [], {}, [], {}, {})


def test_a_scene_that_was_played_has_its_verdict() -> None:
    played: Future[Verdict] = Future()
    played.set_result(CLEAN)
    assert verdict_of("single", played, 7) is CLEAN
    assert CLEAN.is_clean


def test_a_scene_that_was_not_played_to_its_end_is_not_clean() -> None:
    broken: Future[Verdict] = Future()
    broken.set_exception(RuntimeError("port 7401 is taken"))
    verdict = verdict_of("single", broken, 7)
    assert (verdict.scene, verdict.seed, verdict.is_clean) == ("single", 7, False)
    assert "port 7401 is taken" in verdict.unfinished[0]


def test_a_scene_whose_process_dies_takes_no_other_with_it() -> None:
    with ThreadPoolExecutor(2) as pool:
        dies, lives = pool.submit(in_a_process, os.abort), pool.submit(in_a_process, os.getpid)
        with pytest.raises(BrokenProcessPool):
            dies.result()
        assert lives.result() != os.getpid()
