import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.protect.budget import Budget, cost_of


def test_costs_go_with_the_area() -> None:
    assert cost_of(112) == 1
    assert cost_of(224) == pytest.approx(4)
    assert cost_of(32) == 0.25  # overhead


def test_a_second_holds_what_it_should() -> None:
    budget = Budget(10)
    spent = 0
    for frame in range(250):  # ten seconds, always more to do than may be done
        while budget.has_any(frame / 25):
            budget.spend(1)
            spent += 1
    assert 10 * 10 <= spent <= 10 * 10 + 11


def test_what_costs_more_than_all_of_it_happens_now_and_then() -> None:
    budget = Budget(2)
    done = []
    for frame in range(25 * 60):
        if budget.has_any(frame / 25):
            budget.spend(20)
            done.append(frame / 25)
    assert len(done) == pytest.approx(60 * 2 / 20, abs=1)


@given(st.floats(0.1, 100), st.lists(st.tuples(st.floats(0, 2), st.floats(0.01, 30)), max_size=80))
def test_no_stretch_of_time_is_overspent(rate: float, wishes: list[tuple[float, float]]) -> None:
    budget = Budget(rate)
    now = spent = largest = 0.0
    for wait, cost in wishes:
        now += wait
        if budget.has_any(now):
            budget.spend(cost)
            spent += cost
            largest = max(largest, cost)
        assert spent <= rate + rate * now + largest + 1e-6


def test_time_that_runs_back_earns_nothing() -> None:
    budget = Budget(1)
    assert budget.has_any(100.0)
    budget.spend(5)
    assert not budget.has_any(50.0)
    assert not budget.has_any(51.0)


def test_what_was_not_needed_is_given_back() -> None:
    budget = Budget(1)
    assert budget.has_any(0)
    budget.spend(3)
    assert not budget.has_any(0)
    budget.spend(-3)
    assert budget.has_any(0)
