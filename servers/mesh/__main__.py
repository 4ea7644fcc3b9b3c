"""`python -m servers.mesh`: what `ronghe up` runs."""

import argparse
import asyncio
import errno
import json
import sys
from contextlib import suppress
from pathlib import Path

from clients.telemetry.logging import configure_logging
from servers.mesh.errors import MeshError
from servers.mesh.folder import endpoints_file
from servers.mesh.settings import MeshSettings, load_settings
from servers.mesh.supervisor import LATE_SECONDS
from servers.mesh.up import OPERATOR, mesh
from servers.process import stopped


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; 1 when the mesh cannot start."""
    arguments = _arguments()
    try:
        settings = load_settings(**vars(arguments))
        configure_logging("mesh", settings.data / "log" / "mesh.log")
        asyncio.run(_serve(settings))
    except MeshError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        advice = "; make room, and start it again" if error.errno == errno.ENOSPC else ""
        sys.stderr.write(f"the mesh cannot go on: {error}{advice}\n")
        return 1
    return 0


async def _serve(settings: MeshSettings) -> None:
    """Serve until told to stop, which may be before everything has started."""
    running, stop = asyncio.create_task(_run(settings)), asyncio.create_task(stopped())
    await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        _say("stopping\n")
        running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def _run(settings: MeshSettings) -> None:
    waiting = f"not everything is ready yet, and is waited for: see {settings.data / 'log'}\n"
    late = asyncio.get_running_loop().call_later(LATE_SECONDS, _say, waiting)
    try:
        async with mesh(settings):
            late.cancel()
            _say(_welcome(settings))
            await asyncio.Event().wait()
    finally:
        late.cancel()


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _welcome(settings: MeshSettings) -> str:
    data = settings.data
    endpoints = endpoints_file(data).read_text()
    intake = json.loads(endpoints)["intake"]["address"].partition(",")[0]
    certificate = data / "pki" / OPERATOR.kind / OPERATOR.id
    return (
        f"ronghe is up, data in {data}\n{endpoints}"
        "call it, for example with grpcurl, as the operator:\n"
        f"  grpcurl -cacert {data}/pki/ca.pem -cert {certificate}.pem -key {certificate}.key {intake} list\n"
        "Ctrl-C stops it\n"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ronghe up", description="Start the mesh on this machine.")
    parser.add_argument("--data", type=Path, help="data directory (.ronghe)")
    parser.add_argument("--port-base", type=int, help="first port of the mesh (7100); 0 for any free ports")
    parser.add_argument(
        "--stepped-clock", action="store_true", default=None, help="a simulation: operators may advance the clock"
    )
    parser.add_argument(
        "--database", help="URL of a PostgreSQL server, postgresql://USER:PASSWORD@HOST:PORT; SQLite files without"
    )
    parser.add_argument("--replicas", type=int, help="processes of each subsystem (1); more share a PostgreSQL server")
    parser.add_argument("--brokers", type=int, help="Kafka brokers (1); three survive the loss of one")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
