"""The fuzz target itself: its seeds are real, and its doors let nothing but RecordError by."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.record_readers import DOORS, read_any, seeds

SEEDS = seeds()


@pytest.mark.parametrize("at", range(len(SEEDS)))
def test_a_seed_is_read_to_its_end(at: int) -> None:
    """RecordError would come out here: a fuzzer that begins with refusals gets nowhere."""
    DOORS[SEEDS[at][0]](SEEDS[at][1:])


def test_every_door_has_a_seed() -> None:
    assert {seed[0] for seed in SEEDS} == set(range(len(DOORS)))


@given(st.sampled_from(SEEDS), st.data())
def test_changed_seeds_are_read_or_refused(seed: bytes, data: st.DataObject) -> None:
    changed = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(1, len(seed) - 1))] = data.draw(st.integers(0, 255))
    read_any(bytes(changed[: data.draw(st.integers(0, len(seed)))]))
    read_any(bytes(changed))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    read_any(data)


def test_the_target_is_imported_without_the_fuzzer() -> None:
    path = Path(__file__).parent / "fuzz_records.py"
    assert callable(runpy.run_path(str(path), run_name="imported")["main"])
