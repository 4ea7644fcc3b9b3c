"""The next version of ronghe: a copy of the source, in which intake and the leads say more than in this one.

It adds what a version may add (docs/integrators.md): a field to a fact that there is, and a type of fact for intake and
for the lead, with an effect on every view of a case.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
PARTS = ("bridge", "clients", "servers", "proto", "tools", "third_party")
FIELD, BY_INTAKE, BY_LEAD = "新版登记", "新版收件说明", "新版审查说明"
"""What the next version says in the added field, and in the facts of the added types."""
STUBS_SECONDS = 300.0

Edits = Sequence[tuple[str, str]]
"""What stands there once -> what shall stand there."""

EDITS: Mapping[str, Edits] = {
    "proto/ronghe/case/v1/case.proto": [
        ("message Application {\n", "message Application {\n  // What intake noted.\n  string note = 999;\n"),
        (
            "message Case {\n",
            "message Case {\n  // Intake's remarks, and the lead's.\n  repeated string intake_remarks = 998;\n"
            "  repeated string lead_remarks = 999;\n",
        ),
    ],
    "proto/ronghe/event/v1/event.proto": [
        (
            "// Decided: the lead decided",
            "// ApplicationRemarked: intake has remarked on it. Owner: intake.\n"
            "message ApplicationRemarked {\n  google.protobuf.Timestamp occurred_at = 1;\n"
            "  string lead_id = 2;\n  string text = 3;\n}\n\n"
            "// StepRemarked: the lead has remarked on a step. Owner: the lead.\n"
            "message StepRemarked {\n  google.protobuf.Timestamp occurred_at = 1;\n  string text = 2;\n}\n\n"
            "// Decided: the lead decided",
        )
    ],
    "servers/case/fold.py": [
        (
            "SaidByIntake = event.Submitted | event.Supplemented",
            "SaidByIntake = event.Submitted | event.ApplicationRemarked | event.Supplemented",
        ),
        ("    | event.StepRecorded\n", "    | event.StepRecorded\n    | event.StepRemarked\n"),
        (
            "        case event.StepRecorded():\n",
            "        case event.ApplicationRemarked():\n            case.intake_remarks.append(fact.text)\n"
            "        case event.StepRemarked():\n            case.lead_remarks.append(fact.text)\n"
            "        case event.StepRecorded():\n",
        ),
    ],
    "servers/intake/application.py": [
        ("    fold_version = 1\n", "    fold_version = 2\n"),
        (
            "        return [self._decide(state, command, scope)]\n",
            "        fact: Any = self._decide(state, command, scope)\n"
            "        if not isinstance(fact, event.Submitted):\n            return [fact]\n"
            f'        fact.application.note = "{FIELD}"\n'
            "        lead = fact.application.lead.id\n"
            "        remark = event.ApplicationRemarked(\n"
            f'            occurred_at=fact.occurred_at, lead_id=lead, text="{BY_INTAKE}"\n        )\n'
            "        return [fact, remark]\n",
        ),
    ],
    "servers/governance/case.py": [("    fold_version = 3\n", "    fold_version = 4\n")],
    "servers/department/organ_case.py": [
        ("    fold_version = 3\n", "    fold_version = 4\n"),
        (
            "                return [decisions.record_step(case, command, scope.now)]\n",
            "                step = decisions.record_step(case, command, scope.now)\n"
            f'                return [step, event.StepRemarked(occurred_at=step.occurred_at, text="{BY_LEAD}")]\n',
        ),
        (
            "            case event.Supplemented(lead_id=lead_id) |",
            "            case event.ApplicationRemarked(lead_id=lead_id) | event.Supplemented(lead_id=lead_id) |",
        ),
    ],
}


class SourceChanged(Exception):
    """The source is not what the edits were made for."""


def next_version(folder: Path) -> None:
    """Make a copy that can be run; it takes some seconds. Raises SourceChanged."""
    copied(folder)
    command = [sys.executable, "-P", "tools/stubs.py"]
    subprocess.run(command, cwd=folder, check=True, timeout=STUBS_SECONDS, capture_output=True)


def copied(folder: Path) -> None:
    """The edited source, without stubs. Raises SourceChanged."""
    for part in PARTS:
        shutil.copytree(TREE / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*_pb2*"))
    for name, edits in EDITS.items():
        file = folder / name
        file.write_text(edited(file.read_text(), edits, name))


def edited(text: str, edits: Edits, name: str) -> str:
    """The text with these edits; each place must be there once. Raises SourceChanged."""
    for before, after in edits:
        if text.count(before) != 1:
            raise SourceChanged(f"{name} has {text.count(before)} times: {before.strip()}")
        text = text.replace(before, after)
    return text
