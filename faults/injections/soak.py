"""Nothing is broken, for long: memory, files, threads and latency must stay as they are."""

import asyncio
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from faults.injections.processes import nobody_dies
from faults.injections.stage import Injection, NotInjected, Stage
from faults.mesh import PROCESSES
from faults.plot import Chart, draw
from faults.processes import files_of, memory_of, threads_of

SAMPLE_SECONDS = 10.0
MOST_GROWTH = {"MiB": 0.10, "open files": 0.10, "threads": 0.10}
"""From the second quarter of the time to the last, as a share; the first quarter is for warming up."""
LEAST_GROWTH = {"MiB": 24.0, "open files": 8.0, "threads": 3.0}
"""Less than that is no growth, whatever its share."""
FILLING_MIB = 80.0
"""Less than that is none either, where it ends before what is kept in memory is full: some minutes of work."""
SLOWER = 2.0
"""So many times the median latency of the second quarter the last one's may be."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at all processes."""

    at: float
    """Seconds since the beginning."""
    used: dict[str, dict[str, float]]
    """Process -> what -> how much."""
    median: float
    """Milliseconds from a request to its answer, repeats included."""
    slow: float
    """99th percentile."""
    answered: int


def soaked(seconds: float, *, warms_up: bool = False) -> Injection:
    """Look every few seconds for so long; the pictures are in `soak.svg`, the figures in `soak.json`.

    One that is too short for anything else to be seen is told so: it still warms up when it ends.
    """
    least = {**LEAST_GROWTH, "MiB": FILLING_MIB} if warms_up else LEAST_GROWTH

    async def inject(stage: Stage) -> None:
        samples, started = [], time.monotonic()
        latencies = stage.load.cast.caller.latencies
        latencies.clear()
        with nobody_dies(stage):
            while time.monotonic() - started < seconds:
                await asyncio.sleep(SAMPLE_SECONDS)
                samples.append(_sample(stage, time.monotonic() - started, sorted(latencies)))
                latencies.clear()
            (stage.folder / "soak.json").write_text(json.dumps([asdict(sample) for sample in samples]) + "\n")
            (stage.folder / "soak.svg").write_text(draw(_charts(samples)))
        _judge(stage, samples, least)

    return inject


def _sample(stage: Stage, at: float, latencies: Sequence[float]) -> Sample:
    used = {name: _used(stage.mesh.pid(name)) for name in PROCESSES}
    last = len(latencies) - 1
    return Sample(
        at=round(at, 1),
        used=used,
        median=round(1000 * latencies[last // 2], 1) if latencies else 0.0,
        slow=round(1000 * latencies[int(last * 0.99)], 1) if latencies else 0.0,
        answered=len(latencies),
    )


def _used(pid: int) -> dict[str, float]:
    return {"MiB": round(memory_of(pid) / 2**20, 1), "open files": files_of(pid), "threads": threads_of(pid)}


def _charts(samples: Sequence[Sample]) -> list[Chart]:
    times = [sample.at for sample in samples]
    charts = [
        Chart(what, times, {name: [sample.used[name][what] for sample in samples] for name in PROCESSES})
        for what in MOST_GROWTH
    ]
    latency = {"median": [sample.median for sample in samples], "99 %": [sample.slow for sample in samples]}
    return [*charts, Chart("ms to an answer", times, latency)]


def _judge(stage: Stage, samples: Sequence[Sample], least: Mapping[str, float]) -> None:
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    if not early:
        raise NotInjected("too short to tell anything")
    grown = []
    for name in PROCESSES:
        for what, share in MOST_GROWTH.items():
            before, after = (statistics.median(s.used[name][what] for s in part) for part in (early, late))
            stage.figures |= {f"{name} {what} early": before, f"{name} {what} late": after}
            if after - before > max(share * before, least[what]):
                grown.append(f"{name}: {before:g} {what} became {after:g}")
    before, after = (statistics.median(s.median for s in part) for part in (early, late))
    stage.figures |= {"ms to an answer early": before, "ms to an answer late": after}
    if after > SLOWER * before:
        grown.append(f"{before:g} ms to an answer became {after:g}")
    if grown:
        raise NotInjected("; ".join(grown))
