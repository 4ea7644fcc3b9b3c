"""Everybody at once: leads, applicants, collaborators and centers act on what they see, and facts travel as they like.

Two department servers, so that what one organ says can be overtaken by what another one, or the center, says.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from random import Random
from typing import Any

from google.protobuf.message import Message

from bridge.record import Arrival, Record
from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from ronghe.catalog.v1.catalog_pb2 import COLLABORATION_KIND_CONSULTATION, SILENCE_POLICY_DEEMED_AGREED, Place, Tier
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import (
    COMPLETION_ALL_MUST_ANSWER,
    COMPLETION_LEAD_DECIDES,
    Answer,
    Collaboration,
    Completion,
    Task,
    TaskStanding,
)
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2 as event
from servers.catalog.catalog import Catalog
from servers.collaboration.standing import OPEN, open_ones
from servers.department import answers
from servers.department.collaboration import AskedCollaborationStream
from servers.department.organ_case import OrganCaseStream
from servers.department.task import TaskStream
from servers.governance.case import CaseStream
from servers.governance.collaboration import CollaborationStream
from servers.intake.application import ApplicationStream
from servers.kernel.stream import Refused
from tests import builders
from tests.builders import ALLOWANCE, INTAKE, JIEFANGBEI, ROAD_WORKS, YUZHONG, calendar, codes, lead_of
from tests.machines import Clock, Machine, Relay, Way, snapshot

PLACES = (JIEFANGBEI, JIEFANGBEI, "500103005", YUZHONG, "500106001", "500107003")
"""Two towns of the lead's district, the district itself, for which no rule finds one town, and other districts."""
SIGNS = "IT-003"
"""Large signs: whom it asks about them is deemed to agree when it is silent."""
SECOND = "department-02"
ENDED_TASKS = (Task.STATE_ANSWERED, Task.STATE_RECALLED)
IN_HAND = (Task.STATE_ASSIGNED, Task.STATE_SIGNED)
LIKELY = {
    case_pb2.STATE_SUBMITTED: ["propose", "propose", "explicit", "none", "correct", "refuse"],
    case_pb2.STATE_CORRECTION_REQUESTED: ["refuse", "step"],
    case_pb2.STATE_ACCEPTED: ["ask"] * 4
    + ["beyond"] * 2
    + ["recall"] * 2
    + ["grant"] * 4
    + ["deny", "correct", "step"],
    case_pb2.STATE_DECIDED: ["close", "ask", "recall"],
    case_pb2.STATE_CLOSED: ["close", "ask"],
}
"""What a lead tries in a state, illegal acts among it."""


@cache
def catalog() -> Catalog:
    """The police, the towns and everybody outside the lead's district have a department server of their own."""
    loaded = Catalog.load()
    for organ in loaded.organs.values():
        if organ.department in ("TRAFFIC_POLICE", "TOWN_GOV") or not organ.division.startswith(YUZHONG):
            organ.deployment = SECOND
    return loaded


def department_machine(origin: str, clock: Clock) -> Machine:
    streams = [
        OrganCaseStream(origin, catalog(), calendar()),
        AskedCollaborationStream(origin, catalog()),
        TaskStream(origin, catalog(), calendar()),
    ]
    return Machine(origin, streams, clock)


