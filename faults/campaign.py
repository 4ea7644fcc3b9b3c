"""One scene played: a mesh, a load, faults one after another, time to settle, and the verdict."""

import asyncio
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from random import Random

from clients.errors import RongheError
from faults.checker import connected
from faults.checker.check import check
from faults.checker.collect import collect
from faults.checker.history import History, Kind, Problem
from faults.checker.journals import SUBSYSTEMS
from faults.checker.mutations import blind_spots
from faults.checker.sample import sample
from faults.disk import unmount_below
from faults.injections.stage import Fault, NotInjected, Scene, Stage
from faults.load.cast import INTAKES
from faults.load.load import Load, load
from faults.mesh import MeshFailed
from faults.proxy import proxies
from faults.settling import moves

WARM_UP_SECONDS = 4.0
LOOK_SECONDS = 0.2
PAUSE_SECONDS = (0.1, 1.0)
RECOVERY_SECONDS = 180.0
SETTLE_SECONDS = 120.0
SPANS_SECONDS = 2.0
HEAD_SECONDS = 2
"""A mesh signs the heads of its journals that often."""
SPAN_BYTES = 1 << 30
"""Of each process: all spans of a long scene are looked at when it has ended."""
SAMPLED_CASES = 200
"""Cases in which things are made wrong, to see whether the checker notices."""


@dataclass
class Injected:
    """A fault that was brought about, and how it went."""

    name: str
    started_at: float
    """Seconds since 1970, as `ended_at`."""
    ended_at: float = 0.0
    recovered: float | None = None
    """Seconds until everything that was under way at its end had ended; None before that is known.

    Nothing else was broken meanwhile where it was waited for, and the next faults were where it was not.
    """
    failure: str = ""
    """Why it was not brought about, or not survived."""


@dataclass
class Verdict:
    """What a campaign has found."""

    scene: str
    seed: int
    injected: Sequence[Injected]
    problems: Sequence[Problem]
    blind: Sequence[str]
    """What the checker does not notice: its verdict counts only where this is empty."""
    cases: Mapping[str, int]
    unfinished: Sequence[str]
    unexpected: Mapping[str, int]
    figures: Mapping[str, float]
    windows: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Case -> when the load began and ended it, seconds since 1970."""

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept, by a checker that can be trusted."""
        failures = any(fault.failure for fault in self.injected)
        broken = any(problem.kind is not Kind.UNSENT for problem in self.problems)
        return not (failures or broken or self.blind or self.unfinished or self.unexpected)


