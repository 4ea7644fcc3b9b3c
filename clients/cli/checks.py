"""What `ronghe doctor` looks for: each check turns what was found into lines, and names the command that helps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from google.protobuf.timestamp_pb2 import Timestamp

from clients.cli.certificates import Certificate
from clients.cli.output import moment, word
from ronghe.operations.v1 import operations_service_pb2 as pb

RELAY_WARNS, RELAY_FAILS = timedelta(seconds=10), timedelta(seconds=60)
# Another subsystem takes its inbox at once; how often an organ's back office looks is its own affair.
SERVICE_WARNS, SERVICE_FAILS, PARTY_WARNS = timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1)
LAG_WARNS = 1_000
# Acts that lie more than 120 s in a server's future are refused.
CLOCK_WARNS, CLOCK_FAILS = timedelta(seconds=5), timedelta(seconds=60)
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
    yield _clock(name, _time(status.now) - now)
    for paused in status.paused:
        bridge = f"{name}/{word(pb.Bridge, paused.bridge).replace(' ', '-')}"
        found = f"paused since {moment(paused.since)} by {paused.officer.name}: {paused.reason}"
        yield Finding(Level.WARN, bridge, found, f"ronghe bridge resume {bridge}")
    still = {paused.bridge for paused in status.paused}
    if status.HasField("relay") and pb.BRIDGE_RELAY not in still:
        yield _relay(name, status.relay, now)
    if status.HasField("relay") and pb.BRIDGE_CONSUMER not in still:
        yield _consumer(name, status.consumers)
    if pb.BRIDGE_INBOX_SOURCE not in still:
        yield from (_source(name, source) for source in status.sources)
    yield from _inboxes(name, status.inboxes, now)
    yield from _parked(name, letters)


def _clock(name: str, ahead: timedelta) -> Finding:
    level = _level(abs(ahead), CLOCK_WARNS, CLOCK_FAILS)
    found = f"{abs(ahead).total_seconds():.1f} s {'ahead of' if ahead > timedelta() else 'behind'} this machine's clock"
    return Finding(level, f"{name}: clock", found if level else "agrees with this machine's", _if(level, "timedatectl"))


def _relay(name: str, relay: pb.RelayStatus, now: datetime) -> Finding:
    subject, helps = f"{name}/relay", f"ronghe bridge status --at {name}"
    if relay.last_error:
        return Finding(Level.FAIL, subject, f"{relay.lag} rows wait: {relay.last_error}", helps)
    waited = now - _time(relay.oldest_waiting) if relay.lag and relay.HasField("oldest_waiting") else timedelta()
    level = _level(waited, RELAY_WARNS, RELAY_FAILS)
    return Finding(level, subject, f"{relay.lag} rows wait{_since(waited, level)}", _if(level, helps))


def _consumer(name: str, consumers: Sequence[pb.ConsumerStatus]) -> Finding:
    subject, helps = f"{name}/consumer", f"ronghe bridge status --at {name}"
    errors = [each.last_error for each in consumers if each.last_error]
    lag = sum(each.lag for each in consumers if each.lag > 0)
    if errors:
        return Finding(Level.FAIL, subject, f"{lag} records wait: {errors[0]}", helps)
    if not consumers:
        return Finding(Level.WARN, subject, "has no partitions: no broker, or another replica has them", helps)
    level = Level.WARN if lag > LAG_WARNS else Level.OK
    return Finding(level, subject, f"{lag} records wait", _if(level, helps))


def _source(name: str, source: pb.SourceStatus) -> Finding:
    subject, helps = f"{name}/inbox-source", f"ronghe bridge status --at {name}"
    if not source.connected:
        return Finding(Level.FAIL, subject, f"not connected to {source.peer}: {source.last_error}", helps)
    return Finding(Level.OK, subject, f"connected to {source.peer}")


def _inboxes(name: str, inboxes: Sequence[pb.InboxStatus], now: datetime) -> Iterator[Finding]:
    """The oldest ones by name; one line where none is old."""
    aged = sorted(((now - _time(each.oldest_since), each) for each in inboxes), key=lambda pair: -pair[0])
    late = [(waited, each, level) for waited, each in aged if (level := _lateness(each.receiver, waited))]
    for waited, each, level in late[:MOST_NAMED]:
        is_service = each.receiver.startswith("service/")
        helps = "ronghe bridge status" if is_service else f"ronghe inbox --as {each.receiver}"
        found = f"{each.unacknowledged} items not acknowledged{_since(waited, level)}"
        yield Finding(level, f"{name}: inbox of {each.receiver}", found, helps)
    if len(late) > MOST_NAMED:
        found = f"{len(late) - MOST_NAMED} more are late"
        yield Finding(Level.WARN, f"{name}: inboxes", found, f"ronghe bridge status --at {name}")
    if not late:
        yield Finding(Level.OK, f"{name}: inboxes", f"{sum(each.unacknowledged for each in inboxes)} items wait")


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
        found = f"{case_id} stands still since {moment(letter.parked_at)}, {count} records wait: {letter.problem}"
        number = f"{name}/{letter.dead_letter_id}"
        yield Finding(Level.FAIL, f"{name}: stuck case", found, f"ronghe dead-letters show {number}")
    if len(first) > MOST_NAMED:
        yield Finding(Level.FAIL, f"{name}: stuck cases", f"{len(first) - MOST_NAMED} more stand still", helps)
    if nameless is not None:
        found = f"records that name no case were set aside: {nameless.problem}"
        yield Finding(Level.WARN, f"{name}: dead letters", found, helps)
    if not letters:
        yield Finding(Level.OK, f"{name}: stuck cases", "none")


def check_certificates(found: Sequence[Certificate], now: datetime) -> Iterator[Finding]:
    """Those that end soon, or one line."""
    ending = sorted((each.expires_at, each.name) for each in found if each.expires_at < now + CERTIFICATE_WARNS)
    for expires_at, name in ending[:MOST_NAMED]:
        level = Level.FAIL if expires_at < now else Level.WARN
        text = f"{'ended' if level is Level.FAIL else 'ends'} on {expires_at:%Y-%m-%d}"
        yield Finding(level, f"certificate of {name}", text, _renewing(name))
    if len(ending) > MOST_NAMED:
        yield Finding(Level.WARN, "certificates", f"{len(ending) - MOST_NAMED} more end soon", "ronghe certs list")
    if not ending:
        yield Finding(Level.OK, "certificates", f"{len(found)} good for more than {CERTIFICATE_WARNS.days} days")


def _renewing(name: str) -> str:
    """The broker's is renewed when it starts, the authority's own by hand."""
    kind, _, party = name.partition("/")
    return f"ronghe certs renew {name}" if party and kind != "broker" else "ronghe certs list"


def check_disk(free: int) -> Finding:
    """Room for databases and Kafka, in bytes."""
    level = Level.FAIL if free < DISK_FAILS else Level.WARN if free < DISK_WARNS else Level.OK
    return Finding(level, "disk", f"{free / 1e9:.1f} GB free for the data directory", _if(level, "df -h"))


def _level(value: timedelta, warns: timedelta, fails: timedelta) -> Level:
    return Level.FAIL if value >= fails else Level.WARN if value >= warns else Level.OK


def _since(waited: timedelta, level: Level) -> str:
    return f", the oldest for {waited - timedelta(microseconds=waited.microseconds)}" if level else ""


def _if(level: Level, helps: str) -> str:
    return helps if level else ""


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)
