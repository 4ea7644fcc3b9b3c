"""Certificates, toy servicers and a list of spans for the tests of servers.rpc and of the clients."""
# ruff: noqa: N802 - the contract's names

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bridge.ports import StoreUnavailable
from clients.credentials import Credentials
from clients.identity import Identity
from clients.telemetry import SpanContext
from ronghe.case.v1 import case_pb2
from ronghe.catalog.v1 import catalog_pb2, catalog_service_pb2
from ronghe.department.v1 import department_service_pb2
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.inbox.v1 import inbox_service_pb2
from ronghe.intake.v1 import intake_service_pb2
from ronghe.party.v1 import party_pb2
from servers.kernel.stream import Refused
from servers.rpc.bulk import answer_each, execute_each
from servers.rpc.call import Call
from servers.rpc.errors import to_status

DOMAIN = "ronghe.local"
ORGAN = Identity("organ", "fire-500103")
TERMINAL = Identity("terminal", "yukuaiban")
SERVER = Identity("service", "intake-01")


class Authority:
    """A local certificate authority that writes the folder the clients read."""

    def __init__(self, pki: Path, name: str = "ronghe test") -> None:
        self.pki = pki
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        ca = self._signed(self._name, self._key, timedelta(days=1), [])
        pki.mkdir(parents=True, exist_ok=True)
        (pki / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, identity: Identity, *, uri: str | None = None, lifetime: timedelta = timedelta(hours=1)
    ) -> Identity:
        """A certificate for the identity, or with another URI in its place."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(identity))])
        names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        names.append(x509.UniformResourceIdentifier(uri or identity.uri(DOMAIN)))
        certificate = self._signed(subject, key, lifetime, names)
        path = self.pki / identity.kind / f"{identity.id}.pem"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        path.with_suffix(".key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return identity

    def credentials(self, identity: Identity) -> Credentials:
        return Credentials.load(self.pki, identity)

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        lifetime: timedelta,
        names: Sequence[x509.GeneralName],
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + lifetime)
            .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


@dataclass
class SpanList:
    """Keeps what is recorded."""

    spans: list[dict[str, Any]] = field(default_factory=list)

    def record(
        self,
        name: str,
        context: SpanContext,
        *,
        parent: int | None,
        kind: str,
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, str | int | float | bool],
        links: Sequence[SpanContext] = (),
        error: str | None = None,
    ) -> None:
        self.spans.append(
            {"name": name, "context": context, "parent": parent, "kind": kind, "error": error, **attributes}
        )


class ToyCatalog:
    """Answers by item code; every call is kept."""

    service = catalog_service_pb2.DESCRIPTOR.services_by_name["CatalogService"]

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.release = asyncio.Event()
        self.started = asyncio.Event()
        self.answers: dict[str, Callable[[], Exception]] = {
            "bug": lambda: ValueError("id number 500103199001011234"),
            "unknown": lambda: Refused(Reason.REASON_ITEM_NOT_FOUND, "no such item", {"item_code": "unknown"}),
            "store": lambda: StoreUnavailable("down"),
        }

    async def ListCenters(
        self, request: catalog_service_pb2.ListCentersRequest, call: Call
    ) -> catalog_service_pb2.ListCentersResponse:
        return catalog_service_pb2.ListCentersResponse()

    async def PreviewCollaborators(
        self, request: catalog_service_pb2.PreviewCollaboratorsRequest, call: Call
    ) -> catalog_service_pb2.PreviewCollaboratorsResponse:
        return catalog_service_pb2.PreviewCollaboratorsResponse()

    async def GetServiceItem(
        self, request: catalog_service_pb2.GetServiceItemRequest, call: Call
    ) -> catalog_service_pb2.GetServiceItemResponse:
        self.calls.append(call)
        self.started.set()
        if request.code in self.answers:
            raise self.answers[request.code]()
        if request.code == "slow":
            await self.release.wait()
        return catalog_service_pb2.GetServiceItemResponse(item=catalog_pb2.ServiceItem(code=request.code))

    async def ListServiceItems(self, request: Any, call: Call) -> catalog_service_pb2.ListServiceItemsResponse:
        return catalog_service_pb2.ListServiceItemsResponse()

    async def ListDivisions(self, request: Any, call: Call) -> catalog_service_pb2.ListDivisionsResponse:
        return catalog_service_pb2.ListDivisionsResponse()

    async def ListOrgans(self, request: Any, call: Call) -> catalog_service_pb2.ListOrgansResponse:
        return catalog_service_pb2.ListOrgansResponse()


class ToyIntake:
    """Gives every application its request id as case id; fails as often as told before."""

    service = intake_service_pb2.DESCRIPTOR.services_by_name["IntakeService"]
    bulk = ("SubmitApplications",)

    def __init__(self, failures: Sequence[Exception] = ()) -> None:
        self.failures = list(failures)
        self.request_ids: list[str] = []
        self.messages: list[int] = []
        """How many applications each message of a bulk call had."""
        self.break_after: int | None = None

    async def SubmitApplication(
        self, request: intake_service_pb2.SubmitApplicationRequest, call: Call
    ) -> intake_service_pb2.SubmitApplicationResponse:
        self.request_ids.append(request.request_id)
        if self.failures:
            raise self.failures.pop(0)
        return intake_service_pb2.SubmitApplicationResponse(case_id=request.request_id)

    async def SubmitApplications(
        self, requests: AsyncIterator[intake_service_pb2.SubmitApplicationsRequest], call: Call
    ) -> AsyncIterator[intake_service_pb2.SubmitApplicationsResponse]:
        async def execute(commands: Sequence[Any]) -> Sequence[Any]:
            return [await self.SubmitApplication(command, call) for command in commands]

        async def answer(
            request: intake_service_pb2.SubmitApplicationsRequest,
        ) -> Sequence[intake_service_pb2.SubmitApplicationsResponse.Result]:
            self.messages.append(len(request.applications))
            outcomes = await execute_each(request, request.applications, lambda application: application, execute)
            results = []
            for application, outcome in zip(request.applications, outcomes, strict=True):
                result = intake_service_pb2.SubmitApplicationsResponse.Result(request_id=application.request_id)
                if isinstance(outcome, Exception):
                    result.failed.CopyFrom(to_status(outcome, call.method))
                else:
                    result.accepted.CopyFrom(outcome)
                results.append(result)
            return results

        async for results in answer_each(requests, lambda request: request.applications, answer):
            yield intake_service_pb2.SubmitApplicationsResponse(results=results)
            if self.break_after is not None and len(self.request_ids) >= self.break_after:
                self.break_after = None
                raise StoreUnavailable("lost")

    async def _unused(self, request: Any, call: Call) -> Any:
        raise AssertionError("no test calls it")

    SupplementApplication = _unused
    RequestWithdrawal = _unused
    GetApplication = _unused
    GetApplicationByQueryCode = _unused
    ListApplications = _unused


class ToyDepartment:
    """Answers every command with the version that stands in its `if_version`."""

    service = department_service_pb2.DESCRIPTOR.services_by_name["DepartmentService"]

    async def ExecuteCommands(
        self, requests: AsyncIterator[department_service_pb2.ExecuteCommandsRequest], call: Call
    ) -> AsyncIterator[department_service_pb2.ExecuteCommandsResponse]:
        async for request in requests:
            response = department_service_pb2.ExecuteCommandsResponse()
            for wrapped in request.commands:
                name = wrapped.WhichOneof("command")
                assert name is not None
                command = getattr(wrapped, name)
                getattr(response.results.add(request_id=command.request_id), name).version = command.if_version
            yield response

    async def _unused(self, request: Any, call: Call) -> Any:
        raise AssertionError("no test calls it")

    AcceptApplication = _unused
    RefuseAcceptance = _unused
    RequestCorrection = _unused
    RecordStep = _unused
    DecideApplication = _unused
    CloseCase = _unused


class ToyInbox:
    """Serves numbered items; `breaks` says after how many acknowledgements each session ends, and how."""

    service = inbox_service_pb2.DESCRIPTOR.services_by_name["InboxService"]

    def __init__(self, items: int, breaks: Sequence[tuple[int, Exception]] = ()) -> None:
        self.unacknowledged = set(range(1, items + 1))
        self.breaks = list(breaks)
        self.openings: list[inbox_service_pb2.OpenInboxRequest.Open] = []
        self.messages: list[inbox_service_pb2.OpenInboxRequest] = []
        self.empty = asyncio.Event()

    async def OpenInbox(
        self, requests: AsyncIterator[inbox_service_pb2.OpenInboxRequest], call: Call
    ) -> AsyncIterator[inbox_service_pb2.OpenInboxResponse]:
        opening = (await anext(requests)).open
        self.openings.append(opening)
        sent: set[int] = set()
        yield self._next(sent, opening.credit)
        count, error = self.breaks.pop(0) if self.breaks else (0, None)
        seen = 0
        async for request in requests:
            self.messages.append(request)
            self.unacknowledged.difference_update(request.acknowledge.sequences)
            seen += len(request.acknowledge.sequences)
            if error is not None and seen >= count:
                raise error
            if not self.unacknowledged:
                self.empty.set()
            yield self._next(sent, opening.credit - len(sent & self.unacknowledged))

    async def FetchInbox(
        self, request: inbox_service_pb2.FetchInboxRequest, call: Call
    ) -> inbox_service_pb2.FetchInboxResponse:
        waiting = self._next(set(), request.limit or 100)
        return inbox_service_pb2.FetchInboxResponse(epoch=waiting.epoch, items=waiting.items)

    async def AckInbox(
        self, request: inbox_service_pb2.AckInboxRequest, call: Call
    ) -> inbox_service_pb2.AckInboxResponse:
        self.unacknowledged.difference_update(request.sequences)
        return inbox_service_pb2.AckInboxResponse()

    def _next(self, sent: set[int], credit: int) -> inbox_service_pb2.OpenInboxResponse:
        numbers = sorted(self.unacknowledged - sent)[:credit]
        sent.update(numbers)
        items = [inbox_service_pb2.InboxItem(sequence=number) for number in numbers]
        return inbox_service_pb2.OpenInboxResponse(epoch=1, items=items)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another task is about to do."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the condition is on the far side of a connection
            await asyncio.sleep(0.01)


def application(**changes: Any) -> intake_service_pb2.SubmitApplicationRequest:
    """An application that keeps every rule of the contract."""
    request = intake_service_pb2.SubmitApplicationRequest(
        actor=party_pb2.Actor(applicant=party_pb2.ApplicantActor(method="face", level=4)),
        channel=case_pb2.CHANNEL_APP,
        item_code="IT-001",
        application_kind=case_pb2.APPLICATION_KIND_NEW,
        applicant_type=party_pb2.APPLICANT_TYPE_NATURAL_PERSON,
        personal=party_pb2.PersonalData(
            applicant=party_pb2.Party(name="王小明", id_type="111", id_number="11010519491231002X")
        ),
        division="500103",
    )
    request.MergeFrom(intake_service_pb2.SubmitApplicationRequest(**changes))
    return request
