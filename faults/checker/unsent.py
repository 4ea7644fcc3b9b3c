"""What had not left a subsystem when its database was lost: it is not promised, and must not be hidden either."""

from collections.abc import Iterator

from faults.checker.history import History, Kind, Problem


def check(history: History) -> Iterator[Problem]:
    """Each such event, whether it was said again or not."""
    for event in history.unsent.values():
        again = "said again" if event.id in history.own else "not said again"
        what = f"{event.name} {event.id} had not left {event.origin} when its database was lost; {again}"
        yield Problem(Kind.UNSENT, event.origin, what, event.case_id)
