"""Counters of a session and what a status makes of them."""

from __future__ import annotations

import time

import pytest

from pipeline.counts import LATENCY_BUCKETS_MS, LatencyHistogram, SessionCounts
from pipeline.status import _cumulative, camera_status


def test_a_latency_is_counted_in_its_bucket() -> None:
    histogram = LatencyHistogram()
    for ms in (1, 25, 25.001, 60, 4999, 5000, 5001, 60_000):
        histogram.add(round(ms * 1e6))
    found = _cumulative(histogram.counts)
    assert list(found) == [*map(str, LATENCY_BUCKETS_MS), "+Inf"]
    assert (found["25"], found["50"], found["75"], found["2000"]) == (2, 3, 4, 4)
    assert (found["5000"], found["+Inf"]) == (6, 8)
    assert histogram.sum_ns == pytest.approx(75_111.001e6, rel=1e-9)


def test_since_when_is_kept_while_the_state_is() -> None:
    counts = SessionCounts()
    counts.to_state("down", "no route")
    since, since_ms = counts.since, counts.since_ms
    assert abs(since_ms - time.time() * 1000) < 5000
    time.sleep(0.01)
    counts.to_state("down", "refused")
    assert (counts.since, counts.since_ms, counts.error) == (since, since_ms, "refused")
    counts.to_state("up")
    assert counts.since > since and counts.since_ms > since_ms


def test_without_a_session_it_is_said_since_when() -> None:
    status = camera_status("a", None, "no key", since_ms=time.time_ns() // 1_000_000 - 61_500)
    assert 61.4 <= status.seconds_in_state < 70
    assert "no key (since 6" in status.as_line()
    assert camera_status("a", None).seconds_in_state == 0.0
