"""The checker's self-test: one thing made wrong in a true history, which the checker must name by its kind."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from faults.checker.chains import chained
from faults.checker.check import check, problems
from faults.checker.connected import span_id
from faults.checker.history import History, InboxRow, Journal, Kind, Row, Shown, Span, parse
from faults.checker.routes import OUTCOMES
from ronghe.case.v1.case_pb2 import OUTCOME_DENIED, OUTCOME_GRANTED, STATE_ACCEPTED, Case
from ronghe.case.v1.case_service_pb2 import GetCaseTimelineResponse, ListCasesResponse, TimelineEntry
from ronghe.collaboration.v1.collaboration_pb2 import Answer, Brief, Collaboration, Task
from ronghe.collaboration.v1.collaboration_service_pb2 import ListCollaborationsResponse, ListTasksResponse
from ronghe.event.v1.event_pb2 import JournalHead
from ronghe.intake.v1.intake_service_pb2 import GetApplicationResponse

Mutation = Callable[[History], History]


def blind_spots(history: History) -> Iterator[str]:
    """Names of the mutations that the checker does not notice; none, where it can be trusted.

    What is wrong with the history itself speaks for no mutation.
    """
    before = frozenset(check(history))
    for mutation, kind in MUTATIONS.items():
        if not any(problem.kind is kind and problem not in before for problem in problems(mutation(history))):
            yield mutation.__name__.replace("_", " ")


# --- lost ---


def an_event_lost_on_its_way(history: History) -> History:
    """Governance never took a decision in."""
    row = _row(history, "governance", "Decided")
    return _with_rows(history, "governance", [each for each in history.journals["governance"].rows if each != row])


def an_acknowledged_request_without_effect(history: History) -> History:
    """A decision is in no journal, and on no topic."""
    event = _row(history, "department", "Decided").event
    for name, journal in history.journals.items():
        history = _with_rows(history, name, [row for row in journal.rows if row.event.id != event.id])
    return replace(history, topic=[record for record in history.topic if record.event.id != event.id])


def a_record_lost_on_the_topic(history: History) -> History:
    """The broker has forgotten one, with all its repeats."""
    lost = history.topic[0].event.id
    return replace(history, topic=[record for record in history.topic if record.event.id != lost])


def an_item_acknowledged_that_was_never_given(history: History) -> History:
    """A receiver got one less than the inbox believes."""
    first = history.deliveries[0]
    rest = [each for each in history.deliveries if (each.receiver, each.sequence) != (first.receiver, first.sequence)]
    return replace(history, deliveries=rest)


def a_gap_in_an_inbox(history: History) -> History:
    """A row is gone."""
    return _with_inbox(history, "department", lambda journal: journal.inbox[1:])


def a_removed_tail(history: History) -> History:
    """The journal's last row is gone, the head still names it."""
    journal = history.journals["intake"]
    return _with_journal(history, replace(journal, rows=journal.rows[:-1]))


def poison_that_left_no_trace(history: History) -> History:
    """It is on the topic, and nobody has set it aside."""
    record = next(record for record in history.topic if record.event.name == "Decided")
    forged = replace(record.event, id=record.event.id[::-1], origin="x-9")
    topic = [*history.topic, replace(record, offset=history.topic[-1].offset + 1, event=forged)]
    return replace(history, topic=topic, poison=history.poison | {forged.id})


def a_decision_that_leaves_an_answer_out(history: History) -> History:
    """It rests on what others have said, and does not say what."""
    rows = history.journals["department"].rows
    row = next(row for row in rows if row.event.name == "Decided" and row.event.fact.collaborations)
    decided = type(row.event.fact).FromString(row.event.body)
    decided.decision.ClearField("opinions")
    other = replace(row, event=replace(row.event, body=decided.SerializeToString()))
    return _with_rows(history, "department", [other if each == row else each for each in rows])


