"""What a runtime prepares once per input shape (buffers, a captured graph): the latest few."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from .base import Array

Shapes = tuple[tuple[str, tuple[int, ...]], ...]  # name and shape of every input, sorted
T = TypeVar("T")


def shapes_of(inputs: Mapping[str, Array]) -> Shapes:
    """The key under which what fits these inputs is kept."""
    return tuple(sorted((name, array.shape) for name, array in inputs.items()))


class ShapeCache(Generic[T]):
    """At most `depth` of them: faces come in many sizes, and each holds memory of the GPU."""

    def __init__(
        self, depth: int, make: Callable[[Shapes], T], drop: Callable[[T], None] = lambda _: None
    ) -> None:
        """`make` prepares for one set of shapes; `drop` frees what it made."""
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self._depth, self._make, self._drop = depth, make, drop
        self._made: OrderedDict[Shapes, T] = OrderedDict()

    def get(self, shapes: Shapes) -> T:
        """Made now or kept from before. What was unused for longest goes first, and before the new
        one is made: both at once might not fit."""
        if shapes in self._made:
            self._made.move_to_end(shapes)
            return self._made[shapes]
        while len(self._made) >= self._depth:
            self._drop(self._made.popitem(last=False)[1])
        self._made[shapes] = made = self._make(shapes)
        return made

    def clear(self) -> None:
        """Drop all."""
        while self._made:
            self._drop(self._made.popitem()[1])

    def __len__(self) -> int:
        return len(self._made)
