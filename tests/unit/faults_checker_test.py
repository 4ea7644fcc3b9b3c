import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import faults.checker
from faults.checker.check import check
from faults.checker.mutations import MUTATIONS, Mutation, blind_spots
from tests.unit.faults_history import true_history

FOLDER = Path(faults.checker.__path__[0])
MAY_IMPORT = ("faults.checker", "ronghe", "google.protobuf", "confluent_kafka")
OURS = ("clients", "bridge", "servers", "tests", "benchmarks", "faults")


def test_the_checker_finds_nothing_wrong_with_a_true_history() -> None:
    assert check(true_history()) == []


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_the_checker_names_what_was_made_wrong(mutation: Mutation) -> None:
    found = check(mutation(true_history()))

    assert MUTATIONS[mutation] in {problem.kind for problem in found}


def test_a_checker_that_misses_something_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(blind_spots(true_history())) == []

    monkeypatch.setattr("faults.checker.check.CHECKS", ())

    assert len(list(blind_spots(true_history()))) == len(MUTATIONS)


def test_an_unacknowledged_request_may_have_one_effect_or_none() -> None:
    history = true_history()
    silent = [replace(request, answers=[]) for request in history.requests]

    assert check(replace(history, requests=silent)) == []


def test_the_checker_shares_nothing_with_the_product_but_the_stubs() -> None:
    foreign = {
        name
        for path in FOLDER.glob("*.py")
        for name in _imports(path)
        if name.partition(".")[0] in OURS and not name.startswith(MAY_IMPORT)
    }
    assert foreign == set()


def test_the_load_and_the_faults_use_the_product_as_any_client_does() -> None:
    foreign = {
        name
        for path in FOLDER.parent.rglob("*.py")
        for name in _imports(path)
        if name.partition(".")[0] in ("bridge", "servers", "tests", "benchmarks")
    }
    assert foreign == set()


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