@dataclass
class Campaign:
    """Everything one scene needs."""

    scene: Scene
    folder: Path
    """Made anew: data directory and logs."""
    port_base: int
    rate: float
    seed: int
    say: Callable[[str], None]
    injected: list[Injected] = field(default_factory=list)
    overdue: set[int] = field(default_factory=set)
    """Numbers of cases that kept a fault from being recovered from: no later one waits for them."""

    async def run(self, faults: Sequence[Fault]) -> Verdict:
        """Break the mesh in this way, and judge."""
        unmount_below(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        crashes = self.folder / "crashes"
        crashes.mkdir(parents=True)
        environment = {
            "RONGHE_CRASH_AT": f"@{crashes}",
            "RONGHE_MESH_LONGEST_PAUSE": "1",
            "RONGHE_MESH_STEPPED_CLOCK": "true",
            "RONGHE_MESH_INTAKES": json.dumps(INTAKES),
            "RONGHE_HEAD_SECONDS": str(HEAD_SECONDS),
            "RONGHE_SPAN_BYTES": str(SPAN_BYTES),
        }
        async with AsyncExitStack() as stack:
            mesh = await stack.enter_async_context(self.scene.mesh(self.folder, self.port_base, environment))
            self.say(f"{len(faults)} faults, {self.rate:g} cases/s, seed {self.seed}, {mesh.data}")
            # Of several replicas the callers' own library chooses one, and goes to another when that fails.
            known = mesh.known()
            targets = {name: known[name] for name in SUBSYSTEMS if "," not in known[name]}
            network = await stack.enter_async_context(proxies(targets, Random(self.seed)))
            addresses = {**known, **{name: proxy.address for name, proxy in network.items()}}
            playing = await stack.enter_async_context(load(addresses, mesh.data / "pki", self._logs, self.seed))
            stage = Stage(mesh, crashes, Random(self.seed), network, playing)
            await self._break(stage, faults)
            settled = await self._settle(stage)
            self.say("settled; what there is to judge is collected")
            history = await self._collect(stage)
            # Before the load is told to stop: what has not ended by then is not under way any more.
            verdict = self._played(stage, {**_figures(history), "seconds to settle": round(settled, 1)})
        self.say("the mesh is gone; the checker reads")
        problems = await asyncio.to_thread(check, history)
        blind = await asyncio.to_thread(lambda: list(blind_spots(sample(history, SAMPLED_CASES))))
        return replace(verdict, problems=problems, blind=blind)

    @property
    def _logs(self) -> Path:
        return self.folder / "callers"

    async def _break(self, stage: Stage, faults: Sequence[Fault]) -> None:
        cases = asyncio.create_task(stage.load.run(self.rate))
        try:
            await asyncio.sleep(WARM_UP_SECONDS)
            for fault in faults:
                await self._inject(stage, fault)
                await asyncio.sleep(stage.chance.uniform(*PAUSE_SECONDS))
        finally:
            cases.cancel()
            with suppress(asyncio.CancelledError):
                await cases

    async def _inject(self, stage: Stage, fault: Fault) -> None:
        injected = Injected(fault.name, time.time())
        self.injected.append(injected)
        try:
            async with asyncio.timeout(fault.seconds):
                await fault.injection(stage)
            injected.ended_at = time.time()
            if fault.measured:
                # What waited through a long outage is done beside what goes on coming in.
                lasted = injected.ended_at - injected.started_at
                injected.recovered = await self._recovery(stage.load, max(RECOVERY_SECONDS, 2 * lasted))
        except (NotInjected, RongheError) as error:
            injected.failure = str(error)
        except TimeoutError:
            injected.failure = f"not brought about within {fault.seconds:.0f} s"
        except MeshFailed:
            raise  # there is nothing left to break
        except Exception as error:  # the others are worth to be played to their end
            injected.failure = f"{type(error).__name__}: {error}"
        injected.ended_at = injected.ended_at or time.time()
        seconds = "" if injected.recovered is None else f", recovered in {injected.recovered:.1f} s"
        self.say(f"{len(self.injected):4} {fault.name}{seconds}{': ' + injected.failure if injected.failure else ''}")

    async def _recovery(self, playing: Load, within: float) -> float:
        """Seconds until all cases that are under way now have ended. Raises NotInjected where that takes longer."""
        waiting, started = playing.under_way.keys() - self.overdue, time.monotonic()
        if not await _until(lambda: waiting.isdisjoint(playing.under_way), within):
            late = waiting & playing.under_way.keys()
            self.overdue |= late
            courses = ", ".join(sorted({playing.under_way[number] for number in late}))
            raise NotInjected(f"not recovered within {within:.0f} s: {len(late)} cases, {courses}")
        return time.monotonic() - started

    async def _settle(self, stage: Stage) -> float:
        """Until nothing is under way any more; gives the seconds."""
        started = time.monotonic()
        with suppress(TimeoutError):
            await stage.load.settle(SETTLE_SECONDS)
        sources, end = {name: stage.mesh.source(name) for name in SUBSYSTEMS}, time.monotonic() + SETTLE_SECONDS
        while await asyncio.to_thread(moves, sources) and time.monotonic() < end:  # noqa: ASYNC110 - from outside
            await asyncio.sleep(LOOK_SECONDS)
        await asyncio.sleep(SPANS_SECONDS)
        return time.monotonic() - started

    async def _collect(self, stage: Stage) -> History:
        mesh = stage.mesh
        return await asyncio.to_thread(
            collect,
            mesh.data,
            {name: mesh.source(name) for name in SUBSYSTEMS},
            self._logs,
            mesh.addresses["kafka"],
            stage.forged,
            republished=stage.topics > 1,
            lost=stage.lost,
            unsent=stage.unsent,
        )

    def _played(self, stage: Stage, figures: Mapping[str, float]) -> Verdict:
        """What is known before anything is judged."""
        playing = stage.load
        caller, windows = playing.cast.caller, playing.windows
        for fault in self.injected:
            if fault.recovered is None and not fault.failure:
                fault.recovered = seconds_under_way(windows.values(), fault.ended_at)
        return Verdict(
            scene=self.scene.name,
            seed=self.seed,
            injected=self.injected,
            problems=[],
            blind=[],
            cases=Counter(playing.ended),
            unfinished=[*playing.under_way.values(), *playing.problems],
            unexpected=Counter(caller.unexpected),
            figures={**figures, "repeats": caller.repeats, **stage.figures},
            windows=windows,
        )


def seconds_under_way(windows: Iterable[tuple[float, float]], at: float) -> float | None:
    """How long after a time all cases that were under way then had ended; None where one never did."""
    longest = max((last - at for first, last in windows if first <= at < last), default=0.0)
    return longest if isfinite(longest) else None


async def _until(holds: Callable[[], bool], seconds: float) -> bool:
    """Look until it holds, for so long at most; gives whether it does."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(LOOK_SECONDS)
    return True


def _figures(history: History) -> dict[str, float]:
    return {
        "requests": len(history.requests),
        "acknowledged": sum(bool(request.answers) for request in history.requests),
        "refused": sum(bool(request.refusal) for request in history.requests),
        "events": len(history.own),
        "messages on the topic": len(history.topic),
        "of them repeats": len(history.topic) - len({record.event.id for record in history.topic}),
        "deliveries": len(history.deliveries),
        "of them repeats ": len(history.deliveries)
        - len({(each.receiver, each.subsystem, each.sequence) for each in history.deliveries}),
        "looks answered": len(history.shown),
        "spans": len(history.spans),
        "spans filled in from the journal": connected.filled(history),
        "of them without a death of their process near": connected.unexplained(history),
    }


def kinds(problems: Sequence[Problem]) -> Counter[str]:
    """How many of each kind."""
    return Counter(problem.kind.value for problem in problems)
