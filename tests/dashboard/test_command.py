"""`vaelab dashboard`: what it refuses, and what it saves at W&B."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from vaelab.dashboard.command import dashboard
from vaelab.errors import ConfigError, UserError
from vaelab.secrets import redact

Build = Callable[..., dict[str, Any]]
ROOT = Path(__file__).parents[2]


def copied(run: Path, to: Path, **logger: object) -> Path:
    """A run folder without weights, with other settings of its tracker."""
    shutil.copytree(run, to, ignore=shutil.ignore_patterns("checkpoints", "wandb", "*.safetensors"))
    config = yaml.safe_load((to / "config.yaml").read_text())
    config["logger"]["wandb"] |= logger
    (to / "config.yaml").write_text(yaml.safe_dump(config))
    return to


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a/b/c"], "a/b/c: no such folder"),
        (["tests/dashbord"], "tests/dashbord: no such folder"),
        (["tests"], "contains no finished run"),
        (["p?x"], "p?x: is not a project of W&B; use <project> or <entity>/<project>"),
        (["--entity", "a/b"], "--entity a/b: is not a valid name"),
        (["--task", "denoisng"], "--task denoisng: there is no such task; did you mean denoising?"),
        (["--out", "pyproject.toml"], "pyproject.toml: exists, and vaelab dashboard did not write it"),
        (["--out", "pyproject.toml/x.json"], "pyproject.toml/x.json: cannot be written ("),
    ],
)
def test_misuse_is_one_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "pyproject.toml").write_text("[project]")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(message)):
        dashboard(arguments)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".json"] == []


@pytest.mark.long
def test_runs_are_of_one_project_and_known_to_wandb(
    two_runs: list[Path], tmp_path: Path, build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = copied(two_runs[0], tmp_path / "elsewhere", project="other", entity="team")
    with pytest.raises(ConfigError, match="several projects of W&B: team/other, vaelab; name runs of one"):
        build(two_runs[1], elsewhere)
    made = build(elsewhere)
    assert (made["entity"], made["project"]) == ("team", "other")
    untold = copied(two_runs[0], tmp_path / "untold")
    (untold / "tracking.json").unlink()
    with pytest.raises(ConfigError, match="this run has no run at W&B; train with logger=wandb"):
        build(untold)
    capsys.readouterr()
    assert build(two_runs[1], untold)["report"]["description"].startswith("1 run ")
    assert f"they have no run at W&B: {untold}" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="--task denoising: none of the runs has this task"):
        build(two_runs[0], "--task", "denoising")


@pytest.mark.long
def test_what_a_folder_calls_an_id_must_be_one(two_runs: list[Path], tmp_path: Path, build: Build) -> None:
    odd = copied(two_runs[0], tmp_path / "odd")
    (odd / "tracking.json").write_text(json.dumps({"wandb": "x'] or Metric('ID') in ['y"}))
    with pytest.raises(ConfigError, match="has no run at W&B"):
        build(odd)


@pytest.mark.long
def test_a_run_that_was_kept_offline_is_named(
    two_runs: list[Path], build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    build(*two_runs)
    assert "2 runs stored offline: panels are empty until they are sent: wandb sync" in capsys.readouterr().err


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.startswith(("vaelab.dashboard", "wandb_workspaces"))]:
        if name not in ("vaelab.dashboard.command", "vaelab.dashboard"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("vaelab.dashboard.build", raising=False)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=re.escape("pip install 'vaelab[dashboards]'")):
        dashboard(["--out", str(tmp_path / "d.json")])


@pytest.mark.long
def test_no_secret_is_written(
    two_runs: list[Path], tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "sesame-0123456789abcdef")
    named = [copied(run, tmp_path / run.name) for run in two_runs]
    for run, size in zip(named, (2, "sesame-0123456789abcdef"), strict=True):
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["encoder"]["activation"] = size
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        (run / "overrides.yaml").write_text(yaml.safe_dump([f"encoder.activation={size}"]))
    made = build(*named)
    assert "sesame" not in json.dumps(made)
    assert "<hidden>" in json.dumps(made["report"])
    assert redact(made) == made


class Saved:
    """W&B's server as far as `save` goes: it gives an id to what has none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws

        from vaelab.dashboard import push

        self.workspaces: list[tuple[str, str, str]] = []
        self.reports: list[tuple[str, str]] = []
        saved = self

        def save_workspace(one: Any) -> Any:
            one._internal_name = one._internal_name or f"nw-{len(saved.workspaces)}-v"
            one._internal_id = one._internal_id or f"view{len(saved.workspaces)}"
            saved.workspaces.append((one.entity, one.name, one._internal_id))
            return SimpleNamespace(url=f"https://wandb.test/{one.entity}/{one.project}?nw={one._internal_name}")

        def save_report(one: Any) -> Any:
            one.id = one.id or "report0"
            saved.reports.append((one.entity, one.id))
            return SimpleNamespace(url=f"https://wandb.test/{one.entity}/reports/{one.id}")

        monkeypatch.setattr(ws.Workspace, "save", save_workspace)
        monkeypatch.setattr(wr.Report, "save", save_report)
        account = SimpleNamespace(settings={"entity": None}, default_entity="me")
        monkeypatch.setattr(push.wandb, "Api", lambda **_: account)


