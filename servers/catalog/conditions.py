"""Conditions of the catalog: CEL expressions over flat names, checked as far as they can be before they are used.

CEL does not check types here: a wrong type is silently false, and an unknown name fails only when it is met. So a
condition is taken only when its names are declared, and when it says what its examples say it should.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from ronghe.catalog.v1.catalog_pb2 import Condition, FormField, Tier
from ronghe.party.v1.party_pb2 import FormValue
from servers.catalog.cel_library import cel

Value = str | float | bool
Context = Mapping[str, Value]

SURROUNDINGS = {"division": "500000", "tier": "DISTRICT"}
"""Names that every condition may use, with samples: where the case is handled, and at which tier."""

_EMPTY: Mapping["FormField.Type.ValueType", Value] = {
    FormField.TYPE_TEXT: "",
    FormField.TYPE_NUMBER: 0.0,
    FormField.TYPE_FLAG: False,
    FormField.TYPE_DATE: "",
}


def context_of(
    form: Sequence[FormField], values: Iterable[FormValue], division: str, tier: "Tier.ValueType"
) -> Context:
    """What a condition sees: the form as it was filled in, with empty values for what was left out."""
    context: dict[str, Value] = {field.name: _EMPTY[field.type] for field in form}
    context |= {value.name: _plain(value) for value in values}
    return context | {"division": division, "tier": Tier.Name(tier).removeprefix("TIER_")}


def holds(condition: Condition, context: Context) -> bool:
    """Whether the condition is true."""
    return _result(condition.expression, context) is True


def fault_of(condition: Condition, form: Sequence[FormField]) -> str:
    """What is wrong with a condition; empty when nothing is."""
    try:
        used = _program(condition.expression).names
    except ValueError:
        return f"{condition.expression!r} is no expression"
    undeclared = used - {field.name for field in form} - SURROUNDINGS.keys()
    if undeclared:
        return f"{condition.expression!r} uses {', '.join(sorted(undeclared))}, which the form does not declare"
    personal = used & {field.name for field in form if field.personal}
    if personal:
        return f"{condition.expression!r} uses {', '.join(sorted(personal))}: no rule may see personal data"
    if not used:
        return "" if condition.expression == "true" else f"{condition.expression!r} depends on nothing"
    return _fault_of_examples(condition, form)


def _fault_of_examples(condition: Condition, form: Sequence[FormField]) -> str:
    for name, example, expected in (
        ("true", condition.true_example, True),
        ("false", condition.false_example, False),
    ):
        if not example:
            return f"{condition.expression!r} has no example that makes it {name}"
        context = context_of(form, example, SURROUNDINGS["division"], Tier.TIER_DISTRICT)
        if _result(condition.expression, context) is not expected:
            return f"{condition.expression!r} is not {name} for its own {name} example"
    return ""


def _plain(value: FormValue) -> Value:
    match value.WhichOneof("value"):
        case "number":
            return value.number
        case "flag":
            return value.flag
        case "date":
            return f"{value.date.year:04}-{value.date.month:02}-{value.date.day:02}"
        case _:
            return value.text


class _Program(NamedTuple):
    executable: cel.Program
    names: frozenset[str]
    """Those that it uses."""


@lru_cache(1024)
def _program(expression: str) -> _Program:
    program = cel.compile(expression)
    return _Program(program, frozenset(program.variables()))


def _result(expression: str, context: Context) -> object:
    # Only what it uses: to hand over a whole form takes many times as long as to work the expression out. Names that it
    # binds itself are among its names.
    program = _program(expression)
    return program.executable.execute({name: context[name] for name in program.names if name in context})
