from __future__ import annotations

import logging
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from engines.plan_cache import PlanCache, PlanKey, ShapeRange, cache_folder

KEY = PlanKey(
    model_sha256="ab" * 32,
    gpu="NVIDIA H200",
    compute_capability=(9, 0),
    tensorrt="11.4.0",
    precision="half",
    shapes=ShapeRange.for_levels(2),
)
PLAN = bytes(range(256)) * 40 + b"\n\n"


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "plans").iterdir())


def test_a_plan_comes_back_as_it_was(cache: PlanCache, tmp_path: Path) -> None:
    assert cache.load(KEY) is None and not cache.has(KEY)
    cache.store(KEY, PLAN)
    assert cache.load(KEY) == PLAN and cache.has(KEY)
    assert PlanCache(tmp_path / "plans").load(KEY) == PLAN
    cache.store(KEY, b"")
    assert cache.load(KEY) == b""


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, model_sha256="cd" * 32),
        replace(KEY, gpu="NVIDIA H100"),
        replace(KEY, compute_capability=(8, 6)),
        replace(KEY, tensorrt="11.4.1"),
        replace(KEY, precision="float32"),
        replace(KEY, shapes=ShapeRange.for_levels(1)),
    ],
)
def test_whatever_a_plan_depends_on_tells_it_apart(cache: PlanCache, other: PlanKey) -> None:
    cache.store(KEY, PLAN)
    assert cache.load(other) is None
    cache.store(other, b"other")
    assert cache.load(KEY) == PLAN


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:10],
        lambda content: b"",
        lambda content: content + b"x",
        lambda content: content[:500] + bytes([content[500] ^ 1]) + content[501:],
        lambda content: content.replace(b"plan 1", b"plan 2", 1),
    ],
)
def test_a_damaged_plan_is_thrown_away_and_said(
    cache: PlanCache, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    cache.store(KEY, PLAN)
    (path,) = files(tmp_path)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with caplog.at_level(logging.WARNING):
        assert cache.load(KEY) is None
    assert "is damaged: thrown away" in caplog.text
    assert files(tmp_path) == []
    cache.store(KEY, PLAN)
    assert cache.load(KEY) == PLAN


def test_a_reader_sees_a_whole_plan_or_none(
    cache: PlanCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off while writing: the plan from before stays, and nothing lies about."""
    cache.store(KEY, b"before")

    def cut_off(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", cut_off)
    with pytest.raises(KeyboardInterrupt):
        cache.store(KEY, PLAN)
    assert cache.load(KEY) == b"before"
    assert len(files(tmp_path)) == 1


def test_plans_are_the_users_own(cache: PlanCache, tmp_path: Path) -> None:
    cache.store(KEY, PLAN)
    assert stat.S_IMODE((tmp_path / "plans").stat().st_mode) == 0o700
    assert stat.S_IMODE(files(tmp_path)[0].stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_written_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = PlanCache(tmp_path / "file" / "plans")
    with caplog.at_level(logging.WARNING):
        cache.store(KEY, PLAN)
    assert "cannot be kept" in caplog.text
    assert cache.load(KEY) is None


def test_discarded_plans_are_gone(cache: PlanCache) -> None:
    cache.store(KEY, PLAN)
    cache.discard(KEY)
    cache.discard(KEY)
    assert cache.load(KEY) is None


def test_timings_are_shared_by_the_models_of_a_gpu(cache: PlanCache) -> None:
    assert cache.load_timings(KEY) == b""
    cache.store_timings(KEY, b"timings")
    other_model = replace(KEY, model_sha256="cd" * 32, precision="float32")
    assert cache.load_timings(other_model) == b"timings"
    assert cache.load_timings(replace(KEY, gpu="NVIDIA L4")) == b""
    assert cache.load_timings(replace(KEY, tensorrt="12.0")) == b""


def test_verdicts_belong_to_the_plans_together(cache: PlanCache) -> None:
    keys = {"protect": KEY, "recover": replace(KEY, model_sha256="cd" * 32)}
    assert cache.load_verdict(keys) is None
    for kept in (True, False):
        cache.store_verdict(keys, kept)
        assert cache.load_verdict(keys) is kept
    assert cache.load_verdict(keys | {"recover": replace(KEY, model_sha256="ef" * 32)}) is None


def test_where_plans_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "bauta" / "plans"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "bauta" / "plans"


def test_ranges_go_up() -> None:
    shapes = ShapeRange.for_levels(2)
    assert (shapes.batch, shapes.side) == ((1, 16, 16), (2, 28, 128))
    for wrong in ((0, 1, 2), (3, 2, 4), (1, 5, 4)):
        with pytest.raises(ValueError, match="go up"):
            ShapeRange(wrong, (1, 1, 1))
