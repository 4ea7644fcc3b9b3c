import ast
import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from google.protobuf.message import Message

import faults.checker
from faults.checker import chains, connected, contents, mutations, once, outcomes
from faults.checker.check import check
from faults.checker.connected import span_id
from faults.checker.history import Event, History, InboxRow, Kind, Span, TopicRecord
from faults.checker.mutations import (
    MUTATIONS,
    Mutation,
    a_request_with_two_effects,
    an_acknowledged_request_without_effect,
    blind_spots,
    rechained,
)
from faults.checker.routes import receivers
from faults.checker.sample import sample
from ronghe.catalog.v1.catalog_pb2 import Organ
from ronghe.event.v1 import event_pb2 as event
from ronghe.event.v1.event_pb2 import JournalHead
from tests.unit.faults_history import ASKED, CENTER, COLLABORATION, TASK, true_history

FOLDER = Path(faults.checker.__path__[0])
MAY_IMPORT = ("faults.checker", "ronghe", "google.protobuf", "confluent_kafka", "cryptography")
OURS = ("clients", "bridge", "servers", "tests", "benchmarks", "faults")


def test_the_checker_finds_nothing_wrong_with_a_true_history() -> None:
    assert check(true_history()) == []


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_the_checker_names_what_was_made_wrong(mutation: Mutation) -> None:
    found = check(mutation(true_history()))

    assert MUTATIONS[mutation] in {problem.kind for problem in found}


@pytest.mark.parametrize(("spoiled", "kinds"), [(False, {Kind.LOST}), (True, set())])
def test_only_what_was_spoiled_on_purpose_may_be_refused_for_whatever_reason(spoiled: bool, kinds: set[Kind]) -> None:
    history = mutations.a_refusal_that_nothing_explains(true_history())
    *others, refused = history.requests
    history = replace(history, requests=[*others, replace(refused, spoiled=spoiled)])

    assert {problem.kind for problem in check(history)} == kinds


def test_a_checker_that_misses_something_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(blind_spots(true_history())) == []

    monkeypatch.setattr("faults.checker.check.CHECKS", ())

    assert len(list(blind_spots(true_history()))) == len(MUTATIONS)


@pytest.mark.parametrize(
    "mutation",
    [
        mutations.a_denial_recorded_as_a_grant,
        mutations.a_decision_without_its_words,
        mutations.a_judgement_of_somebody_else,
        mutations.an_opinion_turned_round,
        mutations.an_answer_without_its_words,
        mutations.a_field_of_the_form_lost,
        mutations.a_value_under_another_name,
    ],
    ids=lambda mutation: mutation.__name__,
)
def test_what_was_asked_for_stands_in_the_fact_it_led_to(mutation: Mutation) -> None:
    history = mutation(true_history())

    assert [problem.kind for problem in contents.check(history)] == [Kind.ALTERED]


@pytest.mark.parametrize(
    "mutation",
    [
        mutations.another_outcome_everywhere,
        mutations.a_case_that_is_open_everywhere,
        mutations.a_document_that_nobody_issued,
        mutations.a_collaboration_that_ended_otherwise_everywhere,
    ],
    ids=lambda mutation: mutation.__name__,
)
def test_a_view_that_is_wrong_in_the_same_way_everywhere_is_found(mutation: Mutation) -> None:
    history = mutation(true_history())

    found = check(history)

    assert {problem.kind for problem in found} == {Kind.ALTERED}
    assert {problem.where for problem in found} <= {*history.journals}


def test_a_subsystem_without_any_view_is_found_where_everything_is_known() -> None:
    history = mutations.a_subsystem_that_shows_nothing(true_history())

    assert ("governance", "the case has no view") in {(each.where, each.what) for each in outcomes.check(history)}
    assert list(outcomes.check(replace(history, whole=False))) == []


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


