"""The intake process: how it is put together."""

from pathlib import Path

from bridge.inbox_source import InboxSource
from bridge.status import show_source
from clients.credentials import Credentials
from clients.identity import Identity
from clients.subsystem import SubsystemClient
from clients.telemetry.process import telemetry
from ronghe.operations.v1.operations_service_pb2 import BRIDGE_INBOX_SOURCE
from servers.audit.service import AuditServicer
from servers.case.document_service import DocumentServicer
from servers.case.facts import concerns_intake
from servers.case.service import CaseServicer
from servers.case.views import CaseView
from servers.catalog.catalog import Catalog
from servers.catalog.service import CatalogServicer
from servers.intake.application import ApplicationStream
from servers.intake.lookup import QueryCodeLookup
from servers.intake.query_code import QueryCodes
from servers.intake.service import IntakeServicer
from servers.kernel.background import in_background
from servers.kernel.bridges import Bridges
from servers.kernel.heads import Heads, JournalStream
from servers.kernel.inbox_service import InboxServicer
from servers.kernel.kernel import running
from servers.kernel.operations import OperationsServicer
from servers.kernel.signing import Authorities
from servers.kernel.subsystem import Subsystem
from servers.observed import count_commits, observe_kernel
from servers.process import read_secret, share_the_interpreter, spare_the_collector, stopped
from servers.restored import relearning
from servers.rpc.paging import Pages
from servers.rpc.server import serving
from servers.settings import SubsystemSettings


async def main(settings: SubsystemSettings) -> None:
    """Serve until told to stop."""
    secret = read_secret(settings.secret)
    identity = Identity("service", settings.origin)
    credentials = Credentials.load(settings.pki, identity)
    catalog, codes, pages = Catalog.load(), QueryCodes(secret), Pages(secret)
    rules = ApplicationStream(settings.origin, settings.peer_origin, catalog, codes, settings.intakes)
    view = CaseView(rules.table, rules.state)
    authorities = Authorities(credentials)
    journal = JournalStream(settings.origin, authorities, settings.peer_origin)
    subsystem = Subsystem(settings.origin, [rules, journal], Path(__file__).parent / "migrations")
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
            prepare=relearning(settings, concerns_intake),
        ) as kernel,
        SubsystemClient(settings.peer, settings.pki, identity) as governance,
    ):
        source = InboxSource(kernel, governance, settings.peer_origin, settings.bridge)
        bridges = Bridges(kernel, {BRIDGE_INBOX_SOURCE: source.run})
        observe_kernel(observed.metrics, kernel)
        heads = Heads(kernel, settings.pki, settings.head_seconds)
        servicers = (
            IntakeServicer(kernel, view, pages, QueryCodeLookup(kernel, view, codes)),
            InboxServicer(kernel),
            CaseServicer(kernel, view, pages, publishes=False),
            DocumentServicer(kernel, view),
            CatalogServicer(catalog, pages, kernel.clock),
            AuditServicer(kernel, pages),
            OperationsServicer(
                kernel,
                pages,
                bridges,
                authorities,
                settings.shown(),
                lambda status: show_source(source.peer, source.state, status),
                lambda: observed.spans.dropped,
            ),
        )
        async with (
            in_background(heads.run(), *bridges.running()),
            serving(servicers, settings.listen, credentials, observed.spans, observe=observed.metrics.call),
        ):
            spare_the_collector()
            share_the_interpreter()
            await stopped()
