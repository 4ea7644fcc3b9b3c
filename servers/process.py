"""The life of a subsystem's process: what runs beside its server, and when it ends."""

import asyncio
import gc
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

LEAST_SECRET = 16


def start(subsystem: str) -> None:
    """Load `servers.<subsystem>.process`, and run its `main` with the environment's settings until it is told to stop.

    Nothing that is loaded is freed again: the collector, which would look through it time and again, waits meanwhile.
    """
    gc.disable()
    from clients.telemetry.logging import configure_logging
    from servers.settings import SubsystemSettings

    main = import_module(f"servers.{subsystem}.process").main
    gc.freeze()
    gc.enable()
    settings = SubsystemSettings()
    configure_logging(settings.origin, settings.log)
    asyncio.run(main(settings))


async def stopped() -> None:
    """Return at the first SIGTERM or SIGINT; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    first = asyncio.Event()

    def signalled() -> None:
        if first.is_set():
            os._exit(1)
        first.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    await first.wait()


def spare_the_collector() -> None:
    """Call it once everything is loaded: what is there stays, and the collector looks at new objects less often.

    Nearly everything a call makes is freed by its reference count; without this a fifth of the CPU goes into looking.
    What has outlived one look is looked at again after a few: a refused call leaves cycles, and under a flood of calls
    most of them are alive when it comes first.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 5, 50)


def share_the_interpreter() -> None:
    """Let the event loop have the interpreter soon while the writer's thread is busy: the default is 5 ms."""
    sys.setswitchinterval(0.0005)


def read_secret(path: Path) -> bytes:
    """The deployment's key; ValueError when it is too short to be one."""
    secret = path.read_bytes()
    if len(secret) < LEAST_SECRET:
        raise ValueError(f"{path} holds {len(secret)} bytes: a deployment's key has {LEAST_SECRET} or more")
    return secret