def with_head(history: History) -> History:
    """Intake has named its last row; all hold that. No signature: of those faults_signatures_test.py has more."""
    history = replace(history, authority=None)
    last = history.journals["intake"].rows[-1]
    fact = JournalHead(epoch=1, position=last.position, hash=last.hash)
    head = Event(
        id=str(UUID(int=7)), origin="intake-01", case_id=str(UUID(int=8)), stream="journal/intake-01", version=1,
        causes=(), type=fact.DESCRIPTOR.full_name, recorded_at=1, body=fact.SerializeToString(),
    )  # fmt: skip
    journals, topic = dict(history.journals), [*history.topic, TopicRecord(3, 0, head)]
    for name, journal in history.journals.items():
        rows = rechained([*journal.rows, replace(journal.rows[-1], event=head)])
        end = (rows[-1].position, rows[-1].hash)
        journals[name] = replace(journal, rows=rows, head=end, published=journal.published and end[0])
    told = InboxRow("service/governance-01", 1, journals["intake"].head[0], head.case_id, is_acknowledged=True)
    inbox = [row for row in journals["intake"].inbox if row.receiver != told.receiver]
    others = [row for row in journals["intake"].inbox if row.receiver == told.receiver]
    told = replace(told, sequence=len(others) + 1)
    lasts = {**journals["intake"].last_sequences, told.receiver: told.sequence}
    journals["intake"] = replace(journals["intake"], inbox=[*inbox, *others, told], last_sequences=lasts)
    return replace(history, journals=journals, topic=topic)


def test_a_journal_computed_anew_is_given_away_by_a_head() -> None:
    history = with_head(true_history())
    assert check(history) == []

    intake = history.journals["intake"]
    first, *rest = intake.rows
    rows = rechained([replace(first, taken_at=first.taken_at + 1), *rest])
    anew = replace(intake, rows=rows, head=(rows[-1].position, rows[-1].hash))
    found = check(replace(history, journals={**history.journals, "intake": anew}))

    assert {problem.kind for problem in found} == {Kind.ALTERED}
    assert check(sample(history, 500)) == []


@pytest.mark.parametrize(("epoch", "kinds"), [(1, {Kind.ALTERED}), (2, set())], ids=["rewritten", "restored"])
def test_a_head_of_a_row_that_a_later_epoch_replaced_is_excused(epoch: int, kinds: set[Kind]) -> None:
    history = with_head(true_history())
    intake = history.journals["intake"]
    named = next(row.event.fact.position for row in intake.rows if row.event.is_head)
    kept, lost = intake.rows[: named - 1], intake.rows[named - 1 :]
    rows = rechained([*kept, *(replace(row, epoch=epoch, taken_at=row.taken_at + 1) for row in lost)])
    anew = replace(intake, rows=rows, head=(rows[-1].position, rows[-1].hash))
    found = chains.check(replace(history, journals={**history.journals, "intake": anew}))
    assert {problem.kind for problem in found} == kinds


def test_a_journal_that_grows_unsigned_is_found() -> None:
    history = with_head(true_history())
    intake = history.journals["intake"]
    rows = rechained([*intake.rows, replace(intake.rows[0], event=replace(intake.rows[0].event, id=str(UUID(int=9))))])
    longer = replace(intake, rows=rows, head=(rows[-1].position, rows[-1].hash))

    found = check(replace(history, journals={**history.journals, "intake": longer}))

    assert f"no head names row {len(rows)}" in {problem.what for problem in found}


def test_a_journal_without_heads_is_found_where_everything_is_known() -> None:
    history = true_history()

    found = check(replace(with_spans(history), whole=True))

    assert {problem.kind for problem in found} == {Kind.STUCK}
    assert {problem.where for problem in found} == {*history.journals}
    assert check(sample(replace(history, whole=True), 1)) == []


def test_a_view_of_a_case_that_nobody_submitted_is_invented() -> None:
    history = true_history()
    journal = history.journals["governance"]
    opened = replace(journal, cases={**journal.cases, str(UUID(int=2)): next(iter(journal.cases.values()))})

    found = check(replace(history, journals={**history.journals, "governance": opened}))

    assert [(problem.kind, problem.where) for problem in found] == [(Kind.INVENTED, "governance")]


