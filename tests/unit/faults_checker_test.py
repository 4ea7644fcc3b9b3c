import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

import faults.checker
from faults.checker.check import check
from faults.checker.mutations import MUTATIONS, Mutation, blind_spots, rechained
from faults.checker.sample import sample
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


def test_a_sample_of_a_long_history_is_a_true_history_itself() -> None:
    history = true_history()
    journal = history.journals["governance"]
    stranger = replace(journal.rows[0].event, id=str(UUID(int=1)), case_id=str(UUID(int=2)))
    rows = rechained([replace(journal.rows[0], event=stranger), *journal.rows])
    inbox = [replace(row, position=row.position + 1) for row in journal.inbox]
    head = (rows[-1].position, rows[-1].hash)
    strange = replace(journal, rows=rows, inbox=inbox, head=head)
    submitted = history.journals["intake"]
    alone = replace(submitted, rows=rechained([*submitted.rows, replace(submitted.rows[0], event=stranger)]))
    longer = replace(history, journals={**history.journals, "governance": strange, "intake": alone})
    assert check(longer)

    found = sample(longer, 1)

    assert check(found) == []
    assert list(blind_spots(found)) == []


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
