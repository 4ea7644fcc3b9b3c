"""Far more than can be done: what cannot be taken is refused in time, in so many words, and nothing else happens."""

import asyncio
import json
import sqlite3
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from faults.injections.processes import nobody_dies
from faults.injections.stage import Injection, NotInjected, Stage
from faults.load.flood import DESK, PARTY
from faults.mesh import PROCESSES
from faults.processes import memory_of

BASELINE_SECONDS = 10.0
SAMPLE_SECONDS = 0.25
WINDOW_SECONDS = 2.0
BACK_SECONDS = 10.0
"""Within which the latency at intake must be what it was."""
LONGEST_SECONDS = 90.0
"""Longer is not waited for."""
SLOWER = 2.0
"""So many times the median of before is what it was,"""
LEAST = 0.05
"""and so many seconds are, whatever it was."""
MOST_GROWTH = 256 * 1024 * 1024
"""Bytes by which a process may grow."""
PATIENCE = 60.0
"""Seconds within which everything that was offered must be answered."""


def overloaded(rates: Mapping[str, float], seconds: float, work_seconds: float) -> Injection:
    """So many applications a second each way, by a process of its own; afterwards an organ ends what was accepted."""

    async def inject(stage: Stage) -> None:
        before = await _latency(stage, BASELINE_SECONDS)
        floods = {way: await _flood(stage, way, rate, seconds) for way, rate in rates.items()}
        sizes = {name: memory_of(stage.mesh.pid(name)) for name in PROCESSES}
        watching = asyncio.create_task(_watch(stage, sizes))
        with nobody_dies(stage):
            outcomes = await _flooded(stage, floods, seconds)
            back = await _until_back(stage, before)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            _write(stage, outcomes, seconds)
            stage.figures |= {
                "ms to an answer before": round(1000 * before.everywhere, 1),
                "at intake": round(1000 * before.at_intake, 1),
                "seconds until it is so again": round(back.everywhere, 1),
                "at intake ": round(back.at_intake, 1),
            }
            await _end_all(stage, work_seconds)
        _judge(stage, outcomes, back.at_intake)

    return inject


@dataclass(frozen=True, slots=True)
class Latency:
    """Medians, in seconds."""

    at_intake: float
    """Where the flood is."""
    everywhere: float
    """The subsystems behind it are at work on what was accepted."""


async def _latency(stage: Stage, seconds: float) -> Latency:
    """Of the load's requests in so many seconds from now."""
    caller = stage.load.cast.caller
    caller.latencies.clear()
    caller.at_intake.clear()
    await asyncio.sleep(seconds)
    return _medians(stage)


def _medians(stage: Stage) -> Latency:
    caller = stage.load.cast.caller
    return Latency(
        *(statistics.median(each) if each else LONGEST_SECONDS for each in (caller.at_intake, caller.latencies))
    )


async def _flood(stage: Stage, way: str, rate: float, seconds: float) -> asyncio.subprocess.Process:
    """A process that is ready to begin."""
    data = stage.mesh.data
    values = {
        "--address": stage.mesh.addresses["intake"],
        "--pki": data / "pki",
        "--log": stage.folder / "callers" / f"requests-{way}.jsonl",
        "--rate": rate,
        "--seconds": seconds,
    }
    process = await _python("faults.load.flood", [way], values)
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    if await process.stdout.readline() != b"ready\n":
        raise NotInjected(f"the flood of {way} calls did not get ready")
    return process


async def _python(module: str, words: Sequence[str], values: Mapping[str, object]) -> asyncio.subprocess.Process:
    options = [str(each) for pair in values.items() for each in pair]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, "-m", module, *words, *options, stdin=pipe, stdout=pipe)


async def _flooded(
    stage: Stage, floods: Mapping[str, asyncio.subprocess.Process], seconds: float
) -> Mapping[str, Mapping[str, Any]]:
    """Way -> what came of it. Raises NotInjected when something is not answered at all."""
    await _latency(stage, 0)
    try:
        async with asyncio.timeout(seconds + PATIENCE):
            said = await asyncio.gather(*(flood.communicate(b"go\n") for flood in floods.values()))
    except TimeoutError as error:
        for flood in floods.values():
            with suppress(ProcessLookupError):
                flood.kill()
        raise NotInjected(f"not everything was answered within {PATIENCE:.0f} s") from error
    stage.figures["ms to an answer meanwhile"] = round(1000 * _medians(stage).everywhere, 1)
    return {way: json.loads(out) for way, (out, _) in zip(floods, said, strict=True)}