def a_refusal_that_nothing_explains(history: History) -> History:
    """An organ is told that there is no such case as it was given."""
    accepted = next(each for each in history.requests if each.command == "AcceptApplicationRequest")
    refused = replace(accepted, mark=accepted.mark[::-1], answers=[], refusal="CASE_NOT_FOUND")
    return replace(history, requests=[*history.requests, refused])


# --- doubled ---


def an_event_taken_in_twice(history: History) -> History:
    """The same event in two rows."""
    rows = history.journals["governance"].rows
    return _with_rows(history, "governance", [*rows, _row(history, "governance", "Accepted")])


def a_request_with_two_effects(history: History) -> History:
    """Another event of the same request."""
    row = _row(history, "department", "Accepted")
    again = replace(row, event=replace(row.event, id=row.event.id[::-1], version=row.event.version + 100))
    return _with_rows(history, "department", [*history.journals["department"].rows, again])


def a_second_fact_under_another_id(history: History) -> History:
    """Another acceptance, which bears no mark."""
    row = _row(history, "department", "Accepted")
    again = replace(row, event=replace(row.event, id=row.event.id[::-1], version=row.event.version + 100, body=b""))
    return _with_rows(history, "department", [*history.journals["department"].rows, again])


def two_outcomes(history: History) -> History:
    """A case that is decided and withdrawn."""
    row = next(row for row in history.journals["department"].rows if row.event.name in OUTCOMES)
    name = "Withdrawn" if row.event.name == "Decided" else "Decided"
    other = replace(row.event, id=row.event.id[::-1], type=f"ronghe.event.v1.{name}", body=b"", version=10_000)
    return _with_rows(history, "department", [*history.journals["department"].rows, replace(row, event=other)])


def an_item_put_into_an_inbox_twice(history: History) -> History:
    """The same event under two sequences."""

    def doubled(journal: Journal) -> Sequence[InboxRow]:
        last = [row for row in journal.inbox if row.receiver == journal.inbox[0].receiver][-1]
        return [*journal.inbox, replace(last, sequence=last.sequence + 1)]

    return _with_inbox(history, "department", doubled)


# --- reordered, altered ---


def two_events_of_a_stream_swapped(history: History) -> History:
    """A decision before its acceptance."""
    rows = list(history.journals["intake"].rows)
    decided = next(number for number, row in enumerate(rows) if row.event.name == "Decided")
    stream = rows[decided].event.stream
    earlier = next(number for number, row in enumerate(rows) if row.event.stream == stream)
    rows[decided], rows[earlier] = rows[earlier], rows[decided]
    return _with_rows(history, "intake", rows)


def items_of_a_case_given_in_the_wrong_order(history: History) -> History:
    """What a receiver got, backwards."""
    return replace(history, deliveries=history.deliveries[::-1])


def a_topic_backwards(history: History) -> History:
    """Every effect before its cause."""
    return replace(history, topic=[replace(record, offset=-record.offset) for record in history.topic])


def an_event_altered_on_its_way(history: History) -> History:
    """One journal has other bytes, with a chain that holds."""
    row = _row(history, "governance", "Decided")
    other = replace(row, event=replace(row.event, body=row.event.body + b"\x82\xd3\x12\x01x"))
    return _with_rows(
        history, "governance", [other if each == row else each for each in history.journals["governance"].rows]
    )


def a_row_tampered_with(history: History) -> History:
    """The bytes of one row are others than its chain says."""
    journal = history.journals["intake"]
    first, *rest = journal.rows
    return _with_journal(history, replace(journal, rows=[replace(first, taken_at=first.taken_at + 1), *rest]))


def a_head_that_its_origin_has_not_signed(history: History) -> History:
    """The center's own row, named by somebody who has no key of the center's."""
    row, rows = history.journals["governance"].rows[-1], history.journals["department"].rows
    head = JournalHead(epoch=row.epoch, position=row.position, hash=row.hash)
    event = replace(row.event, id=row.event.id[::-1], origin="governance-01", type=JournalHead.DESCRIPTOR.full_name)
    return _with_rows(history, "department", [*rows, replace(row, event=replace(event, body=head.SerializeToString()))])


