"""Onlookers ask for everything there is to see, and what they are shown is written down."""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from types import SimpleNamespace
from typing import Any

from grpc import StatusCode

from clients.errors import NotFound
from faults.load.case import Case
from faults.load.cast import NEIGHBOR, SIGNS, TERMINAL, Told
from faults.load.onlookers import Onlookers
from ronghe.case.v1.case_service_pb2 import GetCaseResponse

ORGAN, CENTER = "urban-mgmt-500103", "500103"
BY_ORGANS = {
    "get_case",
    "get_case_timeline",
    "locate_case",
    "get_document",
    "list_cases",
    "list_tasks",
    "get_task",
    "list_collaborations",
    "get_collaboration",
}
BY_CENTERS = {"list_collaborations", "get_collaboration"}
BY_TERMINALS = {
    "get_case",
    "get_case_timeline",
    "locate_case",
    "get_document",
    "list_cases",
    "get_application",
    "list_applications",
}


class Service:
    """Counts what is asked, and answers everything alike."""

    def __init__(self, asked: Counter[str], is_shown: bool) -> None:
        self._asked, self._is_shown = asked, is_shown

    def __getattr__(self, name: str) -> Callable[[Any], Awaitable[Any]]:
        async def answer(_: Any) -> Any:
            self._asked[name] += 1
            if not self._is_shown:
                raise NotFound("CASE_NOT_FOUND", "there is no such case", StatusCode.NOT_FOUND)
            return GetCaseResponse()

        return answer


class Log:
    """Keeps the entries."""

    def __init__(self) -> None:
        self.entries: list[Mapping[str, Any]] = []

    async def write(self, entry: Mapping[str, Any]) -> None:
        self.entries.append(entry)


async def repeated(call: Callable[[Any], Awaitable[Any]], request: Any) -> Any:
    return await call(request)


async def looked(*, is_shown: bool) -> tuple[Mapping[str, Counter[str]], Log]:
    """What was asked in many looks, by party, and what was written down."""
    asked: dict[str, Counter[str]] = {name: Counter() for name in (ORGAN, CENTER, str(TERMINAL), str(NEIGHBOR))}

    def client(name: str) -> Any:
        service = Service(asked[name], is_shown)
        calls = {"get_application": service.get_application, "list_applications": service.list_applications}
        return SimpleNamespace(cases=service, documents=service, collaborations=service, **calls)

    told: defaultdict[str, Told] = defaultdict(Told)
    told["a case"].answers["a task"] = SimpleNamespace()  # type: ignore[assignment]
    cast: Any = SimpleNamespace(
        organs={ORGAN: client(ORGAN)},
        centers={CENTER: client(CENTER)},
        terminal=client(str(TERMINAL)),
        neighbor=client(str(NEIGHBOR)),
        caller=SimpleNamespace(repeated=repeated),
        told=told,
    )
    case = Case(1, SIGNS, cast, case_id="a case", voucher_number="1", collaboration_id="a collaboration")
    log: Any = Log()
    onlookers = Onlookers(cast, log, Random(1))
    for _ in range(300):
        await onlookers.look(case)
    return asked, log


async def test_everything_is_asked_for_and_what_is_shown_is_written_down() -> None:
    asked, log = await looked(is_shown=True)
    assert asked[ORGAN].keys() == BY_ORGANS
    assert asked[CENTER].keys() == BY_CENTERS
    assert asked[str(TERMINAL)].keys() == asked[str(NEIGHBOR)].keys() == BY_TERMINALS
    assert len(log.entries) == 300
    assert {entry["party"] for entry in log.entries} == {
        f"organ/{ORGAN}",
        f"center/{CENTER}",
        str(TERMINAL),
        str(NEIGHBOR),
    }
    assert {entry["case_id"] for entry in log.entries} == {"a case", ""}


async def test_who_is_shown_nothing_leaves_no_trace() -> None:
    asked, log = await looked(is_shown=False)
    assert sum(asked[ORGAN].values()) > 0
    assert log.entries == []
