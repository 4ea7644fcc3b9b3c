import errno
import json
import os
import re
import socket
import ssl
import stat
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from bridge import kafka
from clients.credentials import Credentials, CredentialsError
from clients.identity import KINDS, Identity
from servers.mesh import certificates, pki, up
from servers.mesh.errors import MeshError
from servers.mesh.pki import Authority, issue_all, list_certificates, secret_file
from servers.mesh.ports import free_ports

ORGAN = Identity("organ", "fire-500103")
SERVICE = Identity("service", "intake-01")


def certificate(folder: Path, identity: Identity) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / identity.kind / f"{identity.id}.pem").read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("kind", KINDS)
def test_a_party_of_any_kind_can_use_its_certificate(tmp_path: Path, kind: str) -> None:
    issue_all(tmp_path, [Identity(kind, "one")])
    credentials = Credentials.load(tmp_path, Identity(kind, "one"))
    assert (credentials.identity, credentials.domain) == (Identity(kind, "one"), "ronghe.local")


def test_a_certificate_carries_the_identity_and_the_names_of_this_machine(tmp_path: Path) -> None:
    issue_all(tmp_path, [ORGAN])
    found = certificate(tmp_path, ORGAN)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://ronghe.local/organ/fire-500103"]
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "organ/fire-500103"


def test_a_certificate_is_good_for_a_year(tmp_path: Path) -> None:
    issue_all(tmp_path, [ORGAN])
    left = certificate(tmp_path, ORGAN).not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=364) < left <= timedelta(days=365)


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    authority = issue_all(tmp_path / "pki", [ORGAN])
    keystore = authority.issue_broker()
    secret = secret_file(tmp_path / "pki", "intake-01")
    keys = [*(tmp_path / "pki").rglob("*.key"), keystore, secret]
    assert {path.name for path in keys} >= {"ca.key", "fire-500103.key", "broker.key"}
    assert {mode(path) for path in keys} == {0o600}
    assert mode(tmp_path / "pki") == 0o700


def test_what_is_there_stays(tmp_path: Path) -> None:
    issue_all(tmp_path, [ORGAN, SERVICE]).issue_broker()
    secret_file(tmp_path, "intake-01")
    before = contents(tmp_path)
    issue_all(tmp_path, [ORGAN, SERVICE]).issue_broker()
    secret_file(tmp_path, "intake-01")
    assert contents(tmp_path) == before


def test_what_soon_expires_is_made_anew_by_the_same_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(pki, "LIFETIME", timedelta(days=29))
        issue_all(tmp_path, [ORGAN]).issue_broker()
    old, authority = contents(tmp_path), (tmp_path / "ca.pem").read_bytes()
    keystore = issue_all(tmp_path, [ORGAN]).issue_broker()
    assert certificate(tmp_path, ORGAN).not_valid_after_utc > datetime.now(UTC) + timedelta(days=364)
    assert Credentials.load(tmp_path, ORGAN).ca == authority
    assert keystore.read_bytes() != old["broker/keystore.pem"]


@pytest.mark.parametrize("suffix", [".pem", ".key"])
def test_an_issue_that_was_cut_short_is_done_again(tmp_path: Path, suffix: str) -> None:
    issue_all(tmp_path, [ORGAN])
    (tmp_path / "organ" / f"{ORGAN.id}{suffix}").unlink()
    issue_all(tmp_path, [ORGAN])
    context_of(tmp_path, ORGAN, ssl.PROTOCOL_TLS_CLIENT)


def test_a_renewal_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    """The new key is there, the certificate is the old one still."""
    authority = issue_all(tmp_path, [ORGAN])
    path = tmp_path / "organ" / f"{ORGAN.id}.pem"
    old = path.read_bytes()
    authority.issue(ORGAN, anew=True)
    path.write_bytes(old)
    issue_all(tmp_path, [ORGAN])
    context_of(tmp_path, ORGAN, ssl.PROTOCOL_TLS_CLIENT)


