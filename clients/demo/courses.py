"""What is to become of each case that asks others: whom it asks, what they say, and what follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from clients.demo.plan import DECIDED, Course
from ronghe.case.v1.case_pb2 import Outcome
from ronghe.collaboration.v1.collaboration_pb2 import Answer

ALL, OTHERS = "an answer of each", "an answer of each but the first"
ANSWERED = ("CollaborationOpened", ALL, "CollaborationConcluded")
AGAIN = ("CollaborationOpened", "AnswerReceived", "CollaborationConcluded")


class Reach(Enum):
    """Where the application takes effect, and with it how far its questions travel."""

    DISTRICT = auto()
    """The district itself."""
    TOWN = auto()
    """A town of the district."""
    TWO_DISTRICTS = auto()
    """A town of the district, and one of another."""
    CITY = auto()
    """A town of the district; and a department of the city is asked, whom no rule names."""


class Turn(Enum):
    """What follows when those asked have said their part."""

    DECISION = auto()
    SECOND_ROUND = auto()
    """The first needs more material: the lead has it supplied, and asks the first again."""
    RECALL = auto()
    """The first is silent: the lead takes the question back, and decides."""
    WITHDRAWAL = auto()
    """The first is silent: the applicant withdraws."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedCourse(Course):
    """How a case goes that asks others. They all agree but the first, who does as the course says."""

    facts: Sequence[str] = DECIDED
    outcome: "Outcome.ValueType" = Outcome.OUTCOME_GRANTED
    lead: Sequence[str] = ("Submitted", *ANSWERED)
    item: str
    form: Mapping[str, float | bool] = field(default_factory=dict)
    """Answers that make the item's rules fire."""
    rules: Sequence[str] = ()
    """Those that the lead asks by, the first one's before the others'; none: whatever rules fire."""
    reach: Reach = Reach.TOWN
    opinion: "Answer.Opinion.ValueType" = Answer.OPINION_AGREE
    turn: Turn = Turn.DECISION
    passed_to: Sequence[str] = ()
    """Departments that get the first one's task in turn, each by the suggestion of the one before."""
    by_hand: int | None = None
    """Which organ in that turn gets it from an officer, because no rule says where to; 0: already the first."""

    @property
    def first_is_told(self) -> Sequence[str]:
        """The facts of whoever has the first task in the end."""
        match self.turn:
            case Turn.DECISION:
                return ("TaskAssigned",)
            case Turn.SECOND_ROUND:
                return ("TaskAssigned", "TaskAssigned")
            case Turn.RECALL | Turn.WITHDRAWAL:
                return ("TaskAssigned", "TaskRecalled")

    def lead_is_told(self, tasks: int) -> Sequence[str]:
        """Its facts, where so many tasks come of what it asks."""
        answers = {ALL: tasks, OTHERS: tasks - 1}
        return [
            told for fact in self.lead for told in (["AnswerReceived"] * answers[fact] if fact in answers else [fact])
        ]


class Shared(Enum):
    """The ways in which a case that asks others can go."""

    WITHIN_A_DISTRICT = SharedCourse(
        "all agree, within one district", item="IT-004", rules=("traffic-police", "housing", "transport")
    )
    ACROSS_DISTRICTS = SharedCourse(
        "all agree, across two districts",
        item="IT-002",
        form={"beside_carriageway": True},
        reach=Reach.TWO_DISTRICTS,
    )
    UP_TO_THE_CITY = SharedCourse("all agree, up to the city", item="IT-009", reach=Reach.CITY)
    DOWN_TO_A_TOWN = SharedCourse("all agree, down to a town", item="IT-006", rules=("town-gov",))
    CONDITIONS = SharedCourse(
        "agreed with conditions: carried over", item="IT-009", opinion=Answer.OPINION_AGREE_WITH_CONDITIONS
    )
    OVERRIDDEN = SharedCourse(
        "disagreement: overridden with an explanation",
        item="IT-002",
        form={"beside_carriageway": True},
        opinion=Answer.OPINION_DISAGREE,
    )
    CO_APPROVED = SharedCourse(
        "co-approval with its own document", item="IT-001", form={"dig_depth_m": 1.5, "gas_pipe_on_route": True}
    )
    CO_APPROVAL_DENIED = SharedCourse(
        "co-approval refused: denied",
        outcome=Outcome.OUTCOME_DENIED,
        item="IT-001",
        opinion=Answer.OPINION_DISAGREE,
    )
    NOT_MY_DUTY = SharedCourse(
        "not my duty: routed to the suggestion",
        item="IT-002",
        form={"beside_carriageway": True},
        rules=("traffic-police",),
        reach=Reach.TWO_DISTRICTS,
        opinion=Answer.OPINION_AGREE_WITH_CONDITIONS,
        passed_to=("PUBLIC_SECURITY",),
    )
    BOUNCED = SharedCourse(
        "returned three times: an officer routes it",
        item="IT-006",
        form={"residential_building": True},
        rules=("ecology", "urban-mgmt"),
        passed_to=("HOUSING", "PLANNING", "WATER"),
        by_hand=3,
    )
    NO_ORGAN = SharedCourse(
        "no rule finds an organ: an officer routes it",
        item="IT-006",
        rules=("town-gov", "urban-mgmt"),
        reach=Reach.DISTRICT,
        passed_to=("TOWN_GOV",),
        by_hand=0,
    )
    MORE_MATERIAL = SharedCourse(
        "more material needed: agreed in round 2",
        facts=("Accepted", "CorrectionRequested", "SupplementReceived", "StepRecorded", "Decided", "Closed"),
        lead=("Submitted", *ANSWERED, "Supplemented", "SupplementReceived", *AGAIN),
        item="IT-001",
        opinion=Answer.OPINION_NEED_MORE_MATERIAL,
        turn=Turn.SECOND_ROUND,
    )
    RECALLED = SharedCourse(
        "recalled by the lead, decided without",
        lead=("Submitted", "CollaborationOpened", OTHERS, "CollaborationRecalled"),
        item="IT-004",
        turn=Turn.RECALL,
    )
    WITHDRAWN = SharedCourse(
        "withdrawn while others are asked",
        facts=("Accepted", "Withdrawn"),
        outcome=Outcome.OUTCOME_WITHDRAWN,
        lead=(
            "Submitted",
            "CollaborationOpened",
            OTHERS,
            "WithdrawalRequested",
            "Withdrawn",
            "CollaborationRecalled",
        ),
        item="IT-001",
        turn=Turn.WITHDRAWAL,
    )
