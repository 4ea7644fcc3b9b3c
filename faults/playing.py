"""Plays scenes: one, or several side by side, each in a process and on ports of its own. Most of a scene is waiting."""

import asyncio
import ctypes
import multiprocessing
import os
import re
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from random import Random
from typing import ParamSpec, TypeVar

from rich.console import Console

from clients.telemetry.logging import configure_logging
from faults.campaign import Campaign, Verdict
from faults.injections.stage import RATE, Fault, Scene
from faults.report import show, write
from faults.scenes import OTHERS, SCENES

P = ParamSpec("P")
R = TypeVar("R")

LANES = 2
"""As many as the cores that the campaign is made for."""
PORTS = 100
"""Of each scene."""
WIDTH = 120
PR_SET_PDEATHSIG = 1


def faults_of(scene: Scene, arguments: Namespace) -> Sequence[Fault]:
    """What is asked for of a scene."""
    faults = scene.schedule(arguments.quick, Random(arguments.seed))
    return [fault for fault in faults if re.search(arguments.only, fault.name)]


def play(name: str, arguments: Namespace) -> Verdict:
    """Play the scene of this name, judge, and show the verdict."""
    scene = next(scene for scene in (*SCENES, *OTHERS) if scene.name == name)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    configure_logging("faults", arguments.folder / f"{name}.log")
    console = Console(width=max(WIDTH, Console().width))
    campaign = Campaign(
        scene,
        arguments.folder / name,
        arguments.port_base,
        scene.rate * arguments.rate / RATE,
        arguments.seed,
        lambda line: console.print(f"{name}: {line}"),
    )
    verdict = asyncio.run(campaign.run(faults_of(scene, arguments)))
    show(console, verdict)
    write(arguments.folder / f"{name}.json", [verdict])
    return verdict


def side_by_side(scenes: Sequence[Scene], arguments: Namespace) -> Sequence[Verdict]:
    """Their verdicts; those that must be alone are played after the others, one by one."""
    places = {scene.name: PORTS * place for place, scene in enumerate(scenes)}
    verdicts: list[Verdict] = []
    for lanes, together in (
        (LANES, [scene for scene in scenes if not scene.alone]),
        (1, [scene for scene in scenes if scene.alone]),
    ):
        with ThreadPoolExecutor(lanes) as pool:
            playing = {
                scene.name: pool.submit(
                    in_a_process,
                    play,
                    scene.name,
                    Namespace(**{**vars(arguments), "port_base": arguments.port_base + places[scene.name]}),
                )
                for scene in together
            }
            try:
                verdicts += [verdict_of(name, future, arguments.seed) for name, future in playing.items()]
            except KeyboardInterrupt:
                pool.shutdown(cancel_futures=True)
                raise
    return verdicts


def in_a_process(work: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """What it gives, in a process of its own: one that dies takes no other with it. Raises BrokenProcessPool."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _die_with_campaign) as process:
        return process.submit(work, *arguments, **named).result()


def verdict_of(name: str, playing: "Future[Verdict]", seed: int) -> Verdict:
    """One that is not clean where the scene could not be played to its end."""
    try:
        return playing.result()
    except Exception as error:
        what = f"{name} was not played to its end: {type(error).__name__}: {error}"
        print(what)
        return Verdict(name, seed, [], [], [], {}, [what], {}, {})


def _die_with_campaign() -> None:
    """Where the system has the means, and with it the scene's mesh.

    Linux goes by the thread that started the process: it must wait for it.
    """
    campaign = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != campaign:
        sys.exit("the campaign has ended already")
