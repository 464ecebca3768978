"""What each of several jobs at once may use of a machine."""

from pathlib import Path
from typing import Any

import pytest

from vaelab.launch.outcome import LaunchedJob
from vaelab.launch.settings import Joblib, read_launcher
from vaelab.launch.shares import at_once, cores, shares


def joblib(**settings: Any) -> Joblib:
    found = read_launcher({"kind": "joblib", "jobs": "auto", "threads": "auto", "gpus": "auto"} | settings)
    assert isinstance(found, Joblib)
    return found


def job(devices: int = 1) -> LaunchedJob:
    return LaunchedJob(0, Path("0"), None, [], devices)


@pytest.mark.parametrize(("available", "jobs"), [(1, 1), (2, 1), (3, 1), (8, 4)])
def test_there_is_one_job_for_every_two_cores(available: int, jobs: int) -> None:
    assert at_once(joblib(), available) == jobs
    assert at_once(joblib(jobs=5), available) == 5


@pytest.mark.parametrize("available", [1, 2, 7, 16])
@pytest.mark.parametrize("several", [1, 2, 4])
@pytest.mark.parametrize("devices", [1, 2])
def test_jobs_together_have_no_more_threads_than_there_are_cores(available: int, several: int, devices: int) -> None:
    found = shares(joblib(), job(devices), 0, several, available, [], {})
    threads = int(found["OMP_NUM_THREADS"])
    assert threads == int(found["MKL_NUM_THREADS"])
    assert threads == 1 or threads * several * devices <= available


def test_what_a_user_has_set_wins_over_auto_and_a_typed_number_over_both() -> None:
    assert shares(joblib(), job(), 0, 2, 8, [], {"OMP_NUM_THREADS": "3"}) == {}
    assert shares(joblib(threads=6), job(), 0, 2, 8, [], {"OMP_NUM_THREADS": "3"})["OMP_NUM_THREADS"] == "6"


def test_jobs_over_one_device_take_the_gpus_in_turn() -> None:
    seen = [shares(joblib(), job(), slot, 4, 8, ["2", "5"], {}).get("CUDA_VISIBLE_DEVICES") for slot in range(4)]
    assert seen == ["2", "5", "2", "5"]
    assert "CUDA_VISIBLE_DEVICES" not in shares(joblib(gpus="all"), job(), 1, 4, 8, ["2", "5"], {})
    assert "CUDA_VISIBLE_DEVICES" not in shares(joblib(), job(devices=2), 1, 4, 8, ["2", "5"], {})
    assert "CUDA_VISIBLE_DEVICES" not in shares(joblib(), job(devices=0), 1, 4, 8, ["2", "5"], {})
    assert "CUDA_VISIBLE_DEVICES" not in shares(joblib(), job(), 1, 4, 8, ["2"], {})


def test_a_machine_has_a_core() -> None:
    assert cores() >= 1
