"""What organs cost that wait for something: `python -m benchmarks.idle`.

So many of them have their inbox open at the department, and nothing happens. The control is the same mesh just before,
when nobody waits.
"""

import argparse
import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.cases import cpu_seconds
from clients.demo.stage import Stage, stage
from clients.department import DepartmentClient
from clients.identity import Identity

SETTLE_SECONDS = 10.0
SECONDS = 15.0


async def measure(here: Stage, organs: int) -> None:
    """Open the inboxes, print the figures."""
    waiting = sorted(path.stem for path in (here.pki / "organ").glob("*.pem"))[:organs]
    await asyncio.sleep(SETTLE_SECONDS)
    without = await _share_of_a_core(here)
    async with AsyncExitStack() as stack:
        tasks = []
        for name in waiting:
            client = DepartmentClient(here.addresses["department"], here.pki, Identity("organ", name))
            tasks.append(asyncio.create_task(_wait(await stack.enter_async_context(client))))
        await asyncio.sleep(SETTLE_SECONDS)
        share = await _share_of_a_core(here)
        ended = sum(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print(f"{len(tasks)} organs wait: the department takes {share:.1%} of a core; {ended} inboxes have ended")
    print(f"control, nobody waits: {without:.1%}")


async def _wait(organ: DepartmentClient) -> None:
    async for item in organ.inbox():
        await item.ack()


async def _share_of_a_core(here: Stage) -> float:
    before = cpu_seconds(here)["department"]
    await asyncio.sleep(SECONDS)
    return (cpu_seconds(here)["department"] - before) / SECONDS


def main() -> None:
    """Measure on a mesh of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--organs", type=int, default=380)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ronghe-bench-") as folder, stage(Path(folder), 0) as here:
        asyncio.run(measure(here, arguments.organs))


if __name__ == "__main__":
    main()
