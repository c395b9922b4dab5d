import logging

import pytest

from pipeline.runtime.ratelimit import RateLimitedLog


def test_it_speaks_once_and_counts_the_rest(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("pipeline.runtime.ratelimit.time.monotonic", lambda: clock[0])
    quiet = RateLimitedLog(logging.getLogger("test"), every_seconds=1.0)

    for _ in range(40):
        quiet.warning("%s: damaged", "lobby")
    assert [record.getMessage() for record in caplog.records] == ["lobby: damaged"]

    clock[0] = 100.99
    quiet.warning("%s: damaged", "lobby")
    assert len(caplog.records) == 1

    clock[0] = 101.0
    quiet.warning("%s: damaged", "lobby")
    assert caplog.records[1].getMessage() == "lobby: damaged (and 40 like it)"

    clock[0] = 102.0
    quiet.warning("%s: damaged", "lobby")
    assert caplog.records[2].getMessage() == "lobby: damaged"
