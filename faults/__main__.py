"""`python -m faults`: what `ronghe faults` runs."""

import argparse
import asyncio
import re
import sys
import time
from pathlib import Path
from random import Random

from rich.console import Console

from clients.telemetry.logging import configure_logging
from faults.campaign import Campaign
from faults.report import show, write
from faults.schedule import FULL, QUICK, schedule

WIDTH = 120


def main() -> int:
    """0 when every promise was kept."""
    arguments = _arguments()
    console = Console(width=max(WIDTH, Console().width))
    configure_logging("faults", arguments.folder.with_suffix(".log"))
    faults = schedule(QUICK if arguments.quick else FULL, Random(arguments.seed))
    faults = [fault for fault in faults if re.search(arguments.only, fault.name)]
    campaign = Campaign(arguments.folder, arguments.port_base, arguments.rate, arguments.seed, console.print)
    started = time.monotonic()
    verdict = asyncio.run(campaign.run(faults))
    show(console, verdict)
    write(arguments.folder / "report.json", verdict)
    console.print(
        f"{time.monotonic() - started:.0f} s; {arguments.folder / 'report.json'}; again: --seed {verdict.seed}"
    )
    return 0 if verdict.is_clean else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="ronghe faults", description="Break a mesh of its own, and judge what is left."
    )
    parser.add_argument("--folder", type=Path, default=Path(".ronghe-faults"), help="made anew (.ronghe-faults)")
    parser.add_argument("--port-base", type=int, default=7400, help="first port of the mesh (7400)")
    parser.add_argument("--rate", type=float, default=20.0, help="cases a second (20)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of the schedule (by chance)")
    parser.add_argument("--quick", action="store_true", help="a little of everything, in under 3 minutes")
    parser.add_argument("--only", default="", help="faults whose name matches this regular expression")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
