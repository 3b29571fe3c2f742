"""The remaining time and the count of the trainings of a run."""

import pytest

from tf_lottery.experiment.directory import Job
from tf_lottery.experiment.run_progress import Speed, TrainingCount


def test_the_time_left_counts_from_the_first_report():
    times = iter([100.0, 110.0, 130.0])
    remaining = Speed(now=lambda: next(times))
    assert remaining.seconds_left(2.0, 10) is None
    assert remaining.seconds_left(3.0, 10) == pytest.approx(70.0)
    assert remaining.seconds_left(5.0, 10) == pytest.approx(50.0)


def test_the_count_adds_fractions_of_running_trainings():
    count = TrainingCount()
    count.start(total=5, waiting=3)
    count.advance(Job(0, 1), 50, 100)
    count.advance(Job(0, 1, "random_reinit"), 25, 100)
    assert count.done == 2.75
    count.finish(Job(0, 1))
    assert count.done == 3.25
