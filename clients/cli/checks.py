"""What `ronghe doctor` looks for: each check turns what was found into lines, and names the command that helps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from google.protobuf.timestamp_pb2 import Timestamp

from clients.cli.certificates import Certificate
from clients.cli.language import say
from clients.cli.output import moment
from clients.cli.values import typed
from ronghe.operations.v1 import operations_service_pb2 as pb

RELAY_WARNS, RELAY_FAILS = timedelta(seconds=10), timedelta(seconds=60)
# Another subsystem takes its inbox at once; how often an organ's back office looks is its own affair.
SERVICE_WARNS, SERVICE_FAILS, PARTY_WARNS = timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1)
LAG_WARNS = 1_000
# Acts that lie more than 120 s in a server's future are refused.
CLOCK_WARNS, CLOCK_FAILS = timedelta(seconds=5), timedelta(seconds=60)
CONFIRM = "ronghe clock confirm --officer ID:NAME --reason TEXT"
CERTIFICATE_WARNS = timedelta(days=30)
DISK_WARNS, DISK_FAILS = 2_000_000_000, 200_000_000
MOST_NAMED = 5


class Level(IntEnum):
    """How bad it is; the worst of all is the exit status."""

    OK = 0
    WARN = 1
    FAIL = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One line."""

    level: Level
    subject: str
    found: str
    helps: str = ""
    """A command, where one helps."""


def worst(findings: Sequence[Finding]) -> Level:
    """OK where there is nothing."""
    return max((finding.level for finding in findings), default=Level.OK)


def check_subsystem(
    name: str, status: pb.GetBridgeStatusResponse, letters: Sequence[pb.DeadLetter], now: datetime
) -> Iterator[Finding]:
    """Everything that a subsystem says of itself; `now` is this machine's clock when it answered."""
    yield _clock(name, status.clock, _time(status.now) - now)
    now = _time(status.now)  # what it says of times is by its own clock
    for paused in status.paused:
        bridge = f"{name}/{typed(pb.Bridge, paused.bridge)}"
        since, officer = moment(paused.since), paused.officer.name
        found = say("paused since {time} by {officer}: {why}", time=since, officer=officer, why=paused.reason)
        yield Finding(Level.WARN, bridge, found, f"ronghe bridge resume {bridge}")
    still = {*(paused.bridge for paused in status.paused), *status.standing_by}
    if status.HasField("relay") and pb.BRIDGE_RELAY not in still:
        yield _relay(name, status.relay, now)
    if status.HasField("relay") and pb.BRIDGE_CONSUMER not in still:
        yield _consumer(name, status.consumers)
    if pb.BRIDGE_INBOX_SOURCE not in still:
        yield from (_source(name, source) for source in status.sources)
    yield from _inboxes(name, status.inboxes, now)
    yield from _parked(name, letters)


def _clock(name: str, clock: pb.ClockStatus, ahead: timedelta) -> Finding:
    if clock.HasField("step"):
        step = clock.step.ToTimedelta().total_seconds()
        found = say(
            "the machine's clock was stepped by {step:+.0f} s: timers wait until it is put back, or its time confirmed",
            step=step,
        )
        return Finding(Level.FAIL, _of(name, say("clock")), found, CONFIRM)
    if clock.stepped:
        found = say("a simulation, advanced by {time}", time=clock.advanced.ToTimedelta())
        return Finding(Level.OK, _of(name, say("clock")), found)
    level = _level(abs(ahead), CLOCK_WARNS, CLOCK_FAILS)
    return Finding(level, _of(name, say("clock")), _differs(ahead, level), _if(level, "timedatectl"))


def _differs(ahead: timedelta, level: Level) -> str:
    if not level:
        return say("agrees with this machine's")
    seconds = abs(ahead).total_seconds()
    if ahead > timedelta():
        return say("{seconds:.1f} s ahead of this machine's clock", seconds=seconds)
    return say("{seconds:.1f} s behind this machine's clock", seconds=seconds)


def _relay(name: str, relay: pb.RelayStatus, now: datetime) -> Finding:
    subject, helps = f"{name}/relay", f"ronghe bridge status --at {name}"
    if relay.last_error:
        return Finding(
            Level.FAIL, subject, say("{count} rows wait: {why}", count=relay.lag, why=relay.last_error), helps
        )
    waited = now - _time(relay.oldest_waiting) if relay.lag and relay.HasField("oldest_waiting") else timedelta()
    level = _level(waited, RELAY_WARNS, RELAY_FAILS)
    return Finding(level, subject, say("{count} rows wait", count=relay.lag) + _since(waited, level), _if(level, helps))


def _consumer(name: str, consumers: Sequence[pb.ConsumerStatus]) -> Finding:
    subject, helps = f"{name}/consumer", f"ronghe bridge status --at {name}"
    errors = [each.last_error for each in consumers if each.last_error]
    lag = sum(each.lag for each in consumers if each.lag > 0)
    if errors:
        return Finding(Level.FAIL, subject, say("{count} records wait: {why}", count=lag, why=errors[0]), helps)
    if not consumers:
        found = say("has no partitions: no broker, or another replica has them")
        return Finding(Level.WARN, subject, found, helps)
    level = Level.WARN if lag > LAG_WARNS else Level.OK
    return Finding(level, subject, say("{count} records wait", count=lag), _if(level, helps))


