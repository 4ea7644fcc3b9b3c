"""Kafka's jars: fetched once by their pinned coordinates, checked by their sums each time."""

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from jgo.env import EnvironmentBuilder
from jgo.maven import MavenContext

from servers.mesh.errors import MeshError

COORDINATES = "org.apache.kafka:kafka_2.13:4.2.1+org.slf4j:slf4j-simple:1.7.36"
SUMS = Path(__file__).parent / "jars.sha256"
PROJECT = Path(__file__).parent.parent.parent


def cache_folder() -> Path:
    """Where the jars lie: RONGHE_CACHE, or the project's own git-ignored folder."""
    return Path(os.environ.get("RONGHE_CACHE", PROJECT / ".cache")) / "kafka"


def class_path() -> str:
    """The class path of a broker; raises MeshError when a jar is missing or not the one that was pinned."""
    found = {path.name: path for path in sorted(_environments().rglob("*.jar"))}
    for name, expected in _sums().items():
        path = found.get(name)
        if path is None:
            raise MeshError(f"the Kafka jar {name} is missing: run `make setup`")
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise MeshError(f"the Kafka jar {path} is corrupted: run `make setup` to fetch it again")
    return os.pathsep.join(str(found[name]) for name in _sums())


def fetch() -> None:
    """Fetch the jars unless they are there and whole; raises MeshError when what was fetched is not what was pinned."""
    try:
        class_path()
    except MeshError:
        shutil.rmtree(cache_folder(), ignore_errors=True)
        _resolve()
        class_path()


def _resolve() -> None:
    # A repository of its own: jars in the user's are linked, not copied, so a damaged one would come back each time.
    context = MavenContext(repo_cache=cache_folder() / "repository")
    try:
        EnvironmentBuilder(context, cache_dir=cache_folder()).from_endpoint(COORDINATES)
    except (OSError, RuntimeError) as error:
        reason = type(error).__name__
        raise MeshError(f"Kafka cannot be fetched ({reason}): run `make setup` again with a network") from error


def _environments() -> Path:
    return cache_folder() / "envs"


def _sums() -> Mapping[str, str]:
    """File name -> SHA-256."""
    lines = (line.split() for line in SUMS.read_text().splitlines())
    return {name: digest for digest, name in lines}


if __name__ == "__main__":
    try:
        fetch()
    except MeshError as error:
        sys.exit(str(error))
