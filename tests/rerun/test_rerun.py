"""`vaelab rerun` trains a run again from its record: the same bits, or what differs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from tracker_files import config, wandb_records
from vaelab.cli import main
from vaelab.runs.listed import list_runs

REAL_DATA = Path(os.environ.get("VAELAB_DATA", Path(__file__).parents[2] / "data"))
QUICK = ("logger=none", "task.baselines=false", "encoder=mlp_small", "trainer.enable_progress_bar=false")


@dataclass(frozen=True)
class Done:
    """What a command left.

    Attributes:
        code: its exit code.
        out: what it printed on standard output.
        err: and on standard error.
        made: the run folder that it made; None if it made none.
    """

    code: int
    out: str
    err: str
    made: Path | None

    @property
    def verdict(self) -> dict[str, Any]:
        """What `rerun.json` says."""
        assert self.made is not None, self.err
        found: dict[str, Any] = json.loads((self.made / "rerun.json").read_text())
        return found

    @property
    def last(self) -> str:
        """The last line."""
        return self.out.splitlines()[-1]

    def differing(self, kind: str) -> dict[str, tuple[str, str]]:
        """What differs, of one kind."""
        return {one["what"]: (one["then"], one["now"]) for one in self.verdict["differences"] if one["kind"] == kind}


Command = Callable[..., Done]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def vaelab(logs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `vaelab ...` in this process."""

    def run(*arguments: str) -> Done:
        before = {path.parent for path in logs.rglob("config.yaml")}
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["/usr/bin/vaelab", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        made = {path.parent for path in logs.rglob("config.yaml")} - before
        return Done(code, *capsys.readouterr(), made.pop() if made else None)

    return run


@pytest.fixture
def places(logs: Path) -> list[str]:
    """What is never taken from a run folder."""
    return [f"paths.log_dir={logs}", f"paths.data_dir={REAL_DATA}"]


@pytest.mark.long
def test_a_run_done_again_has_the_same_bits_and_another_seed_is_named(
    vaelab: Command, logs: Path, places: list[str]
) -> None:
    first = vaelab("train", "trainer.max_epochs=1", "logger=none", *places)
    assert first.code == 0, first.err
    assert first.made is not None

    same = vaelab("rerun", str(first.made), *places)
    count = len(same.verdict["numbers"])
    assert count > 15
    assert (same.code, same.last) == (0, f"the same bit for bit: all {count} numbers")
    assert same.made is not None
    assert same.made.parent == first.made.parent != same.made
    assert same.verdict["same_first_weights"] is True
    assert same.verdict["training_loss"]["differs"] is None
    assert same.verdict["first_loss"]["then"] == same.verdict["first_loss"]["now"] > 100
    assert [one for one in same.verdict["differences"] if one["changes_numbers"]] == []
    before, now = (json.loads((path / "metrics.json").read_text()) for path in (first.made, same.made))
    assert before == now
    words = yaml.safe_load((same.made / "overrides.yaml").read_text())
    assert "trainer.max_epochs=1" in words
    about = json.loads((same.made / "environment.json").read_text())
    assert about["repeats"] == str(first.made)
    listed = {run.path: run for run in list_runs(str(logs))[0]}
    assert listed[str(same.made)].value("repeats") == str(first.made)
    assert listed[str(first.made)].value("repeats") is None

    other = vaelab("rerun", str(first.made), "seed=2", *places)
    assert other.code == 3
    assert other.last.startswith("different: ")
    assert other.differing("config") == {"seed": ("1", "2")}
    assert other.differing("start")
    assert "the likeliest cause: config, seed" in other.out
    assert "start: different weights; the loss at the first step is " in other.out

    compared = vaelab("rerun", str(same.made / "model"), "--compare", str(other.made))
    assert (compared.code, compared.made, compared.last) == (3, None, other.last)
    assert json.loads((other.made or logs).joinpath("rerun.json").read_text())["repeats"] == str(first.made)


@pytest.mark.long
def test_a_drawn_seed_is_used_again_and_a_resumed_run_is_trained_at_one_go(vaelab: Command, places: list[str]) -> None:
    first = vaelab("train", "trainer.max_epochs=1", "seed=null", *QUICK, *places)
    assert first.made is not None
    assert vaelab("train", f"resume={first.made}", "trainer.max_epochs=2", *places).code == 0
    again = vaelab("rerun", str(first.made / "checkpoints" / "best.ckpt"), *places)
    assert again.code == 0, again.out
    assert again.made is not None
    assert again.last.startswith("the same bit for bit")
    assert again.verdict["training_loss"]["logged"] == 2
    assert "start: the same weights; equal loss at the first step" in again.out
    assert again.differing("course") == {"parts of the run": ("2", "1")}
    seeds = [yaml.safe_load((folder / "config.yaml").read_text())["seed"] for folder in (first.made, again.made)]
    assert seeds[0] == seeds[1]


@pytest.mark.long
def test_a_run_that_was_only_evaluated_is_evaluated_again(vaelab: Command, places: list[str]) -> None:
    trained = vaelab("train", "trainer.max_epochs=1", *QUICK, *places)
    assert trained.made is not None
    evaluated = vaelab("train", "train=false", f"ckpt_path={trained.made}", *places)
    assert evaluated.made is not None
    again = vaelab("rerun", str(evaluated.made), *places)
    assert (again.code, again.last.partition(":")[0]) == (0, "the same bit for bit")
    assert again.made is not None
    assert not (again.made / "checkpoints").exists()


@pytest.mark.long
def test_a_job_of_a_sweep_is_done_again_by_itself(vaelab: Command, logs: Path, places: list[str]) -> None:
    swept = vaelab("train", "-m", "latent_dim=2,3", "trainer.max_epochs=1", *QUICK, *places)
    assert swept.code == 0, swept.err
    job = next(logs.rglob("sweep.json")).parent / "1"
    refused = vaelab("rerun", str(job.parent), *places)
    assert refused.code == 2
    assert f"is the folder of a sweep; name one of them: vaelab rerun {job.parent}/0, vaelab rerun {job}" in refused.err
    again = vaelab("rerun", str(job), *places)
    assert (again.code, again.last.partition(":")[0]) == (0, "the same bit for bit")
    assert again.made is not None
    assert "multirun" not in str(again.made)


@pytest.mark.long
def test_a_run_that_failed_is_compared_as_far_as_it_came(vaelab: Command, places: list[str]) -> None:
    words = ("trainer.max_epochs=2", "trainer.log_every_n_steps=1", *QUICK, *places)
    trained = vaelab("train", *words)
    assert trained.made is not None
    shutil.rmtree(trained.made / "model")  # as if it had been killed after a while
    (trained.made / "metrics.json").unlink()
    state = json.loads((trained.made / "state.json").read_text())
    (trained.made / "state.json").write_text(json.dumps(state | {"status": "failed", "why": "out of memory"}))
    curves = trained.made / "metrics.csv"
    curves.write_text("".join(curves.read_text().splitlines(keepends=True)[:8]))
    again = vaelab("rerun", str(trained.made), *places)
    assert again.code == 0, again.err
    assert again.last.startswith("the same bit for bit: 7 logged training losses")


@pytest.mark.long
def test_ctrl_c_ends_as_in_a_run_which_can_go_on(vaelab: Command, logs: Path, places: list[str]) -> None:
    words = ("trainer.max_epochs=400", "callbacks.last.every_n_train_steps=20", "test=false", *QUICK, *places)
    first = vaelab("train", *words, "trainer.max_steps=100")
    assert first.made is not None
    before = set(logs.rglob("last.ckpt"))
    process = subprocess.Popen(
        [sys.executable, "-m", "vaelab", "rerun", str(first.made), "trainer.max_steps=100000", *places],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    until = time.monotonic() + 120
    while not (new := set(logs.rglob("last.ckpt")) - before):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    made = new.pop().parents[1]
    assert process.returncode == 130, err
    assert f"resume={made}" in err
    assert f"vaelab rerun {first.made} --compare {made}" in err
    assert not (made / "rerun.json").exists()


OLD = Path(__file__).parents[1] / "record" / "old_runs"


@pytest.mark.long
@pytest.mark.parametrize("name", ["digits_vae", "cancer_vae"])
def test_a_run_of_an_older_version_is_done_again(vaelab: Command, tmp_path: Path, places: list[str], name: str) -> None:
    shutil.copytree(OLD / name, tmp_path / name)
    again = vaelab("rerun", str(tmp_path / name), "trainer=cpu", "trainer.max_epochs=1", "logger=none", *places)
    assert again.code == 3, again.err
    assert again.verdict["not_recorded"]["then"][:2] == ["processor", "instructions"]
    changed = again.differing("config")  # what runs of that time had comes from the record
    assert set(changed) <= {"compile", "storage"}, changed
    assert "effort" in again.differing("keys")
    assert "not recorded then: processor, instructions" in again.out


@pytest.fixture
def recorded(vaelab: Command, places: list[str]) -> Path:
    """A run of two steps."""
    done = vaelab("train", "trainer.max_steps=2", "test=false", *QUICK, *places)
    assert done.made is not None
    return done.made


def test_what_a_tampered_record_says_is_not_done_but_named(
    vaelab: Command, recorded: Path, places: list[str], tmp_path: Path
) -> None:
    words = yaml.safe_load((recorded / "overrides.yaml").read_text())
    bad = ["+callbacks.x._target_=os.system", "trusted=[os]", "logger.wandb.api_key=<hidden>"]
    (recorded / "overrides.yaml").write_text(yaml.safe_dump([*words, *bad]))
    refused = vaelab("rerun", str(recorded), *places)
    assert (refused.code, refused.made) == (1, None)
    for word in bad:
        assert word in refused.err
    assert "<hidden> stands for a secret, which is not stored" in refused.err
    assert f"error: vaelab rerun {recorded}: a run folder may be untrusted" in refused.err
    (recorded / "overrides.yaml").write_text(yaml.safe_dump(words))
    config = yaml.safe_load((recorded / "config.yaml").read_text())
    config["model"]["_target_"] = "os.system"
    config["paths"]["log_dir"] = str(tmp_path / "elsewhere")
    (recorded / "config.yaml").write_text(yaml.safe_dump(config))
    about = json.loads((recorded / "environment.json").read_text())
    about["git"] = {"commit": "--output=/tmp/x\x1b[31m", "dirty": False}
    about["machine"]["thread_variables"] = {"OMP_NUM_THREADS": "9999999", "PATH": "/tmp"}
    (recorded / "environment.json").write_text(json.dumps(about))
    again = vaelab("rerun", str(recorded), *places)
    assert again.made is not None, again.err
    assert os.environ["PATH"] != "/tmp"
    assert not (tmp_path / "elsewhere").exists()
    assert yaml.safe_load((again.made / "config.yaml").read_text())["model"]["_target_"] == "vaelab.models.VAE"
    assert "\x1b[31m" not in again.out
    assert "the record is not a commit" in again.out
    assert again.differing("config")["model._target_"] == ("os.system", "vaelab.models.VAE")


def test_missing_data_are_named_and_nothing_is_left(vaelab: Command, recorded: Path, places: list[str]) -> None:
    config = yaml.safe_load((recorded / "choices.yaml").read_text())
    (recorded / "choices.yaml").write_text(yaml.safe_dump(config | {"data": "table"}))
    words = yaml.safe_load((recorded / "overrides.yaml").read_text())
    (recorded / "overrides.yaml").write_text(yaml.safe_dump([*words, "data.path=gone.csv"]))
    refused = vaelab("rerun", str(recorded), *places)
    assert (refused.code, refused.made) == (1, None)
    assert "gone.csv" in refused.err
    assert refused.err.count("error:") == 1


@pytest.mark.long
def test_trackers_find_it_by_a_tag_and_by_the_run_that_it_repeats(
    vaelab: Command, recorded: Path, places: list[str]
) -> None:
    again = vaelab("rerun", str(recorded), "logger=wandb", "tags=[mine]", *places)
    assert again.made is not None
    records = wandb_records(again.made)
    run = next(record.run for record in records if record.WhichOneof("record_type") == "run")
    assert list(run.tags) == ["mine", "rerun"]
    assert config(records)["repeats"] == str(recorded)
    silent = {one["what"] for one in again.verdict["differences"] if not one["changes_numbers"]}
    assert silent == {"logger", "tags"}
