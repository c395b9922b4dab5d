"""`bauta bench`: runs a module of the checkout's benchmarks/; an installed wheel has none."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import UsageError

_ROOT = Path(__file__).resolve().parent.parent
_HELPERS = {"__init__", "report", "clips"}


def run_benchmark(name: str, arguments: Sequence[str]) -> int:
    """The benchmark's exit code. Raises UsageError where there is no such benchmark."""
    folder = _ROOT / "benchmarks"
    if not (folder / "report.py").is_file():
        raise UsageError("bench needs a checkout of bauta: benchmarks are not part of the wheel")
    known = sorted(
        path.stem
        for path in folder.glob("*.py")
        if path.stem not in _HELPERS and not path.stem.startswith("_")
    )
    if name not in known:
        raise UsageError(f"no benchmark {name!r}; there are: {', '.join(known)}")
    if str(_ROOT) not in sys.path:
        sys.path.insert(0, str(_ROOT))
    return int(importlib.import_module(f"benchmarks.{name}").main(list(arguments)))