def test_a_renewal_writes_both_files_before_either_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk, or where it is killed: the pair that was there is whole."""
    authority = issue_all(tmp_path, [ORGAN])
    made, open_ = [], os.open

    def full(path: Path, *arguments: Any) -> int:
        made.append(path)
        if len(made) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return open_(path, *arguments)

    before = Credentials.load(tmp_path, ORGAN)
    with monkeypatch.context() as crowded:
        crowded.setattr(os, "open", full)
        with pytest.raises(OSError, match="No space left"):
            authority.issue(ORGAN, anew=True)
    assert Credentials.load(tmp_path, ORGAN).certificate == before.certificate


def test_two_who_renew_at_once_mix_no_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first stands still between the key and the certificate; the other one comes meanwhile."""
    authorities = issue_all(tmp_path, [ORGAN]), Authority(tmp_path)
    between, may_go_on, replace = threading.Event(), threading.Event(), Path.replace

    def slow(path: Path, target: Path) -> Path:
        first = not between.is_set() and target.suffix == ".pem"
        if first:
            between.set()
            may_go_on.wait(30)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", slow)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(authorities[0].issue, ORGAN, anew=True)
        assert between.wait(30)
        second = threads.submit(authorities[1].issue, ORGAN, anew=True)
        wait([second], timeout=0.5)  # where nothing keeps it out it is done by then
        may_go_on.set()
        first.result()
        second.result()
    Credentials.load(tmp_path, ORGAN)


def test_a_subsystem_whose_renewal_was_cut_short_is_mended_before_it_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the key is new and the certificate is not, it could not start."""
    monkeypatch.setattr(up, "check_there", lambda *_: None)
    authority = issue_all(tmp_path / "pki", [SERVICE])
    path = tmp_path / "pki" / "service" / f"{SERVICE.id}.pem"
    old = path.read_bytes()
    authority.issue(SERVICE, anew=True)
    path.write_bytes(old)
    up._check("", tmp_path, "intake")
    whole = Credentials.load(tmp_path / "pki", SERVICE)
    up._check("", tmp_path, "intake")
    assert Credentials.load(tmp_path / "pki", SERVICE).certificate == whole.certificate


def test_a_party_whose_certificate_is_half_a_file_gets_another(tmp_path: Path) -> None:
    authority = issue_all(tmp_path, [SERVICE])
    (tmp_path / "service" / f"{SERVICE.id}.pem").write_bytes(b"-----BEGIN CERT")
    authority.issue(SERVICE)
    assert Credentials.load(tmp_path, SERVICE).identity == SERVICE


def test_no_other_authority_takes_the_place_of_one_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "check_there", lambda *_: None)
    pki = tmp_path / "pki"
    issue_all(pki, [SERVICE])
    key = (pki / "ca.key").read_bytes()
    (pki / "ca.pem").unlink()
    for begins in (lambda: up._check("", tmp_path, "intake"), lambda: issue_all(pki, [ORGAN])):
        with pytest.raises(MeshError, match=r"ca\.pem"):
            begins()
    assert (pki / "ca.key").read_bytes() == key


def test_the_list_names_every_party_with_the_day_its_certificate_ends(tmp_path: Path) -> None:
    issue_all(tmp_path, [ORGAN, SERVICE]).issue_broker()
    listed = list(list_certificates(tmp_path))
    assert [found.name for found in listed] == ["broker/broker", "organ/fire-500103", "service/intake-01"]
    assert listed[1].not_after == certificate(tmp_path, ORGAN).not_valid_after_utc
    assert listed[1].path == tmp_path / "organ" / "fire-500103.pem"


def test_everyone_is_renewed_the_brokers_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    issue_all(tmp_path / "pki", [ORGAN]).issue_broker()
    before = contents(tmp_path / "pki")
    assert certs(tmp_path, monkeypatch, "--anew") == 0
    after = contents(tmp_path / "pki")
    assert capsys.readouterr().out.split() == ["organ/fire-500103", "broker/broker"]
    assert {name for name in after if after[name] == before[name]} == {"lock", "ca.key", "ca.pem"}


def test_a_broker_that_could_not_be_told_is_named_and_everybody_else_has_his(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would go on with the old one, for months perhaps."""
    issue_all(tmp_path / "pki", [Identity("service", "governance-01")]).issue_broker()
    before = contents(tmp_path / "pki")
    (tmp_path / "run").mkdir()
    (nobody,) = free_ports(1)
    (tmp_path / "run" / "endpoints.json").write_text(json.dumps({"kafka": {"address": f"127.0.0.1:{nobody}"}}))
    monkeypatch.setattr(kafka, "ADMIN_SECONDS", 0.5)
    assert certs(tmp_path, monkeypatch, "--anew") == 1
    said = capsys.readouterr()
    assert said.out == "service/governance-01\n"
    told = "broker/broker has a new file, but the broker was not told: .*; do it again, or restart the mesh\n"
    assert re.fullmatch(told, said.err)
    after = contents(tmp_path / "pki")
    assert {name for name in after if after[name] == before[name]} == {"lock", "ca.key", "ca.pem"}