class City:
    """Intake, the centers and two department servers, with a topic between them."""

    def __init__(self) -> None:
        clock = self.clock = Clock()
        self.intake = Machine("intake-01", [ApplicationStream("intake-01", "governance-01", catalog(), codes())], clock)
        self.governance = Machine("governance-01", [CaseStream(), CollaborationStream(catalog(), calendar())], clock)
        self.departments = [department_machine(origin, clock) for origin in ("department-01", SECOND)]
        self.machines = [self.intake, self.governance, *self.departments]
        published = [self.governance, *self.departments]
        topic: list[Record] = []
        self.ways: list[Way | Relay] = [
            Way(self.intake.inboxes["service/governance-01"], self.governance, Arrival.INBOX),
            *(Relay(machine, topic) for machine in published),
            *(Way(topic, machine, Arrival.KAFKA) for machine in published),
            Way(self.governance.inboxes["service/intake-01"], self.intake, Arrival.INBOX),
        ]

    def serving(self, organ_id: str) -> Machine:
        """The department server of an organ."""
        deployment = catalog().organs[organ_id].deployment
        return next(machine for machine in self.departments if machine.origin == deployment)

    def ways_of(self, organ_id: str) -> list[Way | Relay]:
        """By which its department server hears and is heard."""
        server = self.serving(organ_id)
        return [way for way in self.ways if server is (way.machine if isinstance(way, Relay) else way.sink)]

    def settle(self, *held: Way | Relay) -> None:
        """Everything that is on its way arrives, but for what these ways hold."""
        free = [way for way in self.ways if way not in held]
        while any(way.waiting for way in free):
            for way in free:
                way.deliver()

    def led(self) -> list[case_pb2.Case]:
        """The cases at their leads."""
        return [case for machine in self.departments for case in machine.cases()]

    def collaborations(self, *machines: Machine) -> dict[str, Collaboration]:
        states = [state for machine in machines for state in machine.states("collaboration").values()]
        return {state.collaboration.collaboration_id: state.collaboration for state in states}

    def tasks(self) -> list[Task]:
        """The tasks at their organs."""
        return [state.task for machine in self.departments for state in machine.states("task").values()]

    def facts(self, machine: Machine) -> Iterator[Any]:
        return (record.fact for record in machine.journal)


