"""DocumentService, the same on every subsystem."""

from ronghe.document.v1 import document_service_pb2 as pb
from ronghe.error.v1.reason_pb2 import Reason
from servers.audit.accesses import Accesses
from servers.case.documents import with_addressee
from servers.case.rendering import render
from servers.case.views import CaseView
from servers.kernel.kernel import Kernel
from servers.kernel.stream import Refused
from servers.rpc.call import Call


class DocumentServicer:
    """Shows the papers of a case as a person reads them."""

    service = pb.DESCRIPTOR.services_by_name["DocumentService"]

    def __init__(self, kernel: Kernel, view: CaseView) -> None:
        self._kernel = kernel
        self._view = view
        self._accesses = Accesses(kernel)

    async def GetDocument(self, request: pb.GetDocumentRequest, call: Call) -> pb.GetDocumentResponse:  # noqa: N802
        """One document, with its addressee and its text."""
        case = await self._kernel.read(
            lambda connection: self._view.find(connection, call.caller, call.scope, case_id=request.case_id)
        )
        for document in case.documents:
            if document.number == request.number:
                addressed = with_addressee(document, case)
                shown = pb.GetDocumentResponse(document=addressed, text=render(addressed))
                return await self._accesses.recorded(shown, case.case_id, call)
        raise Refused(Reason.REASON_DOCUMENT_NOT_FOUND, f"the case has no document {request.number}: see GetCase")
