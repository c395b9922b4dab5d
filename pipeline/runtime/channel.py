"""A bounded queue between two threads: a depth, an overflow rule, a count."""

from __future__ import annotations

import enum
import threading
import time
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Overflow(enum.Enum):
    """What a full channel does with a new item."""

    BLOCK = "block"  # files: nothing is lost, the sender waits
    DROP_OLDEST = "drop oldest"  # live: the newest matters, the oldest leaves


class ChannelClosed(Exception):
    """The other side has ended."""


class Channel(Generic[T]):
    """One sender, one receiver."""

    def __init__(self, depth: int, overflow: Overflow) -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self._depth = depth
        self._overflow = overflow
        self._items: deque[T] = deque()
        self._condition = threading.Condition()
        self._closed = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def depth(self) -> int:
        """How many items it holds at most."""
        return self._depth

    def send(self, item: T) -> None:
        """Put an item in. Raises ChannelClosed where nobody will take it."""
        with self._condition:
            if self._overflow is Overflow.BLOCK:
                while len(self._items) >= self._depth and not self._closed:
                    self._condition.wait()
            if self._closed:
                raise ChannelClosed
            if len(self._items) >= self._depth:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self._condition.notify_all()

    def receive(self, timeout_seconds: float | None = None) -> T:
        """The oldest item. Raises ChannelClosed at the end, TimeoutError where none came."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with self._condition:
            while not self._items:
                if self._closed:
                    raise ChannelClosed
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError
                self._condition.wait(left)
            item = self._items.popleft()
            self._condition.notify_all()
            return item

    def close(self) -> None:
        """No more items: the receiver still gets what is inside, senders are refused."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def abort(self) -> None:
        """Close and forget what is inside: originals do not outlive their use."""
        with self._condition:
            self._closed = True
            self._items.clear()
            self._condition.notify_all()
