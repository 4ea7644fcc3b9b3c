"""What a decision rests on: what those who were asked said, and the form as the applicant has corrected it."""

from ronghe.collaboration.v1.collaboration_pb2 import Answer
from tests import builders
from tests.unit.collaboration_test import POLICE, TOWN, Stage


def test_whoever_answers_does_not_say_of_himself_that_he_kept_silent() -> None:
    stage = Stage()
    stage.ask("traffic-police", "town-gov")
    stage.answer(POLICE)
    stage.organ(TOWN, builders.signing(stage.task_of(TOWN).task_id, stage.now))
    forged = builders.answering(stage.task_of(TOWN), stage.now, Answer.OPINION_DISAGREE)
    forged.answer.deemed = True
    stage.organ(TOWN, forged)
    assert not stage.task_of(TOWN).answer.deemed
    override = [{"task_id": forged.task_id, "explanation": "现场已整改"}]
    decision = stage.grant(citations=builders.cite(stage.case), overrides=override).decision
    assert [line for line in decision.opinions if "现场已整改" in line and "：不同意；" in line]
    assert not any("视为同意" in line for line in decision.opinions)