@pytest.mark.parametrize(
    ("name", "body", "is_set_aside", "kinds"),
    [
        ("Decided", b"", True, set()),
        ("Decided", b"", False, {Kind.LOST}),
        ("Submitted", b"\xff", False, {Kind.LOST}),
        ("Submitted", b"", False, set()),
        ("Levitated", b"", False, set()),
    ],
    ids=["set aside", "passed over", "not to be read", "submitted to nobody", "of an unknown type"],
)
def test_poison_is_set_aside_by_whom_it_concerns(name: str, body: bytes, is_set_aside: bool, kinds: set[Kind]) -> None:
    history = true_history()
    forged = replace(history.topic[0].event, id="no uuid", origin="x-9", type=f"ronghe.event.v1.{name}", body=body)
    topic = [*history.topic, TopicRecord(0, len(history.topic), forged)]
    governance = replace(history.journals["governance"], letters=[("no uuid", forged.case_id)] if is_set_aside else [])
    journals = {**history.journals, "governance": governance}

    found = check(replace(history, topic=topic, journals=journals, poison=frozenset({"no uuid"})))

    assert {problem.kind for problem in found} == kinds


def test_messages_of_a_case_lie_on_one_partition() -> None:
    history = true_history()
    *others, last = history.topic
    assert {problem.kind for problem in check(replace(history, topic=[*others, replace(last, partition=1)]))} == {
        Kind.REORDERED
    }


def test_a_message_under_the_key_of_another_case_is_not_what_its_origin_wrote() -> None:
    history = true_history()
    *others, last = history.topic
    topic = [*others, replace(last, event=replace(last.event, case_id=str(UUID(int=1))))]
    assert Kind.ALTERED in {problem.kind for problem in check(replace(history, topic=topic))}


@pytest.mark.parametrize(("name", "kinds"), [("Decided", {Kind.INVENTED}), ("Levitated", set())])
def test_poison_stands_in_no_journal_unless_its_type_is_unknown(name: str, kinds: set[Kind]) -> None:
    history = true_history()
    journal = history.journals["department"]
    forged = replace(journal.rows[0].event, id=str(UUID(int=3)), origin="x-9", type=f"ronghe.event.v1.{name}")
    rows = rechained([*journal.rows, replace(journal.rows[-1], event=forged)])
    longer = replace(journal, rows=rows, head=(rows[-1].position, rows[-1].hash), published=rows[-1].position)

    found = check(replace(history, journals={**history.journals, "department": longer}, poison=frozenset({forged.id})))

    assert {problem.kind for problem in found} == kinds


def test_a_trace_has_the_submission_as_its_one_root() -> None:
    history = true_history()
    (root,) = history.spans
    stranger = replace(root, id="00000000000000aa")

    assert [problem.what for problem in check(replace(history, spans=[stranger]))] == ["2 roots"]
    assert check(replace(history, spans=())) == []


def with_spans(history: History, *, left_out: Set[str] = frozenset(), at: Mapping[str, float] = {}) -> History:
    """Each event of a case, but for these, has its own span and that of its sending, which ended at this time."""
    own = [event for event in history.own.values() if event.id not in left_out]
    events = [
        Span(UUID(each.case_id).hex, span_id(each.id, "event"), parent_of(each), each.type, at.get(each.id, 0.0))
        for each in own
    ]
    sends = [Span(UUID(each.case_id).hex, span_id(each.id, "send"), span_id(each.id, "event"), "send") for each in own]
    return replace(history, spans=[*events, *sends])


def parent_of(each: Event) -> str:
    return span_id(each.causes[0], "event") if each.causes else ""


def ids_of(history: History, name: str) -> Sequence[str]:
    """The events of a subsystem."""
    return [event.id for event in history.own.values() if event.origin.partition("-")[0] == name]


def disconnected(history: History) -> Set[str]:
    return {f"{each.where}: {each.what}" for each in connected.check(replace(history, whole=True))}


def test_a_subsystem_that_exports_no_spans_is_found() -> None:
    history = true_history()

    assert disconnected(with_spans(history)) == set()
    found = disconnected(with_spans(history, left_out=frozenset(ids_of(history, "governance"))))
    assert {"governance: no event span was exported", "governance: no send span was exported"} < found
    assert not any(each.startswith(("intake", "department")) for each in found)


