"""Who started a process, as its environment says."""

import pytest

from vaelab.errors import ConfigError
from vaelab.external import Launch, by_itself, counts, from_launcher, launched, refuse_other_counts

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "fraud-7", "TORCHELASTIC_RESTART_COUNT": "1", "RANK": "5", "LOCAL_RANK": "1",
    "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "GROUP_RANK": "1", "GROUP_WORLD_SIZE": "2",
    "MASTER_ADDR": "node1", "MASTER_PORT": "29500",
}  # fmt: skip
SLURM = {
    "SLURM_JOB_ID": "812", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_RESTART_COUNT": "1",
}  # fmt: skip


def test_a_person_is_no_launcher() -> None:
    assert launched({}) is None
    assert launched({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}) is None  # which Lightning itself has started


def test_torchrun_tells_counts_and_the_name_of_the_job() -> None:
    assert launched(TORCHRUN) == Launch("torchrun", "fraud-7", "fraud-7", 1, 5, 8, 4, 2)
    drawn = "3ab9f767-94b7-4df3-9648-79fcdb410966"
    standalone = launched(TORCHRUN | {"TORCHELASTIC_RUN_ID": drawn})
    assert standalone is not None
    assert (standalone.job, standalone.identity) == ("", drawn)
    static = launched(TORCHRUN | {"TORCHELASTIC_RUN_ID": "none"})
    assert static is not None
    assert (static.job, static.identity) == ("", "node1:29500")


def test_slurm_tells_counts_and_the_id_of_the_job() -> None:
    assert launched(SLURM) == Launch("slurm", "812", "812", 1, 5, 8, 4, 2)
    array = launched(SLURM | {"SLURM_ARRAY_JOB_ID": "800", "SLURM_ARRAY_TASK_ID": "12"})
    assert array is not None
    assert array.job == "800_12"
    second = launched(SLURM | {"SLURM_STEP_ID": "1"})
    assert second is not None
    assert second.job == "812-1"


def test_the_script_of_a_slurm_job_is_one_process() -> None:
    script = launched({name: value for name, value in SLURM.items() if name != "SLURM_STEP_ID"})
    assert script is not None
    assert (script.rank, script.world, script.first) == (0, 1, True)


@pytest.mark.parametrize("name", ["bash", "interactive"])
def test_a_shell_within_slurm_is_a_person(name: str) -> None:
    assert launched(SLURM | {"SLURM_JOB_NAME": name}) is None


def test_the_folder_of_a_job_tells_command_lines_apart() -> None:
    launch = launched(SLURM | {"SLURM_ARRAY_JOB_ID": "800", "SLURM_ARRAY_TASK_ID": "12"})
    assert launch is not None
    one, other = launch.folder_name(["seed=1"]), launch.folder_name(["seed=2"])
    assert one.startswith("slurm-800_12-")
    assert one != other
    named = launched(TORCHRUN | {"TORCHELASTIC_RUN_ID": "../my job"})
    assert named is not None
    assert named.folder_name([]).startswith("torchrun-my-job-")


def test_counts_that_differ_from_the_launchers_are_refused() -> None:
    launch = launched(TORCHRUN)
    refuse_other_counts(launch, 4, 2)
    refuse_other_counts(None, 2, 1)
    with pytest.raises(ConfigError, match="torchrun started 4 processes on each of 2 nodes; trainer=torchrun takes"):
        refuse_other_counts(launch, 1, 1)
    with pytest.raises(ConfigError, match="8 processes on 3 nodes"):
        refuse_other_counts(launched(SLURM | {"SLURM_NNODES": "3"}), 2, 3)


def test_whatever_there_is_means_what_the_launcher_started() -> None:
    assert counts(launched(TORCHRUN), "auto", 1) == (4, 2)
    assert counts(launched(TORCHRUN), 2, 1) == (2, 1)
    assert counts(None, "auto", 1) == ("auto", 1)
    script = launched({name: value for name, value in SLURM.items() if name != "SLURM_STEP_ID"})
    assert counts(script, "auto", 1) == ("auto", 1)  # it starts the others itself


def test_trainers_of_launchers_need_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert from_launcher("per_node", "torchrun") == 4
    assert from_launcher("nodes", "torchrun") == 2
    with pytest.raises(ConfigError, match="trainer=slurm: slurm did not start this process; start the run with srun"):
        from_launcher("nodes", "slurm")


def test_a_number_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="WORLD_SIZE=many"):
        launched(TORCHRUN | {"WORLD_SIZE": "many"})


def test_a_run_that_a_launched_process_starts_is_counted_by_nobody() -> None:
    assert launched(by_itself(TORCHRUN)) is None
    assert launched(by_itself(SLURM)) is None
    assert by_itself({"HOME": "/root", "CUDA_VISIBLE_DEVICES": "1"}) == {"HOME": "/root", "CUDA_VISIBLE_DEVICES": "1"}