def another_document_elsewhere(history: History) -> History:
    """One side holds another paper."""
    journal = history.journals["intake"]
    case_id, case = next(iter(journal.cases.items()))
    other = type(case)()
    other.CopyFrom(case)
    other.documents[0].contact = "elsewhere"
    return _with_journal(history, replace(journal, cases={**journal.cases, case_id: other}))


def another_standing_elsewhere(history: History) -> History:
    """One side's case does not hold what was asked about it."""
    journal = history.journals["governance"]
    case_id, case = next((case_id, case) for case_id, case in journal.cases.items() if case.collaborations)
    other = type(case)()
    other.CopyFrom(case)
    del other.collaborations[:]
    return _with_journal(history, replace(journal, cases={**journal.cases, case_id: other}))


def a_collaboration_that_never_ended_elsewhere(history: History) -> History:
    """The lead waits for what the center knows to have ended."""
    journal = history.journals["department"]
    name, collaboration = next(iter(journal.collaborations.items()))
    other = type(collaboration)()
    other.CopyFrom(collaboration)
    other.state = other.STATE_OPENED
    return _with_journal(history, replace(journal, collaborations={**journal.collaborations, name: other}))


def a_denial_recorded_as_a_grant(history: History) -> History:
    """Or a grant as a denial, the same in every journal, on the topic and in every inbox."""

    def turn(decided: Any) -> None:
        decided.outcome = OUTCOME_DENIED if decided.outcome == OUTCOME_GRANTED else OUTCOME_GRANTED

    return _said_otherwise(history, "Decided", turn)


def a_decision_without_its_words(history: History) -> History:
    """What is granted, or why nothing is."""

    def empty(decided: Any) -> None:
        for field in ("certificate", "reasons", "remedies"):
            decided.decision.ClearField(field)

    return _said_otherwise(history, "Decided", empty)


def a_judgement_of_somebody_else(history: History) -> History:
    """More are to be asked than the lead has said."""
    return _said_otherwise(history, "Accepted", lambda accepted: accepted.judgement.rules_to_ask.append("nobody"))


def an_opinion_turned_round(history: History) -> History:
    """Of one who was asked."""

    def turn(answered: Any) -> None:
        opinion = answered.answer.opinion
        disagrees = opinion == Answer.OPINION_DISAGREE
        answered.answer.opinion = Answer.OPINION_AGREE if disagrees else Answer.OPINION_DISAGREE

    return _said_otherwise(history, "TaskAnswered", turn)


def an_answer_without_its_words(history: History) -> History:
    """Of one who was asked."""

    def empty(answered: Any) -> None:
        for field in ("text", "conditions", "reasons", "needs"):
            answered.answer.ClearField(field)

    return _said_otherwise(history, "TaskAnswered", empty)


def a_field_of_the_form_lost(history: History) -> History:
    """The applicant has filled it in."""

    def lose(submitted: Any) -> None:
        del submitted.application.form[:1]
        del submitted.application.personal.form[:]

    return _said_otherwise(history, "Submitted", lose, lambda submitted: submitted.application.form)


def a_value_under_another_name(history: History) -> History:
    """A form's value is that of another field."""

    def rename(submitted: Any) -> None:
        submitted.application.form[0].name = submitted.application.form[-1].name + "_elsewhere"

    return _said_otherwise(history, "Submitted", rename, lambda submitted: submitted.application.form)


def another_outcome_everywhere(history: History) -> History:
    """All subsystems fold in one way, and that is wrong."""

    def turn(case: Any) -> None:
        case.outcome = OUTCOME_DENIED if case.outcome == OUTCOME_GRANTED else OUTCOME_GRANTED

    return _shown_otherwise(history, turn)


