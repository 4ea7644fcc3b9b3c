"""The suite for integrators, against programs that do what a client must and against programs that do not."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from clients.conformance.judge import Result, Verdict
from clients.conformance.run import Trial, examine
from clients.conformance.scenes import WITHOUT_KILLS, Scene
from clients.demo.plan import Desk
from clients.identity import Identity
from ronghe.inbox.v1 import inbox_service_pb2 as inbox
from tests.e2e import offices
from tests.e2e.drive import Mesh
from tests.e2e.offices import Office

ROOT = Path(__file__).resolve().parent.parent.parent
RONGHE = Path(sys.executable).parent / "ronghe"
SECONDS = 30.0
# Until a program that does nothing is given up.
SHORT = 10.0
# A question goes through another organ's inbox, which may be another program's under test.
ALONE = tuple(scene for scene in WITHOUT_KILLS if scene is not Scene.ASKED)

# A program, the scenes that show its mistake, and the one check that names it; none for those without a mistake.
PROGRAMS: Mapping[type[Office], tuple[Sequence[Scene], str]] = {
    offices.Office: (ALONE, ""),
    offices.Polling: (ALONE, ""),
    offices.Bulk: ((Scene.PLAIN, Scene.ANSWER_LOST, Scene.OVERLOADED, Scene.SLOW), ""),
    offices.Correcting: ((Scene.PLAIN,), ""),
    offices.AcknowledgesFirst: ((Scene.PLAIN,), "acts-before-it-acknowledges"),
    offices.NewIds: ((Scene.ANSWER_LOST,), "repeats-to-the-letter"),
    offices.NewTimes: ((Scene.ANSWER_LOST,), "repeats-to-the-letter"),
    offices.GivesUp: ((Scene.ANSWER_LOST,), "repeats-what-got-no-answer"),
    offices.ActsTwice: ((Scene.GIVEN_TWICE,), "acts-once"),
    offices.NeverAcknowledges: ((Scene.ACK_LOST,), "acknowledges-everything"),
    offices.AcknowledgesAnything: ((Scene.PLAIN,), "acknowledges-only-what-it-was-given"),
    offices.SkipsTheUnknown: ((Scene.WITHDRAWN,), "acknowledges-facts-it-does-not-know"),
    offices.Hurried: ((Scene.CUT_AFTER_ACK,), "waits-before-it-opens-again"),
    offices.Offended: ((Scene.CUT_AFTER_ACK,), "opens-again"),
    offices.Stubborn: ((Scene.PLAIN,), "stays-away-after-a-takeover"),
    offices.Impatient: ((Scene.OVERLOADED,), "waits-as-it-is-told"),
    offices.Repeating: ((Scene.WITHDRAWN,), "lets-refusals-stand"),
    offices.PutsOffAtOnce: ((Scene.PLAIN,), "puts-off-with-a-delay"),
    offices.WithoutDeadline: ((Scene.PLAIN,), "gives-deadlines"),
    offices.OutOfOrder: ((Scene.PLAIN,), "keeps-the-order-of-a-case"),
    offices.OfTomorrow: ((Scene.PLAIN,), "tells-the-time-of-the-act"),
    offices.Nameless: ((Scene.PLAIN,), "sends-valid-requests"),
}
GIVEN_UP = (
    offices.AcknowledgesFirst,
    offices.NeverAcknowledges,
    offices.AcknowledgesAnything,
    offices.SkipsTheUnknown,
    offices.Offended,
)

Judged = Mapping[type[Office], Sequence[Verdict]]


@pytest.fixture(scope="module")
def judged(mesh: Mesh, desks: Sequence[Desk]) -> Judged:
    """What the suite says of each program; each has an organ of its own, and all are examined at once."""
    organs = [Identity("organ", desk.organ.id) for desk in desks[-len(PROGRAMS) :]]

    async def all_at_once() -> Judged:
        examined: list[Awaitable[Sequence[Verdict]]] = [
            _examined(mesh, office, organ, played)
            for (office, (played, _)), organ in zip(PROGRAMS.items(), organs, strict=True)
        ]
        return dict(zip(PROGRAMS, await asyncio.gather(*examined), strict=True))

    return asyncio.run(all_at_once())


@pytest.mark.parametrize("office", PROGRAMS, ids=lambda office: office.__name__)
def test_the_mistake_of_a_program_is_named_and_no_other(judged: Judged, office: type[Office]) -> None:
    _, mistake = PROGRAMS[office]

    failed = {verdict.check.name: verdict.seen for verdict in judged[office] if verdict.result is Result.FAILED}

    assert list(failed) == ([mistake] if mistake else []), failed


def test_applicants_supplement_what_a_program_wants_corrected(judged: Judged) -> None:
    """Submitted, Supplemented and SupplementReceived are what it is told."""
    seen = {verdict.check.name: verdict.seen for verdict in judged[offices.Correcting]}

    assert seen["acknowledges-everything"] == "right 3 times"


def test_what_did_not_happen_is_not_called_passed(judged: Judged) -> None:
    results = {verdict.check.name: verdict.result for verdict in judged[offices.Nameless]}

    assert {name for name, result in results.items() if result is Result.PASSED} == {
        "puts-off-with-a-delay",
        "stays-away-after-a-takeover",
        "lets-refusals-stand",
        "tells-the-time-of-the-act",
        "gives-deadlines",
    }


async def test_a_task_that_was_not_signed_for_is_not_to_be_answered(mesh: Mesh, desks: Sequence[Desk]) -> None:
    organ = Identity("organ", desks[-1].organ.id)

    signed = await _examined(mesh, offices.Office, organ, (Scene.ASKED,))
    unsigned = await _examined(mesh, offices.Unsigned, organ, (Scene.ASKED,))

    assert _result(signed, "signs-before-it-answers") is Result.PASSED
    assert _result(unsigned, "signs-before-it-answers") is Result.FAILED


def test_the_python_example_passes(mesh: Mesh, desks: Sequence[Desk]) -> None:
    organ = desks[-1].organ.id
    program = [sys.executable, "examples/python/organ.py", "{address}", str(mesh.pki), organ, "1000"]
    suite = [str(RONGHE), "--data", str(mesh.data), "conformance", "--as", f"organ/{organ}", "--port", "0", "--json"]

    done = subprocess.run([*suite, "--", *program], cwd=ROOT, capture_output=True, text=True, timeout=100)

    results = {verdict["check"]: (verdict["result"], verdict["seen"]) for verdict in json.loads(done.stdout)}
    assert {name: seen for name, (result, seen) in results.items() if result == "failed"} == {}
    assert done.returncode == 0, done.stderr
    not_exercised = {name for name, (result, _) in results.items() if result == "not exercised"}
    # It puts nothing off, and answers no tasks.
    assert not_exercised == {"puts-off-with-a-delay", "signs-before-it-answers"}


def _result(verdicts: Sequence[Verdict], name: str) -> Result:
    return next(verdict.result for verdict in verdicts if verdict.check.name == name)


async def _examined(mesh: Mesh, office: type[Office], organ: Identity, scenes: Sequence[Scene]) -> Sequence[Verdict]:
    """The suite's verdicts on an office that runs beside it; the organ's inbox is empty before and after."""
    await _empty(mesh, organ)
    running: list[asyncio.Task[None]] = []

    def start(address: str) -> None:
        running.append(asyncio.ensure_future(office(address, mesh.pki, organ).run()))

    trial = Trial(organ, scenes, SHORT if office in GIVEN_UP else SECONDS)
    try:
        return await examine(mesh.addresses, mesh.pki, trial, start)
    finally:
        for task in running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await _empty(mesh, organ)


async def _empty(mesh: Mesh, organ: Identity) -> None:
    async with mesh.department(organ.id) as office:
        while items := (await office.fetch_inbox(inbox.FetchInboxRequest(wait=Duration(nanos=200_000_000)))).items:
            await office.ack_inbox(inbox.AckInboxRequest(sequences=[item.sequence for item in items]))
