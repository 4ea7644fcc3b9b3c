"""The governance process: how it is put together."""

from pathlib import Path
from typing import Any

from bridge.consumer import KafkaConsumer
from bridge.inbox_source import InboxSource
from bridge.relay import Relay
from bridge.status import show_consumer, show_relay, show_source
from clients.credentials import Credentials
from clients.identity import Identity
from clients.subsystem import SubsystemClient
from clients.telemetry.process import telemetry
from ronghe.operations.v1.operations_service_pb2 import (
    BRIDGE_CONSUMER,
    BRIDGE_INBOX_SOURCE,
    BRIDGE_RELAY,
    GetBridgeStatusResponse,
)
from servers.audit.service import AuditServicer
from servers.case.document_service import DocumentServicer
from servers.case.facts import is_said_by_intake
from servers.case.service import CaseServicer
from servers.case.views import CaseView
from servers.catalog.catalog import Catalog
from servers.catalog.service import CatalogServicer
from servers.collaboration.service import CollaborationServicer
from servers.governance.case import CaseStream
from servers.governance.collaboration import CollaborationStream
from servers.governance.service import GovernanceServicer
from servers.kernel.background import in_background
from servers.kernel.bridges import Bridges
from servers.kernel.heads import Heads, JournalStream
from servers.kernel.inbox_service import InboxServicer
from servers.kernel.kernel import running
from servers.kernel.operations import OperationsServicer
from servers.kernel.signing import Authorities
from servers.kernel.stream import Stream
from servers.kernel.subsystem import Subsystem
from servers.law.calendar import Calendar
from servers.observed import count_commits, observe_consumer, observe_kernel, observe_relay
from servers.process import read_secret, share_the_interpreter, spare_the_collector, stopped
from servers.restored import relearning
from servers.rpc.paging import Pages
from servers.rpc.server import serving
from servers.settings import SubsystemSettings


async def main(settings: SubsystemSettings) -> None:
    """Serve until told to stop."""
    identity = Identity("service", settings.origin)
    credentials = Credentials.load(settings.pki, identity)
    catalog, pages = Catalog.load(), Pages(read_secret(settings.secret))
    cases = CaseStream()
    view = CaseView(cases.table, cases.state)
    authorities = Authorities(credentials)
    streams: list[Stream[Any]] = [
        cases,
        CollaborationStream(catalog, Calendar.load()),
        JournalStream(settings.origin, authorities, settings.peer_origin, passes_on=True),
    ]
    subsystem = Subsystem(settings.origin, streams, Path(__file__).parent / "migrations")
    async with (
        telemetry(
            settings.origin, settings.spans, settings.sampling, settings.process, settings.span_bytes
        ) as observed,
        running(
            settings.database_url,
            subsystem,
            observed.spans,
            stepped=settings.stepped_clock,
            observe=count_commits(observed.metrics),
            prepare=relearning(settings, lambda _: True),
        ) as kernel,
        SubsystemClient(settings.peer, settings.pki, identity) as intake,
    ):
        source = InboxSource(kernel, intake, settings.peer_origin, settings.bridge)
        relay = Relay(kernel, settings.kafka_access(), settings.bridge, observed.spans)
        consumer = KafkaConsumer(
            sink=kernel,
            access=settings.kafka_access(),
            settings=settings.bridge,
            spans=observed.spans,
            group=settings.origin,
            instance=settings.process,
            origin=settings.origin,
            # What intake says comes straight from intake.
            wanted=lambda name: not is_said_by_intake(name),
        )
        works = {BRIDGE_INBOX_SOURCE: source.run, BRIDGE_RELAY: relay.run, BRIDGE_CONSUMER: consumer.run}
        bridges = Bridges(kernel, works)
        observe_kernel(observed.metrics, kernel)
        observe_relay(observed.metrics, kernel)
        observe_consumer(observed.metrics, consumer.state)

        def show(status: GetBridgeStatusResponse) -> None:
            show_source(source.peer, source.state, status)
            show_relay(relay.state, kernel.signals.position, status)
            show_consumer(consumer.state, settings.bridge, status)

        heads = Heads(kernel, settings.pki, settings.head_seconds)
        servicers = (
            InboxServicer(kernel),
            CaseServicer(kernel, view, pages, publishes=True),
            CollaborationServicer(kernel, pages),
            GovernanceServicer(kernel, catalog, pages),
            DocumentServicer(kernel, view),
            CatalogServicer(catalog, pages, kernel.clock),
            AuditServicer(kernel, pages),
            OperationsServicer(
                kernel, pages, bridges, authorities, settings.shown(), show, lambda: observed.spans.dropped
            ),
        )
        async with (
            in_background(heads.run(), *bridges.running()),
            serving(servicers, settings.listen, credentials, observed.spans, observe=observed.metrics.call),
        ):
            spare_the_collector()
            share_the_interpreter()
            await stopped()
