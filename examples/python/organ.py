"""An organ's back office: it takes new cases out of its inbox, accepts, examines, grants and closes each.

python organ.py DEPARTMENT-ADDRESS PKI-FOLDER ORGAN-ID CASES ends after so many cases.
"""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from clients.department import DepartmentClient
from clients.errors import CaseChanged, RongheError
from clients.identity import Identity
from ronghe.case.v1.case_pb2 import Application, Step
from ronghe.department.v1 import department_service_pb2 as pb
from ronghe.event.v1.event_pb2 import Submitted
from ronghe.party.v1.party_pb2 import Officer


async def work(address: str, pki: str, organ: str, cases: str) -> None:
    """Serve the inbox; the client opens it again when it is lost, and repeats calls that got no answer."""
    left = int(cases)
    async with DepartmentClient(address, Path(pki), Identity("organ", organ)) as department:
        async for item in department.inbox():
            fact = Submitted()
            try:
                if item.event.fact.Unpack(fact):
                    # A real office stores when its officer acted, before it sends it.
                    now = max(item.message.since, fact.occurred_at, key=lambda time: (time.seconds, time.nanos))
                    await grant(department, fact.application, now)
                    left -= 1
                await item.ack()
            except RongheError as error:
                say(fact.application.case_no, "not granted:", error)
                # A case that has ended otherwise needs nothing more. Anything else comes again.
                await (item.ack() if error.reason == "ILLEGAL_STATE" else item.nack(timedelta(minutes=1)))
            if left == 0:
                break


async def grant(department: DepartmentClient, case: Application, now: Any) -> None:
    """Do the four acts. All requests are the same after a restart: what is done is answered as before."""

    def act(name: str) -> Any:
        request_id, officer = str(uuid5(UUID(case.case_id), name)), Officer(id="py-1", name="经办人")
        return {"request_id": request_id, "actor": officer, "occurred_at": now, "case_id": case.case_id}

    async def decide(version: int) -> pb.DecideApplicationResponse:
        granted = pb.DecideApplicationRequest.Granted(certificate_number=f"PY-{case.case_no}")
        request = pb.DecideApplicationRequest(**act(f"decide on {version}"), if_version=version, granted=granted)
        return await department.decide_application(request)

    none = pb.AcceptApplicationRequest.NoCollaboration(reason="无需其他部门协同")
    accepted = await department.accept_application(pb.AcceptApplicationRequest(**act("accept"), none=none))
    say(case.case_no, "accepted:", accepted.receipt.number)
    step = Step(name="审查", result=Step.RESULT_PASSED, started_at=now, ended_at=now)
    recorded = await department.record_step(pb.RecordStepRequest(**act("step"), step=step))
    say(case.case_no, "step recorded")
    try:
        decided = await decide(recorded.version)
    except CaseChanged as changed:
        # The officer looks at what has come in the meantime; this one is not impressed.
        say(case.case_no, "has changed:", changed.metadata["events"])
        decided = await decide(int(changed.metadata["version"]))
    say(case.case_no, "granted:", decided.decision.number)
    await department.close_case(pb.CloseCaseRequest(**act("close")))
    say(case.case_no, "closed")


def say(*words: object) -> None:
    """Print it at once."""
    print(*words, flush=True)


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
