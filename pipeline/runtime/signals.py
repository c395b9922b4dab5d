"""SIGINT and SIGTERM as a wish to stop tidily."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(act: Callable[[], object]) -> Iterator[list[int]]:
    """While inside, both call `act`; the list holds those that came. Before's handlers come back.

    For the main thread only, as `signal.signal` is.
    """
    seen: list[int] = []

    def note(number: int, _: object) -> None:
        seen.append(number)
        act()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
