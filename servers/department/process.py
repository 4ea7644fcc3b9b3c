"""The department process: how it is put together."""

from pathlib import Path
from typing import Any

from bridge.consumer import KafkaConsumer
from bridge.relay import Relay
from bridge.status import show_consumer, show_relay
from clients.credentials import Credentials
from clients.identity import Identity
from clients.telemetry.process import telemetry
from ronghe.operations.v1.operations_service_pb2 import BRIDGE_CONSUMER, BRIDGE_RELAY, GetBridgeStatusResponse
from servers.audit.service import AuditServicer
from servers.case.document_service import DocumentServicer
from servers.case.facts import concerns_departments
from servers.case.service import CaseServicer
from servers.case.views import CaseView
from servers.catalog.catalog import Catalog
from servers.catalog.service import CatalogServicer
from servers.department.collaboration import AskedCollaborationStream
from servers.department.collaboration_service import OrganCollaborationServicer
from servers.department.organ_case import OrganCaseStream
from servers.department.service import DepartmentServicer
from servers.department.task import TaskStream
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
    credentials = Credentials.load(settings.pki, Identity("service", settings.origin))
    catalog, pages = Catalog.load(), Pages(read_secret(settings.secret))
    calendar = Calendar.load()
    cases = OrganCaseStream(settings.origin, catalog, calendar)
    authorities = Authorities(credentials)
    streams: list[Stream[Any]] = [
        cases,
        AskedCollaborationStream(settings.origin, catalog),
        TaskStream(settings.origin, catalog, calendar),
        JournalStream(settings.origin, authorities),
    ]
    view = CaseView(cases.table, cases.state)
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
            prepare=relearning(settings, concerns_departments),
        ) as kernel,
    ):
        relay = Relay(kernel, settings.kafka_access(), settings.bridge, observed.spans)
        consumer = KafkaConsumer(
            sink=kernel,
            access=settings.kafka_access(),
            settings=settings.bridge,
            spans=observed.spans,
            group=settings.origin,
            instance=settings.process,
            origin=settings.origin,
            # What a lead says of its case concerns intake and the center.
            wanted=concerns_departments,
        )
        bridges = Bridges(kernel, {BRIDGE_RELAY: relay.run, BRIDGE_CONSUMER: consumer.run})
        observe_kernel(observed.metrics, kernel)
        observe_relay(observed.metrics, kernel)
        observe_consumer(observed.metrics, consumer.state)

        def show(status: GetBridgeStatusResponse) -> None:
            show_relay(relay.state, kernel.signals.position, status)
            show_consumer(consumer.state, settings.bridge, status)

        heads = Heads(kernel, settings.pki, settings.head_seconds)
        servicers = (
            DepartmentServicer(kernel),
            OrganCollaborationServicer(kernel, pages),
            InboxServicer(kernel),
            CaseServicer(kernel, view, pages, publishes=True),
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
