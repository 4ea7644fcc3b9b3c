"""How many calls may be in progress: overload is refused at the door, not by timeouts or memory."""

from typing import NoReturn

from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import Refused


class Admission:
    """A bound on what is in progress at once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_progress = 0
        self.closed = False

    def __enter__(self) -> None:
        """Count a call while it lasts; raises Refused when there are too many, or none is taken any more."""
        if self.closed or self.in_progress >= self.limit:
            self._refuse()
        self.in_progress += 1

    def __exit__(self, *_: object) -> None:
        self.in_progress -= 1

    def close(self) -> None:
        """Take nothing more."""
        self.closed = True

    def _refuse(self) -> NoReturn:
        if self.closed:
            raise shutting_down()
        raise Refused(Reason.REASON_OVERLOADED, f"{self.in_progress} calls are in progress, no more are taken now")


def shutting_down() -> Refused:
    """The answer to a call that this server does not begin, or does not go on with."""
    return Refused(
        Reason.REASON_SHUTTING_DOWN, "the server is shutting down: try again, another one or the next answers"
    )
