"""The heads of journals, as facts: each deployment signs its own about every minute, and the others take it in.

A head names a row that was committed before it. It is signed only when something but heads came since the last one:
otherwise journals at rest would go on telling each other that they did. Two replicas that sign at once do no harm: the
second finds nothing new.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import select

from bridge.ports import StoreUnavailable
from bridge.record import HEAD, Record
from clients.credentials import Credentials, CredentialsError
from clients.identity import Identity
from ronghe.event.v1.event_pb2 import JournalHead
from ronghe.state.v1.state_pb2 import JournalState
from servers.kernel import tables
from servers.kernel.batch import Batch, ids_after
from servers.kernel.leases import Lease
from servers.kernel.signing import Authorities, Signer, case_id_of
from servers.kernel.stream import Refused, Stream, StreamKey

if TYPE_CHECKING:
    from servers.kernel.kernel import Kernel

log = structlog.get_logger()

KIND = "journal"
RETRY_SECONDS = 5.0


def key_of(origin: str) -> StreamKey:
    """The stream of a deployment's heads."""
    return StreamKey(KIND, origin, case_id_of(origin))


@dataclass(frozen=True)
class JournalStream(Stream[JournalState]):
    """`journal/<origin>`: the heads of that deployment's journal. No command leads to one."""

    deployment: str
    """Whose database this is."""
    authorities: Authorities
    peer: str = ""
    """The deployment that hears of heads by its inbox here."""
    passes_on: bool = False
    """Whether it hears of others' heads as well: intake does not read the topic, the center tells it."""

    kind = KIND
    state = JournalState
    fold_version = 1
    table = tables.stream_table(KIND)

    def concerned(self, record: Record) -> Sequence[StreamKey]:
        """Every head is its origin's."""
        return [key_of(record.origin)] if isinstance(record.fact, JournalHead) else []

    def may_say(self, state: JournalState, record: Record) -> bool:
        """Only the origin itself, by its signature."""
        key = key_of(record.origin)
        if not isinstance(record.fact, JournalHead) or (record.stream, record.case_id) != (str(key), key.case_id):
            return False
        return not self.authorities.problem(record.origin, record.fact)

    def evolve(self, state: JournalState, record: Record, version: int) -> None:
        """The last one counts."""
        if isinstance(record.fact, JournalHead):
            state.epoch, state.position = record.fact.epoch, record.fact.position

    def columns(self, state: JournalState) -> Mapping[str, Any]:
        """None."""
        return {}

    def receivers(self, state: JournalState, record: Record) -> Sequence[str]:
        """Those who do not hear of it by the topic."""
        is_told = record.origin == self.deployment or (self.passes_on and record.origin != self.peer)
        return [f"service/{self.peer}"] if self.peer and is_told else []


@dataclass(eq=False)
class SignHead:
    """Sign the row that was committed last, where something came since the last head."""

    signer: Signer
    started_at: int = field(default_factory=time.time_ns)

    def expects(self, batch: Batch) -> Iterable[StreamKey]:
        """The stream of this deployment's own heads."""
        return [key_of(self.signer.origin)]

    def apply(self, batch: Batch) -> None:
        """Append it."""
        live = batch.stream(key_of(self.signer.origin))
        if not _is_due(batch, live.state):
            return
        head = self.signer.sign(batch.epoch, batch.position, batch.hash, batch.recorded_at)
        new_id = ids_after(live.key.case_id, f"{batch.epoch}/{batch.position}/")
        batch.append(live, [head], (), new_id, None, self.started_at)

    def fail(self, batch: Batch, error: Exception) -> object:
        """Whoever wanted it tries again."""
        raise error


def _is_due(batch: Batch, last: Any) -> bool:
    if not batch.position or batch.epoch != last.epoch:
        return bool(batch.position)
    columns = tables.journal.c
    statement = select(columns.position).where(columns.position > last.position, columns.type != HEAD).limit(1)
    return batch.connection.scalar(statement) is not None


@dataclass(frozen=True)
class Heads:
    """Signs heads: of all replicas one does."""

    kernel: "Kernel"
    pki: Path
    seconds: float
    """Between one head and the next."""

    async def run(self) -> None:
        """Until cancelled. The first at once: after a restore it tells that a new epoch began."""
        await self._sign()
        if self.kernel.database.is_sqlite:
            await self._sign_on()
        else:
            await Lease(self.kernel, "heads").run(self._sign_on)

    async def _sign_on(self) -> None:
        while True:
            is_signed = await self._sign()
            await asyncio.sleep(self.seconds if is_signed else min(self.seconds, RETRY_SECONDS))

    async def _sign(self) -> bool:
        """With the certificate that is in force now; whether that went well."""
        try:
            identity = Identity("service", self.kernel.subsystem.origin)
            signer = Signer.of(await asyncio.to_thread(Credentials.load, self.pki, identity))
            await self.kernel.sign(SignHead(signer))
        except (CredentialsError, StoreUnavailable, Refused, ValueError) as error:
            log.warning("heads.waiting", error=str(error))
            return False
        return True
