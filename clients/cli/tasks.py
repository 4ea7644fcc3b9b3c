"""`ronghe task list`, `show`, `sign`, `return`: what an organ does that others ask. `answer` is in `answering`.

Each act is signed: --as organ/<id> and --officer ID:NAME.
"""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.table import Table

from clients.cli import briefs
from clients.cli.acting import Acting
from clients.cli.case_acts import reached
from clients.cli.command import command
from clients.cli.language import heading, say
from clients.cli.output import Shown, facts, moment, rows, table, word
from clients.cli.values import choice, words
from ronghe.catalog.v1.catalog_pb2 import COLLABORATION_KIND_CO_APPROVAL, COLLABORATION_KIND_JOINT_SITE_VISIT
from ronghe.collaboration.v1 import collaboration_pb2
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import Task

app = typer.Typer()

TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="Task id; `ronghe task list` has it.")]
SIGNATURE = "--officer ID:NAME"
# What kinds of collaboration want in their answers.
NEEDS = {
    COLLABORATION_KIND_CO_APPROVAL: "--document-number NUMBER --issued-on DATE",
    COLLABORATION_KIND_JOINT_SITE_VISIT: "--visited-at TIME",
}


@command(app, "list")
async def list_tasks(
    acting: Acting,
    state: Annotated[str | None, typer.Option(metavar="STATE", help=", ".join(words(Task.State)))] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Tasks on a page.")] = 50,
    page_token: Annotated[str, typer.Option(metavar="TOKEN", help="Go on where an earlier page ended.")] = "",
) -> None:
    """List the tasks of the acting organ, newest first."""
    request = pb.ListTasksRequest(state=choice(Task.State, "--state", state), page_size=limit, page_token=page_token)
    async with acting.department() as client:
        response = await client.collaborations.list_tasks(request)
    acting.show(response, lambda: _listed(response))


@command(app, "show")
async def show_task(acting: Acting, task: TaskArgument) -> None:
    """Show a task: what is asked, what is disclosed, by when to answer, and what to do next.

    Personal data is shown by --json only.
    """
    async with acting.department() as client:
        response = await client.collaborations.get_task(pb.GetTaskRequest(task_id=task))
    acting.show(response, lambda: _shown(response.task, acting))


@command(app, "sign")
async def sign(acting: Acting, task: TaskArgument) -> None:
    """Sign for a task (签收): the time to reply runs from here; prints the last day for the answer."""
    organ, signer = acting.department(), acting.signer
    async with organ as client:
        response = await client.collaborations.sign_for_task(pb.SignForTaskRequest(task_id=task, actor=signer))
    acting.show(response, lambda: _signed(response, acting, task))


@command(app, "return")
async def return_task(
    acting: Acting,
    task: TaskArgument,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why it is not this organ's duty.")],
    suggest: Annotated[str, typer.Option(metavar="ORGAN", help="The organ whose duty it is, where it is known.")] = "",
) -> None:
    """Return a task that is not this organ's duty (退回): the center routes it anew."""
    organ, signer = acting.department(), acting.signer
    async with organ as client:
        response = await client.collaborations.return_task(
            pb.ReturnTaskRequest(task_id=task, actor=signer, reason=reason, suggested_organ_id=suggest)
        )
    acting.show(response, lambda: reached(response.version))


def _listed(response: pb.ListTasksResponse) -> Shown:
    made = table("task", "state", "kind", "asked by", "answer by", whole=("answer by",))
    for task in response.tasks:
        brief = task.brief
        by = briefs.due(task.reply_due)
        made.add_row(task.task_id, word(Task.State, task.state), briefs.kind(brief.kind), brief.lead.id, by)
    more = response.next_page_token
    return [made, say("more with --page-token {token}", token=more)] if more else [made]


def _shown(task: Task, acting: Acting) -> Shown:
    shown = [_summary(task)]
    if task.brief.form:
        shown.append(rows(table("disclosed", "value"), [(each.name, briefs.value(each)) for each in task.brief.form]))
    return [*shown, *_personal(task.brief), *_next(task, acting)]


def _summary(task: Task) -> Table:
    brief = task.brief
    return facts(
        [
            ("task", task.task_id),
            ("state", word(Task.State, task.state)),
            ("event", say("{number}, round {round}", number=brief.event_no, round=brief.round)),
            ("asked by", briefs.organ(brief.lead)),
            ("kind", briefs.kind(brief.kind)),
            ("question", brief.question),
            ("item", f"{brief.item_code} {brief.item_name}"),
            ("category", briefs.category(brief.category)),
            ("place", briefs.places(brief.places)),
            ("rule", brief.rule),
            ("basis", brief.basis),
            ("required", say("the law wants an express answer") if brief.required else ""),
            ("assigned", moment(task.assigned_at)),
            ("signed", briefs.signature(task.signed_by, moment(task.signed_at))),
            ("answer by", _answer_by(task)),
            ("silence", briefs.silence(brief)),
            *briefs.in_full(task),
            ("recalled", task.recall_reason),
        ]
    )


def _answer_by(task: Task) -> str:
    if task.HasField("reply_due"):
        return briefs.due(task.reply_due)
    length = briefs.limit(task.brief.reply_limit)
    return say("{time} from signing for it", time=length) if length else ""


def _personal(brief: collaboration_pb2.Brief) -> Iterable[str]:
    """Which personal values are disclosed: their names alone."""
    fields = [field.name for field, _ in brief.personal.applicant.ListFields()]
    applicant = [say("the applicant's {field}", field=heading(name.replace("_", " "), "applicant")) for name in fields]
    names = [*applicant, *(each.name.replace("_", " ") for each in brief.personal.form)]
    if names:
        yield say("disclosed too, shown by --json: {fields}", fields=", ".join(names))


def _signed(response: pb.SignForTaskResponse, acting: Acting, task_id: str) -> Shown:
    summary = [("answer by", briefs.due(response.reply_due)), ("version", response.version)]
    return [facts(summary), _to_answer(task_id, acting)]


def _next(task: Task, acting: Acting) -> Iterable[str]:
    """What the organ can do now, as commands."""
    returning = (f"ronghe task return {task.task_id}", "--reason TEXT [--suggest ORGAN]", SIGNATURE)
    match task.state:
        case Task.STATE_ASSIGNED:
            yield acting.further(say("next"), f"ronghe task sign {task.task_id}", SIGNATURE)
            yield acting.further(say("where it is not this organ's duty"), *returning)
        case Task.STATE_SIGNED:
            yield _to_answer(task.task_id, acting, NEEDS.get(task.brief.kind, ""))
            yield acting.further(say("where it is not this organ's duty"), *returning)


def _to_answer(task_id: str, acting: Acting, needs: str = "") -> str:
    return acting.further(say("next"), f"ronghe task answer {task_id} --opinion OPINION", needs, SIGNATURE)