def test_a_span_that_is_gone_wants_a_death_of_its_process() -> None:
    history = true_history()
    lost = ids_of(history, "department")[1]
    without = with_spans(history, left_out=frozenset([lost]))
    count = len(ids_of(history, "department"))

    expected = f"department: 1 of {count} events have no span, and no death of a process explains it"
    assert disconnected(without) == {expected}
    assert disconnected(replace(without, files=died("department", 9.0))) == set()
    assert disconnected(replace(without, files=died("intake", 9.0))) == {expected}
    assert disconnected(replace(without, files=died("department", 99.0))) == {expected}


def test_a_death_is_known_by_the_machines_clock_where_days_have_passed() -> None:
    """Before the lost event, after it, or both; before the first, and before all of which the last is lost."""
    history, day = true_history(), 86_400.0
    own = ids_of(history, "department")
    for lost, passed in (
        (own[2], {own[2]: 1}),
        (own[2], {own[3]: 1}),
        (own[2], {own[2]: 1, own[3]: 2}),
        (own[0], {own[0]: 1}),
        (own[-1], {own[0]: 1}),
    ):
        days, journals = 0, dict(history.journals)
        by: dict[str, float] = {}
        for second, event_id in enumerate(own, 1000):
            days = max(days, passed.get(event_id, 0))
            by[event_id] = second + days * day
        for name, journal in journals.items():
            rows = [
                replace(row, event=replace(row.event, recorded_at=round(by.get(row.event.id, 0.0) * 1_000_000)))
                for row in journal.rows
            ]
            journals[name] = replace(journal, rows=rows)
        at = {event_id: float(second) for second, event_id in enumerate(own, 1000)}
        moved = with_spans(replace(history, journals=journals), left_out=frozenset([lost]), at=at)
        assert connected.unexplained(replace(moved, files=died("department", 1003.0))) == 0
        assert connected.unexplained(replace(moved, files=died("department", 1103.0))) == 1


def died(name: str, at: float) -> Mapping[str, bytes]:
    """What the mesh logs of a process that ended, at seconds since 1970."""
    entry = {"child": name, "event": "supervisor.restarts", "timestamp": datetime.fromtimestamp(at, UTC).isoformat()}
    return {"log/mesh.log": json.dumps(entry).encode()}


def test_spans_that_no_death_explains_are_counted() -> None:
    history = true_history()
    events = [event for events in history.by_case.values() for event in events]
    times = {event.id: number * 60_000_000 for number, event in enumerate(events)}
    journals = {
        name: replace(
            journal,
            rows=[replace(row, event=replace(row.event, recorded_at=times[row.event.id])) for row in journal.rows],
        )
        for name, journal in history.journals.items()
    }
    (lost,) = (place for place, event in enumerate(events) if event.name == "Decided")
    died = datetime.fromtimestamp(lost * 60 + 9, UTC).isoformat()
    line = f'{{"child": "department-2", "event": "supervisor.restarts", "timestamp": "{died}"}}\n{{"event": "superv'
    history = replace(history, journals=journals, files={"log/mesh.log": line.encode()})

    assert connected.filled(history) == len(events) - 1
    assert connected.unexplained(history) == len(events) - 2


def test_a_trace_without_a_submission_has_no_root() -> None:
    history = true_history()
    intake = history.journals["intake"]
    without = replace(intake, rows=[row for row in intake.rows if row.event.name != "Submitted"])

    found = connected.check(replace(history, journals={**history.journals, "intake": without}, spans=()))

    assert "0 roots" in {problem.what for problem in found}


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


def test_what_had_not_left_a_lost_database_is_named_and_excuses_nothing_else() -> None:
    history = true_history()
    decided = next(row for row in history.journals["department"].rows if row.event.name == "Decided")
    without = an_acknowledged_request_without_effect(history)

    found = check(replace(without, unsent={decided.event.id: decided.event}))

    assert Kind.LOST in {problem.kind for problem in check(without) if problem.where == "requests"}
    assert [problem.where for problem in found if problem.kind is Kind.UNSENT] == [decided.event.origin]
    assert not [problem for problem in found if problem.where == "requests"]
    again = [replace(request, again=True) for request in without.requests]
    asked_again = check(replace(without, requests=again, unsent={decided.event.id: decided.event}))
    assert [problem.kind for problem in asked_again if problem.where == "requests"] == [Kind.LOST]
    accepted = next(row for row in history.journals["department"].rows if row.event.name == "Accepted")
    other = check(replace(without, unsent={accepted.event.id: accepted.event}))
    assert Kind.LOST in {problem.kind for problem in other if problem.where == "requests"}


