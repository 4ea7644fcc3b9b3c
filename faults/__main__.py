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
from faults.campaign import Campaign, Verdict
from faults.injections.stage import Scene
from faults.report import show, write
from faults.scenes import OTHERS, SCENES

WIDTH = 120


def main() -> int:
    """0 when every promise was kept."""
    arguments = _arguments()
    console = Console(width=max(WIDTH, Console().width))
    configure_logging("faults", arguments.folder.with_suffix(".log"))
    started, verdicts = time.monotonic(), []
    for scene in [*SCENES, *(scene for scene in OTHERS if scene.name == arguments.scene)]:
        verdict = _play(scene, arguments, console) if re.fullmatch(arguments.scene, scene.name) else None
        if verdict is not None:
            verdicts.append(verdict)
            show(console, verdict)
    if not verdicts:
        console.print("there is no such fault")
        return 2
    report = arguments.folder / "report.json"
    write(report, verdicts)
    console.print(f"{time.monotonic() - started:.0f} s; {report}; again: --seed {arguments.seed}")
    return 0 if all(verdict.is_clean for verdict in verdicts) else 1


def _play(scene: Scene, arguments: argparse.Namespace, console: Console) -> Verdict | None:
    """None where nothing of the scene was asked for."""
    faults = scene.schedule(arguments.quick, Random(arguments.seed))
    faults = [fault for fault in faults if re.search(arguments.only, fault.name)]
    if not faults:
        return None
    rate = arguments.rate or scene.rate
    campaign = Campaign(
        scene, arguments.folder / scene.name, arguments.port_base, rate, arguments.seed, console.print
    )  # fmt: skip
    return asyncio.run(campaign.run(faults))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="ronghe faults", description="Break meshes of its own, and judge what is left."
    )
    parser.add_argument("--folder", type=Path, default=Path(".ronghe-faults"), help="made anew (.ronghe-faults)")
    parser.add_argument("--port-base", type=int, default=7400, help="first port of the mesh (7400)")
    parser.add_argument("--rate", type=float, default=0.0, help="cases a second (each scene's own)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of the schedule (by chance)")
    parser.add_argument("--quick", action="store_true", help="a little of everything, in under 3 minutes")
    parser.add_argument("--scene", default=".*", help="scenes whose name matches this regular expression")
    parser.add_argument("--only", default="", help="faults whose name matches this regular expression")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
