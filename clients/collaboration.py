"""Collaborations: asking other organs about a case, and answering those who ask."""

import grpc

from clients.base import TIMEOUT, ServiceClient
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_service_pb2_grpc import CollaborationServiceStub


class CollaborationClient(ServiceClient):
    """CollaborationService: organs call it at the department server, centers, operators and auditors at governance."""

    def __init__(self, channel: grpc.aio.Channel, timeout: float = TIMEOUT) -> None:
        super().__init__(channel, timeout)
        self._stub = CollaborationServiceStub(channel)

    async def request_collaboration(self, request: pb.RequestCollaborationRequest) -> pb.RequestCollaborationResponse:
        """Ask others about a case the organ leads; the center gives the collaboration its event number later."""
        return await self._call(self._stub.RequestCollaboration, request)

    async def recall_collaboration(self, request: pb.RecallCollaborationRequest) -> pb.RecallCollaborationResponse:
        """Take a collaboration back; the center says how it ended."""
        return await self._call(self._stub.RecallCollaboration, request)

    async def get_collaboration(self, request: pb.GetCollaborationRequest) -> pb.GetCollaborationResponse:
        """A collaboration by its id or its event number, with tasks, hops and answers."""
        return await self._call(self._stub.GetCollaboration, request)

    async def list_collaborations(self, request: pb.ListCollaborationsRequest) -> pb.ListCollaborationsResponse:
        """A page of collaborations, newest first."""
        return await self._call(self._stub.ListCollaborations, request)

    async def get_task(self, request: pb.GetTaskRequest) -> pb.GetTaskResponse:
        """A task of the organ, with its brief."""
        return await self._call(self._stub.GetTask, request)

    async def list_tasks(self, request: pb.ListTasksRequest) -> pb.ListTasksResponse:
        """A page of the organ's tasks, newest first."""
        return await self._call(self._stub.ListTasks, request)

    async def sign_for_task(self, request: pb.SignForTaskRequest) -> pb.SignForTaskResponse:
        """Sign for a task; the response has the last day for the answer."""
        return await self._call(self._stub.SignForTask, request)

    async def answer_task(self, request: pb.AnswerTaskRequest) -> pb.AnswerTaskResponse:
        """Answer a task that is signed for."""
        return await self._call(self._stub.AnswerTask, request)

    async def return_task(self, request: pb.ReturnTaskRequest) -> pb.ReturnTaskResponse:
        """Return a task that is not the organ's duty."""
        return await self._call(self._stub.ReturnTask, request)
