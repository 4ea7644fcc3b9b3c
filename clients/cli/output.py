"""How answers look: proto JSON for programs, tables that fit the terminal for people."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import typer
from google.protobuf import json_format
from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from rich import box
from rich.console import Console, JustifyMethod, RenderableType
from rich.table import Table

from clients.cli.errors import Failure
from clients.cli.language import heading, term

# An Any shows its content where its type is known: these are the facts.
from ronghe.event.v1 import event_pb2  # noqa: F401

Shown = Sequence[RenderableType]


class ProtoEnum(Protocol):
    """An enum of the contract, as the stubs declare it."""

    @property
    def DESCRIPTOR(self) -> EnumDescriptor:  # noqa: N802 - protobuf's name
        """What it is called, among other things."""

    def Name(self, number: Any, /) -> str:  # noqa: N802 - protobuf's name
        """The name of a value."""

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and values."""

    def values(self) -> Iterable[Any]:
        """Values."""


def show(shown: Shown) -> None:
    """Print for a person. What comes from servers is text, never markup."""
    console = Console(markup=False, highlight=False, emoji=False)
    for each in shown:
        console.print(each)


def show_json(value: Message | Mapping[str, Message]) -> None:
    """Print as proto JSON with the contract's field names; several answers as an object by subsystem."""
    if isinstance(value, Message):
        show_plain_json(to_json(value))
    else:
        show_plain_json({name: to_json(each) for name, each in value.items()})


def show_plain_json(value: Any) -> None:
    """Print what has no message in the contract."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_json_line(message: Message) -> None:
    """Print one of many messages, on a line of its own."""
    typer.echo(json.dumps(to_json(message), ensure_ascii=False))


def to_json(message: Message) -> dict[str, Any]:
    """The message as proto JSON."""
    try:
        found: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    except TypeError as error:
        # protobuf's word for an Any whose type is not among the contract's.
        raise Failure("the answer holds a fact of a later version of ronghe: show it without --json") from error
    return found


def table(*headings: str, whole: Collection[str] = ()) -> Table:
    """An empty table; a heading that ends in "#" is of numbers.

    The first column, and those of `whole`, are never broken into lines: they are there to be copied.
    """
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for each in headings:
        justify: JustifyMethod = "right" if each.endswith("#") else "left"
        shown = heading(each.removesuffix("#"), headings[0].removesuffix("#"))
        made.add_column(shown, justify=justify, overflow="fold", no_wrap=each in whole)
    made.columns[0].no_wrap = True
    return made


def rows(made: Table, cells: Iterable[Sequence[object]]) -> Table:
    """The table with these rows."""
    for row in cells:
        made.add_row(*map(str, row))
    return made


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """One thing, a line for each of its values; empty ones are left out."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    return rows(made, [(heading(name), value) for name, value in pairs if str(value)])


def word(enum: ProtoEnum, value: int) -> str:
    """An enum's value as words in the reader's language, for example "correction requested"; "" for the zero value."""
    if value == 0:
        return ""
    if value not in enum.values():
        return str(value)  # a later version's
    return term(enum.DESCRIPTOR.full_name, enum.Name(value).removeprefix(prefix(enum)).lower().replace("_", " "))


def prefix(enum: ProtoEnum) -> str:
    """What all names of an enum begin with, for example "STATE_"."""
    return enum.Name(0).removesuffix("UNSPECIFIED")


def moment(time: Timestamp) -> str:
    """A moment on the clock of this machine, to the minute; "" when it is absent."""
    return f"{_local(time):%Y-%m-%d %H:%M}" if time != Timestamp() else ""


def instant(time: Timestamp) -> str:
    """A moment of these days, to the millisecond; "" when it is absent."""
    return f"{_local(time):%m-%d %H:%M:%S.%f}"[:-3] if time != Timestamp() else ""


def _local(time: Timestamp) -> datetime:
    return time.ToDatetime(UTC).astimezone()


def day(date: Date) -> str:
    """A legal date; "" when it is absent."""
    return f"{date.year:04}-{date.month:02}-{date.day:02}" if date.year else ""
