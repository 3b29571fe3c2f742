"""How long an experiment takes with some workers, against times that were worked out by hand."""

import math

import pytest

from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job
from tf_lottery.experiment.timetable import timetable

CONFIG = Config(rounds=2, replicates=3, variants=("ticket",))
WITH_CONTROL = Config(rounds=2, replicates=2, variants=("ticket", "random_reinit"))


def of(config, workers, *, done=(), seconds=10.0, start_up=0.0):
    waiting = [job for job in plan.jobs(config) if job not in done]
    return timetable(config, waiting, lambda job: seconds, workers, start_up=start_up)


@pytest.mark.parametrize(("workers", "seconds"), [(1, 90), (2, 50), (3, 30), (1000, 30)])
def test_rounds_of_a_replicate_follow_each_other(workers, seconds):
    planned = of(CONFIG, workers)
    assert planned.seconds == seconds
    assert (planned.work, planned.longest_chain, planned.chain_length) == (90, 30, 3)
    assert planned.efficiency == pytest.approx(90 / (seconds * workers))


def test_controls_fill_the_time_of_idle_workers():
    # Two replicates of three rounds and two controls each: ten trainings, of which three follow each other.
    assert [of(WITH_CONTROL, workers).seconds for workers in (1, 2, 3, 4)] == [100, 50, 40, 30]


def test_what_is_done_takes_no_time():
    done = {Job(replicate, 0) for replicate in range(3)}
    assert of(CONFIG, 3, done=done).seconds == 20
    nothing = of(CONFIG, 2, done=plan.jobs(CONFIG), start_up=5.0)
    assert (nothing.seconds, nothing.work, nothing.chain_length) == (0, 0, 0)
    assert math.isnan(nothing.efficiency)


def test_a_worker_trains_when_it_has_started():
    assert of(CONFIG, 3, start_up=7.0).seconds == 37


def test_longer_trainings_decide_the_chain():
    def seconds(job):
        return 50.0 if job.replicate == 1 else 10.0

    planned = timetable(CONFIG, plan.jobs(CONFIG), seconds, 3)
    assert (planned.seconds, planned.longest_chain, planned.chain_length) == (150, 150, 3)
