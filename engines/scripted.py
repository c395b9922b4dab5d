"""A fake engine that answers from a function: for tests and fault injection."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .base import Array, EngineError


class ScriptedEngine:
    """Calls `script` for every run; closing works as with a real engine."""

    runtime = "scripted"

    def __init__(self, script: Callable[[Mapping[str, Array]], dict[str, Array]]) -> None:
        self.name = "scripted"
        self._script = script
        self._closed = False

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See Engine."""
        if self._closed:
            raise EngineError("model scripted is closed")
        return self._script(inputs)

    def close(self) -> None:
        """See Engine."""
        self._closed = True
