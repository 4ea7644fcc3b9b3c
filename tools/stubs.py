"""Fetches the contracts of others that ours import, and generates the Python stubs of both.

Run as `python tools/stubs.py`; `make setup` does. What it writes is git-ignored. It does nothing when nothing changed.
"""

import hashlib
import shutil
import sys
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import jgo
from google import rpc
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
THIRD_PARTY = ROOT / "third_party"
CACHE = ROOT / ".cache"
STAMP = CACHE / "stubs.sha256"

PROTOVALIDATE = "build.buf:protovalidate:1.0.0"
VALIDATE = "buf/validate/validate.proto"
VALIDATE_SHA256 = "780f450e5e1b773cb6c52d32b93655ec915187d2c777aa9ddc0119b573c1e1d2"
GOOGLE = ("google/rpc/status.proto", "google/rpc/error_details.proto", "google/type/date.proto")


def main() -> None:
    """Generate the stubs when a contract has changed since the last time."""
    fetch_third_party()
    digest = contracts_digest()
    if STAMP.exists() and STAMP.read_text() == digest:
        return
    generate()
    STAMP.parent.mkdir(exist_ok=True)
    STAMP.write_text(digest)


def fetch_third_party() -> None:
    """Fill `third_party/` from the packages that carry the imported contracts."""
    site = Path(next(iter(rpc.__path__))).parent.parent
    for name in GOOGLE:
        copy(site / name, THIRD_PARTY / name)
    if not (THIRD_PARTY / VALIDATE).exists():
        write(THIRD_PARTY / VALIDATE, validate_proto())


def validate_proto() -> bytes:
    """The validation rules' own contract, out of their Maven jar, checked by its sum."""
    environment = jgo.build(PROTOVALIDATE, cache_dir=CACHE / "protovalidate")
    jar = next(Path(environment.path).rglob("protovalidate-*.jar"))
    with zipfile.ZipFile(jar) as archive:
        content = archive.read(VALIDATE)
    found = hashlib.sha256(content).hexdigest()
    if found != VALIDATE_SHA256:
        sys.exit(
            f"{VALIDATE} in {PROTOVALIDATE} has the sum {found}, not {VALIDATE_SHA256}: delete .cache and try again"
        )
    return content


def contracts() -> Iterator[Path]:
    """Every contract of ours, and the validation rules' own."""
    yield from sorted((PROTO / "ronghe").rglob("*.proto"))
    yield THIRD_PARTY / VALIDATE


def contracts_digest() -> str:
    """One sum over all contracts and over the generator."""
    total = hashlib.sha256(Path(__file__).read_bytes())
    for path in contracts():
        total.update(path.read_bytes())
    return total.hexdigest()


def generate() -> None:
    """Write the stubs beside the contracts, so that the path of a contract is the path of its module."""
    for stale in (PROTO / "ronghe").rglob("*_pb2*.py*"):
        stale.unlink()
    well_known = Path(str(find_spec("grpc_tools").submodule_search_locations[0])) / "_proto"  # type: ignore[union-attr,index]
    arguments = ["protoc", f"-I{PROTO}", f"-I{THIRD_PARTY}", f"-I{well_known}"]
    arguments += [f"--{kind}_out={PROTO}" for kind in ("python", "grpc_python")]
    arguments += [f"--{kind}_out=quiet:{PROTO}" for kind in ("mypy", "mypy_grpc")]
    bin_folder = Path(sys.executable).parent
    arguments += [f"--plugin=protoc-gen-{name}={bin_folder / f'protoc-gen-{name}'}" for name in ("mypy", "mypy_grpc")]
    if protoc.main(arguments + [str(path) for path in contracts()]) != 0:
        sys.exit("the contracts do not compile: see above")


def copy(source: Path, target: Path) -> None:
    """Copy a file, with the folders above it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def write(target: Path, content: bytes) -> None:
    """Write a file, with the folders above it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


if __name__ == "__main__":
    main()