def a_case_that_is_open_everywhere(history: History) -> History:
    """It has its outcome, and goes on."""

    def open_again(case: Any) -> None:
        case.state = STATE_ACCEPTED

    return _shown_otherwise(history, open_again)


def a_document_that_nobody_issued(history: History) -> History:
    """All subsystems show it."""

    def alter(case: Any) -> None:
        case.documents[-1].contact = "elsewhere"

    return _shown_otherwise(history, alter)


def a_collaboration_that_ended_otherwise_everywhere(history: History) -> History:
    """It was concluded, and both the center and the lead show it recalled, or the other way round."""
    ends = ("CollaborationConcluded", "CollaborationRecalled")
    name = next(event.fact.collaboration_id for event in history.own.values() if event.name in ends)
    for journal in (history.journals["governance"], history.journals["department"]):
        other = Collaboration.FromString(journal.collaborations[name].SerializeToString())
        is_recalled = other.state == other.STATE_RECALLED
        other.state = other.STATE_CONCLUDED if is_recalled else other.STATE_RECALLED
        history = _with_journal(history, replace(journal, collaborations={**journal.collaborations, name: other}))
    return history


def a_subsystem_that_shows_nothing(history: History) -> History:
    """It has its journal, and not one view."""
    return replace(_with_journal(history, replace(history.journals["governance"], cases={})), whole=True)


def an_item_given_again_with_other_contents(history: History) -> History:
    """Its sequence and its event's id are the same, which is all that a de-duplication looks at."""
    first = history.deliveries[0]
    other = replace(first.event, body=first.event.body + b"\x82\xd3\x12\x01x")
    return replace(history, deliveries=[*history.deliveries, replace(first, event=other)])


# --- stuck, misrouted, disclosed, invented, disconnected ---


def an_item_nobody_took(history: History) -> History:
    """Unacknowledged after everything has settled."""
    return _with_inbox(
        history, "department", lambda journal: [replace(journal.inbox[0], is_acknowledged=False), *journal.inbox[1:]]
    )


def an_event_set_aside(history: History) -> History:
    """A dead letter that nobody redrives."""
    journal = history.journals["department"]
    return _with_journal(history, replace(journal, set_aside=[(journal.rows[0].event.id, "")]))


def a_journal_that_nobody_signs(history: History) -> History:
    """It has no head, in a run of which everything is known."""
    rows = [row for row in history.journals["intake"].rows if not row.event.is_head]
    return replace(_with_rows(history, "intake", rows), whole=True)


def a_stopped_relay(history: History) -> History:
    """Nothing of a journal was published."""
    return _with_journal(history, replace(history.journals["governance"], published=0))


def a_case_without_an_outcome(history: History) -> History:
    """What was decided about it stands nowhere."""
    case_id = _row(history, "department", "Decided").event.case_id
    for name, journal in history.journals.items():
        rows = [row for row in journal.rows if row.event.case_id != case_id or row.event.name not in OUTCOMES]
        history = _with_rows(history, name, rows)
    return history


def an_item_in_the_wrong_inbox(history: History) -> History:
    """Another organ's."""
    return _with_inbox(
        history,
        "department",
        lambda journal: [replace(journal.inbox[0], receiver="organ/elsewhere"), *journal.inbox[1:]],
    )


def a_case_shown_to_a_stranger(history: History) -> History:
    """An application given to an organ that does not lead it."""
    shown = next(each for each in history.deliveries if each.event.name == "Submitted")
    return replace(history, deliveries=[*history.deliveries, replace(shown, receiver="organ/elsewhere")])


def a_brief_that_tells_too_much(history: History) -> History:
    """A task that names the applicant, whom its rule does not disclose."""
    number, shown = next(
        (number, each)
        for number, each in enumerate(history.deliveries)
        if each.event.name == "TaskAssigned" and not each.event.fact.brief.personal.applicant.name
    )
    fact, submitted = shown.event.fact, history.submissions[shown.event.case_id].fact
    told = type(fact).FromString(shown.event.body)
    told.brief.personal.applicant.name = submitted.application.personal.applicant.name
    other = replace(shown, event=replace(shown.event, body=told.SerializeToString()))
    return replace(history, deliveries=[*history.deliveries[:number], other, *history.deliveries[number + 1 :]])


