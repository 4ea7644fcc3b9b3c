"""The command line as a process of its own under a Chinese locale, against a real mesh."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from google.protobuf import json_format

from clients.cli.language import VARIABLES
from clients.demo.plan import Desk
from ronghe.case.v1.case_pb2 import STATE_SUBMITTED
from ronghe.case.v1.case_service_pb2 import GetCaseResponse
from tests.e2e.drive import Mesh, counter

RONGHE = Path(sys.executable).parent / "ronghe"


async def ronghe(mesh: Mesh, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command where the system's locale is Chinese, and nothing else says which language."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | {"LANG": "zh_CN.UTF-8"}
    command = [str(RONGHE), "--data", str(mesh.data), *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, encoding="utf-8", check=False, env=environment
    )


async def test_people_read_chinese_under_a_chinese_locale_and_programs_and_papers_stay_as_they_are(
    mesh: Mesh, desks: Sequence[Desk], tmp_path: Path
) -> None:
    async with counter(mesh, desks[0]) as here:
        case_id = (await here.submit()).case_id
        wrong = here.application()
    wrong.personal.applicant.id_number = "110105194912310021"
    wrong.personal.applicant.id_type = "111"
    file = tmp_path / "wrong.json"
    file.write_text(json_format.MessageToJson(wrong))

    refused = await ronghe(mesh, "submit", "--from", str(file))
    assert refused.returncode == 1
    assert refused.stderr.startswith("INVALID_CHECK_DIGIT: 证件号码的校验位不对")

    show = ("case", "show", case_id, "--at", "intake")
    printed = (await ronghe(mesh, *show)).stdout
    for told in ("状态", "已收件", "收件凭证", "牵头部门", desks[0].item.name):
        assert told in printed

    message = json_format.Parse((await ronghe(mesh, *show, "--json")).stdout, GetCaseResponse())
    assert message.case.state == STATE_SUBMITTED

    voucher = message.case.documents[0]
    text = (await ronghe(mesh, "document", case_id, voucher.number)).stdout
    assert sha256(text.removesuffix("\n").encode()).digest() == voucher.text_digest