class Lives:
    """Everybody's acts, chosen by chance."""

    def __init__(self, chance: Random) -> None:
        self.chance, self.city = chance, City()
        self.burst = chance.choice([1, 4, 16])
        """How many records a way delivers at once, at most: some lives are slow, and much crosses in them."""
        self.outcomes: dict[str, int] = {}
        self.refusals: Counter[str] = Counter()

    def run(self, steps: int = 1500) -> City:
        """Some cases from their beginning to their end."""
        acts = {
            self.an_application_comes: 1,
            self.the_applicant_acts: 2,
            self.a_lead_acts: 12,
            self.an_organ_acts: 14,
            self.a_center_acts: 4,
            self.time_passes: 6,
            self.a_way_delivers: 110,
            self.a_way_delivers_again: 4,
        }
        for _ in range(steps):
            self.chance.choices(list(acts), list(acts.values()))[0]()
            self.check()
        self.bring_to_an_end()
        self.agreed()
        return self.city

    @property
    def now(self) -> Any:
        return self.city.clock.advance(minutes=1)

    def likely(self, probability: float) -> bool:
        return self.chance.random() < probability

    def attempt(self, machine: Machine, command: Message, caller: Identity) -> None:
        """The rules may refuse it, but never because of the time."""
        try:
            machine.execute(command, caller)
        except Refused as refused:
            if refused.reason == Reason.REASON_OCCURRED_AT_OUT_OF_RANGE:
                raise
            self.refusals[Reason.Name(refused.reason)] += 1

    # --- applicants ---

    def an_application_comes(self) -> None:
        item, division = self.chance.choice([(ROAD_WORKS, YUZHONG)] * 3 + [(ALLOWANCE, JIEFANGBEI), (SIGNS, YUZHONG)])
        places = [Place(division=code) for code in self.chance.sample(PLACES, self.chance.randint(1, 3))]
        self.submit(builders.submission(self.now, item, division=division, places=places))

    def submit(self, submission: Message) -> None:
        self.city.intake.execute(submission, INTAKE)

    def the_applicant_acts(self) -> None:
        for case in self.one_of(self.city.intake.cases()):
            if self.likely(0.15):
                self.attempt(self.city.intake, builders.withdrawal(case.case_id, self.now), INTAKE)
            elif case.open_notice:
                self.attempt(self.city.intake, builders.supplement(case, self.now), INTAKE)

    def one_of(self, found: Sequence[Any]) -> Sequence[Any]:
        """One of them, or none while there is none."""
        return [self.chance.choice(found)] if found else []

    # --- leads ---

    def a_lead_acts(self) -> None:
        for case in self.one_of(self.city.led()):
            command = self.command(case, self.chance.choice(LIKELY[case.state]))
            self.attempt(self.city.serving(lead_of(case).id), command, lead_of(case))

    def command(self, case: case_pb2.Case, act: str) -> Message:  # noqa: C901 - one arm an act
        name, rules = case.case_id, [rule.id for rule in case.application.item.collaborators]
        match act:
            case "propose":
                return builders.acceptance(name, self.now, as_proposed=builders.as_proposed())
            case "explicit":
                explicit = department.AcceptApplicationRequest.Explicit(reason="需协同", rules=self.some(rules))
                return builders.acceptance(name, self.now, explicit=explicit)
            case "none":
                return builders.acceptance(name, self.now, none=builders.nobody(*self.some(rules)))
            case "ask":
                return builders.asking(name, self.now, *self.some(rules), completion=self.completion())
            case "beyond":
                return builders.asking(name, self.now, others=[self.other()], completion=self.completion())
            case "recall":
                asked = [one.collaboration_id for one in case.collaborations] or [name]
                return builders.recall(name, self.now, self.chance.choice(asked))
            case "grant":
                return builders.grant(
                    name, self.now, case.version, citations=self.citations(case), overrides=self.overrides(case)
                )
            case "deny":
                denial = builders.denial(name, self.now, case.version)
                denial.citations.extend(builders.cite(case))
                return denial
            case "correct":
                return builders.correction(name, self.now)
            case "refuse":
                return builders.refusal(name, self.now)
            case "step":
                return builders.step(name, self.now)
            case _:
                return builders.closing(name, self.now)

    def some(self, rules: Sequence[str]) -> Sequence[str]:
        return self.chance.sample(rules, self.chance.randint(1, min(3, len(rules))))

    def completion(self) -> Completion.ValueType:
        return self.chance.choice([COMPLETION_ALL_MUST_ANSWER, COMPLETION_LEAD_DECIDES])

    def other(self) -> pb.RequestCollaborationRequest.Other:
        who: dict[str, Any] = {"organ_id": self.chance.choice(["fire-500103", "planning-500000", "housing-500106"])}
        if self.likely(0.3):
            who = {"department": "TOWN_GOV", "tier": Tier.TIER_TOWN}
        return pb.RequestCollaborationRequest.Other(
            kind=COLLABORATION_KIND_CONSULTATION, question="有何意见", reply_days=3, **who
        )

    def citations(self, case: case_pb2.Case) -> Sequence[Any]:
        return builders.cite(case) if self.likely(0.9) else []

    def overrides(self, case: case_pb2.Case) -> Sequence[Any]:
        disagreeing = [task for task in answers.latest_answers(case) if task.answer.opinion == Answer.OPINION_DISAGREE]
        wanted = disagreeing if self.likely(0.7) else []
        return [{"task_id": task.task_id, "explanation": "已采取措施"} for task in wanted]

    # --- collaborators ---

    def an_organ_acts(self) -> None:
        """Mostly on what is in hand, sometimes on what it does not have any more."""
        tasks = self.city.tasks()
        in_hand = [task for task in tasks if task.state in IN_HAND]
        for task in self.one_of(in_hand if self.likely(0.9) else tasks):
            if task.brief.silence_policy == SILENCE_POLICY_DEEMED_AGREED and self.likely(0.8):
                continue  # they know that silence will do
            organ = task.organ.id
            self.attempt(self.city.serving(organ), self.reply(task), Identity("organ", organ))

    def reply(self, task: Task) -> Message:
        if self.likely(0.25):
            suggestion = self.chance.choice(["", "public-security-500103", "fire-500103", "traffic-police-500106"])
            return builders.returning(task.task_id, self.now, suggestion if suggestion != task.organ.id else "")
        if task.state == Task.STATE_SIGNED or self.likely(0.1):
            opinions = [Answer.OPINION_AGREE, Answer.OPINION_DISAGREE, *Answer.Opinion.values()[1:]]
            return builders.answering(task, self.now, self.chance.choice(opinions))
        return builders.signing(task.task_id, self.now)

    # --- centers ---

    def a_center_acts(self) -> None:
        """An officer routes what waits for him; now and then he takes a task from the organ that has it."""
        known = list(self.city.collaborations(self.city.governance).values())
        tasks = [task for one in known for task in one.tasks]
        waiting = [task for task in tasks if task.state == Task.STATE_WAITING_FOR_OFFICER]
        for task in self.one_of(waiting if waiting and self.likely(0.8) else tasks):
            center = task.waiting_at or self.chance.choice([YUZHONG, "500000"])
            organs = ["traffic-police-500103", f"town-gov-{JIEFANGBEI}", "fire-500103", "planning-500000"]
            to = {"organ_id": self.chance.choice(organs)}
            if self.likely(0.25):
                to = {"center_id": self.chance.choice([YUZHONG, "500000", "500106"])}
            command = builders.routing(task.collaboration_id, task.task_id, self.now, **to)
            self.attempt(self.city.governance, command, Identity("center", center))

    # --- time and ways ---

    def time_passes(self) -> None:
        """Days, too; of what is due each server does its own when it gets to it."""
        self.city.clock.advance(hours=self.chance.choice([1, 4, 20, 60]))
        self.chance.choice(self.city.departments).pass_time()

    def a_way_delivers(self) -> None:
        way = self.chance.choice(self.city.ways)
        for _ in range(self.chance.randint(1, self.burst)):
            way.deliver()

    def a_way_delivers_again(self) -> None:
        self.chance.choice(self.city.ways).go_back(self.chance.randint(1, 6))

    # --- what holds ---

    def check(self) -> None:
        """Nobody says what he may not say, and an outcome never changes."""
        assert not any(machine.parked for machine in self.city.machines)
        for case in self.city.led():
            if case.outcome:
                assert self.outcomes.setdefault(case.case_id, case.outcome) == case.outcome

    def bring_to_an_end(self) -> None:
        self.city.settle()
        for case in self.city.led():
            while case.state != case_pb2.STATE_CLOSED:
                self.end(case)
        self.city.settle()
        self.check()

    def end(self, case: case_pb2.Case) -> None:
        acts = {case_pb2.STATE_ACCEPTED: "deny", case_pb2.STATE_DECIDED: "close"}
        commands = [self.command(case, acts.get(case.state, "refuse"))]
        if case.state == case_pb2.STATE_ACCEPTED:
            waited_for = [one.collaboration_id for one in open_ones(case.collaborations)]
            commands = [builders.recall(case.case_id, self.now, name) for name in waited_for]
            commands.append(self.command(case, "deny"))
            commands[-1].if_version = case.version + len(waited_for)  # type: ignore[attr-defined]
        for command in commands:
            self.city.serving(lead_of(case).id).execute(command, lead_of(case))

    def agreed(self) -> None:
        """Nothing is left open, and everybody who knows something knows the same."""
        city = self.city
        at_center, at_leads = city.collaborations(city.governance), city.collaborations(*city.departments)
        assert unversioned(at_center) == unversioned(at_leads)
        for task in city.tasks():
            assert_agrees(task, at_center[task.collaboration_id], marked_late(city))
        for case in city.led():
            assert_is_over(case, at_center)
        assert_one_outcome(city)
        assert_each_has_one_end(city)
        for machine in city.machines:
            assert_causes_come_first(machine)
            assert_told_is_concerned(machine)
            assert_journal_gives_states(machine)


