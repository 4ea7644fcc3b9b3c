"""The way of a task through the three tiers of centers: up to the lowest common one, then down."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from ronghe.catalog.v1.catalog_pb2 import Organ
from ronghe.collaboration.v1.collaboration_pb2 import Hop
from ronghe.party.v1.party_pb2 import Officer
from servers.catalog.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a way begins: the reason of its first hop, and who says so where a person does."""

    reason: "Hop.Reason.ValueType"
    at: Timestamp
    remark: str = ""
    officer: Officer | None = None


@dataclass(frozen=True, slots=True)
class Router:
    """Makes hops. Centers are the divisions' own; which lies above which is the catalog's data."""

    catalog: Catalog

    def between(self, start: str, end: str) -> Sequence[str]:
        """The centers from one to another, both included, by way of the lowest that is above both."""
        up, down = self._line(start), self._line(end)
        common = next(center for center in up if center in down)
        return [*up[: up.index(common)], common, *reversed(down[: down.index(common)])]

    def coordinating(self, divisions: Iterable[str]) -> str:
        """The lowest center above all these divisions."""
        lines = [self._line(division) for division in divisions]
        return next(center for center in lines[0] if all(center in line for line in lines))

    def is_above(self, center: str, other: str) -> bool:
        """Whether a center is above another one, or is that one."""
        return center in self._line(other)

    def hops(self, number: int, start: str, centers: Sequence[str], cause: Cause) -> Sequence[Hop]:
        """Hops from a party ("organ/..." or "center/...") through these centers; `number` is that of the first."""
        made: list[Hop] = []
        for center in centers:
            hop = self._hop(number + len(made), made[-1].to if made else start, f"center/{center}", center, cause)
            if made:
                hop.reason = self._direction(made[-1].division, center)
                hop.ClearField("remark")
                hop.ClearField("officer")
            made.append(hop)
        return made

    def dispatch(self, number: int, center: str, organ: Organ, cause: Cause) -> Hop:
        """The last hop, from the organ's own center to the organ."""
        return self._hop(number, f"center/{center}", f"organ/{organ.id}", organ.division, cause)

    def _hop(self, number: int, start: str, end: str, division: str, cause: Cause) -> Hop:
        return Hop(
            number=number,
            to=end,
            tier=self.catalog.centers[division].tier,
            division=division,
            reason=cause.reason,
            remark=cause.remark,
            officer=cause.officer,
            at=cause.at,
            **{"from": start},  # a keyword of Python
        )

    def _direction(self, start: str, end: str) -> "Hop.Reason.ValueType":
        return Hop.REASON_UP if self.is_above(end, start) else Hop.REASON_DOWN

    def _line(self, division: str) -> Sequence[str]:
        return [above.code for above in self.catalog.ancestors(division)]
