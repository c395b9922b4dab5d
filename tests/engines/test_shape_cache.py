from __future__ import annotations

import numpy as np
import pytest

from engines.shape_cache import ShapeCache, Shapes, shapes_of


def shapes(side: int) -> Shapes:
    return shapes_of({"y": np.zeros((1, 2, side, side), np.float32)})


def test_the_key_is_names_and_shapes_in_any_order() -> None:
    a, b = np.zeros((1, 2), np.float32), np.zeros((3,), np.float32)
    assert (
        shapes_of({"x": a, "y": b}) == shapes_of({"y": b, "x": a}) == (("x", (1, 2)), ("y", (3,)))
    )
    assert shapes_of({"x": b, "y": a}) != shapes_of({"x": a, "y": b})


def test_made_once_and_dropped_by_age_of_use() -> None:
    events: list[str] = []

    def make(key: Shapes) -> int:
        events.append(f"make {key[0][1][2]}")
        return key[0][1][2]

    cache = ShapeCache(2, make, lambda side: events.append(f"drop {side}"))
    assert [cache.get(shapes(side)) for side in (4, 8, 4, 12)] == [4, 8, 4, 12]
    assert events == ["make 4", "make 8", "drop 8", "make 12"]  # 4 was used again
    assert len(cache) == 2
    cache.clear()
    assert sorted(events[4:]) == ["drop 12", "drop 4"]
    assert cache.get(shapes(4)) == 4


def test_what_cannot_be_made_is_not_kept() -> None:
    def make(_: Shapes) -> int:
        raise MemoryError

    cache = ShapeCache(1, make)
    for _ in range(2):
        with pytest.raises(MemoryError):
            cache.get(shapes(4))
    assert len(cache) == 0


def test_a_depth_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        ShapeCache(0, lambda key: key)
