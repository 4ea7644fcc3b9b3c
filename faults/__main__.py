"""`python -m faults`: what `ronghe faults` runs."""

import argparse
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from faults.injections.stage import RATE, Scene
from faults.playing import faults_of, play, side_by_side
from faults.report import write
from faults.scenes import OTHERS, SCENES

EVERY_SCENE = ".*"


def main() -> int:
    """0 when every promise was kept."""
    arguments = _arguments()
    started, scenes = time.monotonic(), [scene for scene in _asked_for(arguments) if faults_of(scene, arguments)]
    if not scenes:
        print("there is no such fault")
        return 2
    is_one = len(scenes) == 1
    verdicts = [play(scenes[0].name, arguments)] if is_one else side_by_side(scenes, arguments)
    report = arguments.folder / "report.json"
    write(report, verdicts)
    print(f"{time.monotonic() - started:.0f} s; {report}; again: {_again(arguments)}")
    return 0 if all(verdict.is_clean for verdict in verdicts) else 1


def _asked_for(arguments: argparse.Namespace) -> Sequence[Scene]:
    others = [scene for scene in OTHERS if scene.name == arguments.scene]
    return [scene for scene in (*SCENES, *others) if re.fullmatch(arguments.scene, scene.name)]


def _again(arguments: argparse.Namespace) -> str:
    """The command that plays the same."""
    options = ["--quick"] if arguments.quick else []
    options += ["--seed", str(arguments.seed), "--rate", f"{arguments.rate:g}"]
    for name, everything in (("scene", EVERY_SCENE), ("only", "")):
        if getattr(arguments, name) != everything:
            options += [f"--{name}", getattr(arguments, name)]
    return f"{'FULL=1 ' if os.environ.get('FULL') == '1' else ''}ronghe faults {shlex.join(options)}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="ronghe faults", description="Break meshes of its own, and judge what is left."
    )
    parser.add_argument("--folder", type=Path, default=Path(".ronghe-faults"), help="made anew (.ronghe-faults)")
    parser.add_argument("--port-base", type=int, default=7400, help="first port; each scene has a hundred (7400)")
    parser.add_argument("--rate", type=float, default=RATE, help="cases a second; scenes of fewer in proportion (20)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="of the schedule (by chance)")
    parser.add_argument("--quick", action="store_true", help="one mesh: kills, crash points, Kafka once, poison")
    parser.add_argument("--scene", default=EVERY_SCENE, help="scenes whose name matches this regular expression")
    parser.add_argument("--only", default="", help="faults whose name matches this regular expression")
    arguments = parser.parse_args()
    if arguments.rate <= 0:
        parser.error("--rate must be more than 0")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
