"""Which way arrows point: proto <- clients <- bridge <- servers, and subsystems do not know each other."""

import ast
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SUBSYSTEMS = ("intake", "governance", "department")
# Package -> what it may not import.
FORBIDDEN = {
    "clients": ("bridge", "servers", "tests", "benchmarks", "faults"),
    "bridge": ("servers", "tests", "benchmarks", "faults"),
    "servers": ("tests", "benchmarks", "faults", "clients.cli", "clients.demo"),
    "servers/kernel": tuple(
        f"servers.{name}" for name in (*SUBSYSTEMS, "case", "catalog", "law", "mesh", "process", "settings")
    ),
    "servers/rpc": tuple(f"servers.{name}" for name in (*SUBSYSTEMS, "case", "catalog", "law", "mesh")),
    "servers/law": tuple(f"servers.{name}" for name in (*SUBSYSTEMS, "case", "catalog", "rpc", "kernel", "mesh")),
    "servers/catalog": tuple(f"servers.{name}" for name in (*SUBSYSTEMS, "case", "mesh")),
    **{
        f"servers/{name}": tuple(f"servers.{other}" for other in (*SUBSYSTEMS, "mesh"))
        for name in ("case", "collaboration", "audit")
    },
    # What breaks the product, and judges it, touches it from outside only.
    "faults": ("bridge", "servers", "tests", "benchmarks", "clients.cli", "clients.demo"),
    **{
        f"servers/{name}": tuple(f"servers.{other}" for other in (*SUBSYSTEMS, "mesh") if other != name)
        for name in SUBSYSTEMS
    },
}
# A migration does today what it did on the day that it was written.
MIGRATIONS = ("servers/kernel/migrations/versions", *(f"servers/{name}/migrations" for name in SUBSYSTEMS))
# Pure rules: no clock, no network, no database.
PURE = ("servers/law", "servers/case/fold.py", "servers/case/rules.py", "servers/department/decisions.py")
IMPURE = ("asyncio", "grpc", "confluent_kafka", "sqlite3", "time", "random", "socket", "structlog")


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def files_of(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("place", FORBIDDEN)
def test_no_package_imports_what_stands_above_or_beside_it(place: str) -> None:
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files_of(place)
        for name in imports_of(path)
        if any(is_in(name, forbidden) for forbidden in FORBIDDEN[place])
    ]
    assert found == []


@pytest.mark.parametrize("place", MIGRATIONS)
def test_a_migration_depends_on_no_code_that_may_change(place: str) -> None:
    ours = ("clients", "bridge", "servers", "ronghe")
    found = [name for path in files_of(place) for name in imports_of(path) if name.partition(".")[0] in ours]
    assert found == []


@pytest.mark.parametrize("place", MIGRATIONS)
def test_which_migration_is_the_newest_is_seen_from_their_names(place: str) -> None:
    before = None
    for path in files_of(place):
        migration = runpy.run_path(str(path))
        assert (migration["revision"], migration["down_revision"]) == (path.stem, before)
        before = path.stem


@pytest.mark.parametrize("place", PURE)
def test_rules_are_pure(place: str) -> None:
    found = [name for path in files_of(place) for name in imports_of(path) if name.partition(".")[0] in IMPURE]
    assert found == []


def test_only_one_module_imports_the_kafka_client() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for place in ("clients", "bridge", "servers")
        for path in files_of(place)
        if any(is_in(name, "confluent_kafka") for name in imports_of(path))
    }
    assert users == {"bridge/kafka.py"}
