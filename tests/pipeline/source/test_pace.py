import pytest

from pipeline.source.pace import Pace


def test_a_file_is_held_to_its_own_speed() -> None:
    now = [50.0]
    pace = Pace(lambda: now[0])
    assert pace.seconds_until(7.0) == 0.0  # the first frame is due, wherever its clock starts
    assert pace.seconds_until(7.5) == pytest.approx(0.5)
    now[0] = 50.5
    assert pace.seconds_until(7.5) == 0.0
    now[0] = 60.0
    assert pace.seconds_until(8.0) == 0.0  # late: as fast as it goes
    assert pace.seconds_until(17.25) == pytest.approx(0.25)