def test_a_request_with_two_effects_is_doubled_also_where_the_first_had_not_left() -> None:
    twice = a_request_with_two_effects(true_history())
    accepted = next(row.event for row in twice.journals["department"].rows if row.event.name == "Accepted")

    found = check(replace(twice, unsent={accepted.id: accepted}))

    assert Kind.DOUBLED in {problem.kind for problem in found if problem.where == "requests"}


def test_a_delivery_counts_by_the_epoch_of_its_inbox() -> None:
    """In a lost database another item may have had the sequence."""
    history = true_history()
    first = history.deliveries[0]
    journal = history.journals[first.subsystem]
    lost = replace(journal, epoch=1)
    history = replace(history, journals={**history.journals, first.subsystem: replace(journal, epoch=2)}, lost=[lost])
    now = [replace(each, epoch=2) if each.subsystem == first.subsystem else each for each in history.deliveries]

    assert check(replace(history, deliveries=[*history.deliveries, *now])) == []
    wrong = replace(first, event=history.deliveries[-1].event)
    assert Kind.ALTERED in {problem.kind for problem in check(replace(history, deliveries=[wrong, *now]))}


def test_what_was_wrong_before_does_not_count_as_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(history: History) -> History:
        return history

    monkeypatch.setattr("faults.checker.mutations.MUTATIONS", {nothing: Kind.LOST})

    assert list(blind_spots(an_acknowledged_request_without_effect(true_history()))) == ["nothing"]


@pytest.mark.parametrize(
    ("subsystem", "fact", "kinds"),
    [
        ("governance", event.CollaborationConcluded(collaboration_id=COLLABORATION), {Kind.DOUBLED}),
        ("governance", event.CollaborationRecalled(collaboration_id=COLLABORATION), {Kind.DOUBLED}),
        ("governance", event.CollaborationConcluded(collaboration_id="another"), set()),
        ("department", event.OpinionDeemed(task_id=TASK), {Kind.DOUBLED}),
        ("department", event.TaskSigned(task_id=TASK, assignment=2), set()),
        ("department", event.StepRecorded(), set()),
    ],
    ids=["concluded twice", "ended twice", "another ended", "answered twice", "signed by the next", "another step"],
)
def test_a_second_fact_is_doubled_where_there_can_be_one(subsystem: str, fact: Message, kinds: set[Kind]) -> None:
    history = true_history()
    journal = history.journals[subsystem]
    own = next(row.event for row in journal.rows if row.event.origin.startswith(subsystem))
    second = replace(own, id=str(UUID(int=5)), type=fact.DESCRIPTOR.full_name, body=fact.SerializeToString())
    longer = replace(journal, rows=[*journal.rows, replace(journal.rows[-1], event=second)])

    found = once.check(replace(history, journals={**history.journals, subsystem: longer}))

    assert {problem.kind for problem in found} == kinds


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ([], [f"center/{CENTER}"]),
        ([event.TaskRecalled(task_id=TASK, organ_id=ASKED, assignment=1)], []),
        ([event.TaskAssigned(task_id=TASK, organ=Organ(id="another"), assignment=2)], []),
        ([event.TaskRecalled(task_id="another", organ_id=ASKED, assignment=1)], [f"center/{CENTER}"]),
    ],
)
def test_a_center_is_told_what_is_overdue_where_the_organ_still_has_it(before: list[Message], told: list[str]) -> None:
    history = true_history()
    journal = history.journals["governance"]
    late = event.TaskOverdue(collaboration_id=COLLABORATION, task_id=TASK, organ_id=ASKED, assignment=1)
    said = [
        replace(
            journal.rows[0].event,
            id=str(UUID(int=number)),
            type=fact.DESCRIPTOR.full_name,
            body=fact.SerializeToString(),
        )
        for number, fact in enumerate([*before, late], 70)
    ]
    rows = [*journal.rows, *(replace(journal.rows[-1], event=each) for each in said)]
    longer = replace(journal, rows=rechained(rows))
    history = replace(history, journals={**history.journals, "governance": longer})

    assert list(receivers(history, "governance", said[-1])) == told
