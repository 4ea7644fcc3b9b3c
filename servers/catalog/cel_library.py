"""The library of CEL without its command line, which would load a terminal into every process."""

import sys
from types import ModuleType

sys.modules.setdefault("cel.cli", ModuleType("cel.cli"))

import cel  # noqa: E402 - it would load what is named above

__all__ = ["cel"]