@pytest.mark.long
def test_pushing_prints_addresses_and_again_changes_in_place(
    two_runs: list[Path], build: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Saved(monkeypatch)
    made = build(*two_runs, "--push")
    assert server.workspaces == [("me", "vaelab compression", "view0")]
    assert server.reports == [("me", "report0")]
    printed = capsys.readouterr().out
    assert "workspace vaelab compression: https://wandb.test/me/vaelab?nw=nw-0-v\n" in printed
    assert "report: https://wandb.test/me/reports/report0\n" in printed
    assert made["workspaces"][0]["saved"]["id"] == "view0"
    assert made["report"]["saved"] == {"id": "report0", "url": "https://wandb.test/me/reports/report0"}
    build(*two_runs)  # without saving keeps what was saved
    build(*two_runs, "--push")
    assert server.workspaces[1] == server.workspaces[0]
    assert server.reports[1] == server.reports[0]
    build("other/project", "--task", "compression", "--push")
    assert server.workspaces[2][::2] == ("other", "view2")


@pytest.mark.long
def test_what_was_saved_of_other_tasks_reports_and_projects_is_changed_in_place_later(
    two_runs: list[Path], build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Saved(monkeypatch)
    first = build("team/one", "--task", "anomaly,denoising", "--push")
    build("team/two", "--task", "anomaly", "--push")
    build(*two_runs, "--entity", "team", "--push")
    build(two_runs[0], "--entity", "team", "--push")
    assert len(server.workspaces) - len(server.reports) == 3
    again = build("team/one", "--task", "denoising", "--push")
    assert server.workspaces[-1] == ("team", "vaelab denoising", first["workspaces"][1]["saved"]["id"])
    assert again["workspaces"][0]["saved"] == first["workspaces"][1]["saved"]
    assert [other["what"] for other in again["others"] if other["project"] == "one"] == ["anomaly"]
    assert {other["project"] for other in again["others"]} == {"one", "two", "vaelab"}
    before = len(server.workspaces)
    build("team/two", "--task", "anomaly", "--push")
    assert server.workspaces[before] == server.workspaces[2]


def test_a_version_of_the_package_without_an_inner_part_is_one_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr("wandb_workspaces.workspaces.Workspace._internal_id")
    with pytest.raises(ConfigError, match=r"has no Workspace._internal_id, which vaelab needs; .* pip install"):
        dashboard(["--out", str(tmp_path / "d.json")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "broken", ["{", "[]", '{"made_by": "vaelab dashboard"}', '{"made_by": "vaelab dashboard", "workspaces": 3}']
)
def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path, build: Build, broken: str) -> None:
    (tmp_path / "dashboard.json").write_text(broken)
    with pytest.raises(ConfigError, match="exists, and vaelab dashboard did not write it"):
        build("--task", "anomaly")
    assert (tmp_path / "dashboard.json").read_text() == broken


@pytest.mark.long
def test_a_server_that_refuses_is_one_message_and_what_was_saved_is_kept(
    two_runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb_workspaces.reports.v2 as wr

    Saved(monkeypatch)

    def refuse(one: Any) -> Any:
        raise ValueError("permission denied\nand more")

    monkeypatch.setattr(wr.Report, "save", refuse)
    out = tmp_path / "d.json"
    with pytest.raises(UserError, match=re.escape("W&B did not save the report (permission denied); ")) as refused:
        dashboard([*map(str, two_runs), "--push", "--out", str(out)])
    assert f"{out} was written" in str(refused.value)
    assert json.loads(out.read_text())["workspaces"][0]["saved"]["id"] == "view0"


def test_nobody_who_is_logged_in_is_one_message_and_nobody_is_asked(tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, "-m", "vaelab", "dashboard", "--task", "anomaly", "--push"],
        cwd=tmp_path,
        env=own | {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "error: not logged in to W&B, so nothing was saved there; run `wandb login`; dashboard.json was "
        "written, and the same command with --push saves it later\n"
    )
    assert len(json.loads((tmp_path / "dashboard.json").read_text())["workspaces"]) == 1


def test_a_server_that_does_not_answer_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vaelab.dashboard import push

    def silent(**_: object) -> Any:
        raise push.wandb.errors.CommError("connection refused")

    monkeypatch.setattr(push.wandb, "Api", silent)
    with pytest.raises(UserError, match=re.escape("W&B did not answer (connection refused)")):
        dashboard(["--task", "anomaly", "--push", "--out", str(tmp_path / "d.json")])


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        dashboard(["--help"])
    shown = capsys.readouterr().out
    assert shown.count("\n  vaelab dashboard ") == 2
    assert max(map(len, shown.splitlines())) <= 120