def unversioned(found: dict[str, Collaboration]) -> dict[str, str]:
    """As text, without what counts a subsystem's own records."""
    texts = {}
    for name, collaboration in found.items():
        copy = Collaboration()
        copy.CopyFrom(collaboration)
        copy.ClearField("version")
        texts[name] = str(copy)
    return texts


def marked_late(city: City) -> set[str]:
    """Tasks whose answer reached the lead after the case's end: the lead says so, to the center."""
    facts = (fact for machine in city.departments for fact in city.facts(machine))
    return {fact.task_id for fact in facts if isinstance(fact, event.AnswerLate)}


def assert_agrees(mine: Task, collaboration: Collaboration, told_late: set[str]) -> None:
    """A task at an organ and at the center: it has it last, or had it before."""
    (task,) = [one for one in collaboration.tasks if one.task_id == mine.task_id]
    assert mine.assignment <= task.assignment
    (held,) = [one for one in task.assignments if one.number == mine.assignment]
    assert held.organ == mine.organ
    if mine.assignment == task.assignment and mine.state != Task.STATE_RETURNED:
        assert (mine.state, mine.signed_at) == (task.state, task.signed_at)
        # An answer from an earlier time with the task may come as late as this.
        if mine.HasField("answer") or sum(one.organ == mine.organ for one in task.assignments) == 1:
            assert mine.answer == task.answer
            assert (mine.answer_late or task.task_id in told_late) == task.answer_late
    else:
        assert mine.state in (Task.STATE_RETURNED, Task.STATE_RECALLED)
        assert mine.state == Task.STATE_RECALLED or held.return_reason