def a_timeline_shown_to_a_stranger(history: History) -> History:
    """To an organ that asked for a case which it does not lead."""
    answer = GetCaseTimelineResponse(entries=[TimelineEntry(position=1)])
    return replace(history, shown=[*history.shown, Shown("organ/elsewhere", next(iter(history.by_case)), answer)])


def an_application_shown_to_another_intake_system(history: History) -> History:
    """To one of its terminals, without a word on who applies."""
    case_id = next(iter(history.submissions))
    answer = GetApplicationResponse(case=Case(case_id=case_id))
    return replace(history, shown=[*history.shown, Shown("terminal/elsewhere", case_id, answer)])


def a_list_that_tells_who_applies(history: History) -> History:
    """To the lead itself, which sees the applicant, but not in a list."""
    submitted = next(iter(history.submissions.values()))
    application = submitted.fact.application
    answer = ListCasesResponse(cases=[Case(case_id=submitted.case_id, application=application)])
    return replace(history, shown=[*history.shown, Shown(f"organ/{application.lead.id}", "", answer)])


def a_task_that_shows_who_applies(history: History) -> History:
    """To the one who has it, in a list, where nobody is named."""
    assigned = next(event for event in history.own.values() if event.name == "TaskAssigned")
    personal = history.submissions[assigned.case_id].fact.application.personal
    answer = ListTasksResponse(tasks=[Task(task_id=assigned.fact.task_id, brief=Brief(personal=personal))])
    return replace(history, shown=[*history.shown, Shown(f"organ/{assigned.fact.organ.id}", "", answer)])


def a_list_with_a_question(history: History) -> History:
    """To the lead that asks it, which sees it elsewhere."""
    assigned = next(event for event in history.own.values() if event.name == "TaskAssigned")
    asked = Task(task_id=assigned.fact.task_id, brief=Brief(question=assigned.fact.brief.question))
    line = Collaboration(collaboration_id=assigned.fact.collaboration_id, tasks=[asked])
    answer = ListCollaborationsResponse(collaborations=[line])
    return replace(history, shown=[*history.shown, Shown(f"organ/{assigned.fact.lead_id}", "", answer)])


def a_log_that_names_the_applicant(history: History) -> History:
    """Among other words."""
    submitted = next(iter(history.submissions.values()))
    name = submitted.fact.application.personal.applicant.name
    return replace(history, files={**history.files, "log/intake.log": f'{{"event": "{name} is refused"}}\n'.encode()})


def nobody_who_looks(history: History) -> History:
    """Of everything from beginning to end."""
    return replace(history, shown=[], whole=True)


def a_fact_nobody_requested(history: History) -> History:
    """An acceptance whose request was never sent."""
    wanted = _row(history, "department", "Accepted").event
    return replace(history, requests=[each for each in history.requests if each.mark.encode() not in wanted.body])


def a_refusal_with_an_effect(history: History) -> History:
    """Whoever accepted was told that he may not."""
    accepted = _row(history, "department", "Accepted").event
    requests = [
        replace(each, answers=[], refusal="ILLEGAL_STATE") if each.mark.encode() in accepted.body else each
        for each in history.requests
    ]
    return replace(history, requests=requests)


def poison_taken_in(history: History) -> History:
    """Somebody else's decision stands in a journal."""
    row = _row(history, "governance", "Decided")
    forged = replace(row.event, id=row.event.id[::-1], origin="x-9", version=row.event.version + 100)
    rows = [*history.journals["governance"].rows, replace(row, event=forged)]
    return replace(_with_rows(history, "governance", rows), poison=history.poison | {forged.id})


