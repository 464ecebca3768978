"""Which runs of trackers belong to folders, where several processes ask at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vaelab.record.trackers import identity
from vaelab.record.trackers.identity import FILE, given, recall

PART = """
import sys
from pathlib import Path
from time import sleep
from vaelab.record.trackers.identity import alone, given, recall, remember

sweep = Path(sys.argv[1])
sys.stdin.readline()  # until all processes are there
with alone(sweep):
    if recall(sweep, "mlflow") is None:
        sleep(0.1)  # as long as a server may take
        remember(sweep, "mlflow", f"made by {sys.argv[2]}")
print(recall(sweep, "mlflow"), given("MLFLOW_RUN_ID", sweep), given("MLFLOW_RUN_ID", sweep), sep=",")
"""


@pytest.mark.long
def test_jobs_that_start_together_share_one_run_of_the_sweep_and_one_takes_the_id_that_is_given(tmp_path: Path) -> None:
    environment = os.environ | {"MLFLOW_RUN_ID": "from-outside"}
    jobs = [
        subprocess.Popen([sys.executable, "-c", PART, str(tmp_path), str(number)], env=environment, text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for number in range(4)
    ]  # fmt: skip
    for job in jobs:
        assert job.stdin is not None
        job.stdin.write("go\n")
        job.stdin.flush()
    found = [job.communicate()[0].strip().split(",") for job in jobs]
    assert len({made for made, _, _ in found}) == 1
    assert sorted(first for _, first, _ in found) == ["None", "None", "None", "from-outside"]
    assert {second for _, _, second in found} == {"None"}


def test_an_id_that_is_given_is_of_one_run_without_a_sweep_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_taken", set())
    monkeypatch.setenv("WANDB_RUN_ID", "one")
    assert [given("WANDB_RUN_ID"), given("WANDB_RUN_ID")] == ["one", None]
    monkeypatch.setenv("WANDB_RUN_ID", "")
    assert given("WANDB_RUN_ID") is None
    (tmp_path / FILE).write_text(json.dumps({"wandb": "two"}))
    assert recall(tmp_path, "wandb") == "two"