def assert_is_over(case: case_pb2.Case, at_center: dict[str, Collaboration]) -> None:
    """A case that ended has nothing open anywhere, and keeps what the center knows."""
    assert case.state == case_pb2.STATE_CLOSED
    assert case.outcome
    assert case.withdrawal != case_pb2.WITHDRAWAL_STATUS_REQUESTED
    assert {one.collaboration_id for one in case.collaborations} == {
        name for name, one in at_center.items() if one.case_id == case.case_id
    }
    for standing in case.collaborations:
        collaboration = at_center[standing.collaboration_id]
        assert standing.state == collaboration.state
        assert standing.state not in OPEN
        for kept, task in zip(standing.tasks, collaboration.tasks, strict=True):
            assert task.state in ENDED_TASKS
            assert_kept(kept, task)


def assert_kept(kept: TaskStanding, task: Task) -> None:
    """The answer of whoever had the task last is the same; where he gave none, a case keeps an earlier one, late."""
    assert kept.task_id == task.task_id
    if task.HasField("answer"):
        assert kept.assignment == task.assignment
        assert (kept.answer, kept.organ_id, kept.answer_late) == (task.answer, task.organ.id, task.answer_late)
    else:
        assert kept.answer_late == kept.HasField("answer")


def assert_one_outcome(city: City) -> None:
    """All three sides see the same case; intake is told nothing of collaborations."""
    views = [shared(cases) for cases in (city.intake.cases(), city.governance.cases(), city.led())]
    assert views[0] == views[1] == views[2]


def shared(cases: Sequence[case_pb2.Case]) -> list[bytes]:
    copies = []
    for case in cases:
        copy = case_pb2.Case()
        copy.CopyFrom(case)
        for name in ("collaborations", "version", "last_act_at"):
            copy.ClearField(name)
        copies.append(snapshot(copy))
    return sorted(copies)


def assert_each_has_one_end(city: City) -> None:
    ends = own(city.governance, event.CollaborationConcluded | event.CollaborationRecalled)
    requests = [fact for machine in city.departments for fact in own(machine, event.CollaborationRequested)]
    assert sorted(fact.collaboration.collaboration_id for fact in requests) == sorted(f.collaboration_id for f in ends)


def own(machine: Machine, kind: Any) -> Iterator[Any]:
    return (
        record.fact for record in machine.journal if record.arrival is Arrival.OWN and isinstance(record.fact, kind)
    )


def assert_causes_come_first(machine: Machine) -> None:
    positions = {record.event_id: record.position for record in machine.journal}
    for record in machine.journal:
        assert all(positions.get(cause, 0) < record.position for cause in record.causes), record.type


def assert_told_is_concerned(machine: Machine) -> None:
    """A center is told of organs of its own."""
    for receiver, records in machine.inboxes.items():
        late = [record.fact for record in records if isinstance(record.fact, event.TaskOverdue)]
        if receiver.startswith("center/"):
            assert {f"center/{catalog().organs[fact.organ_id].division}" for fact in late} <= {receiver}


def assert_journal_gives_states(machine: Machine) -> None:
    for key, live in machine.live.items():
        if live.version:
            assert machine.folded_again(key) == snapshot(live.state), key
