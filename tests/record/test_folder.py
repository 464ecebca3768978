import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from vaelab.atomic_write import write_file, write_json
from vaelab.errors import CheckpointError
from vaelab.record.sweep import Sweep
from vaelab.run_folder import claim_run_dir, claim_sweep_dir, discard, discard_unstarted, redact_sweep


def test_runs_that_start_at_once_do_not_share_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: claim_run_dir(None, str(tmp_path)), range(24)))
    assert len(set(claimed)) == 24
    assert all(Path(folder).is_dir() for folder in claimed)


def test_a_resumed_run_stays_in_its_folder(tmp_path: Path) -> None:
    assert claim_run_dir("some/run", str(tmp_path)) == "some/run"
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_over_several_tasks_is_in_the_folder_of_none(tmp_path: Path) -> None:
    for task, parent in (("anomaly", "anomaly/multirun"), ("anomaly,panel", "multirun")):
        folder = Path(claim_sweep_dir(str(tmp_path), task))
        assert folder.parent == tmp_path / parent
        assert folder.is_dir()
    discard_unstarted()


def test_only_folders_in_which_nothing_ran_are_discarded(tmp_path: Path) -> None:
    discard_unstarted()
    empty, described, trained, begun = (Path(claim_run_dir(None, str(tmp_path))) for _ in range(4))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    write_file(described / "config.yaml", "")
    write_file(described / "changes.patch", "")
    write_file(described / "wandb" / "run-1" / "run-1.wandb", "")  # of a tracker that opened where another one refused
    write_file(trained / "config.yaml", "")
    write_file(begun / "state.json", "{}")
    write_file(trained / "checkpoints" / "last.ckpt", "")
    discard_unstarted()
    assert [folder.exists() for folder in (empty, described)] == [False, False]
    assert [folder.exists() for folder in (trained, begun, foreign)] == [True, True, True]


def test_what_a_link_leads_to_is_not_discarded(tmp_path: Path) -> None:
    write_file(tmp_path / "mine" / "config.yaml", "")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "mine")
    assert not discard(link)
    assert (tmp_path / "mine/config.yaml").is_file()


def test_a_sweep_whose_job_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    write_file(tmp_path / "mine/0" / "config.yaml", "")
    sweep = tmp_path / "sweep"
    job = {"number": 0, "overrides": [], "status": "failed", "error": ""}
    for place in ("link/0", "link"):
        write_json(sweep / "sweep.json", {"command": "", "jobs": [job | {"folder": place}]})
        (sweep / "link").unlink(missing_ok=True)
        (sweep / "link").symlink_to(tmp_path / "mine")
        with pytest.raises(CheckpointError, match=r"sweep.json.* link.*outside"):
            Sweep.read(sweep)
    (sweep / "link").unlink()
    (tmp_path / "way").symlink_to(sweep)  # the sweep itself may be reached by a link
    assert Sweep.read(tmp_path / "way").path(Sweep.read(sweep).jobs[0]).name == "link"


def test_a_sweep_record_says_nothing_that_a_terminal_obeys(tmp_path: Path) -> None:
    job = {"number": 0, "overrides": [], "folder": "0", "status": "failed", "error": "\x1b[31mred\nerror"}
    write_json(tmp_path / "sweep.json", {"command": "\x1b[2J", "jobs": [job]})
    sweep = Sweep.read(tmp_path)
    assert (sweep.command + sweep.jobs[0].error).isprintable()
    for key, value in (("folder", "\x1b[31m"), ("overrides", ["seed=1", "+evil='\x1b[31m\nerror'"])):
        write_json(tmp_path / "sweep.json", {"command": "", "jobs": [job | {key: value}]})
        with pytest.raises(CheckpointError, match="control character") as refused:
            Sweep.read(tmp_path)
        assert str(refused.value).isprintable()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"a": 1.0})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1.0}
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_the_config_of_a_sweep_is_kept_without_its_secrets(tmp_path: Path) -> None:
    redact_sweep(tmp_path)  # nothing there, nothing done
    config = {"logger": {"token": "hunter2"}, "hydra": {"overrides": {"task": ["logger.x.token=hunter2,b", "seed=1"]}}}
    (tmp_path / "multirun.yaml").write_text(yaml.safe_dump(config))
    redact_sweep(tmp_path)
    text = (tmp_path / "multirun.yaml").read_text()
    assert "hunter2" not in text
    assert yaml.safe_load(text)["hydra"]["overrides"]["task"][1] == "seed=1"
