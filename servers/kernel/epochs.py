"""A process belongs to the epoch of its journal in which it began."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, select

from bridge.ports import StoreUnavailable
from servers.kernel import tables

if TYPE_CHECKING:
    from servers.kernel.kernel import Kernel

log = structlog.get_logger()

LOOK_SECONDS = 1.0


class EpochEnded(StoreUnavailable):
    """The database was put back from a backup under this process: what it knows of it is void, and it must end."""

    def __init__(self, began: int, found: int) -> None:
        super().__init__(
            f"the database was put back from a backup: its journal is in epoch {found}, this process began in {began} "
            "and ends, to learn again when it starts"
        )


async def while_epoch_lasts(kernel: "Kernel") -> None:
    """Return when it has ended: the process ends with it. Until then the writer writes nothing into another epoch.

    A database whose file was taken away has ended too: what is said OK to from now on would not be kept.
    """
    while True:
        if kernel.database.is_gone:
            log.error("kernel.database_gone", file=kernel.database.url.database)
            return
        with suppress(StoreUnavailable):
            found = await kernel.read(_epoch)
            if found != kernel.epoch:
                log.error("kernel.epoch_ended", problem=str(EpochEnded(kernel.epoch, found)))
                return
        await asyncio.sleep(LOOK_SECONDS)


def _epoch(connection: Connection) -> int:
    return connection.scalar(select(tables.journal_head.c.epoch)) or 0