def _source(name: str, source: pb.SourceStatus) -> Finding:
    subject, helps = f"{name}/inbox-source", f"ronghe bridge status --at {name}"
    if not source.connected:
        found = say("not connected to {peer}: {why}", peer=source.peer, why=source.last_error)
        return Finding(Level.FAIL, subject, found, helps)
    return Finding(Level.OK, subject, say("connected to {peer}", peer=source.peer))


def _inboxes(name: str, inboxes: Sequence[pb.InboxStatus], now: datetime) -> Iterator[Finding]:
    """The oldest ones by name; one line where none is old."""
    aged = sorted(((now - _time(each.oldest_since), each) for each in inboxes), key=lambda pair: -pair[0])
    late = [(waited, each, level) for waited, each in aged if (level := _lateness(each.receiver, waited))]
    for waited, each, level in late[:MOST_NAMED]:
        # Not `ronghe inbox --as`: it would take the inbox from the party's own program, which then stays away.
        is_service = each.receiver.startswith("service/")
        helps = "ronghe bridge status" if is_service else f"ronghe bridge status --at {name}"
        found = say("{count} items not acknowledged", count=each.unacknowledged) + _since(waited, level)
        yield Finding(level, _of(name, say("inbox of {receiver}", receiver=each.receiver)), found, helps)
    if len(late) > MOST_NAMED:
        found = say("{count} more are late", count=len(late) - MOST_NAMED)
        yield Finding(Level.WARN, _of(name, say("inboxes")), found, f"ronghe bridge status --at {name}")
    if not late:
        found = say("{count} items wait", count=sum(each.unacknowledged for each in inboxes))
        yield Finding(Level.OK, _of(name, say("inboxes")), found)


def _lateness(receiver: str, waited: timedelta) -> Level:
    if receiver.startswith("service/"):
        return _level(waited, SERVICE_WARNS, SERVICE_FAILS)
    return _level(waited, PARTY_WARNS, timedelta.max)


def _parked(name: str, letters: Sequence[pb.DeadLetter]) -> Iterator[Finding]:
    """A line for each case that stands still; its first dead letter says why."""
    first: dict[str, pb.DeadLetter] = {}
    for letter in letters:
        first.setdefault(letter.case_id, letter)
    nameless = first.pop("", None)
    helps = f"ronghe dead-letters list --at {name}"
    for case_id, letter in list(first.items())[:MOST_NAMED]:
        count = sum(each.case_id == case_id for each in letters)
        found = say(
            "{case} stands still since {time}, {count} records wait: {why}",
            case=case_id,
            time=moment(letter.parked_at),
            count=count,
            why=letter.problem,
        )
        number = f"{name}/{letter.dead_letter_id}"
        yield Finding(Level.FAIL, _of(name, say("stuck case")), found, f"ronghe dead-letters show {number}")
    if len(first) > MOST_NAMED:
        found = say("{count} more stand still", count=len(first) - MOST_NAMED)
        yield Finding(Level.FAIL, _of(name, say("stuck cases")), found, helps)
    if nameless is not None:
        found = say("records that name no case were set aside: {why}", why=nameless.problem)
        yield Finding(Level.WARN, _of(name, say("dead letters")), found, helps)
    if not letters:
        yield Finding(Level.OK, _of(name, say("stuck cases")), say("none"))


def check_certificates(found: Sequence[Certificate], now: datetime) -> Iterator[Finding]:
    """Those that end soon, or one line."""
    ending = sorted((each.expires_at, each.name) for each in found if each.expires_at < now + CERTIFICATE_WARNS)
    for expires_at, name in ending[:MOST_NAMED]:
        level = Level.FAIL if expires_at < now else Level.WARN
        day = f"{expires_at:%Y-%m-%d}"
        text = say("ended on {day}", day=day) if level is Level.FAIL else say("ends on {day}", day=day)
        yield Finding(level, say("certificate of {name}", name=name), text, _renewing(name))
    if len(ending) > MOST_NAMED:
        text = say("{count} more end soon", count=len(ending) - MOST_NAMED)
        yield Finding(Level.WARN, say("certificates"), text, "ronghe certs list")
    if not ending:
        text = say("{count} good for more than {days} days", count=len(found), days=CERTIFICATE_WARNS.days)
        yield Finding(Level.OK, say("certificates"), text)


def _renewing(name: str) -> str:
    """The authority's own is renewed by hand."""
    return f"ronghe certs renew {name}" if "/" in name else "ronghe certs list"


def check_disk(free: int) -> Finding:
    """Room for databases and Kafka, in bytes."""
    level = Level.FAIL if free < DISK_FAILS else Level.WARN if free < DISK_WARNS else Level.OK
    found = say("{size:.1f} GB free for the data directory", size=free / 1e9)
    return Finding(level, say("disk"), found, _if(level, "df -h"))


def _level(value: timedelta, warns: timedelta, fails: timedelta) -> Level:
    return Level.FAIL if value >= fails else Level.WARN if value >= warns else Level.OK


def _since(waited: timedelta, level: Level) -> str:
    if not level:
        return ""
    return say(", the oldest for {time}", time=waited - timedelta(microseconds=waited.microseconds))


def _of(name: str, subject: str) -> str:
    return f"{name}: {subject}"


def _if(level: Level, helps: str) -> str:
    return helps if level else ""


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)
