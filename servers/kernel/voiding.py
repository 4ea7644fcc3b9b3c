"""A receiver of a later epoch has lost what it acknowledged: all of it is made void, a part at a time."""

from collections.abc import Iterable
from dataclasses import dataclass

from servers.kernel.batch import Batch
from servers.kernel.inbox import taken_over, void_acknowledgements
from servers.kernel.stream import StreamKey

# Everybody who writes waits meanwhile, and PostgreSQL ends a statement that takes for long: years of acknowledgements
# would never be made void at once.
MOST_ITEMS = 10_000


@dataclass(eq=False)
class VoidAcknowledgements:
    """Of items from a sequence on, as many as one transaction may.

    Only where the session, whose opening is committed, is still the live one: whoever acknowledged in the earlier epoch
    can say nothing more, and what was said before, in whatever order, is in the database. The last part stores the
    epoch: whatever comes in between, the next session begins anew.
    """

    receiver: str
    session: str
    epoch: int
    first: int

    def expects(self, batch: Batch) -> Iterable[StreamKey]:
        """No stream."""
        return ()

    def apply(self, batch: Batch) -> int:
        """Do it; gives the sequence at which to go on, 0 at the end. Raises Refused: SESSION_TAKEN_OVER."""
        batch.load_receivers([self.receiver])
        receiver = batch.receivers[self.receiver]
        if receiver.session != self.session:
            raise taken_over(self.receiver)
        following = self.first + MOST_ITEMS
        void_acknowledgements(batch.connection, self.receiver, self.first, following)
        if following <= receiver.last_sequence:
            return following
        receiver.epoch, receiver.changed = max(self.epoch, receiver.epoch), True
        return 0

    def fail(self, batch: Batch, error: Exception) -> object:
        """The receiver gets the error."""
        raise error