async def _until_back(stage: Stage, before: Latency) -> Latency:
    """Seconds until requests are answered as before, there and everywhere."""
    started, there, everywhere = time.monotonic(), LONGEST_SECONDS, LONGEST_SECONDS
    while LONGEST_SECONDS in (there, everywhere) and time.monotonic() - started < LONGEST_SECONDS:
        seconds = time.monotonic() - started
        now = await _latency(stage, WINDOW_SECONDS)
        if now.at_intake <= max(SLOWER * before.at_intake, LEAST):
            there = min(there, seconds)
        if now.everywhere <= max(SLOWER * before.everywhere, LEAST):
            everywhere = min(everywhere, seconds)
    return Latency(there, everywhere)


async def _watch(stage: Stage, sizes: Mapping[str, int]) -> None:
    """How large each process becomes."""
    while True:
        for name, size in sizes.items():
            now, figure = memory_of(stage.mesh.pid(name)), f"{name} grew by MiB"
            grown = round((now - size) / 2**20, 1)
            stage.figures[figure] = max(grown, stage.figures.get(figure, 0.0))
            stage.figures[f"{name} MiB at most"] = max(
                round(now / 2**20, 1), stage.figures.get(f"{name} MiB at most", 0)
            )
        await asyncio.sleep(SAMPLE_SECONDS)


async def _end_all(stage: Stage, seconds: float) -> None:
    """Let the organ of the flood do its work. Raises NotInjected when it does not come to its end."""
    cases = _count(stage, "intake", "SELECT count(*) FROM stream_application WHERE intake_id = ?", PARTY)
    addresses, started = stage.mesh.addresses, time.monotonic()
    values = {
        "--department": addresses["department"],
        "--intake": addresses["intake"],
        "--pki": stage.mesh.data / "pki",
        "--log": stage.folder / "callers",
    }
    process = await _python("faults.load.desk_work", [], values)

    def is_over() -> bool:
        return process.returncode is not None or _ended(stage) >= cases

    try:
        async with asyncio.timeout(seconds):
            while not is_over():  # noqa: ASYNC110 - it is looked at from outside
                await asyncio.sleep(WINDOW_SECONDS / 2)
    except TimeoutError as error:
        raise NotInjected(f"not all of {cases} cases ended within {seconds:.0f} s") from error
    finally:
        with suppress(ProcessLookupError):
            await process.communicate(b"stop\n")
    if process.returncode:
        raise NotInjected(f"the organ's work ended with {process.returncode}")
    took = time.monotonic() - started
    stage.figures |= {"cases of the flood": cases, "of them ended a second": round(cases / took, 1)}


def _ended(stage: Stage) -> int:
    """Cases of whose end the flood's intake system has taken notice, once the organ has nothing left."""
    waiting = "SELECT count(*) FROM inbox WHERE receiver = ? AND acknowledged_at IS NULL"
    if _count(stage, "department", waiting, str(DESK.organ)):
        return 0
    taken = "SELECT count(*) FROM inbox WHERE receiver = ? AND acknowledged_at IS NOT NULL"
    return _count(stage, "intake", taken, f"intake/{PARTY}")


def _count(stage: Stage, subsystem: str, statement: str, value: str) -> int:
    with closing(sqlite3.connect(f"file:{stage.mesh.database(subsystem)}?mode=ro", uri=True, timeout=30)) as database:
        return int(database.execute(statement, (value,)).fetchone()[0])


def _write(stage: Stage, outcomes: Mapping[str, Mapping[str, Any]], seconds: float) -> None:
    for way, outcome in outcomes.items():
        stage.figures |= {f"{way} {name}": outcome[name] for name in ("offered", "accepted", "refused")}
        stage.figures[f"{way} offered a second"] = round(outcome["offered"] / seconds)
        stage.figures[f"{way} late by s at most"] = round(outcome["late"], 2)
        stage.figures |= {f"{way} {name}": count for name, count in outcome["others"].items()}
    stage.figures["slowest unary answer in s"] = round(outcomes["unary"]["slowest"], 2)


def _judge(stage: Stage, outcomes: Mapping[str, Mapping[str, Any]], back: float) -> None:
    wrong = [f"{count} x {name}" for outcome in outcomes.values() for name, count in outcome["others"].items()]
    for way, outcome in outcomes.items():
        answered = outcome["accepted"] + outcome["refused"] + sum(outcome["others"].values())
        if answered != outcome["offered"]:
            wrong.append(f"{outcome['offered']} {way} offered, {answered} answered")
    if back > BACK_SECONDS:
        wrong.append(f"{back:.0f} s until intake answered as before")
    for name in PROCESSES:
        grown = stage.figures[f"{name} grew by MiB"]
        if grown > MOST_GROWTH / 2**20:
            wrong.append(f"{name} grew by {grown:.0f} MiB")
    if not any(outcome["refused"] for outcome in outcomes.values()):
        wrong.append("nothing was refused: it was no overload")
    if wrong:
        raise NotInjected("; ".join(wrong))
