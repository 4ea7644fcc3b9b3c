"""One case from its submission to its end, and what its parties were told."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from clients.demo.courses import Shared
from clients.demo.ear import Ear
from clients.demo.plan import Desk, Ending
from clients.department import DepartmentClient
from clients.errors import RongheError
from clients.governance import GovernanceClient
from clients.intake import IntakeClient
from ronghe.event.v1.event_pb2 import Decided
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest
from ronghe.party.v1.party_pb2 import Officer

OFFICER = Officer(id="D-0001", name="演示经办人")
REMEDIES = "可在六十日内申请行政复议，或者在六个月内提起行政诉讼"
PATIENCE = 45.0


class PlanMissed(Exception):
    """The case did not go as planned; the text says how."""


class NotCrossed(Exception):
    """Two acts were to cross on their way, and one had arrived before the other was done: it is played again."""


@dataclass(eq=False)
class Story:
    """What happens to one case."""

    number: int
    desk: Desk
    ending: Ending | Shared
    request: SubmitApplicationRequest
    case_id: str = ""
    case_no: str = ""
    submitted_at: float = 0.0
    """On the monotonic clock, like all moments here."""
    voucher_at: float = 0.0
    ears: defaultdict[str, Ear] = field(default_factory=lambda: defaultdict(Ear))
    """By party: "intake", "organ/...", "center/..."."""
    carried: list[str] = field(default_factory=list)
    """What the decision must say in its conditions and opinions."""
    problem: str = ""

    @property
    def intake(self) -> Ear:
        """The intake system's."""
        return self.ears["intake"]

    @property
    def lead(self) -> Ear:
        """The lead organ's."""
        return self.ears[self.lead_party]

    @property
    def lead_party(self) -> str:
        """For example "organ/urban-mgmt-500103"."""
        return f"organ/{self.desk.organ.id}"

    @property
    def plan(self) -> Mapping[str, Sequence[str]]:
        """What each party must have been told in the end; nobody else is told anything."""
        return {"intake": self.ending.value.facts, self.lead_party: self.ending.value.lead}

    def apply_again(self) -> None:
        """The same with another case: what was said of the one before is forgotten."""
        self.request.external_no += "+"
        self.ears.clear()

    async def end(self) -> None:
        """Return when everybody was told as much as planned. Raises PlanMissed."""
        for party, facts in self.plan.items():
            await self.ears[party].hear_all(len(facts))
        self.check()

    def check(self) -> None:
        """Everybody was told what was planned, and nothing else. Raises PlanMissed."""
        plan = self.plan
        for party, ear in self.ears.items():
            if ear.told != list(plan.get(party, ())):
                raise PlanMissed(f"{party.partition('/')[0]} was told {', '.join(ear.told)}")
        for decided in self.intake.facts(Decided):
            self._check_decision(decided)

    def _check_decision(self, decided: Decided) -> None:
        if decided.outcome != self.ending.value.outcome:
            raise PlanMissed("decided otherwise than planned")
        lines = [*decided.decision.conditions, *decided.decision.opinions]
        missing = [text for text in self.carried if not any(text in line for line in lines)]
        if missing:
            raise PlanMissed(f"the decision does not say {', '.join(missing)}")


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part."""

    terminal: IntakeClient
    organs: Mapping[str, DepartmentClient]
    centers: Mapping[str, GovernanceClient]
    known: Callable[[Story], None]
    """Called as soon as the case has its id."""


def describe(error: BaseException) -> str:
    """One line about why a story missed its plan."""
    match error:
        case ExceptionGroup():
            return describe(error.exceptions[0])
        case TimeoutError():
            return f"nothing came for {PATIENCE:.0f} s"
        case RongheError():
            return f"{error.reason}: {error.message}"
        case PlanMissed():
            return str(error)
        case _:
            return type(error).__name__
