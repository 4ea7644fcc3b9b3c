"""`ronghe case list`, `show`, `timeline`: what is known of a case."""

from typing import Annotated

import typer
from rich.table import Table

from clients.cli.acting import Acting
from clients.cli.asking import case_id_of, find_case, subsystem_of, timeline_of
from clients.cli.briefs import due, in_short, kind
from clients.cli.command import AtOption, CaseArgument, command
from clients.cli.language import event, say
from clients.cli.output import Shown, day, facts, instant, moment, rows, table, word
from clients.cli.values import choice, words
from clients.timeline import depth_of, fact_of, said
from ronghe.case.v1 import case_pb2
from ronghe.case.v1 import case_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration, Completion, Standing, TaskStanding
from ronghe.document.v1.document_pb2 import Document

app = typer.Typer()


@command(app, "list")
async def list_cases(
    acting: Acting,
    state: Annotated[str | None, typer.Option(metavar="STATE", help=", ".join(words(case_pb2.State)))] = None,
    outcome: Annotated[str | None, typer.Option(metavar="OUTCOME", help=", ".join(words(case_pb2.Outcome)))] = None,
    item: Annotated[str, typer.Option(metavar="CODE", help="Only this service item.")] = "",
    lead: Annotated[str, typer.Option(metavar="ORGAN", help="Only cases this organ leads.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="Cases on a page.")] = 50,
    page_token: Annotated[str, typer.Option(metavar="TOKEN", help="Go on where an earlier page ended.")] = "",
    at: AtOption = None,
) -> None:
    """List cases, newest first: those the acting party may see."""
    request = pb.ListCasesRequest(
        state=choice(case_pb2.State, "--state", state),
        outcome=choice(case_pb2.Outcome, "--outcome", outcome),
        item_code=item,
        lead_id=lead,
        page_size=limit,
        page_token=page_token,
    )
    async with acting.subsystem(subsystem_of(at), acting.reader) as client:
        response = await client.cases.list_cases(request)
    acting.show(response, lambda: _listed(response))


@command(app, "show")
async def show_case(acting: Acting, case: CaseArgument, at: AtOption = None) -> None:
    """Show a case: its state, its papers and its steps.

    Personal data is shown by --json only, to parties that may see it.
    """
    async with acting.subsystem(subsystem_of(at), acting.reader) as client:
        found = await find_case(client, case)
    acting.show(pb.GetCaseResponse(case=found), lambda: _shown(found))


@command(app, "timeline")
async def show_timeline(acting: Acting, case: CaseArgument, at: AtOption = None) -> None:
    """Show a case's events in the order in which one subsystem recorded them."""
    async with acting.subsystem(subsystem_of(at), acting.reader) as client:
        entries = await timeline_of(client, await case_id_of(client, case))
    response = pb.GetCaseTimelineResponse(entries=entries)
    acting.show(response, lambda: _timeline(response))


def _listed(response: pb.ListCasesResponse) -> Shown:
    made = table("case", "state", "item", "lead", "submitted", whole=("item", "submitted"))
    for case in response.cases:
        application = case.application
        submitted = moment(application.submitted_at)
        made.add_row(case.case_no, _state(case), application.item.code, application.lead.id, submitted)
    more = response.next_page_token
    return [made, say("more with --page-token {token}", token=more)] if more else [made]


def _state(case: case_pb2.Case) -> str:
    outcome = word(case_pb2.Outcome, case.outcome)
    return f"{word(case_pb2.State, case.state)}: {outcome}" if outcome else word(case_pb2.State, case.state)


def _shown(case: case_pb2.Case) -> Shown:
    shown = [_summary(case)]
    if case.documents:
        shown.append(_documents(case))
    if case.steps:
        shown.append(_steps(case))
    if case.collaborations:
        shown.append(_collaborations(case))
    return shown


def _summary(case: case_pb2.Case) -> Table:
    application = case.application
    return facts(
        [
            ("case", case.case_no),
            ("id", case.case_id),
            ("state", _state(case)),
            ("version", case.version),
            ("item", f"{application.item.code} {application.item.name}"),
            ("summary", application.summary),
            ("lead", f"{application.lead.id} {application.lead.name}"),
            ("division", application.division),
            ("intake", f"{application.intake_id}, {word(case_pb2.Channel, application.channel)}"),
            ("external number", application.external_no),
            ("submitted", moment(application.submitted_at)),
            ("legal due", due(case.legal_due)),
            ("promised due", due(case.promised_due)),
            ("open notice", case.open_notice),
            ("pauses", ", ".join(map(_pause, case.pauses))),
            ("withdrawal", word(case_pb2.WithdrawalStatus, case.withdrawal)),
            ("still missing", ", ".join(case.deferred_materials)),
            ("judgement", _judgement(case)),
            ("rules to ask by", ", ".join(case.judgement.rules_to_ask)),
            *(("left out", f"{each.rule}: {each.reason}") for each in case.judgement.left_out),
        ]
    )


def _pause(pause: case_pb2.Pause) -> str:
    kind_of_it, start, end = word(case_pb2.Pause.Kind, pause.kind), day(getattr(pause, "from")), day(pause.to)
    return say("{kind} {start} to {end}", kind=kind_of_it, start=start, end=end or say("now"))


def _judgement(case: case_pb2.Case) -> str:
    if not case.HasField("judgement"):
        return ""
    needed = say("others must be asked") if case.judgement.collaboration_needed else say("nobody else need be asked")
    return f"{needed}: {case.judgement.reason}" if case.judgement.reason else needed


def _documents(case: case_pb2.Case) -> Table:
    papers = [
        (paper.number, word(Document.Kind, paper.kind), paper.issuer.name, moment(paper.issued_at))
        for paper in case.documents
    ]
    return rows(table("document", "kind", "issued by", "issued", whole=("issued",)), papers)


def _steps(case: case_pb2.Case) -> Table:
    steps = [
        (step.name, word(case_pb2.Step.Result, step.result), step.officer.name, moment(step.ended_at), step.opinion)
        for step in case.steps
    ]
    return rows(table("step", "result", "officer", "ended", "opinion"), steps)


def _collaborations(case: case_pb2.Case) -> Table:
    """Each collaboration with its tasks below it."""
    made = table("collaboration", "of", "kind", "answer")
    for standing in case.collaborations:
        name = standing.event_no or standing.collaboration_id
        made.add_row(name, say("round {number}", number=standing.round), "", _standing(standing))
        if not standing.tasks:
            made.add_row("", ", ".join((*standing.rules, *standing.others)))
        for task in standing.tasks:
            made.add_row(
                f" {task.task_id}", _asked(task), kind(task.kind), in_short(task.answer, late=task.answer_late)
            )
    return made


def _standing(standing: Standing) -> str:
    state = word(Collaboration.State, standing.state)
    if standing.recall_requested:
        return f"{state}, {say('recall requested')}"
    is_open = standing.state in (Collaboration.STATE_REQUESTED, Collaboration.STATE_OPENED)
    return ", ".join(filter(None, (state, word(Completion, standing.completion) if is_open else "")))


def _asked(task: TaskStanding) -> str:
    """Who answered; before that the rule that is followed, where one is."""
    return f"{task.organ_id} {task.organ_name}".strip() or task.rule


def _timeline(response: pb.GetCaseTimelineResponse) -> Shown:
    made = table("at#", "event", "says", "by", "occurred", whole=("occurred",))
    for entry in response.entries:
        fact = fact_of(entry)
        name = "  " * depth_of(fact) + event(entry.type)
        made.add_row(str(entry.position), name, said(fact, word, say), entry.origin, instant(entry.occurred_at))
    return [made]
