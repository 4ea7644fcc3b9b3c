"""The lead's judgement at acceptance whether others must be asked (是否需要协同)."""

from collections.abc import Iterable, Sequence

from ronghe.case.v1 import case_pb2
from ronghe.catalog.v1.catalog_pb2 import Collaborator
from ronghe.department.v1.department_service_pb2 import AcceptApplicationRequest
from ronghe.error.v1.reason_pb2 import Reason
from servers.case.form import as_it_stands
from servers.case.rules import invalid_fields
from servers.catalog.catalog import Catalog
from servers.catalog.rules import is_required
from servers.kernel.stream import FieldViolation, Refused


def judgement(case: case_pb2.Case, command: AcceptApplicationRequest, catalog: Catalog) -> case_pb2.Judgement:
    """What the rules propose, and what the lead makes of it. Raises Refused: REQUIRED_COLLABORATOR_LEFT_OUT."""
    firing = catalog.firing_rules(as_it_stands(case))
    match command.WhichOneof("collaboration"):
        case "none":
            check_rules(case, [one.rule for one in command.none.left_out], "none.left_out")
            found = case_pb2.Judgement(reason=command.none.reason, left_out=command.none.left_out)
        case "explicit":
            check_rules(case, command.explicit.rules, "explicit.rules")
            check_rules(case, [one.rule for one in command.explicit.left_out], "explicit.left_out")
            found = case_pb2.Judgement(
                collaboration_needed=True,
                reason=command.explicit.reason,
                rules_to_ask=command.explicit.rules,
                left_out=command.explicit.left_out,
            )
        case _:
            found = _as_proposed(firing)
    found.proposed_by_rules[:] = [rule.id for rule in firing]
    _check_left_out(firing, found)
    return found


def _as_proposed(firing: Sequence[Collaborator]) -> case_pb2.Judgement:
    reason = "；".join(f"{rule.when.text}：{rule.reason}" for rule in firing) or "目录规则未提示需要协同"
    return case_pb2.Judgement(
        collaboration_needed=bool(firing), reason=reason, rules_to_ask=[rule.id for rule in firing]
    )


def _check_left_out(firing: Sequence[Collaborator], found: case_pb2.Judgement) -> None:
    """Who is required by law cannot be left out silently."""
    spoken_of = {*found.rules_to_ask, *(one.rule for one in found.left_out)}
    missing = [rule.id for rule in firing if is_required(rule) and rule.id not in spoken_of]
    if missing:
        raise Refused(
            Reason.REASON_REQUIRED_COLLABORATOR_LEFT_OUT,
            f"the law requires {', '.join(missing)} here: ask them, or say under left_out why not",
            {"rules": ",".join(missing)},
        )


def check_rules(case: case_pb2.Case, rules: Iterable[str], path: str) -> None:
    """The item must have these rules. Raises Refused: INVALID_FIELD."""
    known = {rule.id for rule in case.application.item.collaborators}
    unknown = [
        FieldViolation(f"{path}[{index}]", f"the item has no rule {name}")
        for index, name in enumerate(rules)
        if name not in known
    ]
    if unknown:
        raise invalid_fields(unknown)
