"""Puts a run's history together from its data directory."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography import x509

from faults.checker import journals, logs, topic, traces
from faults.checker.history import Event, History, Journal

REQUESTS, DELIVERIES, SHOWN = Path("requests.jsonl"), Path("deliveries.jsonl"), Path("shown.jsonl")
"""Of the load; other processes write beside it, for example to `requests-bulk.jsonl`."""
WRITTEN = ("log", "spans")
"""Folders of a data directory in which nobody is named."""


def collect(
    data: Path,
    databases: Mapping[str, Path | str],
    log: Path,
    kafka: str,
    poison: Iterable[str] = (),
    *,
    republished: bool = False,
    lost: Iterable[Journal] = (),
    unsent: Iterable[Event] = (),
) -> History:
    """The history of the mesh in `data`, as the callers' logs in the folder `log` and the broker at `kafka` have it.

    `databases`: each subsystem's file, or the URL of its PostgreSQL database; `poison`: ids of forged events;
    `republished`: the topic was made anew; `lost`: journals that were lost, `unsent`: what stood nowhere else then.
    """
    return History(
        requests=logs.requests(sorted(log.glob(f"{REQUESTS.stem}*.jsonl"))),
        journals={name: journals.read(database, name) for name, database in databases.items()},
        topic=topic.read(access(data, kafka)),
        deliveries=logs.deliveries(sorted(log.glob(f"{DELIVERIES.stem}*.jsonl"))),
        shown=logs.shown([log / SHOWN]),
        spans=traces.read(data / "spans"),
        poison=frozenset(poison),
        republished=republished,
        lost=tuple(lost),
        unsent={event.id: event for event in unsent},
        authority=x509.load_pem_x509_certificate((data / "pki" / "ca.pem").read_bytes()),
        files=dict(_written(data)),
        whole=True,
    )


def _written(data: Path) -> Iterator[tuple[str, bytes]]:
    for path in (path for folder in WRITTEN for path in (data / folder).iterdir()):
        with suppress(FileNotFoundError):  # the oldest spans go
            yield str(path.relative_to(data)), path.read_bytes()


def access(data: Path, kafka: str) -> Mapping[str, Any]:
    """The client library's settings, with a certificate that may read the topic."""
    certificate = data / "pki" / "service" / "governance-01.pem"
    return {
        "bootstrap.servers": kafka,
        "security.protocol": "ssl",
        "ssl.ca.location": str(data / "pki" / "ca.pem"),
        "ssl.certificate.location": str(certificate),
        "ssl.key.location": str(certificate.with_suffix(".key")),
        "ssl.endpoint.identification.algorithm": "none",
    }
