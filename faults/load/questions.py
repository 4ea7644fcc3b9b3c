"""What is asked: it says what the answer is to be, so that whoever is told again, by whomever, does the same again."""

from ronghe.collaboration.v1.collaboration_pb2 import Answer, Brief

BEYOND = "请提出意见"
"""What those are asked whom no rule names."""
NOBODYS_DUTY = "请提出意见，职责不明"
"""The same, of those who all find that it is somebody else's duty."""
UNANSWERED = "请提出意见，暂不答复"
"""What those are asked, by rules, who say nothing until they are pressed."""


def question_to(rule: str, opinion: "Answer.Opinion.ValueType") -> str:
    """To all who are asked by rules: whom this one asks is to say so, the others agree."""
    return f"{rule}: {Answer.Opinion.Name(opinion)}"


def opinion_on(brief: Brief) -> "Answer.Opinion.ValueType":
    """What whoever is told this has to say."""
    wanted = (each for each in Answer.Opinion.values() if brief.question == question_to(brief.rule, each))
    return next(wanted, Answer.OPINION_AGREE)
