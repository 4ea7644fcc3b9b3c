"""Signed heads: the checker's own reading of the contract agrees with how services sign, and with nobody else."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from clients.identity import Identity
from faults.checker import signatures
from faults.checker.history import History
from ronghe.event.v1.event_pb2 import JournalHead
from servers.kernel.signing import Signer
from tests.unit.faults_history import true_history
from tests.unit.rpc_support import Authority

OWN, OTHER = "governance-01", "department-01"
HASH = b"h" * 32


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def head_by(authority: Authority, origin: str) -> JournalHead:
    signer = Signer.of(authority.credentials(authority.issue(Identity("service", origin))))
    return signer.sign(1, 7, HASH, datetime(2026, 11, 30, tzinfo=UTC))


def problems(authority: Authority, head: JournalHead) -> list[str]:
    """What is wrong with a head of OWN."""
    history = true_history()
    journal = history.journals["intake"]
    first = journal.rows[0].event
    event = replace(first, origin=OWN, type=JournalHead.DESCRIPTOR.full_name, body=head.SerializeToString())
    held = replace(journal, rows=[replace(journal.rows[0], event=event)])
    known = x509.load_pem_x509_certificate((authority.pki / "ca.pem").read_bytes())
    found = History([], {"intake": held}, [], [], authority=known)
    return [problem.what for problem in signatures.check(found)]


def test_what_a_service_has_signed_is_its_own(authority: Authority) -> None:
    assert problems(authority, head_by(authority, OWN)) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda head: setattr(head, "epoch", 2),
        lambda head: setattr(head, "position", 8),
        lambda head: setattr(head, "hash", b"x" * 32),
        lambda head: head.occurred_at.FromSeconds(1),
    ],
    ids=["epoch", "position", "hash", "occurred_at"],
)
def test_a_signature_holds_for_nothing_else(authority: Authority, change: Callable[[JournalHead], None]) -> None:
    head = head_by(authority, OWN)
    change(head)
    assert problems(authority, head) == [f"a head of {OWN}: its signature is wrong"]


def test_nobody_signs_for_another(authority: Authority) -> None:
    assert problems(authority, head_by(authority, OTHER)) == [f"a head of {OWN}: signed in another's name"]


def test_another_authority_is_none(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger")
    assert problems(authority, head_by(stranger, OWN)) == [f"a head of {OWN}: its certificate: InvalidSignature"]
