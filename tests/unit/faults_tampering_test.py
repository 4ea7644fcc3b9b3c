"""Whose journals somebody changes."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from faults.injections import tampering
from faults.injections.stage import Stage
from faults.mesh import SUBSYSTEMS
from faults.meshes.evidence import EvidenceMesh
from faults.scenes.tampering import ANEW, BY_HAND, schedule


class Copying(EvidenceMesh):
    """Notes what is copied."""

    async def serve_copy(self, name: str) -> None:
        self.of = name
        self.served = [*getattr(self, "served", []), (name, self.folder.name)]


def test_every_journal_is_attacked_in_every_way() -> None:
    names = [fault.name for fault in schedule(False, Random(1))]
    ways = [what for what, _ in (*BY_HAND, *ANEW)]
    assert sorted(names[:-1]) == sorted(f"journal of {name}: {what}" for name in SUBSYSTEMS for what in ways)
    assert names[-1] == "journals untouched"


async def test_each_database_is_copied_once_into_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heads(_: object) -> Sequence[int]:
        return range(10)

    monkeypatch.setattr(tampering, "read", lambda *_: None)
    monkeypatch.setattr(tampering, "_heads", heads)
    mesh, load = Copying(tmp_path / "data", 0), SimpleNamespace()
    stage = Stage(mesh, tmp_path / "crashes", Random(1), {}, load)  # type: ignore[arg-type]
    for name in ("intake", "intake", "department"):
        await tampering._with_copy(stage, name)
    assert mesh.served == [("intake", "intake"), ("department", "department")]