def certs(data: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["certs", "--data", str(data), *arguments])
    return certificates.main()


def test_each_deployment_has_a_secret_of_its_own(tmp_path: Path) -> None:
    secrets = {secret_file(tmp_path, name).read_bytes() for name in ("intake-01", "governance-01")}
    assert [len(secret) for secret in secrets] == [32, 32]


def test_strict_clients_and_servers_accept_each_other(tmp_path: Path) -> None:
    issue_all(tmp_path, [ORGAN, SERVICE])
    assert "spiffe://ronghe.local/organ/fire-500103" in handshake(tmp_path, tmp_path, "localhost")
    assert "spiffe://ronghe.local/organ/fire-500103" in handshake(tmp_path, tmp_path, "127.0.0.1")


def test_the_certificate_of_another_authority_is_refused(tmp_path: Path) -> None:
    issue_all(tmp_path / "ours", [SERVICE])
    issue_all(tmp_path / "theirs", [ORGAN])
    (tmp_path / "theirs" / "ca.pem").write_bytes((tmp_path / "ours" / "ca.pem").read_bytes())
    with pytest.raises(ssl.SSLError):
        handshake(tmp_path / "ours", tmp_path / "theirs", "localhost")
    with pytest.raises(CredentialsError, match=r"which is not in .*ca\.pem"):
        Credentials.load(tmp_path / "theirs", ORGAN)


@pytest.mark.parametrize("part", [0, 300])
def test_an_authority_that_is_half_copied_is_told(tmp_path: Path, part: int) -> None:
    """A server or a client that runs goes on with what it has, and looks again."""
    issue_all(tmp_path, [ORGAN])
    before = Credentials.load(tmp_path, ORGAN)
    whole = (tmp_path / "ca.pem").read_bytes()
    (tmp_path / "organ" / f"{ORGAN.id}.pem").touch()
    (tmp_path / "ca.pem").write_bytes(whole[:part])
    with pytest.raises(CredentialsError, match=r"ca\.pem does not hold certificates in PEM form"):
        Credentials.load(tmp_path, ORGAN)
    assert before.renewed() is None
    (tmp_path / "ca.pem").write_bytes(whole)
    assert before.renewed() is not None


def handshake(server: Path, client: Path, name: str) -> list[str]:
    """The URIs that a server reads in its client's certificate, after mutual TLS over a socket pair."""
    left, right = socket.socketpair()
    left.settimeout(10)
    right.settimeout(10)

    def serve() -> list[str]:
        context = context_of(server, SERVICE, ssl.PROTOCOL_TLS_SERVER)
        with context.wrap_socket(left, server_side=True) as accepted:
            return [value for kind, value in accepted.getpeercert()["subjectAltName"] if kind == "URI"]

    def call() -> None:
        with context_of(client, ORGAN, ssl.PROTOCOL_TLS_CLIENT).wrap_socket(right, server_hostname=name) as connected:
            connected.recv(1)

    with ThreadPoolExecutor() as threads:
        calling = threads.submit(call)
        try:
            return threads.submit(serve).result()
        finally:
            calling.exception()


def context_of(folder: Path, identity: Identity, protocol: int) -> ssl.SSLContext:
    """As strict as the newest Pythons are by default."""
    context = ssl.SSLContext(protocol)
    path = folder / identity.kind / f"{identity.id}.pem"
    context.load_cert_chain(path, path.with_suffix(".key"))
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context
