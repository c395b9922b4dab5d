"""So often a day, for each account, in any 24 hours."""

from __future__ import annotations

import threading

from pipeline.review.quota import DAY_SECONDS, DailyQuota


def test_a_day_moves_on() -> None:
    now = [0.0]
    quota = DailyQuota(2, lambda: now[0])
    assert [quota.take(1), quota.take(1), quota.take(1), quota.take(2)] == [True, True, False, True]
    now[0] = DAY_SECONDS - 1
    assert not quota.take(1) and quota.take(2)
    now[0] = DAY_SECONDS
    assert quota.take(1), "refusals do not count"
    now[0] = 3 * DAY_SECONDS
    assert quota.take(3)
    assert list(quota._times) == [3], "who has been away for a day is forgotten"


def test_side_by_side() -> None:
    quota = DailyQuota(50, lambda: 0.0)
    taken: list[bool] = []
    threads = [
        threading.Thread(target=lambda: taken.extend(quota.take(1) for _ in range(20)))
        for _ in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(taken), sum(taken)) == (160, 50)