def a_fact_without_a_cause(history: History) -> History:
    """A decision that hangs in the air."""
    row = _row(history, "department", "Decided")
    other = replace(row, event=replace(row.event, causes=()))
    return _with_rows(
        history, "department", [other if each == row else each for each in history.journals["department"].rows]
    )


def a_missing_span(history: History) -> History:
    """What a span of a case hangs under was not exported, and stands in no journal."""
    trace = UUID(next(iter(history.by_case))).hex
    return replace(history, spans=[*history.spans, Span(trace, "ab" * 8, "cd" * 8, "process")])


def a_mesh_without_spans(history: History) -> History:
    """Nothing of a whole run was exported."""
    return replace(history, spans=(), whole=True)


def a_subsystem_without_spans(history: History) -> History:
    """Governance exported none of an event."""
    return _without_spans(history, "governance", 1)


def spans_that_no_death_explains(history: History) -> History:
    """Every second one of the departments' events is gone, and no process has died."""
    return _without_spans(replace(history, files={}), "department", 2)


MUTATIONS: dict[Mutation, Kind] = {
    an_event_lost_on_its_way: Kind.LOST,
    a_refusal_that_nothing_explains: Kind.LOST,
    an_acknowledged_request_without_effect: Kind.LOST,
    a_record_lost_on_the_topic: Kind.LOST,
    an_item_acknowledged_that_was_never_given: Kind.LOST,
    a_gap_in_an_inbox: Kind.LOST,
    a_removed_tail: Kind.LOST,
    poison_that_left_no_trace: Kind.LOST,
    a_decision_that_leaves_an_answer_out: Kind.LOST,
    an_event_taken_in_twice: Kind.DOUBLED,
    a_request_with_two_effects: Kind.DOUBLED,
    a_second_fact_under_another_id: Kind.DOUBLED,
    two_outcomes: Kind.DOUBLED,
    an_item_put_into_an_inbox_twice: Kind.DOUBLED,
    two_events_of_a_stream_swapped: Kind.REORDERED,
    items_of_a_case_given_in_the_wrong_order: Kind.REORDERED,
    a_topic_backwards: Kind.REORDERED,
    an_event_altered_on_its_way: Kind.ALTERED,
    a_row_tampered_with: Kind.ALTERED,
    a_head_that_its_origin_has_not_signed: Kind.ALTERED,
    another_document_elsewhere: Kind.ALTERED,
    another_standing_elsewhere: Kind.ALTERED,
    a_collaboration_that_never_ended_elsewhere: Kind.ALTERED,
    a_denial_recorded_as_a_grant: Kind.ALTERED,
    a_decision_without_its_words: Kind.ALTERED,
    a_judgement_of_somebody_else: Kind.ALTERED,
    an_opinion_turned_round: Kind.ALTERED,
    an_answer_without_its_words: Kind.ALTERED,
    a_field_of_the_form_lost: Kind.ALTERED,
    a_value_under_another_name: Kind.ALTERED,
    another_outcome_everywhere: Kind.ALTERED,
    a_case_that_is_open_everywhere: Kind.ALTERED,
    a_document_that_nobody_issued: Kind.ALTERED,
    a_collaboration_that_ended_otherwise_everywhere: Kind.ALTERED,
    a_subsystem_that_shows_nothing: Kind.LOST,
    an_item_given_again_with_other_contents: Kind.ALTERED,
    an_item_nobody_took: Kind.STUCK,
    an_event_set_aside: Kind.STUCK,
    a_journal_that_nobody_signs: Kind.STUCK,
    a_stopped_relay: Kind.STUCK,
    a_case_without_an_outcome: Kind.STUCK,
    an_item_in_the_wrong_inbox: Kind.MISROUTED,
    a_case_shown_to_a_stranger: Kind.DISCLOSED,
    a_brief_that_tells_too_much: Kind.DISCLOSED,
    a_timeline_shown_to_a_stranger: Kind.DISCLOSED,
    an_application_shown_to_another_intake_system: Kind.DISCLOSED,
    a_list_that_tells_who_applies: Kind.DISCLOSED,
    a_task_that_shows_who_applies: Kind.DISCLOSED,
    a_list_with_a_question: Kind.DISCLOSED,
    a_log_that_names_the_applicant: Kind.DISCLOSED,
    nobody_who_looks: Kind.DISCLOSED,
    a_fact_nobody_requested: Kind.INVENTED,
    a_refusal_with_an_effect: Kind.INVENTED,
    poison_taken_in: Kind.INVENTED,
    a_fact_without_a_cause: Kind.DISCONNECTED,
    a_missing_span: Kind.DISCONNECTED,
    a_mesh_without_spans: Kind.DISCONNECTED,
    a_subsystem_without_spans: Kind.DISCONNECTED,
    spans_that_no_death_explains: Kind.DISCONNECTED,
}
"""What is made wrong -> how the checker must call it."""


# --- how ---


def rechained(rows: Sequence[Row]) -> Sequence[Row]:
    """The same events in this order, with positions and a chain that hold."""
    previous, found = bytes(32), []
    for position, row in enumerate(rows, 1):
        moved = replace(row, position=position, body_digest=hashlib.sha256(row.event.body).digest())
        previous = chained(moved, previous)
        found.append(replace(moved, hash=previous))
    return found


def _row(history: History, name: str, event: str) -> Row:
    return next(row for row in history.journals[name].rows if row.event.name == event)


def _said_otherwise(
    history: History, name: str, change: Callable[[Any], None], where: Callable[[Any], Any] = lambda fact: True
) -> History:
    """The first such fact, of those where it holds, says something else wherever it stands."""
    said = next(event for event in history.own.values() if event.name == name and where(event.fact))
    fact = parse(said.type, said.body)
    change(fact)
    other = replace(said, body=fact.SerializeToString())
    for journal in history.journals.values():
        rows = [replace(row, event=other) if row.event.id == said.id else row for row in journal.rows]
        history = _with_rows(history, journal.subsystem, rows)
    topic = [replace(record, event=other) if record.event.id == said.id else record for record in history.topic]
    given = [replace(each, event=other) if each.event.id == said.id else each for each in history.deliveries]
    return replace(history, topic=topic, deliveries=given)


def _shown_otherwise(history: History, change: Callable[[Any], None]) -> History:
    """The view of a decided case says something else, in all subsystems."""
    case_id = _row(history, "department", "Decided").event.case_id
    for journal in history.journals.values():
        other = Case.FromString(journal.cases[case_id].SerializeToString())
        change(other)
        history = _with_journal(history, replace(journal, cases={**journal.cases, case_id: other}))
    return history


def _without_spans(history: History, name: str, every: int) -> History:
    """Every so many-th of a subsystem's events has no span, of what is known from beginning to end."""
    own = [event for event in history.own.values() if event.origin.partition("-")[0] == name]
    gone = {span_id(event.id, "event") for event in own[::every]}
    return replace(history, spans=[span for span in history.spans if span.id not in gone], whole=True)


def _with_journal(history: History, journal: Journal) -> History:
    return replace(history, journals={**history.journals, journal.subsystem: journal})


def _with_rows(history: History, name: str, rows: Sequence[Row]) -> History:
    """With other rows; the inbox still points at the same events."""
    journal, chain = history.journals[name], rechained(rows)
    positions = {row.event.id: row.position for row in reversed(chain)}
    inbox = [
        replace(row, position=positions.get(journal.by_position[row.position].id, len(chain) + row.position))
        for row in journal.inbox
    ]
    head = (chain[-1].position, chain[-1].hash)
    return _with_journal(history, replace(journal, rows=chain, inbox=inbox, head=head, published=None))


def _with_inbox(history: History, name: str, change: Callable[[Journal], Sequence[InboxRow]]) -> History:
    journal = history.journals[name]
    return _with_journal(history, replace(journal, inbox=change(journal)))
